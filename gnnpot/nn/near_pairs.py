"""The pairs of atoms closer than a cutoff, and their places in splines, as compiled loops on a CPU want them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.data.graph import AtomicGraph
from gnnpot.data.triplets import undirected_pairs
from gnnpot.nn.pair_kernels import closer_pairs, near_pairs, write_weights

Array: TypeAlias = npt.NDArray[Any]


class SplinePlaces(NamedTuple):
    """What the distances of pairs are in splines times their envelope."""

    first: Array
    """Coefficient with which the six of a pair begin."""
    weights: Array
    """Of the six, ``(n_pairs, 6)``."""
    slopes: Array
    """Derivatives of the weights by the distance."""


class SplineGrid(NamedTuple):
    """Where the coefficients of a `gnnpot.nn.splines.QuinticSpline` times an envelope stand."""

    cutoff: float
    """Of the envelope, Å."""
    spacing: float
    """Of the knots, Å."""
    n_intervals: int
    exponent: int
    """Of the polynomial envelope; 0: the cosine."""


@dataclass(frozen=True)
class NearPairs:
    """Undirected pairs closer than a cutoff."""

    cutoff: float
    """Å."""
    atoms: Array
    """``(2, n_pairs)``."""
    edges: Array
    """One of the two edges of each."""
    distances: Array
    directions: Array
    """r/|r| ``(n_pairs, 3)``."""
    _places: dict[tuple[SplineGrid, np.dtype[Any]], SplinePlaces] = field(default_factory=dict)

    def closer_than(self, cutoff: float) -> "NearPairs":
        """Those within a smaller cutoff; with the same one, these pairs themselves, which know their places."""
        if cutoff >= self.cutoff:
            return self
        return NearPairs(cutoff, *closer_pairs(cutoff, self.atoms, self.edges, self.distances, self.directions))

    def places(self, grid: SplineGrid, dtype: npt.DTypeLike) -> SplinePlaces:
        """Places in splines, weights of ``dtype``; computed once for all that have the same grid.

        All distances must be below the cutoff of the grid.
        """
        key = (grid, np.dtype(dtype))
        if key not in self._places:
            self._places[key] = self.shifted_places(grid, self.distances, dtype)
        return self._places[key]

    def shifted_places(self, grid: SplineGrid, arguments: Array, dtype: npt.DTypeLike) -> SplinePlaces:
        """`places` in splines of u ``(n_pairs,)``: the distance and a constant of the pair."""
        n_pairs = len(self.distances)
        weights, slopes = np.empty((n_pairs, 6), dtype), np.empty((n_pairs, 6), dtype)
        found = SplinePlaces(np.empty(n_pairs, np.int64), weights, slopes)
        write_weights(self.distances, arguments, *grid, *found)
        return found


def pairs_within(cutoff: float, graph: AtomicGraph) -> NearPairs:
    """The pairs of a graph on a CPU.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> len(pairs_within(3.0, graph_from_atoms(bulk("Si"), cutoff=4.0)).distances)
    4
    """
    edge_of_pair = graph.edge_of_pair if graph.has("edge_of_pair") else undirected_pairs(graph)[1]
    tensors = (graph.positions, graph.cell, graph.batch, graph.edge_index, graph.edge_shifts, edge_of_pair)
    given: list[Any] = [*(tensor.detach().numpy() for tensor in tensors), cutoff]
    return NearPairs(cutoff, *near_pairs(*given))
