"""Print, as Markdown, the errors of finished runs, with and without test frames that have a twin in training.

    python benchmarks/table.py RESULTS_FOLDER > benchmarks/results.md

reads ``metrics.json`` and ``predictions.npz`` of every run in the folder, and ``nve/md.json`` where there is one.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from gnnpot import read
from gnnpot.data.near_duplicates import near_duplicates
from gnnpot.report.metrics import part_metrics
from gnnpot.report.parity import load_parity

ENERGY, FORCES = "energy_mae_mev_per_atom", "forces_mae_mev_per_ang"
HEADER = (
    "| run | test E (meV/atom) | test F (meV/Å) | without twins: E / F | validation E / F | training | epochs "
    "| NVE slope (meV/atom/ps) | data SHA-256 |\n|---|---|---|---|---|---|---|---|---|"
)


def number(metrics: dict[str, Any], name: str, digits: int) -> str:
    """An error, or a dash where the model does not give the property."""
    return f"{metrics[name]:.{digits}f}" if name in metrics else "–"


def without_twins(run: Path, data: Path) -> str:
    """Test errors without the frames whose energy twin stands in the training file, and how many those are."""
    element = run.name.split("-")[1]
    test = read(data / "mlearn" / f"{element}_test.xyz")
    train = read(data / "mlearn" / f"{element}_train.xyz")
    alone = np.ones(len(test), dtype=bool)
    alone[[twin.index for twin in near_duplicates(test, train) if twin.same_energy]] = False
    metrics = part_metrics(load_parity(run / "predictions.npz")["test"].of_structures(alone))
    return f"{number(metrics, ENERGY, 2)} / {number(metrics, FORCES, 1)} ({(~alone).sum()} left out)"


def row(run: Path, data: Path) -> str:
    """One line of the table."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    test, val, timing = metrics["test"], metrics["val"], metrics["timing"]
    nve = run / "nve" / "md.json"
    drift = f"{json.loads(nve.read_text())['drift_mev_per_atom_per_ps']:.3g}" if nve.is_file() else "–"
    cells = [
        run.name,
        number(test, ENERGY, 2),
        number(test, FORCES, 1),
        without_twins(run, data) if run.name.startswith("mlearn-") else "–",
        f"{number(val, ENERGY, 2)} / {number(val, FORCES, 1)}",
        f"{timing['training_s'] / 60:.1f} ({timing['training_cpu_s'] / 60:.1f}) min",
        str(timing["epochs"]),
        drift,
        str(metrics["provenance"]["data_sha256"])[:12],
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data sets (GNNPOT_DATA)")
    arguments = parser.parse_args()
    print(HEADER)
    for file in sorted(arguments.results.glob("*/metrics.json")):
        print(row(file.parent, arguments.data))
