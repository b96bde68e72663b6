"""Molecules packed into periodic cells, which few crystals of Materials Project show: for `teacher.py --molecules`."""

from functools import cache

import ase
import numpy as np
from ase.build import molecule
from ase.collections import g2
from ase.data import covalent_radii
from scipy.spatial.transform import Rotation

FEWEST, MOST = 8, 40
"""Atoms of a cell."""
MOST_KINDS = 2
VOLUME_OF_HYDROGEN, VOLUME_OF_OTHERS = 5.0, 18.0
"""Å³ of each atom in molecular crystals."""
GAP = 0.9
"""Between atoms of different molecules beyond the sum of their covalent radii, Å, at the least."""
TRIES, GROWTH = 50, 1.05
"""Places that are tried for a molecule in a cell, and the factor by which its lengths then grow."""


@cache
def molecules() -> tuple[ase.Atoms, ...]:
    """Those of two and more atoms of the G2 set (L. A. Curtiss et al., J. Chem. Phys. 106, 1063 (1997))."""
    return tuple(atoms for name in g2.names if len(atoms := molecule(name)) > 1)


def packed(random: np.random.Generator) -> ase.Atoms:
    """Molecules of one or two kinds, in any places and orientations, at about the density of a molecular crystal."""
    known = molecules()
    kinds = [known[random.integers(len(known))] for _ in range(1 + random.integers(MOST_KINDS))]
    wanted = random.integers(FEWEST, MOST + 1)
    chosen = [kinds[0].copy()]
    while sum(map(len, chosen)) + max(map(len, kinds)) <= wanted:
        chosen.append(kinds[random.integers(len(kinds))].copy())
    numbers = np.concatenate([atoms.numbers for atoms in chosen])
    volume = float(np.where(numbers == 1, VOLUME_OF_HYDROGEN, VOLUME_OF_OTHERS).sum())
    lengths = np.exp(0.15 * random.normal(size=3))
    cell = np.diag(lengths * (volume / lengths.prod()) ** (1.0 / 3.0))
    while True:
        found = ase.Atoms(cell=cell, pbc=True)
        if all(_placed(atoms, found, random) for atoms in chosen):
            return found
        cell = cell * GROWTH


def _placed(atoms: ase.Atoms, among: ase.Atoms, random: np.random.Generator) -> bool:
    """Put a molecule where it touches no other one and no image of itself; False: there was no such place."""
    shape = atoms.positions - atoms.positions.mean(axis=0)
    for _ in range(TRIES):
        rotation = Rotation.random(random_state=random).as_matrix()
        positions = shape @ rotation.T + random.random(3) @ among.cell.array
        if _has_room(positions, atoms.numbers, among):
            among.extend(ase.Atoms(atoms.numbers, positions))
            return True
    return False


def _has_room(positions: np.ndarray, numbers: np.ndarray, among: ase.Atoms) -> bool:
    shifts = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ among.cell.array
    images = shifts[np.abs(shifts).sum(axis=1) > 0.0]
    for others, places, moves in (
        (among.numbers, among.positions, shifts),
        (numbers, positions, images),
    ):
        least = covalent_radii[numbers][:, None] + covalent_radii[others][None, :] + GAP
        vectors = positions[:, None, None] - places[None, :, None] - moves[None, None]
        if (np.linalg.norm(vectors, axis=-1) < least[..., None]).any():
            return False
    return True
