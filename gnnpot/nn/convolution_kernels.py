"""CPU kernels of `gnnpot.nn.convolution`: one pass over the pairs of atoms, no array of filters ever written.

Throughout, a pair p = {i, j} = ``pair_atoms[:, p]`` takes the rows ``first[p]`` to ``first[p] + 5`` of a table c of
spline coefficients; S_w = Σ_k w_pk c_{first+k} is its filter.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def add_messages(values: Array, table: Array, weights: Array, first: Array, pair_atoms: Array, out: Array) -> None:
    """Add v_j S_w to out_i and v_i S_w to out_j."""
    n_features = values.shape[1]
    s = np.empty(n_features, dtype=values.dtype)
    for p in range(pair_atoms.shape[1]):
        i, j, m = pair_atoms[0, p], pair_atoms[1, p], first[p]
        interpolate(table, weights, p, m, s)
        for f in range(n_features):
            out[i, f] += values[j, f] * s[f]
        for f in range(n_features):
            out[j, f] += values[i, f] * s[f]


@compiled(sums=True, inline=True)
def interpolate(table: Array, weights: Array, p: int, m: int, s: Array) -> None:
    """Write the filter of pair p, whose first coefficient is m."""
    w0, w1, w2 = weights[p, 0], weights[p, 1], weights[p, 2]
    w3, w4, w5 = weights[p, 3], weights[p, 4], weights[p, 5]
    for f in range(s.shape[0]):
        s[f] = (
            (w0 * table[m, f] + w1 * table[m + 1, f])
            + (w2 * table[m + 2, f] + w3 * table[m + 3, f])
            + (w4 * table[m + 4, f] + w5 * table[m + 5, f])
        )


@compiled(sums=True)
def _project(product: Array, table: Array, p: int, m: int, out: Array) -> None:
    """Write Σ_f product_f c_{m+k,f} to out_pk."""
    zero = product[0] - product[0]
    a0, a1, a2, a3, a4, a5 = zero, zero, zero, zero, zero, zero
    for f in range(product.shape[0]):
        x = product[f]
        a0 += x * table[m, f]
        a1 += x * table[m + 1, f]
        a2 += x * table[m + 2, f]
        a3 += x * table[m + 3, f]
        a4 += x * table[m + 4, f]
        a5 += x * table[m + 5, f]
    out[p, 0], out[p, 1], out[p, 2], out[p, 3], out[p, 4], out[p, 5] = a0, a1, a2, a3, a4, a5


@compiled()
def _spread(product: Array, weights: Array, p: int, m: int, out: Array) -> None:
    """Add w_pk product_f to out_{m+k,f}."""
    for k in range(6):
        w = weights[p, k]
        for f in range(product.shape[0]):
            out[m + k, f] += w * product[f]


@compiled()
def _multiply(left: Array, right: Array, i: int, j: int, out: Array) -> None:
    """Write l_i r_j + l_j r_i to out."""
    for f in range(out.shape[0]):
        out[f] = left[i, f] * right[j, f] + left[j, f] * right[i, f]


@compiled()
def write_projections(left: Array, right: Array, table: Array, first: Array, pair_atoms: Array, out: Array) -> None:
    """Write Σ_f (l_i r_j + l_j r_i)_f c_{first+k,f} to out_pk."""
    product = np.empty(left.shape[1], dtype=left.dtype)
    for p in range(pair_atoms.shape[1]):
        _multiply(left, right, pair_atoms[0, p], pair_atoms[1, p], product)
        _project(product, table, p, first[p], out)


@compiled()
def add_to_table(left: Array, right: Array, weights: Array, first: Array, pair_atoms: Array, out: Array) -> None:
    """Add w_pk (l_i r_j + l_j r_i) to out_{first+k}."""
    product = np.empty(left.shape[1], dtype=left.dtype)
    for p in range(pair_atoms.shape[1]):
        _multiply(left, right, pair_atoms[0, p], pair_atoms[1, p], product)
        _spread(product, weights, p, first[p], out)


@compiled()
def add_gradients(
    gradient: Array,
    values: Array,
    table: Array,
    weights: Array,
    first: Array,
    pair_atoms: Array,
    to_values: Array,
    to_weights: Array,
) -> None:
    """`add_messages` of the gradient to ``to_values``, `write_projections` of gradient and values to ``to_weights``."""
    n_features = values.shape[1]
    s = np.empty(n_features, dtype=values.dtype)
    product = np.empty(n_features, dtype=values.dtype)
    for p in range(pair_atoms.shape[1]):
        i, j, m = pair_atoms[0, p], pair_atoms[1, p], first[p]
        interpolate(table, weights, p, m, s)
        for f in range(n_features):
            to_values[i, f] += gradient[j, f] * s[f]
        for f in range(n_features):
            to_values[j, f] += gradient[i, f] * s[f]
        _multiply(gradient, values, i, j, product)
        _project(product, table, p, m, to_weights)


@compiled()
def add_second_gradients(
    gradient: Array,
    values: Array,
    of_values: Array,
    of_weights: Array,
    table: Array,
    weights: Array,
    first: Array,
    pair_atoms: Array,
    to_gradient: Array,
    to_values: Array,
    to_table: Array,
) -> None:
    """Derivatives of `add_gradients`, contracted with ``of_values`` V and ``of_weights`` w' (S' the filter of w').

    g, v: gradient and values. To g: V_j S + v_j S'; to v: g_j S'; to c: w (g_i V_j + g_j V_i) + w' (g_i v_j + g_j v_i).
    """
    n_features = values.shape[1]
    s = np.empty(n_features, dtype=values.dtype)
    t = np.empty(n_features, dtype=values.dtype)
    for p in range(pair_atoms.shape[1]):
        i, j, m = pair_atoms[0, p], pair_atoms[1, p], first[p]
        interpolate(table, weights, p, m, s)
        interpolate(table, of_weights, p, m, t)
        for f in range(n_features):
            to_gradient[i, f] += of_values[j, f] * s[f] + values[j, f] * t[f]
        for f in range(n_features):
            to_gradient[j, f] += of_values[i, f] * s[f] + values[i, f] * t[f]
        for f in range(n_features):
            to_values[i, f] += gradient[j, f] * t[f]
        for f in range(n_features):
            to_values[j, f] += gradient[i, f] * t[f]
        _multiply(gradient, of_values, i, j, s)
        _multiply(gradient, values, i, j, t)
        for k in range(6):
            w, w_prime = weights[p, k], of_weights[p, k]
            for f in range(n_features):
                to_table[m + k, f] += w * s[f] + w_prime * t[f]
