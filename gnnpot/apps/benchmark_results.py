"""What ``benchmark.json`` holds: every number that the page shows, and enough to draw its figures again."""

import base64
import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnpot._version import __version__
from gnnpot.apps.benchmark_cells import FINISHED, failure_of, representatives, status_of
from gnnpot.apps.benchmark_plan import Cell, DataRecord, Entrant
from gnnpot.config import compose, group_entries
from gnnpot.data.groups import group_names
from gnnpot.data.writers import write_extxyz
from gnnpot.errors import DataError
from gnnpot.keys import PROPERTIES
from gnnpot.models.store import CARD, read_card
from gnnpot.report.benchmark_statistics import (
    STATISTICS,
    frame_errors,
    paired_bootstrap,
    plain_frame_errors,
    read_frame_errors,
)
from gnnpot.report.parity import ParityData, load_parity, save_parity
from gnnpot.report.rundir import PREDICTIONS_FILE
from gnnpot.report.worst import worst_structures

FORMAT_VERSION = 1
N_WORST = 8
MOST_ATOMS = 40_000
"""Atoms of test frames whose predictions are kept in the file for its figures; of more, evenly chosen frames."""


def collected(
    config: Mapping[str, Any],
    entrants: Sequence[Entrant],
    cells: Sequence[Cell],
    records: Mapping[str, DataRecord],
    measures: Mapping[str, Any],
    shared: Mapping[str, Any],
    output: Path,
) -> dict[str, Any]:
    """Plain content of ``benchmark.json``."""
    rows = [_cell_row(cell, output) for cell in cells]
    found: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "gnnpot": __version__,
        "command": command_line(config),
        "settings": shared["settings"],
        "environment": {k: v for k, v in shared["environment"].items() if k not in ("data_sha256", "seed", "threads")},
        "jobs": config["jobs"],
        "models": {e.name: _model_row(e, shared["differences"].get(e.name, {})) for e in entrants},
        "data": {name: _data_row(record, cells) for name, record in records.items()},
        "cells": rows,
        "measures": dict(measures),
        "search": {**_search_facts(output), "data": next(iter(records))} if config.get("search") else {},
        "comparisons": [],
        "parity": {},
        "worst": {},
    }
    trained = {entrant.name for entrant in entrants if entrant.is_trained}
    for name, record in records.items():
        shown = representatives(cells, name)
        parts = {model: load_parity(cell.folder / PREDICTIONS_FILE)["test"] for model, cell in shown.items()}
        found["comparisons"] += _comparisons(name, shown, rows, trained, _units(record))
        found["parity"][name] = {model: _packed(part) for model, part in parts.items()}
        found["worst"][name] = _worst(record, parts, output / f"worst-{name}.extxyz")
    return found


def command_line(config: Mapping[str, Any]) -> str:
    """The command that asks for this benchmark: what differs from the defaults."""
    given = {key: value for key, value in config.items() if key != "search"}
    words = list(_words(given, compose("benchmark"), ""))
    search = config.get("search")
    if search:
        words += _words_of_search(search)
    return " ".join(["gnnpot", "benchmark", *words])


def _words_of_search(search: Mapping[str, Any]) -> list[str]:
    """The name of a search, or what differs from the default one; spaces of one's own take the place of all of its."""
    known = {name: compose("benchmark", [f"search={name}"])["search"] for name in group_entries("search")}
    name = next((name for name, content in known.items() if content == search), None)
    if name is not None:
        return [f"search={name}"]
    default = known["default"]
    others = {key: value for key, value in search.items() if key != "spaces"}
    words = ["search=default", *_words(others, default, "search.")]
    if search["spaces"] == default["spaces"]:
        return words
    return [*words, shlex.quote("~search.spaces"), shlex.quote(f"+search.spaces={_typed(search['spaces'])}")]


def _words(config: Mapping[str, Any], default: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, Mapping) and isinstance(default.get(key), Mapping) and default[key]:
            yield from _words(value, default[key], f"{prefix}{key}.")
        elif key not in default or default[key] != value:
            text = value if isinstance(value, str) else _typed(value)
            yield shlex.quote(f"{prefix}{key}={text}")


