"""Verlet's list: the edges of a structure that moves, searched rarely and filtered at every step.

The list holds all pairs closer than cutoff + skin. As long as no pair from outside of it can have come closer than
the cutoff, only the distances are computed anew and the edges beyond the cutoff left out, so that a model sees
exactly the edges of a fresh search; a model that ignores them itself is given the list as it is.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors_of, graph_from_atoms
from gnnpot.data.neighbors import FloatArray
from gnnpot.data.triplets import undirected_pairs
from gnnpot.errors import ConfigError
from gnnpot.models.prediction import to_device

_UNCHANGED: FloatArray = np.eye(3)


class NeighborSkin:
    """Graph of one structure that is moved from step to step.

    Let F map the cell of the last search to the cell now, ``h = h₀ F``, and ``u_i = r_i - r_i₀ F`` be what atom i
    moved beyond it. A pair that was farther than r_c + skin is now farther than ``σ_min(F) (r_c + skin) - 2 max|u|``
    (σ_min the smallest singular value). The list is searched again when this falls below r_c, and when the atoms,
    the periodic directions or the charge are others. With an unchanged cell this is Verlet's rule, max|u| < skin/2
    (L. Verlet, Phys. Rev. 159, 98 (1967)).

    >>> from ase.build import bulk
    >>> silicon = bulk("Si")
    >>> neighbors = NeighborSkin(cutoff=3.0, skin=1.0, dtype=torch.float64, device="cpu")
    >>> for _ in range(3):
    ...     silicon.rattle(0.01)
    ...     graph = neighbors.graph(silicon)
    >>> graph.n_edges, neighbors.n_searches
    (8, 1)

    Args:
        cutoff: r_c, Å.
        skin: Å.
        dtype: of positions and cell.
        device: where the graph is.
        keeps_far_edges: leave the edges between r_c and r_c + skin in the graph (`Potential.ignores_far_edges`).
    """

    def __init__(
        self, cutoff: float, skin: float, dtype: torch.dtype, device: str, keeps_far_edges: bool = False
    ) -> None:
        if not skin >= 0.0:
            raise ConfigError(
                f"skin={skin} Å: give a length that is not negative; 0 searches neighbors anew at every step"
            )
        self.cutoff = float(cutoff)
        self.skin = float(skin)
        self.dtype = dtype
        self.device = torch.device(device)
        self.keeps_far_edges = keeps_far_edges
        self.n_searches = 0
        self._atoms: Atoms | None = None
        self._images: FloatArray = np.zeros((0, 3))
        self._wide: AtomicGraph | None = None

    def graph(self, atoms: Atoms) -> AtomicGraph:
        """Graph of ``atoms`` with the edges shorter than the cutoff.

        Its tensors are used again at the next call: take copies of what must outlive it.

        Raises:
            DataError: positions that are not finite, or atoms on top of each other.
        """
        if self._wide is None or not self._covers(atoms):
            self._search(atoms)
        wide = self._moved(atoms)
        if self.keeps_far_edges:
            return wide
        first = wide.edge_of_pair
        vectors = edge_vectors_of(wide, wide.edge_index.index_select(1, first), wide.edge_shifts.index_select(0, first))
        return without_far_pairs(wide, vectors.square().sum(dim=1) < self.cutoff**2)

    @property
    def shortest_distance(self) -> float:
        """Å, between any two neighbors in the last graph (inf without any)."""
        from gnnpot.nn.pair_kernels import shortest_distance

        if self._wide is None:
            return float("inf")
        names = ("positions", "cell", "edge_index", "edge_shifts", "edge_of_pair")
        return float(shortest_distance(*(getattr(self._wide, name).cpu().numpy() for name in names)))

    def _covers(self, atoms: Atoms) -> bool:
        """Whether the list still holds every pair closer than the cutoff."""
        old = self._atoms
        if old is None or len(old) != len(atoms) or _charge(old) != _charge(atoms):
            return False
        if not (same_bits(old.numbers, atoms.numbers) and same_bits(old.pbc, atoms.pbc)):
            return False
        deformation = _deformation(old.cell.array, atoms.cell.array)
        if deformation is None:
            return False
        start, shrunk = old.positions, 1.0
        if deformation is not _UNCHANGED:
            start, shrunk = start @ deformation, np.linalg.svd(deformation, compute_uv=False)[-1]
        moved = np.square(atoms.positions - start).sum(axis=1).max(initial=0.0) ** 0.5
        return bool(shrunk * (self.cutoff + self.skin) - 2.0 * moved > self.cutoff)

    def _search(self, atoms: Atoms) -> None:
        """Search all pairs closer than cutoff + skin, among the images of the atoms that lie in the cell.

        Atoms that have wandered far are counted back by whole lattice vectors, so that float32 keeps its digits.
        """
        kept = {name: atoms.info[name] for name in ("charge", "source", "frame") if name in atoms.info}
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=kept)
        images = np.zeros((len(atoms), 3))
        if atoms.pbc.any() and np.isfinite(atoms.positions).all():
            images = np.where(atoms.pbc, np.floor(atoms.cell.scaled_positions(atoms.positions)), 0.0)
        wrapped = bare.copy()
        wrapped.positions -= images @ atoms.cell.array
        wide = graph_from_atoms(wrapped, self.cutoff + self.skin, self.dtype)
        pair_of_edge, edge_of_pair = undirected_pairs(wide)
        self._wide = to_device(wide.replace(pair_of_edge=pair_of_edge, edge_of_pair=edge_of_pair), self.device)
        self._atoms, self._images = bare, images
        self.n_searches += 1

    def _moved(self, atoms: Atoms) -> AtomicGraph:
        """The wide list with the positions and the cell of now, written into its own tensors."""
        wide = self._wide
        if wide is None:
            raise RuntimeError("no neighbor list yet: call graph(atoms)")
        cell = atoms.cell.array
        wide.positions.copy_(torch.from_numpy(atoms.positions - self._images @ cell))
        wide.cell.copy_(torch.from_numpy(cell)[None])
        return wide


def without_far_pairs(wide: AtomicGraph, near: Tensor) -> AtomicGraph:
    """The graph with both edges of the pairs ``near`` ``(n_pairs,)`` alone; edges and pairs are numbered anew."""
    kept = near[wide.pair_of_edge]
    edges = kept.nonzero()[:, 0]
    pair_number, edge_number = near.cumsum(0) - 1, kept.cumsum(0) - 1
    return wide.replace(
        edge_index=wide.edge_index.index_select(1, edges),
        edge_shifts=wide.edge_shifts.index_select(0, edges),
        pair_of_edge=pair_number[wide.pair_of_edge[edges]],
        edge_of_pair=edge_number[wide.edge_of_pair[near]],
    )


def same_bits(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> bool:
    """Whether two arrays of the same kind hold the same; a NaN is equal to itself.

    >>> same_bits(np.array([1.0, np.nan]), np.array([1.0, np.nan]))
    True
    """
    return left.tobytes() == right.tobytes()


def _charge(atoms: Atoms) -> float | None:
    charge = atoms.info.get("charge")
    return None if charge is None else float(charge)


def _deformation(old: FloatArray, new: FloatArray) -> FloatArray | None:
    """F of ``new = old F``; None where a cell without volume has changed."""
    if same_bits(old, new):
        return _UNCHANGED
    if abs(np.linalg.det(old)) < 1e-9:
        return None
    return np.asarray(np.linalg.solve(old, new), dtype=np.float64)
