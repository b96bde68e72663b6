"""Trajectories whose atoms were put back into the cell, made continuous again."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from gnnpot.data.labels import frame_name
from gnnpot.errors import DataError


def unwrap(frames: Sequence[Atoms]) -> list[Atoms]:
    """Copies of the frames of a trajectory in which no atom jumps by a lattice vector.

    Every atom is taken to the image nearest to where it was in the frame before, in lattice coordinates: frames may be
    so far apart that an atom moves by less than half of the cell. Calculators and labels are left behind.

    Raises:
        DataError: frames with different atoms.

    >>> from ase.build import bulk
    >>> first = bulk("MgO", "rocksalt", a=4.2)
    >>> second = first.copy()
    >>> second.positions[0] -= second.cell[1]
    >>> bool(np.allclose(unwrap([first, second])[1].positions, first.positions))
    True
    """
    found: list[Atoms] = []
    for frame in frames:
        atoms = frame.copy()
        if found and not np.array_equal(atoms.numbers, found[-1].numbers):
            raise DataError(f"{frame_name(frame)}: other atoms than in the frame before; this is no trajectory")
        if found and atoms.pbc.any():
            before = found[-1].cell.scaled_positions(found[-1].positions)
            moved = atoms.cell.scaled_positions(atoms.positions) - before
            atoms.positions -= np.where(atoms.pbc, np.round(moved), 0.0) @ atoms.cell.array
        found.append(atoms)
    return found
