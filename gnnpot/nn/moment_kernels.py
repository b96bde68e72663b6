"""CPU kernels for the vectors of `gnnpot.nn.moments` and their way back, where nothing is trained.

M_i = Σ_j S(r_ij) ⊙ v_j ⊗ r̂_ij over undirected pairs: r̂_ji = -r̂_ij, and both edges have the same filter S.
"""

from math import exp
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def write_basis(
    distances: Array, centers: Array, coefficient: float, cutoff: float, exponent: int, values: Array, slopes: Array
) -> None:
    """Write f_c e_k and, as the last column, f_c of every pair, and their derivatives by the distance.

    f_c is the polynomial envelope of exponent p, e_k(r) = exp(a (r - μ_k)²).
    """
    p, n = exponent, len(centers)
    for pair in range(len(distances)):
        r = distances[pair]
        x = r / cutoff
        power = x ** (p - 1)
        envelope = 1.0 - power * x * (0.5 * (p + 1) * (p + 2) + x * (0.5 * p * (p + 1) * x - p * (p + 2)))
        slope = -0.5 * p * (p + 1) * (p + 2) * power * (1.0 - x) ** 2 / cutoff
        for k in range(n):
            away = r - np.float64(centers[k])
            gaussian = exp(coefficient * away * away)
            values[pair, k] = envelope * gaussian
            slopes[pair, k] = (slope + envelope * 2.0 * coefficient * away) * gaussian
        values[pair, n] = envelope
        slopes[pair, n] = slope


@compiled()
def add_moments(values: Array, filters: Array, directions: Array, pair_atoms: Array, out: Array) -> None:
    """Add S v_j r̂ to out_i and -S v_i r̂ to out_j, ``out`` ``(n_atoms, 3, n_channels)``."""
    for p in range(pair_atoms.shape[1]):
        i, j = pair_atoms[0, p], pair_atoms[1, p]
        for a in range(3):
            d = directions[p, a]
            for c in range(values.shape[1]):
                out[i, a, c] += d * filters[p, c] * values[j, c]
            for c in range(values.shape[1]):
                out[j, a, c] -= d * filters[p, c] * values[i, c]


@compiled(sums=True)
def add_moment_gradients(
    gradient: Array,
    values: Array,
    filters: Array,
    filter_slopes: Array,
    distances: Array,
    directions: Array,
    pair_atoms: Array,
    to_values: Array,
    to_vectors: Array,
) -> None:
    """The way back of `add_moments`: add to ∂y/∂v ``(n_atoms, n_channels)``, write ∂y/∂r_ij ``(n_pairs, 3)``."""
    n_channels = values.shape[1]
    from_i = np.empty(n_channels, dtype=values.dtype)
    from_j = np.empty(n_channels, dtype=values.dtype)
    by_direction = np.empty(3, dtype=values.dtype)
    for p in range(pair_atoms.shape[1]):
        i, j = pair_atoms[0, p], pair_atoms[1, p]
        d0, d1, d2 = directions[p, 0], directions[p, 1], directions[p, 2]
        slope = d0 - d0
        for c in range(n_channels):
            from_i[c] = d0 * gradient[i, 0, c] + d1 * gradient[i, 1, c] + d2 * gradient[i, 2, c]
            from_j[c] = d0 * gradient[j, 0, c] + d1 * gradient[j, 1, c] + d2 * gradient[j, 2, c]
            slope += filter_slopes[p, c] * (values[j, c] * from_i[c] - values[i, c] * from_j[c])
        for c in range(n_channels):
            to_values[j, c] += filters[p, c] * from_i[c]
        for c in range(n_channels):
            to_values[i, c] -= filters[p, c] * from_j[c]
        for a in range(3):
            total = d0 - d0
            for c in range(n_channels):
                total += filters[p, c] * (values[j, c] * gradient[i, a, c] - values[i, c] * gradient[j, a, c])
            by_direction[a] = total
        radial = d0 * by_direction[0] + d1 * by_direction[1] + d2 * by_direction[2]
        for a in range(3):
            rest = (by_direction[a] - radial * directions[p, a]) / distances[p]
            to_vectors[p, a] = slope * directions[p, a] + rest
