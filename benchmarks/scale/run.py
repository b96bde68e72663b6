"""Cost and memory of a step over the number of atoms, as Markdown: each size in a process of its own.

python benchmarks/scale/run.py hdnnp schnet
python benchmarks/scale/run.py gnnff gnnff_conservative --file lgps.xyz --repeat 6 9 8 --threads 2
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SIZES = (1000, 4096, 13824, 32768, 97336)
"""Atoms of silicon: cubes of whole cells."""


def measured(model: str, options: list[str]) -> dict[str, Any]:
    """One line of `measure.py`."""
    command = [sys.executable, str(HERE / "measure.py"), model, *options]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def slope(rows: list[dict[str, Any]], clock: str) -> float:
    """d ln(seconds) / d ln(atoms), least squares."""
    return float(np.polyfit(np.log([row["n_atoms"] for row in rows]), np.log([row[clock] for row in rows]), 1)[0])


def main() -> None:
    """Measure, and print a table and the slopes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--file", type=Path, help="a frame of this file, repeated, in the place of silicon")
    parser.add_argument("--repeat", nargs=3, default=["1", "1", "1"])
    parser.add_argument("--steps", default="5")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: where others compute too")
    arguments = parser.parse_args()
    clock = f"{arguments.clock}_s"
    common = ["--steps", arguments.steps, "--threads", arguments.threads]
    print("| model | atoms | s per step | µs per atom | peak memory, GiB |\n|---|---:|---:|---:|---:|", flush=True)
    for model in arguments.models:
        rows = []
        if arguments.file is None:
            sizes = [["--atoms", str(n)] for n in arguments.sizes]
        else:
            sizes = [["--file", str(arguments.file), "--repeat", *arguments.repeat]]
        for size in sizes:
            row = measured(model, [*size, *common])
            rows.append(row)
            n_atoms, seconds = row["n_atoms"], row[clock]
            cells = (
                model,
                f"{n_atoms:,}",
                f"{seconds:.3f}",
                f"{1e6 * seconds / n_atoms:.1f}",
                f"{row['peak_gib']:.2f}",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
        if len(rows) > 1:
            print(f"| {model} | slope | {slope(rows, clock):.3f} | | |", flush=True)


if __name__ == "__main__":
    main()
