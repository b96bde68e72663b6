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


@compiled()
def with_products(directions: Array) -> Array:
    """x, y, z, xx, yy, zz, yz, xz, xy of every direction, ``(n_pairs, 9)``: three odd functions, six even."""
    out = np.empty((len(directions), 9), directions.dtype)
    for p in range(len(directions)):
        x, y, z = directions[p, 0], directions[p, 1], directions[p, 2]
        out[p, 0], out[p, 1], out[p, 2] = x, y, z
        out[p, 3], out[p, 4], out[p, 5] = x * x, y * y, z * z
        out[p, 6], out[p, 7], out[p, 8] = y * z, x * z, x * y
    return out


@compiled(sums=True)
def add_moments(
    values: Array,
    table: Array,
    weights: Array,
    first: Array,
    harmonics: Array,
    n_odd: int,
    pair_atoms: Array,
    out: Array,
) -> None:
    """Add S v_j Y to out_i and ± S v_i Y to out_j, ``out`` ``(n_atoms, n_m, n_channels)``; the first Y are odd."""
    s = np.empty(values.shape[1], dtype=values.dtype)
    at_i, at_j = np.empty(s.shape, s.dtype), np.empty(s.shape, s.dtype)
    for p in range(pair_atoms.shape[1]):
        i, j = pair_atoms[0, p], pair_atoms[1, p]
        interpolate(table, weights, p, first[p], s)
        for c in range(len(s)):
            at_i[c], at_j[c] = s[c] * values[j, c], s[c] * values[i, c]
        for m in range(harmonics.shape[1]):
            y = harmonics[p, m]
            for c in range(len(s)):
                out[i, m, c] += y * at_i[c]
            y = -y if m < n_odd else y
            for c in range(len(s)):
                out[j, m, c] += y * at_j[c]


@compiled(sums=True)
def add_moment_gradients(
    gradient: Array,
    values: Array,
    table: Array,
    weights: Array,
    slopes: Array,
    first: Array,
    harmonics: Array,
    distances: Array,
    pair_atoms: Array,
    to_values: Array,
    to_vectors: Array,
) -> None:
    """The way back of `add_moments` with Y = `with_products`: add to ∂y/∂v, write ∂y/∂r_ij ``(n_pairs, 3)``.

    ``slopes``: derivatives of ``weights`` by the distance.
    """
    n_channels, dtype = values.shape[1], values.dtype
    s, message, to_harmonics = np.empty(n_channels, dtype), np.empty(n_channels, dtype), np.empty(9, dtype)
    at_i, at_j = np.empty(n_channels, dtype), np.empty(n_channels, dtype)
    one = np.ones(1, dtype)[0]
    for p in range(pair_atoms.shape[1]):
        i, j = pair_atoms[0, p], pair_atoms[1, p]
        interpolate(table, weights, p, first[p], s)
        to_harmonics[:] = 0
        for c in range(n_channels):
            message[c] = s[c] * values[j, c]
        _project(gradient, i, message, harmonics, p, one, to_harmonics, at_i)
        for c in range(n_channels):
            message[c] = s[c] * values[i, c]
        _project(gradient, j, message, harmonics, p, -one, to_harmonics, at_j)
        for c in range(n_channels):
            to_values[j, c] += s[c] * at_i[c]
        for c in range(n_channels):
            to_values[i, c] += s[c] * at_j[c]
        interpolate(table, slopes, p, first[p], s)
        slope = one - one
        for c in range(n_channels):
            slope += s[c] * (values[j, c] * at_i[c] + values[i, c] * at_j[c])
        _write_by_vector(harmonics, p, to_harmonics, slope, distances[p], to_vectors)


@compiled(sums=True, inline=True)
def _project(
    gradient: Array, i: int, message: Array, harmonics: Array, p: int, sign: float, to_harmonics: Array, out: Array
) -> None:
    """Add Σ_c m_c (±G_imc) to ∂y/∂Y_m, and write Σ_m ±Y_m G_imc; the sign is that of the three odd Y.

    All nine in one pass: a loop for each would read and add up as many rows of its own.
    """
    x, y, z = sign * harmonics[p, 0], sign * harmonics[p, 1], sign * harmonics[p, 2]
    xx, yy, zz = harmonics[p, 3], harmonics[p, 4], harmonics[p, 5]
    yz, xz, xy = harmonics[p, 6], harmonics[p, 7], harmonics[p, 8]
    zero = x - x
    b0, b1, b2, b3, b4, b5, b6, b7, b8 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    for c in range(len(message)):
        f = message[c]
        g0, g1, g2 = gradient[i, 0, c], gradient[i, 1, c], gradient[i, 2, c]
        g3, g4, g5 = gradient[i, 3, c], gradient[i, 4, c], gradient[i, 5, c]
        g6, g7, g8 = gradient[i, 6, c], gradient[i, 7, c], gradient[i, 8, c]
        b0 += f * g0
        b1 += f * g1
        b2 += f * g2
        b3 += f * g3
        b4 += f * g4
        b5 += f * g5
        b6 += f * g6
        b7 += f * g7
        b8 += f * g8
        out[c] = (x * g0 + y * g1 + z * g2) + (xx * g3 + yy * g4 + zz * g5) + (yz * g6 + xz * g7 + xy * g8)
    to_harmonics[0] += sign * b0
    to_harmonics[1] += sign * b1
    to_harmonics[2] += sign * b2
    to_harmonics[3] += b3
    to_harmonics[4] += b4
    to_harmonics[5] += b5
    to_harmonics[6] += b6
    to_harmonics[7] += b7
    to_harmonics[8] += b8


@compiled(inline=True)
def _write_by_vector(harmonics: Array, p: int, to_harmonics: Array, slope: float, distance: float, out: Array) -> None:
    """∂/∂r_ij of a pair from ∂/∂Y and ∂/∂r."""
    x, y, z = harmonics[p, 0], harmonics[p, 1], harmonics[p, 2]
    xx, yy, zz = 2 * to_harmonics[3], 2 * to_harmonics[4], 2 * to_harmonics[5]
    yz, xz, xy = to_harmonics[6], to_harmonics[7], to_harmonics[8]
    a = to_harmonics[0] + xx * x + xy * y + xz * z
    b = to_harmonics[1] + xy * x + yy * y + yz * z
    c = to_harmonics[2] + xz * x + yz * y + zz * z
    along = x * a + y * b + z * c
    out[p, 0] = slope * x + (a - along * x) / distance
    out[p, 1] = slope * y + (b - along * y) / distance
    out[p, 2] = slope * z + (c - along * z) / distance
