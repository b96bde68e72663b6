"""What is in a checkpoint or a data file: `info`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from rich.console import Console

from gnnpot.apps.data_files import store_tables
from gnnpot.apps.datasets import frames_from
from gnnpot.data.bundled import bundled_path
from gnnpot.data.frame_layout import is_frame_store
from gnnpot.data.frame_store import FrameStore
from gnnpot.data.labels import Labels, labels_of
from gnnpot.data.neighbors import neighbor_list
from gnnpot.errors import CheckpointError
from gnnpot.kernels import description
from gnnpot.keys import GPA_PER_EV_PER_CUBIC_ANGSTROM, PROPERTIES, metric_name
from gnnpot.models.prediction import default_properties
from gnnpot.models.store import load, pretrained_names, read_card, resolve
from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import significant
from gnnpot.report.metrics import label_counts
from gnnpot.report.model_card import JUDGED, held_out_table
from gnnpot.report.page import Column, Table
from gnnpot.report.tables import born_norms_line, coverage_table, metrics_table
from gnnpot.report.terminal import rich_table, say

FEW = 8
"""Elements of a shipped model up to which they are listed."""

CARD_FACTS = ("teacher", "reproduce", "licence")
"""What the card of a shipped model says besides; its README.md has all of it."""

SEARCH_RADII = (2.0, 4.0, 8.0, 16.0)
"""Å, tried one after the other for the shortest distance of a frame."""


def info(path: str | Path) -> dict[str, Any]:
    """Print, and return, what is in a checkpoint, a run directory, a data file or frame store, or the shipped models.

    Args:
        path: a checkpoint (its folder, a run directory or a shipped name), a data file (or the name of bundled data),
            a frame store, or ``pretrained``.

    Raises:
        CheckpointError: a folder without a checkpoint, or with one that cannot be trusted.
        DataError: a file that cannot be read.
    """
    if str(path) == "pretrained":
        return _pretrained()
    if is_frame_store(Path(path)):
        return _frame_store(path)
    if Path(path).is_file() or bundled_path(str(path)) is not None:
        return _data(path)
    return _checkpoint(path)


def _pretrained() -> dict[str, Any]:
    cards = {name: read_card(name) for name in pretrained_names()}
    console = Console()
    if cards:
        console.print(rich_table(pretrained_table(cards)))
    else:
        say(console, "no trained model ships with this version; train one with gnnpot fit")
    return cards


def pretrained_table(cards: Mapping[str, Mapping[str, Any]]) -> Table:
    """Name, model, elements and errors on held-out materials of the shipped models, and where their weights are.

    >>> card = {"model": {"_target_": "gnnpot.models.schnet.SchNet"}, "elements": ["Li", "O"], "weights_url": "https://a"}
    >>> pretrained_table({"tiny": card}).rows
    (('tiny', 'SchNet', 'Li, O', '–', '–', '–', 'fetched once'),)
    """
    errors = [PROPERTIES[name].title for name in JUDGED]
    units = ", ".join(f"{PROPERTIES[name].title} in {PROPERTIES[name].report_unit}" for name in JUDGED)
    columns = (
        *(Column(title, is_number=False) for title in ("name", "model")),
        Column("elements", is_number=False),
        *(Column(title, "held-out MAE") for title in errors),
        Column("weights", is_number=False),
    )
    rows = []
    for name, card in cards.items():
        symbols = card.get("elements", [])
        test = (card.get("metrics") or {}).get("test") or {}
        rows.append(
            (
                name,
                _model_name(card),
                _elements(card) if len(symbols) <= FEW else f"{len(symbols)}",
                *(significant(test.get(metric_name(key, "mae"))) for key in JUDGED),
                "fetched once" if "weights_url" in card else "shipped",
            )
        )
    caption = f"Errors on all held-out frames together: {units}. `gnnpot info NAME` tells their sources apart."
    return Table(columns, tuple(rows), caption=caption, title="shipped models: checkpoint=NAME, gnnpot info NAME")


def _checkpoint(path: str | Path) -> dict[str, Any]:
    try:
        folder = resolve(path)
    except CheckpointError as error:
        if Path(path).exists():
            raise
        raise CheckpointError(f"{error}. Neither is there a data file of that name") from None
    card = read_card(folder)
    potential = load(folder)
    arguments = {key: value for key, value in card["model"].items() if key not in ("_target_", "elements")}
    functions = arguments.pop("functions", None)
    facts = {
        "model": potential.title,
        "gives": ", ".join(default_properties(potential)),
        "elements": _elements(card),
        "parameters": f"{potential.n_parameters:,}",
        "cutoff": f"{potential.cutoff:g} Å",
        **{key: value for key, value in arguments.items() if key != "cutoff"},
        "computes with": description(),
        "units": card.get("units"),
        **{
            key: card.get(key)
            for key in ("dtype", "level_of_theory", "trained_on", "finetuning", "gnnpot_version", "format_version")
        },
        **{key: card.get(key) for key in CARD_FACTS},
    }
    console = Console()
    console.print(rich_table(facts_table({k: v for k, v in facts.items() if v is not None})))
    if functions:
        console.print(rich_table(functions_table(functions)))
    references = card.get("reference_energies_ev") or {}
    if references:
        rows = tuple((symbol, f"{energy:.6f}") for symbol, energy in references.items())
        columns = (Column("element", is_number=False), Column("reference energy (eV)"))
        console.print(rich_table(Table(columns, rows)))
    if card.get("metrics"):
        console.print(rich_table(metrics_table(card["metrics"])))
        for title, key in (("source", "per_source"), ("elements", "per_element_group")):
            if key in (card.get("held_out") or {}):
                console.print(rich_table(held_out_table(card["held_out"][key], f"held out: {title}")))
        norms = born_norms_line(card["metrics"])
        if norms is not None:
            say(console, norms)
    return {**card, "path": str(folder), "n_parameters": potential.n_parameters}


def functions_table(lines: Sequence[str]) -> Table:
    """Number of symmetry functions of every element and kind, from the lines of ``model.functions``.

    >>> functions_table(["G2 Li O eta=1 cutoff=5 cosine", "T3 O order=2 cutoff=5 cosine"]).rows
    (('G2', '1', '0'), ('T3', '0', '1'), ('all', '1', '1'))
    """
    found = [tuple(line.split()[:2]) for line in lines]
    symbols, kinds = (list(dict.fromkeys(names)) for names in ([z for _, z in found], [kind for kind, _ in found]))
    counts = Counter(found)
    rows = [(kind, *(f"{counts[kind, z]:,}" for z in symbols)) for kind in kinds]
    sums = ("all", *(f"{sum(counts[kind, z] for kind in kinds):,}" for z in symbols))
    columns = (Column("symmetry functions", is_number=False), *(Column(z) for z in symbols))
    return Table(columns, (*rows, sums))


def _frame_store(path: str | Path) -> dict[str, Any]:
    store = FrameStore(path)
    console = Console()
    for table in store_tables(store):
        console.print(rich_table(table))
    counts = {name: store.contents.total(name) for name in ("labels", "functionals", "elements")}
    return {"path": str(path), **store.contents.description, "n_frames": len(store), **counts}


def _data(path: str | Path) -> dict[str, Any]:
    frames = frames_from(str(path))
    labels = [labels_of(frame) for frame in frames]
    summary = data_summary(frames, labels)
    counts = label_counts(labels, [frame.numbers for frame in frames])
    console = Console()
    console.print(rich_table(facts_table({"file": str(path), **_readable(summary)})))
    console.print(rich_table(coverage_table({"file": counts})))
    if summary["config_types"]:
        columns = (Column("config_type", is_number=False), Column("frames"))
        rows = tuple((name, f"{n:,}") for name, n in summary["config_types"].items())
        console.print(rich_table(Table(columns, rows)))
    return {"path": str(path), **summary, "labels": counts}


def data_summary(frames: Sequence[Atoms], labels: Sequence[Labels]) -> dict[str, Any]:
    """Figures of a data set; ranges are (least, greatest), absent where no frame has the label.

    Keys: ``n_frames``, ``n_atoms``, ``atoms_per_frame``, ``elements`` {symbol: number of atoms},
    ``energy_ev_per_atom``, ``force_ev_per_ang`` (of |F|), ``force_rms_ev_per_ang`` (of a component),
    ``pressure_gpa``, ``shortest_distance_ang`` (None without two atoms near each other), ``periodic_directions``
    {n: frames}, ``charges`` {e: frames}, ``config_types`` {name: frames}.

    >>> data_summary([Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])], [{"energy": -31.0}])["energy_ev_per_atom"]
    (-15.5, -15.5)
    """
    sizes = [len(frame) for frame in frames]
    numbers = Counter(int(z) for frame in frames for z in frame.numbers)
    energies = [label["energy"] / n for label, n in zip(labels, sizes, strict=True) if "energy" in label and n]
    forces = [label["forces"] for label in labels if "forces" in label]
    stresses = [label["stress"] for label in labels if "stress" in label]
    summary: dict[str, Any] = {
        "n_frames": len(frames),
        "n_atoms": sum(sizes),
        "atoms_per_frame": (min(sizes), max(sizes)),
        "elements": {chemical_symbols[z]: n for z, n in sorted(numbers.items())},
    }
    if energies:
        summary["energy_ev_per_atom"] = (float(min(energies)), float(max(energies)))
    if forces:
        every = np.concatenate(forces)
        strengths = np.linalg.norm(every, axis=1)
        summary["force_ev_per_ang"] = (float(strengths.min()), float(strengths.max()))
        summary["force_rms_ev_per_ang"] = float(np.sqrt((every**2).mean()))
    if stresses:
        pressures = [-float(np.trace(stress)) / 3.0 * GPA_PER_EV_PER_CUBIC_ANGSTROM for stress in stresses]
        summary["pressure_gpa"] = (min(pressures), max(pressures))
    distances = [d for d in map(_shortest_distance, frames) if d is not None]
    summary["shortest_distance_ang"] = min(distances, default=None)
    summary["periodic_directions"] = dict(sorted(Counter(int(frame.pbc.sum()) for frame in frames).items()))
    summary["charges"] = dict(Counter(float(f.info["charge"]) for f in frames if f.info.get("charge") is not None))
    summary["config_types"] = dict(Counter(str(f.info["config_type"]) for f in frames if f.info.get("config_type")))
    return summary


def _shortest_distance(atoms: Atoms) -> float | None:
    cell = atoms.cell.array
    for radius in SEARCH_RADII:
        (center, neighbor), shifts = neighbor_list(atoms.positions, cell, atoms.pbc, radius)
        if len(center):
            vectors = atoms.positions[neighbor] - atoms.positions[center] + shifts @ cell
            return float(np.linalg.norm(vectors, axis=1).min())
    return None


def _readable(summary: dict[str, Any]) -> dict[str, str]:
    """Figures with their units, as they are printed."""

    def span(key: str, digits: int, unit: str) -> str:
        least, greatest = summary[key]
        return f"{least:,.{digits}f} to {greatest:,.{digits}f} {unit}".strip()

    shortest = summary["shortest_distance_ang"]
    lines = {
        "frames": f"{summary['n_frames']:,}",
        "atoms": f"{summary['n_atoms']:,}, {span('atoms_per_frame', 0, 'per frame')}",
        "elements": ", ".join(f"{symbol} ({n:,} atoms)" for symbol, n in summary["elements"].items()),
        "periodic directions": ", ".join(f"{k} ({n:,} frames)" for k, n in summary["periodic_directions"].items()),
        "shortest distance": "none below 16 Å" if shortest is None else f"{shortest:.3f} Å",
    }
    if "energy_ev_per_atom" in summary:
        lines["energy"] = span("energy_ev_per_atom", 4, "eV/atom")
    if "force_ev_per_ang" in summary:
        rms = summary["force_rms_ev_per_ang"]
        lines["force on an atom"] = f"{span('force_ev_per_ang', 3, 'eV/Å')} (rms of a component {rms:.3f} eV/Å)"
    if "pressure_gpa" in summary:
        lines["pressure"] = span("pressure_gpa", 2, "GPa")
    if summary["charges"]:
        lines["total charge"] = ", ".join(f"{q:g} e ({n:,} frames)" for q, n in sorted(summary["charges"].items()))
    return lines


def _model_name(card: Mapping[str, Any]) -> str:
    return str(card["model"].get("_target_", "unknown")).rpartition(".")[2]


def _elements(card: Mapping[str, Any]) -> str:
    return ", ".join(str(symbol) for symbol in card.get("elements", []))
