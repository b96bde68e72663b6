"""CPU kernels for the moments of `gnnpot.nn.moments` and the way back of the vectors, where nothing is trained.

M_i = Σ_j S(r_ij) ⊙ v_j ⊗ Y(r̂_ij) over undirected pairs: Y(r̂_ji) = ±Y(r̂_ij), and both edges have the same filter S, a
spline (`gnnpot.nn.splines`) with coefficients in ``table`` and weights that depend on the distance.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.nn.convolution_kernels import interpolate

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def write_products(directions: Array, coefficients: Array, out: Array) -> None:
    """Write Σ_ab d_a d_b q_abm of every pair to out_pm, q ``(3, 3, n_m)``: functions of the second degree."""
    for p in range(len(directions)):
        for m in range(coefficients.shape[2]):
            total = 0.0
            for a in range(3):
                for b in range(3):
                    total += directions[p, a] * directions[p, b] * coefficients[a, b, m]
            out[p, m] = total


@compiled(sums=True)
def add_moments(
    values: Array,
    table: Array,
    weights: Array,
    first: Array,
    harmonics: Array,
    sign: int,
    pair_atoms: Array,
    out: Array,
) -> None:
    """Add S v_j Y to out_i and ± S v_i Y to out_j, ``out`` ``(n_atoms, n_m, n_channels)``."""
    s = np.empty(values.shape[1], dtype=values.dtype)
    for p in range(pair_atoms.shape[1]):
        i, j = pair_atoms[0, p], pair_atoms[1, p]
        interpolate(table, weights, p, first[p], s)
        for m in range(harmonics.shape[1]):
            y = harmonics[p, m]
            for c in range(len(s)):
                out[i, m, c] += y * s[c] * values[j, c]
            y = y if sign > 0 else -y
            for c in range(len(s)):
                out[j, m, c] += y * s[c] * values[i, c]


@compiled(sums=True)
def add_vector_gradients(
    gradient: Array,
    values: Array,
    table: Array,
    weights: Array,
    slopes: Array,
    first: Array,
    distances: Array,
    directions: Array,
    pair_atoms: Array,
    to_values: Array,
    to_vectors: Array,
) -> None:
    """The way back of `add_moments` with Y = r̂: add to ∂y/∂v, write ∂y/∂r_ij ``(n_pairs, 3)``.

    ``slopes``: derivatives of ``weights`` by the distance.
    """
    s = np.empty(values.shape[1], dtype=values.dtype)
    for p in range(pair_atoms.shape[1]):
        i, j, m = pair_atoms[0, p], pair_atoms[1, p], first[p]
        d0, d1, d2 = directions[p, 0], directions[p, 1], directions[p, 2]
        x0, x1, x2 = slopes[p, 0], slopes[p, 1], slopes[p, 2]
        x3, x4, x5 = slopes[p, 3], slopes[p, 4], slopes[p, 5]
        interpolate(table, weights, p, m, s)
        slope, b0, b1, b2 = d0 - d0, d0 - d0, d0 - d0, d0 - d0
        for c in range(len(s)):
            s_slope = (
                (x0 * table[m, c] + x1 * table[m + 1, c])
                + (x2 * table[m + 2, c] + x3 * table[m + 3, c])
                + (x4 * table[m + 4, c] + x5 * table[m + 5, c])
            )
            y0 = values[j, c] * gradient[i, 0, c] - values[i, c] * gradient[j, 0, c]
            y1 = values[j, c] * gradient[i, 1, c] - values[i, c] * gradient[j, 1, c]
            y2 = values[j, c] * gradient[i, 2, c] - values[i, c] * gradient[j, 2, c]
            slope += s_slope * (d0 * y0 + d1 * y1 + d2 * y2)
            b0 += s[c] * y0
            b1 += s[c] * y1
            b2 += s[c] * y2
        for c in range(len(s)):
            to_values[j, c] += s[c] * (d0 * gradient[i, 0, c] + d1 * gradient[i, 1, c] + d2 * gradient[i, 2, c])
        for c in range(len(s)):
            to_values[i, c] -= s[c] * (d0 * gradient[j, 0, c] + d1 * gradient[j, 1, c] + d2 * gradient[j, 2, c])
        along, r = d0 * b0 + d1 * b1 + d2 * b2, distances[p]
        to_vectors[p, 0] = slope * d0 + (b0 - along * d0) / r
        to_vectors[p, 1] = slope * d1 + (b1 - along * d1) / r
        to_vectors[p, 2] = slope * d2 + (b2 - along * d2) / r