def _typed(value: Any) -> str:
    """A value as the command line takes it.

    >>> _typed(["hdnnp", {"wide": ["model.n_features=128"]}, None, 2, True])
    '[hdnnp,{wide: ["model.n_features=128"]},null,2,true]'
    """
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}: {_typed(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_typed(entry) for entry in value) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z_][\w./-]*", value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _model_row(entrant: Entrant, differences: Mapping[str, Any]) -> dict[str, Any]:
    if entrant.is_trained:
        return {"kind": "trained", "overrides": list(entrant.overrides), "differences": dict(differences)}
    arguments = {key: str(value) for key, value in entrant.arguments.items()}
    return {"kind": "finished", "calculator": entrant.calculator, "arguments": arguments}


def _search_facts(output: Path) -> dict[str, Any]:
    """What a search left behind: objective, trials, and the best settings of each model."""
    found: dict[str, Any] = json.loads((output / "search" / "search.json").read_text(encoding="utf-8"))
    return found


def _data_row(record: DataRecord, cells: Sequence[Cell]) -> dict[str, Any]:
    split = record.split
    sizes = dict.fromkeys(cell.size for cell in cells if cell.data == record.name)
    return {
        "level_of_theory": record.level_of_theory,
        "elements": sorted({symbol for atoms in record.frames for symbol in atoms.get_chemical_symbols()}),
        "n_structures": len(record.frames),
        "sizes": list(sizes),
        "split": {
            "kind": split.kind,
            "group_by": split.group_by,
            "seed": split.seed,
            "reason": split.reason,
            **{f"n_{part}": len(indices) for part, indices in split.parts.items()},
        },
        "sha256": split.data_sha256,
    }


def _cell_row(cell: Cell, output: Path) -> dict[str, Any]:
    status = status_of(cell.folder)
    row: dict[str, Any] = {
        "data": cell.data,
        "model": cell.model,
        "size": cell.size,
        "seed": cell.seed,
        "status": status,
        "folder": str(cell.folder.relative_to(output)),
    }
    if status != FINISHED:
        return {**row, "failure": failure_of(cell.folder)}
    metrics = json.loads((cell.folder / "metrics.json").read_text(encoding="utf-8"))
    part = load_parity(cell.folder / PREDICTIONS_FILE)["test"]
    return {
        **row,
        "errors": metrics["test"],
        "validation": {name: v for name, v in metrics.get("val", {}).items() if isinstance(v, float)},
        "timing": metrics["timing"],
        "provenance": metrics["provenance"],
        **_model_facts(cell.folder / "model"),
        "frames": plain_frame_errors(frame_errors(part)),
    }


def _model_facts(folder: Path) -> dict[str, Any]:
    """Hash of the weights of a trained model, and how many symmetry functions each element has in an HDNNP."""
    if not (folder / CARD).is_file():
        return {}
    card = read_card(folder)
    return {
        "weights_sha256": card["weights_sha256"],
        "n_functions": count_functions(card["model"].get("functions") or [], card["elements"]),
    }


def count_functions(lines: Sequence[str], elements: Sequence[str]) -> dict[str, int]:
    """Symmetry functions of each element, from the lines of ``model.functions``; ``*`` stands for every element.

    >>> count_functions(["G2 Li O eta=1 cutoff=5 cosine", "M2 * radius eta=1 cutoff=5 polynomial"], ["Li", "O"])
    {'Li': 2, 'O': 1}
    """
    centers = [line.split()[1] for line in lines]
    return {symbol: n for symbol in elements if (n := sum(center in (symbol, "*") for center in centers))}


def _units(record: DataRecord) -> NDArray[np.int64] | None:
    """Which test frames are drawn together in the bootstrap: the groups of a grouped split."""
    if record.split.group_by is None:
        return None
    names = np.array(group_names(record.frames, record.split.group_by))
    return np.unique(names[record.split.test], return_inverse=True)[1]


