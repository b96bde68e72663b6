"""The report of simulations in an electric field, from what `md` left behind."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from rich.console import Console

from gnnpot._version import __version__
from gnnpot.apps.analysis import Analysis, Request
from gnnpot.apps.evaluate import write_json
from gnnpot.apps.field_analysis import FieldRun, FloatArray, run_record, scan_record
from gnnpot.apps.trajectories import at_equal_intervals
from gnnpot.data.unwrapping import unwrap
from gnnpot.errors import DataError
from gnnpot.report.page import Page
from gnnpot.report.terminal import rich_table, say

NAME = "field_report"


@dataclass(frozen=True)
class FieldReport:
    """What was found, for programs and for people."""

    record: dict[str, Any]
    """``runs``, in the order given, and ``scan``, the drift of every element at each field strength."""
    page: Page = field(repr=False)


def field_report(trajectory: str | Path | Sequence[str | Path], output: str | Path | None = None) -> FieldReport:
    """Drift, mobility, mean squared displacements along and across the field, and the energy account of simulations.

    Several runs at different strengths are a scan: drift against field, and the mobility at zero field.

    Args:
        trajectory: the folder of a ``gnnpot md field=...``, its trajectory, or a list of several.
        output: folder for ``field_report.html`` and ``field_report.json``; None writes nothing.

    Raises:
        DataError: no simulation in a field there, or one without frames.
    """
    paths = [trajectory] if isinstance(trajectory, str | Path) else list(trajectory)
    records = [run_record(load_run(path)) for path in paths]
    scan = scan_record(records)
    from gnnpot.report.field import field_page

    found = FieldReport({"runs": records, "scan": scan}, field_page(records, scan))
    if output is not None:
        write_json(Path(output) / f"{NAME}.json", found.record)
        found.page.write(Path(output) / f"{NAME}.html")
    return found


def analysis_in_field(request: Request) -> Analysis:
    """`analyze kind=field`: the report of simulations in a field, and of their scan over field strengths.

    Raises:
        DataError: no simulation in a field there.
    """
    from gnnpot.report.field import field_lead, scan_table, species_table

    found = field_report(request.trajectory)
    runs, scan = found.record["runs"], found.record["scan"]
    record = {"gnnpot_version": __version__, "kind": "field", **found.record}
    tables = (
        *(replace(species_table(run), title=run["name"]) for run in runs),
        *([scan_table(scan)] * (len(runs) > 1)),
    )
    notes = [f"note: {note}" for note in dict.fromkeys(note for run in runs for note in run["notes"])]
    return Analysis(record, _drifts(runs), tables, (field_lead(runs), *notes), found.page, {})


def _drifts(runs: Sequence[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """One row for each run and element."""
    rows = [
        (
            run["name"],
            run["field_strength_v_per_ang"],
            symbol,
            values["drift_ang_per_ps"],
            values["drift_error_ang_per_ps"],
        )
        for run in runs
        for symbol, values in run["species"].items()
        if symbol != "time_ps"
    ]
    names = ("run", "field_V_per_A", "element", "drift_A_per_ps", "error_A_per_ps")
    return {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def report_run(folder: Path, trajectory: str | None) -> None:
    """Write the report of a simulation that has just ended, and print its table."""
    console = Console()
    if trajectory is None:
        say(console, "trajectory=null: no field report, which needs the frames")
        return
    from gnnpot.report.field import field_lead, species_table

    runs = field_report(folder, folder).record["runs"]
    console.print(rich_table(species_table(runs[0])))
    say(console, f"{field_lead(runs)} Report: {folder / NAME}.html")
    for note in runs[0]["notes"]:
        say(console, f"note: {note}")


def load_run(path: str | Path) -> FieldRun:
    """A simulation in a field from its folder or its trajectory, beside which ``md.json`` stands.

    Raises:
        DataError: not the result of ``gnnpot md field=...``.
    """
    given = Path(path)
    folder = given if given.is_dir() else given.parent
    if not (folder / "md.json").is_file():
        raise DataError(f"trajectory={path}: no md.json there; give the folder of a gnnpot md field=...")
    settings = json.loads((folder / "md.json").read_text(encoding="utf-8"))
    if "field" not in settings:
        raise DataError(f"trajectory={path}: a simulation without a field; run gnnpot md field=[0,0,0.1]")
    name = settings.get("trajectory")
    file = folder / name if given.is_dir() and name else given
    if not file.is_file():
        raise DataError(
            f"trajectory={path}: this simulation wrote no trajectory; run it with trajectory=trajectory.extxyz"
        )
    frames, spacing = _continuous(file, settings, is_ours=file.name == name)
    note = settings.get("linear_response")
    return FieldRun(
        folder.name,
        frames,
        np.arange(len(frames)) * np.float64(spacing),
        _vector(settings),
        bool(settings["field_is_constant"]),
        float(settings["temperature"]),
        np.array(settings["net_force_ev_per_ang"], dtype=np.float64),
        settings["remove_net_force"],
        _columns(folder / "thermo.csv"),
        () if note is None else (str(note),),
        settings.get("mean_temperature_K"),
    )


def _continuous(file: Path, settings: dict[str, Any], is_ours: bool) -> tuple[list[Atoms], float]:
    """Frames at equal intervals, and ps between them.

    Those that ``md`` wrote are unwrapped already; others are followed to the nearest image from frame to frame.

    Raises:
        DataError: fewer than two frames, or none at equal intervals.
    """
    frames = ase.io.read(file, index=":")
    if len(frames) < 2:
        raise DataError(f"trajectory={file}: one frame is no trajectory; give trajectory_interval= fewer steps")
    if len(frames) > 2:
        spacing, frames = at_equal_intervals(str(file), frames, settings, None)
    else:
        spacing = float(frames[1].info["time_ps"] - frames[0].info["time_ps"])
    if not is_ours:
        for frame, whole in zip(frames, unwrap(frames), strict=True):
            frame.positions = whole.positions
    return list(frames), spacing


def _vector(settings: dict[str, Any]) -> FloatArray:
    """The field, its amplitude, or of a function the largest value that it had."""
    described = settings["field"]
    if isinstance(described, dict):
        described = described["amplitude"]
    if isinstance(described, str):
        described = settings["largest_field_v_per_ang"]
    return np.array(described, dtype=np.float64)


def _columns(path: Path) -> dict[str, FloatArray]:
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return {name: np.array([float(line[name] or "nan") for line in lines]) for name in (lines[0] if lines else ())}
