"""Compiled loops over the edges of colliding atoms, as fast as reading the edges once."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled

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
    found = np.empty(16, dtype=np.int64)
    n = 0
    for edge in range(edge_index.shape[1]):
        i, j = edge_index[0, edge], edge_index[1, edge]
        s = batch[i]
        square = 0.0
        for a in range(3):
            x = np.float64(positions[j, a]) - np.float64(positions[i, a])
            for b in range(3):
                x += np.float64(edge_shifts[edge, b]) * np.float64(cell[s, b, a])
            square += x * x
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
    vector = np.empty(3)
    for edge in chosen:
        i, j = edge_index[0, edge], edge_index[1, edge]
        square = 0.0
        for a in range(3):
            x = np.float64(positions[j, a]) - np.float64(positions[i, a])
            for b in range(3):
                x += np.float64(edge_shifts[edge, b]) * np.float64(cell[batch[i], b, a])
            vector[a] = x
            square += x * x
        r, pair = np.sqrt(square), types[i] * radii.shape[0] + types[j]
        screening, slope = 0.0, 0.0
        for k in range(len(terms)):
            term = terms[k, 0] * np.exp(-terms[k, 1] * r * inverse_lengths[pair])
            screening += term
            slope -= terms[k, 1] * inverse_lengths[pair] * term
        p, outer = exponent, radii[types[i], types[j]]
        x = r / outer
        switch = 1.0 - x**p * (0.5 * (p + 1) * (p + 2) + x * (0.5 * p * (p + 1) * x - p * (p + 2)))
        switch_slope = -0.5 * p * (p + 1) * (p + 2) * x ** (p - 1) * (1.0 - x) ** 2 / outer
        strength = 0.5 * coulomb[pair] / r
        energies[i] += strength * screening * switch
        total = strength * (slope * switch + screening * switch_slope - screening * switch / r)
        for a in range(3):
            by_edge[edge, a] += total * vector[a] / r
