"""CPU kernels for energies and forces of continuous-filter convolutions where nothing is trained.

Pairs, splines and envelope as in `gnnpot.nn.convolution`; the slope of a filter, dS/dr, comes from the derivatives of
the weights of its coefficients. Geometry is computed in double precision.
"""

from math import cos, pi, sin, sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.data.edge_kernels import write_edge_vector
from gnnpot.nn.splines import PIECES

Array: TypeAlias = npt.NDArray[Any]

POLYNOMIALS = np.array(PIECES) / 120.0


@compiled()
def near_pairs(
    positions: Array,
    cell: Array,
    batch: Array,
    edge_index: Array,
    edge_shifts: Array,
    edge_of_pair: Array,
    cutoff: float,
) -> tuple[Array, Array, Array, Array]:
    """The pairs closer than the cutoff: atoms ``(2, n)``, edges ``(n,)``, distances ``(n,)`` and r/|r| ``(n, 3)``."""
    n_pairs = len(edge_of_pair)
    kept = np.empty(n_pairs, dtype=np.int64)
    squares = np.empty(n_pairs, dtype=np.float64)
    vectors = np.empty((n_pairs, 3), dtype=np.float64)
    n = 0
    for p in range(n_pairs):
        edge = edge_of_pair[p]
        structure = batch[edge_index[0, edge]]
        square = write_edge_vector(positions, cell, structure, edge_index, edge_shifts, edge, vectors, n)
        if square < cutoff * cutoff:
            kept[n], squares[n] = edge, square
            n += 1
    atoms = np.empty((2, n), dtype=np.int64)
    for p in range(n):
        atoms[0, p], atoms[1, p] = edge_index[0, kept[p]], edge_index[1, kept[p]]
        squares[p] = sqrt(squares[p])
        for a in range(3):
            vectors[p, a] /= squares[p]
    return atoms, kept[:n], squares[:n], vectors[:n]


@compiled()
def closer_pairs(
    cutoff: float, pair_atoms: Array, pair_edges: Array, distances: Array, directions: Array
) -> tuple[Array, Array, Array, Array]:
    """Those of the pairs that are closer than a cutoff."""
    n = 0
    for r in distances:
        n += r < cutoff
    atoms, edges = np.empty((2, n), dtype=np.int64), np.empty(n, dtype=np.int64)
    lengths, units = np.empty(n, dtype=np.float64), np.empty((n, 3), dtype=np.float64)
    k = 0
    for p in range(len(distances)):
        if distances[p] < cutoff:
            atoms[0, k], atoms[1, k] = pair_atoms[0, p], pair_atoms[1, p]
            edges[k], lengths[k] = pair_edges[p], distances[p]
            for a in range(3):
                units[k, a] = directions[p, a]
            k += 1
    return atoms, edges, lengths, units


@compiled()
def write_weights(
    distances: Array,
    arguments: Array,
    cutoff: float,
    spacing: float,
    n_intervals: int,
    exponent: int,
    first: Array,
    weights: Array,
    slopes: Array,
) -> None:
    """First coefficient of each pair, weights f_c(r) w_k(u) of the six it takes, and their derivatives by r.

    ``arguments``: u of each pair, the distance r itself or that and a constant of the pair. ``exponent``: p of the
    polynomial envelope, 0 for the cosine.
    """
    inverse = 1.0 / spacing
    for p in range(len(distances)):
        r, u = distances[p], arguments[p]
        m = min(int(u * inverse), n_intervals - 1)
        t = u * inverse - m
        envelope, envelope_slope = envelope_and_slope(r / cutoff, exponent)
        envelope_slope /= cutoff
        first[p] = m
        for k in range(6):
            value, slope = 0.0, 0.0
            for d in range(5, -1, -1):
                slope = slope * t + value
                value = value * t + POLYNOMIALS[k, d]
            weights[p, k] = envelope * value
            slopes[p, k] = envelope_slope * value + envelope * slope * inverse


@compiled()
def envelope_and_slope(x: float, exponent: int) -> tuple[float, float]:
    """Value and slope of the envelope at x = r/r_c < 1."""
    if exponent == 0:
        return 0.5 * (cos(pi * x) + 1.0), -0.5 * pi * sin(pi * x)
    p = exponent
    power = x ** (p - 1)
    value = 1.0 - power * x * (0.5 * (p + 1) * (p + 2) + x * (0.5 * p * (p + 1) * x - p * (p + 2)))
    return value, -0.5 * p * (p + 1) * (p + 2) * power * (1.0 - x) ** 2


