"""Speed of gnnpot beside that of its peers: one command, a Markdown table.

    python benchmarks/speed/compare.py --data /path/to/data --peers /path/to/a/folder [--rows md schnet-training]

Two processes per row, one for each side, take turns (A B A B ...) on the same work with one thread; see README.md.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from environment import peer_python
from limits import measure_machine

HERE = Path(__file__).parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
CLOCKS = {"wall": 0, "cpu": 1}


@dataclass(frozen=True)
class Row:
    """One line of the table: the same work by two packages."""

    name: str
    work: str
    must: float
    goal: float
    scale: float = 1.0
    """What the peer's speed is multiplied with before the comparison (n2p2 = 1.78 DScribe)."""


ROWS = [
    Row("md-63", "MD step, SchNet, 63 atoms, SchNetPack", 8, 12),
    Row("md-504", "MD step, SchNet, 504 atoms, SchNetPack", 8, 12),
    Row("md-1701", "MD step, SchNet, 1701 atoms, SchNetPack", 8, 12),
    Row("schnet-training", "training step, SchNet, 8 x 63 atoms, SchNetPack", 2, 4),
    Row("descriptors", "27 symmetry functions, DScribe", 8, 15),
    Row("hdnnp-forces", "HDNNP energy and forces, 1.78 x DScribe (= n2p2)", 1.3, 2.5, 1.78),
    Row("hdnnp-epoch", "HDNNP training, all forces, n2p2 at 9.5 structures/s (stated)", 50, 50),
    Row("gnnff-step", "GNNFF forces, 63 atoms, blocks of PyG", 3, 8),
    Row("gnnff-training", "GNNFF training step, 63 atoms, blocks of PyG", 3, 8),
    Row("chgnet-63", "MD step, gnnff_conservative, 63 atoms, CHGNet", 20, 50),
    Row("chgnet-504", "MD step, gnnff_conservative, 504 atoms, CHGNet", 20, 50),
]


class Side:
    """One package at one work, in a process of its own."""

    def __init__(self, python: str, package: str, row: str, data: Path) -> None:
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        command = [python, "-W", "ignore", str(HERE / "worker.py"), package, row, str(data)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        answer = self._answer()
        self.amount, self.unit = answer["amount"], answer["unit"]
        self.flops, self.bytes = answer["flops"], answer["bytes"]

    def seconds(self, repeats: int) -> tuple[float, float]:
        """Wall and processor time of so many repeats."""
        stdin = self.process.stdin
        assert stdin is not None
        stdin.write(f"{repeats}\n")
        stdin.flush()
        answer = self._answer()
        return answer["wall"], answer["cpu"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1])
        return json.loads(line)


def compare(row: Row, pythons: dict[str, str], data: Path, rounds: int, seconds: float, clock: int) -> str:
    """Measure one row; a line of the table."""
    sides: dict[str, Side] = {}
    try:
        for package in ("ours", "theirs"):
            if not (row.name == "hdnnp-epoch" and package == "theirs"):
                sides[package] = Side(pythons[package], package, row.name, data)
        repeats = {p: max(1, round(seconds / side.seconds(1)[clock])) for p, side in sides.items()}
        times: dict[str, list[float]] = {p: [] for p in sides}
        for _ in range(rounds):
            for package, side in sides.items():
                times[package].append(side.seconds(repeats[package])[clock] / repeats[package])
    except RuntimeError as error:
        return f"| {row.work} | not measured: {error} | | | | | |"
    finally:
        for side in sides.values():
            side.close()
    return _line(row, sides, times)


def _line(row: Row, sides: dict[str, Side], times: dict[str, list[float]]) -> str:
    ours, amount = sides["ours"], sides["ours"].amount
    theirs = times.get("theirs", [sides["ours"].amount / 9.5] * len(times["ours"]))
    ratios = [b / row.scale / a for a, b in zip(times["ours"], theirs, strict=True)]
    ratio, mark = median(ratios), "goal" if median(ratios) >= row.goal else "must"
    reached = mark if ratio >= row.must else "below must"
    machine = measure_machine()
    limit = max(ours.flops / machine.flops, ours.bytes / machine.bandwidth)
    here = median(times["ours"])
    return (
        f"| {row.work} | {amount / here:.4g} {ours.unit}/s | {row.scale * amount / median(theirs):.4g} | "
        f"**{ratio:.1f}** ({min(ratios):.1f} to {max(ratios):.1f}) | ≥ {row.must:g}, goal {row.goal:g}: {reached} | "
        f"{1e3 * limit:.3g} of {1e3 * here:.3g} ms | {100 * limit / here:.0f} % |"
    )


def imports() -> list[str]:
    """Lines on what starting costs: modules that must not be loaded, and seconds."""
    lines = []
    for what, statement, heavy in (
        ("`import gnnpot`", "import gnnpot", ("torch", "ase", "hydra", "numpy")),
        ("`gnnpot --help`", "from gnnpot.cli import main; main(['--help'])", ("torch", "lightning", "pymatgen")),
    ):
        code = (
            "import io, sys, time, contextlib\nstart = time.perf_counter()\n"
            f"with contextlib.redirect_stdout(io.StringIO()):\n    {statement.replace('; ', chr(10) + '    ')}\n"
            f"print(time.perf_counter() - start, *[m for m in {heavy!r} if m in sys.modules])"
        )
        words = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        loaded = "loads " + ", ".join(words[1:]) if words[1:] else "loads none of " + ", ".join(heavy)
        lines.append(f"| {what} | {1e3 * float(words[0]):.0f} ms | - | - | {loaded} | | |")
    return lines


def main() -> None:
    """Print the table, row by row as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets, see benchmarks/DATA.md")
    parser.add_argument("--peers", type=Path, required=True, help="folder for the peers' environment, outside of this")
    parser.add_argument("--rows", nargs="+", default=[""], help="only rows whose names begin with one of these")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: processor time, where others compute too")
    asked = parser.parse_args()
    pythons = {"ours": sys.executable, "theirs": peer_python(asked.peers)}
    machine = measure_machine()
    print(
        f"One thread, {asked.clock} time, medians of {asked.rounds} turns. Measured rates: "
        f"{machine.flops / 1e9:.0f} GFLOP/s (sgemm), {machine.bandwidth / 1e9:.1f} GB/s (copy).\n"
    )
    print("| work | gnnpot | peer | ratio (range) | asked | limit of time | reached |\n|---|---|---|---|---|---|---|")
    for row in ROWS:
        if row.name.startswith(tuple(asked.rows)):
            line = compare(row, pythons, asked.data, asked.rounds, asked.seconds, CLOCKS[asked.clock])
            print(line, flush=True)
    for line in imports():
        print(line)


if __name__ == "__main__":
    main()
