"""Where frames enter the package: geometry checked, labels attached under their names, origin written down."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gnnpot.data.labels import Labels, attach_labels, frame_name
from gnnpot.data.readers.aliases import CHARGE
from gnnpot.data.readers.columns import LabelColumns
from gnnpot.errors import DataError, DataWarning
from gnnpot.keys import GPA_PER_EV_PER_CUBIC_ANGSTROM

_ABSURD_STRESS = 1.0
"""eV/Å³, 160 GPa: above it, the median frame of a file is rather in kbar or GPa."""


class Border:
    """Turns the raw frames of one file into frames of the package."""

    def __init__(self, path: Path, columns: LabelColumns) -> None:
        self.path = path
        self.columns = columns
        self.n_frames = 0
        self._n_stress_dropped = 0
        self._largest_stress: list[tuple[float, str]] = []

    def admit(self, atoms: Atoms) -> Atoms:
        """The frame, checked, in eV and Å, with its labels attached and its file and number in ``info``.

        Raises :class:`DataError`, naming the frame.
        """
        for name in ("source", "frame"):
            if name in atoms.info:
                atoms.info.setdefault(f"{name}_in_file", atoms.info.pop(name))
        atoms.info["source"], atoms.info["frame"] = str(self.path), self.n_frames
        self.n_frames += 1
        labels = self.columns.take_labels(atoms)
        _simplify(atoms)
        if CHARGE in labels:
            atoms.info[CHARGE] = _charge(labels.pop(CHARGE), atoms)
        length = self.columns.units.length
        if length != 1.0:
            atoms.set_constraint()
            atoms.set_cell(atoms.cell.array * length, scale_atoms=False)
            atoms.set_positions(atoms.positions * length)
        check_geometry(atoms)
        if "stress" in labels:
            self._look_at_stress(atoms, labels)
        attach_labels(atoms, labels)
        return atoms

    def report(self) -> None:
        """Warn (:class:`DataWarning`) of what looks wrong in the file as a whole."""
        self.columns.report(self.path)
        if self._n_stress_dropped:
            warnings.warn(
                f"{self.path}: the stress of {self._n_stress_dropped} frames is not read, because they are not"
                " periodic in three directions and so have no volume",
                DataWarning,
                stacklevel=3,
            )
        sizes = [size for size, _ in self._largest_stress]
        if sizes and float(np.median(sizes)) > _ABSURD_STRESS:
            size, name = max(self._largest_stress)
            warnings.warn(
                f"{self.path}: half of all stresses exceed {np.median(sizes):.3g} eV/Å³ ="
                f" {np.median(sizes) * GPA_PER_EV_PER_CUBIC_ANGSTROM:.0f} GPa ({name}: {size:.3g} eV/Å³); if they are"
                " VASP's kbar: data.units={stress: kbar, stress_sign: vasp}; if GPa: data.units={stress: GPa}",
                DataWarning,
                stacklevel=3,
            )

    def _look_at_stress(self, atoms: Atoms, labels: Labels) -> None:
        stress = np.asarray(labels["stress"])
        if not atoms.pbc.all():
            del labels["stress"]
            self._n_stress_dropped += int(not np.isnan(stress).all())
        elif np.isfinite(stress).all():
            self._largest_stress.append((float(np.abs(stress).max()), frame_name(atoms)))


def _simplify(atoms: Atoms) -> None:
    """Leave plain values in ``info`` and the magnetic moments in ``arrays``; the calculator goes."""
    magmoms = atoms.calc.results.get("magmoms") if atoms.calc is not None else None
    if magmoms is not None:
        atoms.arrays["magmoms"] = np.asarray(magmoms, dtype=float)
    atoms.info = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in atoms.info.items()
        if _is_simple(value)
    }
    atoms.calc = None


def _is_simple(value: Any) -> bool:
    """Whether a value is one that an extended XYZ comment line can hold."""
    if isinstance(value, str | bool | int | float | np.generic):
        return True
    return isinstance(value, list | tuple | np.ndarray) and np.size(value) <= 9 and np.ndim(value) <= 2


def _charge(value: Any, atoms: Atoms) -> float:
    charge = np.asarray(value, dtype=float)
    if charge.size != 1 or not np.isfinite(charge).all():
        raise DataError(f"{frame_name(atoms)}: charge must be one number, the total charge in e, not {value!r}")
    return float(charge.reshape(()))


def check_geometry(atoms: Atoms) -> None:
    """Refuse positions that are no numbers and cells that do not span the periodic directions.

    Raises :class:`DataError`, naming the frame.
    """
    if len(atoms) == 0:
        raise DataError(f"{frame_name(atoms)} has no atoms")
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        atom = int(np.argmin(finite))
        raise DataError(f"{frame_name(atoms)}: the position of atom {atom} is {atoms.positions[atom].tolist()}")
    if (atoms.numbers < 1).any():
        atom = int(np.argmax(atoms.numbers < 1))
        raise DataError(f"{frame_name(atoms)}: atom {atom} is no element (symbol '{atoms.symbols[atom]}')")
    periodic = atoms.cell.array[atoms.pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    if not np.isfinite(periodic).all() or (len(periodic) and not _spans(periodic, lengths)):
        raise DataError(
            f"{frame_name(atoms)} is periodic along {_axes(atoms)}, but its cell {atoms.cell.array.tolist()} has no"
            ' volume there: give it a cell, or pbc="F F F" if it is a molecule'
        )


def _spans(vectors: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether lattice vectors are linearly independent."""
    if (lengths < 1e-6).any():
        return False
    unit = vectors / lengths[:, None]
    return bool(np.linalg.svd(unit, compute_uv=False).min() > 1e-6)


def _axes(atoms: Atoms) -> str:
    return ", ".join(axis for axis, is_periodic in zip("abc", atoms.pbc, strict=True) if is_periodic)