@compiled(sums=True)
def add_slopes(
    gradient: Array, values: Array, table: Array, slopes: Array, first: Array, pair_atoms: Array, out: Array
) -> None:
    """Add Σ_f S'_f (g_i v_j + g_j v_i)_f to out_p, S' the filter of ``slopes``."""
    for p in range(pair_atoms.shape[1]):
        i, j, m = pair_atoms[0, p], pair_atoms[1, p], first[p]
        x0, x1, x2 = slopes[p, 0], slopes[p, 1], slopes[p, 2]
        x3, x4, x5 = slopes[p, 3], slopes[p, 4], slopes[p, 5]
        total = x0 - x0
        for f in range(values.shape[1]):
            slope = (
                (x0 * table[m, f] + x1 * table[m + 1, f])
                + (x2 * table[m + 2, f] + x3 * table[m + 3, f])
                + (x4 * table[m + 4, f] + x5 * table[m + 5, f])
            )
            total += slope * (gradient[i, f] * values[j, f] + gradient[j, f] * values[i, f])
        out[p] += total


@compiled(sums=True)
def add_messages_and_slopes(
    gradient: Array,
    values: Array,
    table: Array,
    weights: Array,
    slopes: Array,
    first: Array,
    pair_atoms: Array,
    to_values: Array,
    out: Array,
) -> None:
    """`add_slopes` to ``out``, and g_j S to to_values_i and g_i S to to_values_j, S the filter of ``weights``."""
    n_features = values.shape[1]
    s = np.empty(n_features, dtype=values.dtype)
    for p in range(pair_atoms.shape[1]):
        i, j, m = pair_atoms[0, p], pair_atoms[1, p], first[p]
        w0, w1, w2 = weights[p, 0], weights[p, 1], weights[p, 2]
        w3, w4, w5 = weights[p, 3], weights[p, 4], weights[p, 5]
        x0, x1, x2 = slopes[p, 0], slopes[p, 1], slopes[p, 2]
        x3, x4, x5 = slopes[p, 3], slopes[p, 4], slopes[p, 5]
        total = x0 - x0
        for f in range(n_features):
            c0, c1, c2 = table[m, f], table[m + 1, f], table[m + 2, f]
            c3, c4, c5 = table[m + 3, f], table[m + 4, f], table[m + 5, f]
            s[f] = (w0 * c0 + w1 * c1) + (w2 * c2 + w3 * c3) + (w4 * c4 + w5 * c5)
            slope = (x0 * c0 + x1 * c1) + (x2 * c2 + x3 * c3) + (x4 * c4 + x5 * c5)
            total += slope * (gradient[i, f] * values[j, f] + gradient[j, f] * values[i, f])
        out[p] += total
        for f in range(n_features):
            to_values[i, f] += gradient[j, f] * s[f]
        for f in range(n_features):
            to_values[j, f] += gradient[i, f] * s[f]


@compiled()
def write_edge_gradients(slopes: Array, scale: float, directions: Array, edges: Array, out: Array) -> None:
    """Write s ∂y/∂r r/|r| of every pair to the row of its edge."""
    for p in range(len(slopes)):
        for a in range(3):
            out[edges[p], a] = scale * slopes[p] * directions[p, a]


@compiled()
def add_to_edges(gradients: Array, edges: Array, out: Array) -> None:
    """Add the row of every pair to the row of its edge."""
    for p in range(len(edges)):
        for a in range(3):
            out[edges[p], a] += gradients[p, a]


@compiled()
def shortest_distance(
    positions: Array, cell: Array, edge_index: Array, edge_shifts: Array, edge_of_pair: Array
) -> float:
    """Of all pairs of one structure; infinity without pairs."""
    shortest, vector = np.inf, np.empty((1, 3))
    for edge in edge_of_pair:
        square = write_edge_vector(positions, cell, 0, edge_index, edge_shifts, edge, vector, 0)
        shortest = min(shortest, square)
    return sqrt(shortest)
