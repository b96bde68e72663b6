"""The structures that a model describes worst."""

from collections.abc import Callable

import numpy as np
from ase.symbols import Symbols
from numpy.typing import NDArray

from gnnpot.keys import PROPERTIES
from gnnpot.report.formatting import significant
from gnnpot.report.page import Column, Table
from gnnpot.report.parity import ParityData

Measure = Callable[[NDArray[np.float64]], float]


def _root_mean_square(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(errors).mean()))


def _longest(errors: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(errors.reshape(-1, 3), axis=1).max())


def _only(errors: NDArray[np.float64]) -> float:
    return float(errors.item())


MEASURES: tuple[tuple[str, str, Measure], ...] = (
    ("energy", "error", _only),
    ("forces", "RMSE", _root_mean_square),
    ("forces", "largest", _longest),
    ("stress", "RMSE", _root_mean_square),
    ("born_effective_charges", "RMSE", _root_mean_square),
)


def worst_structures(data: ParityData, n_most: int = 10) -> NDArray[np.int64]:
    """Rows of the structures with the largest errors, worst first.

    The measure is the RMSE of the forces; without them that of the Born charges, else the energy error. Structures
    without the label are left out.
    """
    measures = {"forces": _root_mean_square, "born_effective_charges": _root_mean_square, "energy": _only}
    name = next((name for name in measures if name in data.properties), None)
    if name is None:
        return np.zeros(0, dtype=np.int64)
    measure = measures[name]
    size = np.abs(structure_errors(data, name, measure))
    order = np.argsort(-size, kind="stable")
    return order[np.isfinite(size[order])][:n_most]


def structure_errors(data: ParityData, name: str, measure: Measure) -> NDArray[np.float64]:
    """Measure of the errors of one property within each structure, in the units of reports; NaN without a label."""
    errors = data.errors(name) * PROPERTIES[name].report_factor
    n_rows = data.n_atoms if PROPERTIES[name].level == "atom" else np.ones_like(data.n_atoms)
    blocks = np.split(errors, np.cumsum(n_rows)[:-1])
    return np.array([measure(block) if np.isfinite(block).all() and block.size else np.nan for block in blocks])


def worst_table(data: ParityData, n_most: int = 10) -> Table:
    """Table of the worst structures: which they are, and how far off energy, forces and stress."""
    rows = worst_structures(data, n_most)
    shown = [entry for entry in MEASURES if entry[0] in data.properties]
    errors = [structure_errors(data, name, measure) for name, _, measure in shown]
    has_kind = bool((data.config_types != "").any())
    columns = [Column("structure", is_number=False)]
    columns += [Column("config_type", is_number=False)] if has_kind else []
    columns += [Column("formula", is_number=False)]
    columns += [Column(title, f"{PROPERTIES[name].title} ({PROPERTIES[name].report_unit})") for name, title, _ in shown]
    atoms = np.split(data.numbers, np.cumsum(data.n_atoms)[:-1])
    cells = tuple(
        (
            name,
            *([str(data.config_types[row]) or "–"] if has_kind else []),
            Symbols(atoms[row]).get_chemical_formula(mode="metal"),
            *(significant(column[row]) for column in errors),
        )
        for row, name in zip(rows, _without_common_folder([str(data.names[row]) for row in rows]), strict=True)
    )
    return Table(tuple(columns), cells)


def _without_common_folder(names: list[str]) -> list[str]:
    """Names without the folder that all of them lie in."""
    folders = [name.rpartition("/")[0].split("/") for name in names]
    n_common = 0
    for level in zip(*folders, strict=False):
        if len(set(level)) > 1:
            break
        n_common += 1
    return ["/".join(name.split("/")[n_common:]) if "/" in name else name for name in names]
