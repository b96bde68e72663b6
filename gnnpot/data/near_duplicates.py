"""Frames that stand in two sets at once, or nearly: a model tested on them has seen the answer."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import ase
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from gnnpot.data.frames import cell_formulas
from gnnpot.data.labels import frame_name, labels_of
from gnnpot.data.neighbors import neighbor_list

FloatArray = npt.NDArray[np.float64]

ENERGY_TOLERANCE = 1e-6
"""eV/atom; twins closer than this are the same calculation, others differ in its settings."""
GEOMETRY_TOLERANCE = 2e-3
"""Å; no distance between neighbors differs more where no atom moved by more than half of it."""
N_NEAREST = 18
"""Distances per atom in a fingerprint: enough to tell any strain of fcc, bcc and diamond."""
N_SEARCHED = 16
"""Components of a fingerprint that the search tree holds; the others are compared afterwards."""


@dataclass(frozen=True)
class Twin:
    """Frame ``index`` of one set has (nearly) the geometry of frame ``reference`` of another."""

    index: int
    reference: int
    distance: float
    """Largest difference between their sorted neighbor distances, Å."""
    energy_difference: float
    """|ΔE|, eV/atom; NaN where one of them has no energy."""

    @property
    def same_energy(self) -> bool:
        """Whether the energies agree too, to 1e-6 eV/atom."""
        return self.energy_difference <= ENERGY_TOLERANCE


def near_duplicates(frames: Sequence[ase.Atoms], reference_frames: Sequence[ase.Atoms]) -> list[Twin]:
    """For every frame, its twin in ``reference_frames``, if it has one.

    Twins have the same composition, and every atom sees its neighbors at the same distances, to 0.002 Å, after any
    translation, rotation, reflection or renumbering of the atoms. Of several twins the one nearest in energy is
    taken. About 2 ms per frame of 50 atoms, for compositions that both sets hold; nothing for others.

    >>> from ase.build import bulk
    >>> shifted = bulk("Si")
    >>> shifted.translate([0.3, 0.1, 0.0])
    >>> [(twin.index, twin.reference) for twin in near_duplicates([bulk("Ge"), shifted], [bulk("C"), bulk("Si")])]
    [(1, 1)]
    """
    by_formula = _indices_by_formula(reference_frames)
    twins: list[Twin] = []
    for formula, indices in _indices_by_formula(frames).items():
        references = by_formula.get(formula, [])
        if references:
            some = _Fingerprints([frames[k] for k in indices])
            others = _Fingerprints([reference_frames[k] for k in references])
            for a, b, distance, difference in some.twins_in(others):
                twins.append(Twin(indices[a], references[b], distance, difference))
    return sorted(twins, key=lambda twin: twin.index)


def duplicate_groups(frames: Sequence[ase.Atoms]) -> list[int]:
    """Number of the group of every frame, where frames of the same geometry form a group.

    >>> from ase.build import bulk
    >>> duplicate_groups([bulk("Si"), bulk("Ge"), bulk("Si")])
    [0, 1, 0]
    """
    group = list(range(len(frames)))

    def root(k: int) -> int:
        while group[k] != k:
            group[k] = group[group[k]]
            k = group[k]
        return k

    for indices in _indices_by_formula(frames).values():
        for a, b in _Fingerprints([frames[k] for k in indices]).pairs():
            low, high = sorted((root(indices[a]), root(indices[b])))
            group[high] = low
    return [root(k) for k in range(len(frames))]


def near_duplicate_warning(
    twins: Sequence[Twin],
    frames: Sequence[ase.Atoms],
    reference_frames: Sequence[ase.Atoms],
    name: str = "test",
    reference_name: str = "training",
) -> str | None:
    """What to tell a user about frames of one set with a twin in another; None if there are none."""
    if not twins:
        return None
    n_energy = sum(twin.same_energy for twin in twins)
    first = "; ".join(
        f"{frame_name(frames[twin.index])} is {frame_name(reference_frames[twin.reference])}" for twin in twins[:3]
    )
    return (
        f"{len(twins)} of {len(frames)} {name} frames have the geometry of a {reference_name} frame ({n_energy} "
        f"its energy too), first: {first}. They make the {name} error look smaller than it is; keep such frames on "
        "one side with "
        "data.split.group_by=geometry, or by the key that tells where they come from"
    )


def _indices_by_formula(frames: Sequence[ase.Atoms]) -> dict[str, list[int]]:
    indices: dict[str, list[int]] = defaultdict(list)
    for k, formula in enumerate(cell_formulas(frames)):
        indices[formula].append(k)
    return indices


class _Fingerprints:
    """Sorted neighbor distances of frames of one composition, ready to be searched."""

    def __init__(self, frames: Sequence[ase.Atoms]) -> None:
        self.rows = np.stack([distance_fingerprint(atoms) for atoms in frames])
        n_columns = self.rows.shape[1]
        columns = np.linspace(0, n_columns - 1, min(N_SEARCHED, n_columns)).round().astype(int)
        self.tree = cKDTree(self.rows[:, columns])
        self.energies = np.array([labels_of(atoms).get("energy", np.nan) for atoms in frames]) / len(frames[0])

    def pairs(self) -> Iterable[tuple[int, int]]:
        """Pairs of the same geometry within this set."""
        for a, b in self.tree.query_pairs(GEOMETRY_TOLERANCE, p=np.inf):
            if np.abs(self.rows[a] - self.rows[b]).max() <= GEOMETRY_TOLERANCE:
                yield a, b

    def twins_in(self, others: "_Fingerprints") -> Iterable[tuple[int, int, float, float]]:
        """(frame here, its twin there, distance, energy difference) of all frames that have a twin."""
        candidates = self.tree.query_ball_tree(others.tree, GEOMETRY_TOLERANCE, p=np.inf)
        for index, near in enumerate(candidates):
            distances = np.abs(others.rows[near] - self.rows[index]).max(axis=1)
            differences = np.abs(others.energies[near] - self.energies[index])
            order = np.lexsort((distances, differences, distances > GEOMETRY_TOLERANCE))
            if len(near) and distances[order[0]] <= GEOMETRY_TOLERANCE:
                best = order[0]
                yield index, near[best], float(distances[best]), float(differences[best])


def distance_fingerprint(atoms: ase.Atoms) -> FloatArray:
    """Distances of every atom to its 18 nearest neighbors, each column sorted over the atoms of an element.

    No component changes by more than 2δ when no atom moves by more than δ; translations, rotations, reflections
    and renumbering change none. Neighbors that do not exist (molecules) count as 0 Å away.
    """
    nearest = _nearest_distances(atoms)
    columns = [np.sort(nearest[atoms.numbers == number], axis=0) for number in np.unique(atoms.numbers)]
    return np.concatenate(columns).ravel()


def _nearest_distances(atoms: ase.Atoms) -> FloatArray:
    """``(n_atoms, 18)``, ascending along a row."""
    n_atoms = len(atoms)
    enough = N_NEAREST if atoms.pbc.any() else min(N_NEAREST, n_atoms - 1)
    cutoff = _first_cutoff(atoms)
    while True:
        edge_index, shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
        centers, neighbors = edge_index
        counts = np.bincount(centers, minlength=n_atoms)
        if counts.min() >= enough:
            break
        cutoff *= 1.4
    vectors = atoms.positions[neighbors] - atoms.positions[centers] + shifts @ atoms.cell.array
    distances = np.linalg.norm(vectors, axis=1)
    order = np.lexsort((distances, centers))
    ranks = np.arange(len(centers)) - np.repeat(np.cumsum(counts) - counts, counts)
    nearest = np.zeros((n_atoms, N_NEAREST))
    kept = ranks < N_NEAREST
    nearest[centers[kept], ranks[kept]] = distances[order][kept]
    return nearest


def _first_cutoff(atoms: ase.Atoms) -> float:
    """Radius, Å, that holds about twice the neighbors needed at the mean density."""
    volume = abs(float(np.linalg.det(atoms.cell.array))) if atoms.pbc.all() else 0.0
    per_atom = volume / len(atoms) if volume > 0 else 20.0
    return float((2 * N_NEAREST * per_atom * 3 / (4 * np.pi)) ** (1 / 3))
