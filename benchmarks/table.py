"""Print, as Markdown, the errors of finished runs, with and without test frames that have a twin in training.

    python benchmarks/table.py RESULTS_FOLDER

reads ``metrics.json`` of every run in the folder, and ``nve/md.json`` where there is one.
"""

import argparse
import json
from pathlib import Path
from typing import Any

ENERGY, FORCES = "energy_mae_mev_per_atom", "forces_mae_mev_per_ang"
HEADER = (
    "| run | test MAE E (meV/atom) | test MAE F (meV/Å) | test RMSE E / F | MAE without twins: E / F (left out) "
    "| validation MAE E / F "
    "| minutes: processor (wall) | epochs | NVE slope (meV/atom/ps) | seed | data SHA-256 | gnnpot |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def number(metrics: dict[str, Any], name: str, digits: int) -> str:
    """An error, or a dash where the model does not give the property."""
    return f"{metrics[name]:.{digits}f}" if name in metrics else "–"


def both(metrics: dict[str, Any]) -> str:
    """Errors of energy and forces."""
    return f"{number(metrics, ENERGY, 2)} / {number(metrics, FORCES, 1)}"


def without_twins(metrics: dict[str, Any]) -> str:
    """Test errors without the frames whose energy twin stands in the training file, and how many those are."""
    alone = metrics.get("test_without_twins")
    if alone is None:
        return "–"
    n_left_out = metrics["test"]["counts"]["n_structures"] - alone["counts"]["n_structures"]
    return f"{both(alone)} ({n_left_out})"


def row(run: Path) -> str:
    """One line of the table."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    timing, provenance = metrics["timing"], metrics["provenance"]
    nve = run / "nve" / "md.json"
    processor = f"{timing['training_cpu_s'] / 60:.1f}" if "training_cpu_s" in timing else "–"
    cells = [
        run.name,
        number(metrics["test"], ENERGY, 2),
        number(metrics["test"], FORCES, 1),
        both({name.replace("_rmse_", "_mae_"): v for name, v in metrics["test"].items() if "_rmse_" in name}),
        without_twins(metrics),
        both(metrics["val"]),
        f"{processor} ({timing['training_s'] / 60:.1f})",
        str(timing["epochs"]),
        f"{json.loads(nve.read_text())['drift_mev_per_atom_per_ps']:.3g}" if nve.is_file() else "–",
        str(provenance["seed"]),
        str(provenance["data_sha256"])[:12],
        str(provenance["gnnpot"]),
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    print(HEADER)
    for file in sorted(parser.parse_args().results.glob("*/metrics.json")):
        print(row(file.parent))
