"""From the columns of a frame to its labels, in eV and Å.

Every column that looks like a label and is not read is reported, and two columns that claim to be the same label
with different values are an error: the user chooses.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gnnpot.data.labels import Labels, frame_name
from gnnpot.data.readers.aliases import ALIASES, FORCE_CONSISTENT, Column, known_columns, label_suspected
from gnnpot.data.readers.units import Units
from gnnpot.errors import DataError, DataWarning

_GEOMETRY = ("numbers", "positions")
_SAME_ENERGY = 1e-6


class LabelColumns:
    """Reads the labels of the frames of one file and remembers what it saw, to be reported once."""

    def __init__(self, keys: Mapping[str, Column], units: Units) -> None:
        self.keys = dict(keys)
        self.units = units
        self.seen: set[str] = set()
        self.found_keys: set[str] = set()
        self._unread: dict[str, str] = {}
        self._free_energy: str | None = None
        self._six_numbers: str | None = None

    def take_labels(self, atoms: Atoms) -> Labels:
        """Labels of a frame and its ``charge``, under their canonical names, in eV and Å.

        The columns they come from are taken off the frame. An energy that stands beside a different free energy
        is kept as ``info["energy_sigma0"]``.
        """
        columns = columns_of(atoms)
        self.seen.update(columns)
        chosen: Labels = {}
        read: set[str] = set()
        for label in ALIASES:
            candidates = self._candidates(label, columns)
            if candidates:
                values = [(column.name, self._converted(label, column, columns, atoms)) for column in candidates]
                chosen[label] = _agreed(label, values, atoms)
                read.update(column.name for column in candidates)
                if candidates[0].name in FORCE_CONSISTENT:
                    read.update(name for name in columns if name.lower() in (label, *ALIASES[label]))
        self._note_free_energy(atoms, columns, read)
        is_molecule = not atoms.pbc.any()
        for name, value in columns.items():
            suspected = label_suspected(name, value, len(atoms), is_molecule) if name not in read else None
            if suspected is not None and suspected not in self.keys:
                self._unread.setdefault(name, suspected)
        for name in read:
            atoms.info.pop(name, None)
            atoms.arrays.pop(name, None)
        return chosen

    def report(self, path: Path) -> None:
        """Warn (:class:`DataWarning`) of what the user should know about the columns of the file."""
        if self._free_energy is not None:
            warnings.warn(self._free_energy, DataWarning, stacklevel=3)
        if self._six_numbers is not None:
            warnings.warn(
                f"{self._six_numbers}: six numbers of stress are read in the order xx, yy, zz, yz, xz, xy; if it is"
                " VASP's, xx, yy, zz, xy, yz, zx: data.units={stress_order: vasp} (ase: this is right)",
                DataWarning,
                stacklevel=3,
            )
        for name, label in self._unread.items():
            warnings.warn(
                f"{path}: the column '{name}' looks like a label and is not read; to read it as {label}:"
                f" data.keys={{{label}: {name}}}",
                DataWarning,
                stacklevel=3,
            )

    def _candidates(self, label: str, columns: Mapping[str, Any]) -> list[Column]:
        if label not in self.keys:
            return known_columns(label, columns)
        if self.keys[label].name not in columns:
            return []
        self.found_keys.add(label)
        return [self.keys[label]]

    def _converted(self, label: str, column: Column, columns: Mapping[str, Any], atoms: Atoms) -> Any:
        """Value of a column as the label itself, in eV and Å."""
        try:
            value = np.array(columns[column.name], dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"{frame_name(atoms)}: the column '{column.name}' is read as {label}, but holds"
                f" {columns[column.name]!r}"
            ) from None
        if label == "stress":
            if value.shape == (6,) and self.units.stress_order is None:
                self._six_numbers = self._six_numbers or frame_name(atoms)
            tensor = self.units.tensor(value)
            if not column.is_virial:
                return tensor * self.units.stress
            volume = abs(float(np.linalg.det(atoms.cell.array)))
            if volume == 0:
                return np.full((3, 3), np.nan)
            return -tensor / volume * (self.units.energy / self.units.length**3)
        return value * self.units.factor(label) * (len(atoms) if column.is_per_atom else 1)

    def _note_free_energy(self, atoms: Atoms, columns: Mapping[str, Any], read: set[str]) -> None:
        if not {"free_energy", "energy"} <= read or "energy" in self.keys:
            return
        energies = (np.ravel(columns[name])[0] for name in ("free_energy", "energy"))
        free_energy, energy = (float(value) * self.units.energy for value in energies)
        if abs(free_energy - energy) <= _SAME_ENERGY:
            return
        atoms.info["energy_sigma0"] = energy
        if self._free_energy is None:
            self._free_energy = (
                f"{frame_name(atoms)}: energy {energy:.6f} eV and free_energy {free_energy:.6f} eV differ; the free"
                " energy is read, to which forces belong (the other: data.keys={energy: energy})"
            )


def columns_of(atoms: Atoms) -> dict[str, Any]:
    """Everything on a frame that could be a label: ``info``, ``arrays`` and the calculator's results."""
    columns: dict[str, Any] = {**atoms.info, **atoms.arrays}
    if atoms.calc is not None:
        columns.update(atoms.calc.results)
    return {name: value for name, value in columns.items() if value is not None and name not in _GEOMETRY}


def _agreed(label: str, values: list[tuple[str, Any]], atoms: Atoms) -> Any:
    """The value that all columns for one label agree on."""
    first_name, first = values[0]
    for name, value in values[1:]:
        is_same = np.size(value) == np.size(first) and np.allclose(
            np.ravel(value), np.ravel(first), rtol=1e-6, atol=1e-5, equal_nan=True
        )
        if not is_same:
            raise DataError(
                f"{frame_name(atoms)}: the columns '{first_name}' ({_first(first)}) and '{name}' ({_first(value)}) are"
                f" both {label} and differ: choose with data.keys={{{label}: {first_name}}} or"
                f" data.keys={{{label}: {name}}}"
            )
    return first


def _first(value: Any) -> str:
    return f"{np.ravel(value)[0]:g}" if np.size(value) == 1 else f"first number {np.ravel(value)[0]:g}"
