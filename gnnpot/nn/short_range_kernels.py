"""Compiled loops over the edges of colliding atoms, as fast as reading the edges once."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.data.edge_kernels import write_edge_vector
from gnnpot.nn.pair_kernels import envelope_and_slope

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def edges_within(
    positions: Array, cell: Array, batch: Array, edge_index: Array, edge_shifts: Array, types: Array, radii: Array
) -> Array:
    """Numbers of the edges shorter than ``radii[t_i, t_j]``."""
    largest = 0.0
    for t in range(radii.shape[0]):
        for u in range(radii.shape[1]):
            largest = max(largest, radii[t, u])
    found, vector = np.empty(16, dtype=np.int64), np.empty((1, 3))
    n = 0
    for edge in range(edge_index.shape[1]):
        i, j = edge_index[0, edge], edge_index[1, edge]
        square = write_edge_vector(positions, cell, batch[i], edge_index, edge_shifts, edge, vector, 0)
        if square >= largest * largest or square >= radii[types[i], types[j]] ** 2:
            continue
        if n == len(found):
            larger = np.empty(2 * n, dtype=np.int64)
            larger[:n] = found
            found = larger
        found[n] = edge
        n += 1
    return found[:n]


@compiled()
def repel(
    positions: Array,
    cell: Array,
    batch: Array,
    edges: tuple[Array, Array, Array],
    types: Array,
    constants: tuple[Array, Array, Array, Array],
    exponent: int,
    energies: Array,
    by_edge: Array,
) -> None:
    """Add ½ V to the energy of the center, and ½ V'(r) r_ij/r to ∂E/∂r_ij, of every edge that feels V.

    Args:
        positions: Å.
        cell: of each structure.
        batch: structure of each atom.
        edges: numbers of the edges that feel V, ``edge_index`` and ``edge_shifts``.
        types: of each atom.
        constants: outer radii and, for t_i n_types + t_j, e² Z_i Z_j/(4πε0) and 1/a; terms of φ.
        exponent: of S.
        energies: of each atom.
        by_edge: ∂E/∂r_ij.
    """
    chosen, edge_index, edge_shifts = edges
    radii, coulomb, inverse_lengths, terms = constants
    vector = np.empty((1, 3))
    for edge in chosen:
        i, j = edge_index[0, edge], edge_index[1, edge]
        square = write_edge_vector(positions, cell, batch[i], edge_index, edge_shifts, edge, vector, 0)
        r, pair = np.sqrt(square), types[i] * radii.shape[0] + types[j]
        screening, slope = 0.0, 0.0
        for k in range(len(terms)):
            term = terms[k, 0] * np.exp(-terms[k, 1] * r * inverse_lengths[pair])
            screening += term
            slope -= terms[k, 1] * inverse_lengths[pair] * term
        outer = radii[types[i], types[j]]
        switch, switch_slope = envelope_and_slope(r / outer, exponent)
        strength = 0.5 * coulomb[pair] / r
        energies[i] += strength * screening * switch
        total = strength * (slope * switch + screening * switch_slope / outer - screening * switch / r)
        for a in range(3):
            by_edge[edge, a] += total * vector[0, a] / r
