"""Pairs of similar frames, and the work that forces and stress say was done between them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
import numpy.typing as npt

from gnnpot.data.labels import labels_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FARTHEST = 0.8
"""Å; pairs in which an atom moved farther tell nothing, the trapezoid rule fails between them."""
LARGEST_STRAIN = 0.1
LEAST_AGREEMENT = 0.05
"""Pairs whose two end points say opposite things are left out: |W_a + W_b| below this part of |W_a| + |W_b|."""
MOST_FRAMES = 150
MOST_SYSTEMS = 50
MOST_ROWS = 4_000_000
"""Atoms in all pairs of a system, which bounds the memory."""


@dataclass(frozen=True)
class FramePairs:
    """Differences between similar frames a and b, one row per pair.

    ``energy`` is E_b - E_a, ``force_work`` -(F_a + F_b)/2 · Δr, ``stress_work`` (V_a σ_a + V_b σ_b)/2 : ε (NaN
    without stress), all in eV for labels in the units of the package; between near frames the first is the sum
    of the others. ``displacement`` (Å) and ``strain`` are the largest of the pair.
    """

    energy: FloatArray
    force_work: FloatArray
    stress_work: FloatArray
    displacement: FloatArray
    strain: FloatArray
    n_atoms: FloatArray
    volume: FloatArray

    def __len__(self) -> int:
        return len(self.energy)

    def where(self, chosen: npt.NDArray[np.bool_] | IntArray) -> "FramePairs":
        """Some of the pairs."""
        return FramePairs(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def similar_pairs(frames: Sequence[ase.Atoms]) -> FramePairs:
    """Pairs of frames with the same atoms in the same order and little displaced, with energies and forces.

    Of every system (at most 50 of them) up to 150 frames are compared, each with each. The trapezoid rule is exact
    for harmonic forces, so that rattled crystals need not be close to each other.
    """
    rows = [_pairs_of_system(stack) for stack in _systems(frames)]
    columns = zip(*rows, strict=True) if rows else ([np.zeros(0)] for _ in range(7))
    return FramePairs(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class _Stack:
    """Frames of one system as arrays; cells are unit matrices where no direction is periodic."""

    scaled: FloatArray
    cells: FloatArray
    periodic: npt.NDArray[np.bool_]
    energies: FloatArray
    forces: FloatArray
    virials: FloatArray


def _systems(frames: Sequence[ase.Atoms]) -> Iterator[_Stack]:
    indices: dict[tuple[bytes, bytes, Any], list[int]] = defaultdict(list)
    for k, atoms in enumerate(frames):
        indices[(atoms.numbers.tobytes(), atoms.pbc.tobytes(), atoms.info.get("charge"))].append(k)
    largest = sorted((found for found in indices.values() if len(found) > 1), key=len, reverse=True)
    for found in largest[:MOST_SYSTEMS]:
        n_frames = min(MOST_FRAMES, int(np.sqrt(MOST_ROWS / len(frames[found[0]]))))
        starts = np.linspace(0, len(found) - 2, max(n_frames // 2, 1)).round().astype(int)
        chosen = [frames[found[k]] for k in np.unique([starts, starts + 1])]
        labeled = [(atoms, labels) for atoms in chosen if {"energy", "forces"} <= (labels := labels_of(atoms)).keys()]
        if len(labeled) > 1:
            yield _stack(labeled)


def _stack(labeled: list[tuple[ase.Atoms, dict[str, Any]]]) -> _Stack:
    periodic = labeled[0][0].pbc
    cells = np.array([atoms.cell.complete().array if periodic.any() else np.eye(3) for atoms, _ in labeled])
    positions = np.array([atoms.positions for atoms, _ in labeled])
    volumes = np.abs(np.linalg.det(cells))
    missing = np.full((3, 3), np.nan)
    stresses = np.array([labels.get("stress", missing) for _, labels in labeled])
    return _Stack(
        scaled=np.linalg.solve(cells.transpose(0, 2, 1), positions.transpose(0, 2, 1)).transpose(0, 2, 1),
        cells=cells,
        periodic=periodic,
        energies=np.array([labels["energy"] for _, labels in labeled]),
        forces=np.array([labels["forces"] for _, labels in labeled]),
        virials=volumes[:, None, None] * stresses,
    )


def _pairs_of_system(stack: _Stack) -> tuple[FloatArray, ...]:
    a, b = np.triu_indices(len(stack.energies), k=1)
    gradients = np.linalg.solve(stack.cells[a], stack.cells[b]) - np.eye(3)
    strains = (gradients + gradients.transpose(0, 2, 1)) / 2
    largest_strain = np.abs(gradients).max(axis=(1, 2))
    small = largest_strain < (LARGEST_STRAIN if stack.periodic.all() else 1e-9)
    a, b, strains, largest_strain = a[small], b[small], strains[small], largest_strain[small]

    scaled = stack.scaled[b] - stack.scaled[a]
    scaled -= np.where(stack.periodic, np.round(scaled), 0.0)
    moved = scaled @ ((stack.cells[a] + stack.cells[b]) / 2)
    works = [-np.einsum("pna,pna->p", stack.forces[end], moved) for end in (a, b)]
    stress_works = [np.einsum("pab,pab->p", stack.virials[end], strains) for end in (a, b)]
    stress_work = np.where(largest_strain > 0, (stress_works[0] + stress_works[1]) / 2, 0.0)
    displacement = np.linalg.norm(moved, axis=2).max(axis=1)
    agree = np.abs(works[0] + works[1]) >= LEAST_AGREEMENT * (np.abs(works[0]) + np.abs(works[1]))
    kept = agree & (displacement < FARTHEST)
    n_atoms = np.full(len(a), float(stack.scaled.shape[1]))
    volume = np.abs(np.linalg.det(stack.cells[a]))
    energy = stack.energies[b] - stack.energies[a]
    columns = (energy, (works[0] + works[1]) / 2, stress_work, displacement, largest_strain, n_atoms, volume)
    return tuple(column[kept] for column in columns)
