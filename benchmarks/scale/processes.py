"""What a second process brings: `python processes.py DATA [--model schnet] [--epochs 10]`, on two idle cores.

One training by two processes (gloo) beside two independent trainings at the same time, on mlearn's silicon, with the
same batches; alternating, each pair of runs a line. Efficiency is structures per second of the first over those of the
second together. The training losses of the two ways are compared too.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 1


def start(data: Path, run: Path, model: str, epochs: int, *overrides: str) -> subprocess.Popen[bytes]:
    """A training of its own."""
    command = [
        sys.executable, "-W", "ignore", "-m", "gnnpot", "fit", f"model={model}",
        f"data.train_path={data / 'mlearn' / 'Si_train.xyz'}", "data.split.fractions=[0.95,0.05,0.0]",
        f"trainer.max_epochs={epochs}", "trainer.progress=false", "trainer.threads=1", "trainer.validate_every=1000",
        "batch_size=16", f"run_dir={run}", *overrides,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def seconds(processes: list[subprocess.Popen[bytes]], runs: list[Path]) -> tuple[float, float]:
    """Longest training time, and the last training loss."""
    for process in processes:
        _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(errors.decode()[-2000:])
    times = [json.loads((run / "metrics.json").read_text())["timing"]["training_s"] for run in runs]
    with (runs[0] / "log.csv").open() as file:
        loss = float(list(csv.DictReader(file))[-1]["train_loss"])
    return max(times), loss


def main() -> None:
    """Print a line for each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="schnet")
    parser.add_argument("--epochs", type=int, default=30)
    asked = parser.parse_args()
    two = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    print("| round | two processes, s | two trainings, s | efficiency | relative difference of the losses |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        seconds([start(asked.data, base / "warm", asked.model, 1)], [base / "warm"])
        for k in range(ROUNDS):
            run = base / f"two-{k}"
            together, loss = seconds([start(asked.data, run, asked.model, asked.epochs, *two)], [run])
            runs = [base / f"alone-{k}-{n}" for n in range(2)]
            apart, alone = seconds([start(asked.data, r, asked.model, asked.epochs) for r in runs], runs)
            efficiency, difference = apart / (2.0 * together), abs(loss - alone) / alone
            print(f"| {k + 1} | {together:.1f} | {apart:.1f} | {efficiency:.2f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
