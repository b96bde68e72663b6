"""What a second process brings: `python processes.py DATA [--model schnet] [--epochs 10]`, on two idle cores.

One training by two processes (gloo) beside two independent trainings at the same time, on mlearn's silicon;
alternating, each pair of runs a line. The independent trainings take 16 structures a step; the two processes take 16
each, so that every process works as much in a step as an independent training does, or share 16, which is the same
training and ends in the same loss. Efficiency is structures per second of the first over those of the second together,
taken from the second fifth of the epochs on: starting the second process is not counted.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BATCH = 16
"""Structures in a step of an independent training."""


def start(asked: argparse.Namespace, run: Path, epochs: int, *overrides: str) -> subprocess.Popen[bytes]:
    """A training of its own."""
    command = [
        sys.executable, "-W", "ignore", "-m", "gnnpot", "fit", f"model={asked.model}",
        f"data.train_path={asked.data / 'mlearn' / 'Si_train.xyz'}", "data.split.fractions=[0.95,0.05,0.0]",
        f"trainer.max_epochs={epochs}", "trainer.progress=false", "trainer.threads=1",
        f"trainer.validate_every={max(epochs // 5, 1)}", f"batch_size={BATCH}", f"run_dir={run}", *overrides,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def seconds(processes: list[subprocess.Popen[bytes]], runs: list[Path]) -> tuple[float, float]:
    """Longest time of an epoch, and the last training loss."""
    for process in processes:
        _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(errors.decode()[-2000:])
    logs = [list(csv.DictReader((run / "log.csv").read_text().splitlines())) for run in runs]
    return max(per_epoch(log) for log in logs), float(logs[0][-1]["train_loss"])


def per_epoch(log: list[dict[str, str]]) -> float:
    """Seconds of an epoch between the first and the last row."""
    epochs = int(log[-1]["epoch"]) - int(log[0]["epoch"])
    return (float(log[-1]["seconds"]) - float(log[0]["seconds"])) / max(epochs, 1)


def compare(asked: argparse.Namespace, base: Path, name: str, batch: int) -> str:
    """A line of the table: two processes with ``batch`` structures in a step of both, and two trainings."""
    two = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", f"batch_size={batch}")
    run = base / f"two-{name}"
    together, loss = seconds([start(asked, run, asked.epochs, *two)], [run])
    runs = [base / f"alone-{name}-{n}" for n in range(2)]
    apart, alone = seconds([start(asked, r, asked.epochs) for r in runs], runs)
    same = f"{abs(loss - alone) / alone:.1e}" if batch == BATCH else "–"
    return f"| {batch // 2} | {together:.2f} | {apart:.2f} | {apart / (2.0 * together):.2f} | {same} |"


def main() -> None:
    """Print a line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="schnet")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print("| structures of a process | two processes, s/epoch | two trainings | efficiency | losses differ by |")
    print("|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        seconds([start(asked, base / "warm", 1)], [base / "warm"])
        for k in range(asked.rounds):
            print(compare(asked, base, f"own-{k}", 2 * BATCH), flush=True)
            print(compare(asked, base, f"shared-{k}", BATCH), flush=True)


if __name__ == "__main__":
    main()
