"""The pairs of atoms closer than a cutoff, and their places in splines, as compiled loops on a CPU want them."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.data.graph import AtomicGraph
from gnnpot.data.triplets import undirected_pairs
from gnnpot.nn.pair_kernels import near_pairs, write_weights

Array: TypeAlias = npt.NDArray[Any]


class NearPairs(NamedTuple):
    """Undirected pairs closer than a cutoff."""

    atoms: Array
    """``(2, n_pairs)``."""
    edges: Array
    """One of the two edges of each."""
    distances: Array
    directions: Array
    """r/|r| ``(n_pairs, 3)``."""


class SplinePlaces(NamedTuple):
    """What the distances of pairs are in splines times their envelope."""

    first: Array
    """Coefficient with which the six of a pair begin."""
    weights: Array
    """Of the six, ``(n_pairs, 6)``."""
    slopes: Array
    """Derivatives of the weights by the distance."""


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
    return NearPairs(*near_pairs(*given))


def spline_places(
    distances: Array, cutoff: float, n_intervals: int, exponent: int, dtype: npt.DTypeLike
) -> SplinePlaces:
    """Places in a `gnnpot.nn.splines.QuinticSpline`.

    Args:
        distances: all below the cutoff, Å.
        cutoff: of spline and envelope, Å.
        n_intervals: of the spline.
        exponent: of the polynomial envelope; 0: the cosine.
        dtype: of the weights.
    """
    places = SplinePlaces(
        np.empty(len(distances), dtype=np.int64),
        np.empty((len(distances), 6), dtype=dtype),
        np.empty((len(distances), 6), dtype=dtype),
    )
    write_weights(distances, cutoff, n_intervals, exponent, *places)
    return places
