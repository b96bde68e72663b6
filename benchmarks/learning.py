"""How the errors of the benchmark's cells fell while they were trained: `python learning.py RESULTS PLOT.svg`.

RESULTS holds a folder for each cell with the ``log.csv`` of its run. One panel for each system: force errors (MAE) of
the validation part after every epoch against the training time, a line for each cell. The learning rate anneals to the
end of a budget, so that a longer budget begins with a line of its own, and does not go on where a shorter one ended.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

from gnnpot.report.style import plain_log_ticks

FORCES = "val_forces_mae_mev_per_ang"
COLORS = {"hdnnp": "#0b5fa5", "gnnff_conservative": "#d17a00", "schnet": "#00806a"}
NAMES = {"hdnnp": "HDNNP", "gnnff_conservative": "conservative GNNFF", "schnet": "SchNet"}
STYLES = ("-", "--", ":", "-.")


def curve(log: Path) -> tuple[list[float], list[float]]:
    """Minutes by the clock, and force errors."""
    with log.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get(FORCES)]
    return [float(row["seconds"]) / 60 for row in rows], [float(row[FORCES]) for row in rows]


def cells_by_system(results: Path) -> dict[str, list[Path]]:
    """Folders with force errors in a log; the system is what stands before the name of the model."""
    found: dict[str, list[Path]] = {}
    for log in sorted(log for log in results.glob("*/log.csv") if curve(log)[1]):
        name = log.parent.name
        system = min((name.partition(f"-{model}")[0] for model in COLORS), key=len)
        found.setdefault(system, []).append(log.parent)
    return found


def draw(axes: Any, system: str, cells: list[Path]) -> None:
    """One panel."""
    seen: dict[str, int] = {}
    for cell in cells:
        model = next(name for name in COLORS if f"-{name}" in cell.name)
        style = STYLES[seen.get(model, 0) % len(STYLES)]
        seen[model] = seen.get(model, 0) + 1
        rest = cell.name.partition(f"-{model}")[2].lstrip("-")
        axes.plot(*curve(cell / "log.csv"), style, color=COLORS[model], label=f"{NAMES[model]} {rest}".strip())
    axes.set(title=system, xscale="log", yscale="log", xlabel="training (min)", ylabel="force error (meV/Å)")
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        plain_log_ticks(axis, low, high)
        axis.set_view_interval(low, high, ignore=True)
    axes.legend(fontsize=6)


def main(results: Path, path: Path) -> None:
    """Write the figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    systems = cells_by_system(results)
    n_rows = -(-len(systems) // 3)
    mpl.rcParams["svg.hashsalt"] = "gnnpot"
    figure, panels = plt.subplots(n_rows, 3, figsize=(12, 3.4 * n_rows), layout="constrained", squeeze=False)
    for axes, (system, cells) in zip(panels.flat, systems.items(), strict=False):
        draw(axes, system, cells)
    for axes in panels.flat[len(systems) :]:
        axes.set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("path", type=Path)
    main(*vars(parser.parse_args()).values())
