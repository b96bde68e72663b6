"""The tables of the section "Errors" of benchmarks/README.md beside published figures, as Markdown.

    python benchmarks/comparison.py benchmarks/results

Cells without ``metrics.json`` are "unfinished"; ¹ marks a GNNFF whose cutoff was given, not taken from the data.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml

SYSTEMS = (
    ("GaN with a nitrogen vacancy in charge 0, +1, +2, +3, one model, by geometry", "GaN_VN"),
    ("GaN, 350 frames of 64 atoms, random", "GaN"),
    ("Au-Li, 5,814 frames, random", "AuLi"),
    ("Au-Li, by trajectory (62)", "AuLi_grouped"),
    ("Li10GeP2S12, random", "LGPS"),
    ("Li10GeP2S12, by the kind of structure", "LGPS_kinds"),
)
OTHERS = ("GaN_VN-hdnnp-without_charge", "AuLi-hdnnp-energy_only")
MODELS = ("hdnnp", "gnnff_conservative", "schnet")
UNITS = {"energy": "mev_per_atom", "forces": "mev_per_ang"}


def errors(metrics: dict[str, Any], kind: str) -> list[float]:
    """Of energy and forces on the test part."""
    return [metrics["test"][f"{name}_{kind}_{unit}"] for name, unit in UNITS.items()]


def cell(folder: Path, names: list[str], kind: str) -> str:
    """Errors, their standard error over runs that differ in the seed, and processor minutes."""
    found = [folder / name for name in names if (folder / name / "metrics.json").is_file()]
    if not found:
        return "unfinished"
    runs = [json.loads((run / "metrics.json").read_text(encoding="utf-8")) for run in found]
    parts = []
    for values, digits in zip(zip(*(errors(run, kind) for run in runs), strict=True), (2, 1), strict=True):
        deviation = f" ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
        parts.append(f"{statistics.mean(values):.{digits}f}{deviation}")
    minutes = statistics.mean(run["timing"]["training_cpu_s"] for run in runs) / 60
    model = yaml.safe_load((found[0] / "config.yaml").read_text(encoding="utf-8"))["model"]
    mark = "¹" if model["_target_"].endswith("GNNFFConservative") and model["cutoff"] is not None else ""
    return f"{', '.join(parts)} ({len(runs)} x {minutes:.1f} min){mark}"


def main(results: str) -> None:
    """Print root mean square errors of the systems, and mean absolute errors of mlearn and of kinds of functions."""
    folder = Path(results)
    header = "| | HDNNP | conservative GNNFF | SchNet |\n|---|---|---|---|"
    print(f"RMSE, meV/atom, meV/Å\n\n{header}")
    for title, name in SYSTEMS:
        runs = ["hdnnp-pairwise" if name.startswith("LGPS") and m == "hdnnp" else m for m in MODELS]
        print(f"| {title} | {' | '.join(cell(folder, [f'{name}-{run}'], 'rmse') for run in runs)} |")
    for name in OTHERS:
        print(f"| {name} | {cell(folder, [name], 'rmse')} | – | – |")
    print(f"\nMAE, official test files of mlearn\n\n{header}")
    for element in ("Si", "Li", "Cu"):
        seeds = [f"-seed{k}" for k in range(3)] if element == "Si" else [""]
        cells = [cell(folder, [f"mlearn-{element}-{m}{seed}" for seed in seeds], "mae") for m in MODELS]
        print(f"| {element} | {' | '.join(cells)} |")
    print(
        "\nMAE, Li10GeP2S12, functions of an HDNNP\n\n| functions | random | by the kind of structure |\n|---|---|---|"
    )
    for kind in ("pairwise", "chebyshev", "weighted"):
        cells = [cell(folder, [f"{system}-hdnnp-{kind}"], "mae") for system in ("LGPS", "LGPS_kinds")]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