def _comparisons(
    data: str,
    shown: Mapping[str, Cell],
    rows: Sequence[Mapping[str, Any]],
    trained: set[str],
    units: NDArray[np.int64] | None,
) -> list[dict[str, Any]]:
    """Paired bootstrap of every pair of models at their largest training set, all finished seeds averaged."""
    runs = {
        model: [
            read_frame_errors(row["frames"])
            for row in rows
            if row["data"] == data and row["model"] == model and row["size"] == cell.size and row["status"] == FINISHED
        ]
        for model, cell in shown.items()
    }
    found = []
    for a, b in itertools.combinations(shown, 2):
        if {a, b} <= trained and shown[a].size != shown[b].size:
            continue
        for name in runs[a][0]:
            if name not in runs[b][0]:
                continue
            for statistic in STATISTICS:
                difference = paired_bootstrap(
                    [run[name] for run in runs[a]],
                    [run[name] for run in runs[b]],
                    statistic,
                    None if units is None else units.tolist(),
                )
                found.append(
                    {
                        "data": data,
                        "a": a,
                        "b": b,
                        "property": name,
                        "statistic": statistic,
                        "difference": difference.value,
                        "low": difference.low,
                        "high": difference.high,
                        "n_units": difference.n_units,
                        "is_grouped": units is not None,
                    }
                )
    return found


def _packed(part: ParityData) -> str:
    """Labels and predictions as the bytes of a ``predictions.npz``, in base64."""
    if len(part.numbers) > MOST_ATOMS:
        n_kept = max(1, int(len(part.n_atoms) * MOST_ATOMS / len(part.numbers)))
        chosen = np.zeros(len(part.n_atoms), dtype=bool)
        chosen[np.linspace(0, len(chosen) - 1, n_kept).astype(int)] = True
        chosen[worst_structures(part, N_WORST)] = True
        part = part.of_structures(chosen)
    with TemporaryDirectory() as folder:
        path = save_parity(Path(folder) / PREDICTIONS_FILE, {"test": part})
        return base64.b64encode(path.read_bytes()).decode("ascii")


def _worst(record: DataRecord, parts: Mapping[str, ParityData], path: Path) -> dict[str, Any]:
    """The test structures that the most accurate model describes worst, also written as extended XYZ."""
    with_forces = {model: part for model, part in parts.items() if "forces" in part.properties}
    ranked = sorted(with_forces or parts, key=lambda model: _mean_error(parts[model]))
    if not ranked:
        return {}
    model, part = ranked[0], parts[ranked[0]]
    rows = worst_structures(part, N_WORST)
    frames = [record.frames[part.frames[row]] for row in rows]
    if not frames:
        return {}
    starts = np.cumsum(part.n_atoms) - part.n_atoms
    atoms_of = [slice(int(starts[row]), int(starts[row] + part.n_atoms[row])) for row in rows]
    predictions = [
        {name: values[atoms if PROPERTIES[name].level == "atom" else row] for name, values in part.predictions.items()}
        for row, atoms in zip(rows, atoms_of, strict=True)
    ]
    try:
        write_extxyz(path, frames, predictions)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    structures = [
        {
            "numbers": frame.numbers.tolist(),
            "positions": np.round(frame.positions, 4).tolist(),
            "cell": np.round(frame.cell.array, 4).tolist(),
            "pbc": frame.pbc.tolist(),
            "force_errors": _force_errors(part, atoms),
        }
        for frame, atoms in zip(frames, atoms_of, strict=True)
    ]
    return {"model": model, "file": path.name, "rows": [int(row) for row in rows], "structures": structures}


def _mean_error(part: ParityData) -> float:
    name = "forces" if "forces" in part.properties else part.properties[0]
    return float(np.nanmean(np.abs(part.errors(name))))


def _force_errors(part: ParityData, atoms: slice) -> list[float]:
    """Length of the force error of each atom of one structure, meV/Å; empty without forces."""
    if "forces" not in part.properties:
        return []
    return [float(f"{x:.4g}") for x in 1000.0 * np.linalg.norm(part.errors("forces")[atoms], axis=1)]
