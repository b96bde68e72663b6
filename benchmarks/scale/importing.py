"""Memory and time of an import of MPtrj's layout, and whether a killed one goes on to the same bytes, as Markdown.

python benchmarks/scale/importing.py --gigabytes 2.2 --folder /tmp/import

Writes a file of that layout (random crystals, as many sites and frames of a material as the real one has on average,
300 different materials over and over), imports it, then imports it again in processes that are killed on the way. File
and stores are removed at the end.
"""

import argparse
import hashlib
import itertools
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ELEMENTS = ("Li", "O", "Fe", "P", "Si", "Mg", "Na", "F", "Ti", "Ba")
SITES = 31
"""Mean number of sites of a frame of MPtrj: 49,295,660 forces in 1,580,395 frames."""
FRAMES = 11
"""Mean number of frames of a material: 1,580,395 in 145,923."""
DIFFERENT = 300
NAME = "mp-000000"
KILLED_AFTER = (3, 9)
"""Shards after which two processes are killed, in the midst of the next one."""


def frame(random: np.random.Generator, symbols: list[str], material: str) -> dict[str, Any]:
    """One entry, with the fields of the published file."""
    n, a = len(symbols), 3.0 * len(symbols) ** (1 / 3)
    matrix = (a * (np.eye(3) + random.normal(0, 0.02, (3, 3)))).tolist()
    abc = random.random((n, 3))
    xyz = abc @ np.array(matrix)
    moments = random.normal(0, 1, n).tolist()
    sites = [
        {
            "species": [{"element": symbol, "occu": 1}],
            "abc": abc[k].tolist(),
            "xyz": xyz[k].tolist(),
            "label": symbol,
            "properties": {"magmom": moments[k]},
        }
        for k, symbol in enumerate(symbols)
    ]
    energy = float(random.normal(-6 * n, 1))
    lattice = {"matrix": matrix, "pbc": [True, True, True], "a": a, "b": a, "c": a, "volume": a**3}
    return {
        "structure": {"@module": "pymatgen.core.structure", "@class": "Structure", "charge": 0, "lattice": lattice,
                      "sites": sites},
        "uncorrected_total_energy": energy, "corrected_total_energy": energy - 0.7 * n,
        "energy_per_atom": energy / n - 0.7, "ef_per_atom": -1.0, "e_per_atom_relaxed": energy / n - 0.8,
        "ef_per_atom_relaxed": -1.1, "force": random.normal(0, 0.2, (n, 3)).tolist(),
        "stress": random.normal(0, 20, (3, 3)).tolist(), "magmom": moments, "bandgap": 1.5, "mp_id": material,
    }  # fmt: skip


def materials() -> list[tuple[str, int]]:
    """Different materials as JSON, with NAME in the place of the identifier, and their numbers of frames."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(DIFFERENT):
        symbols = random.choice(ELEMENTS, int(random.integers(2, 2 * SITES - 1))).tolist()
        count = int(random.integers(1, 2 * FRAMES))
        entries = {f"{NAME}-0-{k}": frame(random, symbols, NAME) for k in range(count)}
        found.append((json.dumps(entries), count))
    return found


def write(path: Path, n_bytes: float) -> int:
    """Write a file of at least so many bytes; the number of its frames."""
    templates = materials()
    n_frames = n_written = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("{")
        for k, (text, count) in enumerate(itertools.cycle(templates)):
            file.write((", " if k else "") + f'"mp-{k}": ' + text.replace(NAME, f"mp-{k}"))
            n_written, n_frames = n_written + len(text), n_frames + count
            if n_written > n_bytes:
                break
        file.write("}")
    return n_frames


def command(path: Path, store: Path) -> list[str]:
    """What a user types, in a process that says its peak memory at the end."""
    code = (
        "import resource, sys; from gnnpot.cli import main; rc = main(sys.argv[1:]); "
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(rc)"
    )
    return [sys.executable, "-c", code, "data", "kind=import", "format=mptrj", f"path={path}", f"output={store}"]


def digest(folder: Path) -> str:
    """SHA-256 over all files of a folder and their names."""
    total = hashlib.sha256()
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def imported(path: Path, store: Path) -> tuple[float, float]:
    """Processor seconds and peak memory, MB, of one import."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command(path, store), check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = float(done.stdout.rpartition("peak ")[2]) / 1024
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def killed(path: Path, store: Path, n_shards: int) -> int:
    """Kill an import behind so many shards; the number of whole ones that it leaves."""
    process = subprocess.Popen(command(path, store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(store.glob("shard-*"))) < n_shards:
        time.sleep(0.2)
    time.sleep(2.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(list(store.glob("shard-*")))


def main() -> None:
    """Write, import, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.2)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True)
    try:
        path = folder / "MPtrj_generated.json"
        n_frames = write(path, arguments.gigabytes * 1e9)
        size = path.stat().st_size / 1e9
        print(f"{size:.2f} GB, {n_frames:,} frames; memory of this process {_own_peak():.0f} MB", flush=True)
        seconds, peak = imported(path, folder / "whole")
        on_disk = sum(file.stat().st_size for file in (folder / "whole").rglob("*") if file.is_file()) / 1e9
        print("| file, GB | frames | processor, s | MB/s | peak memory, MB | store, GB |")
        print("|---:|---:|---:|---:|---:|---:|")
        rate = 1e3 * size / seconds
        print(f"| {size:.2f} | {n_frames:,} | {seconds:.0f} | {rate:.0f} | {peak:.0f} | {on_disk:.2f} |", flush=True)
        shards = [killed(path, folder / "killed", after) for after in KILLED_AFTER]
        seconds, peak = imported(path, folder / "killed")
        same = digest(folder / "killed") == digest(folder / "whole")
        print(f"killed twice, with {shards} shards whole; the rest: {seconds:.0f} s, {peak:.0f} MB; same bytes: {same}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
