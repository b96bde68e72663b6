"""Dipoles of the atoms of a polarization head and their way back by hand, for a CPU and where nothing is trained.

With features x_i, vectors V_i and tensors D_i of the neighborhood (`gnnpot.nn.moments`), rows times matrices:

    X_ia = (V_ia, W_ia),   W_ia = Σ_b D_iab ⊙ (V_ib M),   n_i = ⅓ Σ_a X_ia L ⊙ X_ia R,

    g_i = silu(x_i G_x + n_i G_n + b) G_g + b_g,   μ_ia = Σ_c (g_i ⊙ X_ia)_c.

The way back is that of Σ_i e_i·μ_i.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.nn.gate_kernels import apply_silu
from gnnpot.nn.moment_kernels import add_moment_gradients, add_moments, with_products
from gnnpot.nn.products import write_product

Array: TypeAlias = npt.NDArray[Any]


PLACES = ((3, 8, 7), (8, 4, 6), (7, 6, 5))
"""Of the components of D in `with_products`."""


class PolarizationArrays(NamedTuple):
    """Weights of a polarization head with C channels, K vectors X, on F features; ``_back``: transposed."""

    filters: Array
    """Spline coefficients ``(n_coefficients, C)``."""
    values: Array
    """B ``(F, C)``, and its bias."""
    values_bias: Array
    values_back: Array
    turned: Array
    """M ``(C, C)``; ``(C, 0)`` where there are no tensors."""
    turned_back: Array
    mixed: Array
    """L/3 and R ``(K, 2 K)``."""
    mixed_back: Array
    of_features: Array
    """G_x ``(F, n_hidden)``."""
    of_features_back: Array
    of_invariants: Array
    """G_n ``(K, n_hidden)``."""
    of_invariants_back: Array
    hidden_bias: Array
    gates: Array
    """G_g ``(n_hidden, K)``."""
    gates_back: Array
    gates_bias: Array


def polarization_and_gradients(
    head: PolarizationArrays,
    scale: float,
    features: Array,
    charges: Array,
    positions: Array,
    batch: Array,
    field: Array,
    pair_atoms: Array,
    distances: Array,
    directions: Array,
    first: Array,
    weights: Array,
    slopes: Array,
) -> tuple[Array, Array, Array]:
    """P = Σ_i q_i r_i + s Σ_i μ_i of every structure; of -E·s Σ_i μ_i, ∂/∂x and ∂/∂r_ij ``(n_pairs, 3)``.

    Loops over the pairs are called from here: written into one another they are slower.
    """
    harmonics = with_products(directions)
    values = _values(head, features)
    moments = np.zeros((len(features), harmonics.shape[1], values.shape[1]), features.dtype)
    add_moments(values, head.filters, weights, first, harmonics, 3, pair_atoms, moments)
    dipoles, by_moments, by_features = _of_atoms(head, scale, features, moments, batch, field)
    by_values, by_vectors = np.zeros(values.shape, features.dtype), np.empty(directions.shape, features.dtype)
    add_moment_gradients(
        by_moments, values, head.filters, weights, slopes, first, harmonics, distances, pair_atoms,
        by_values, by_vectors,
    )  # fmt: skip
    polarization = _summed(scale, dipoles, charges, positions, batch, field)
    return polarization, _with_back(by_values, head.values_back, by_features), by_vectors


@compiled()
def _values(head: PolarizationArrays, features: Array) -> Array:
    """What every atom tells its neighbors, B x + b ``(n_atoms, C)``."""
    values = np.empty((len(features), len(head.values_bias)), features.dtype)
    write_product(features, head.values, values)
    values += head.values_bias
    return values


@compiled()
def _of_atoms(
    head: PolarizationArrays, scale: float, features: Array, moments: Array, batch: Array, field: Array
) -> tuple[Array, Array, Array]:
    """μ, and of -E·s Σ_i μ_i, ∂/∂(V, D) and, as far as no moments change, ∂/∂x."""
    e = np.empty((len(features), 3), features.dtype)
    for i in range(len(e)):
        for a in range(3):
            e[i, a] = -scale * field[batch[i], a]
    own, turned = _own_vectors(head, moments)
    dipoles, by_own, by_features = _through_gates(head, features, own, e)
    return dipoles, _back_to_moments(head, moments, turned, by_own), by_features


@compiled()
def _summed(scale: float, dipoles: Array, charges: Array, positions: Array, batch: Array, field: Array) -> Array:
    """P of every structure, float64."""
    polarization = np.zeros(field.shape, np.float64)
    for i in range(len(dipoles)):
        for a in range(3):
            polarization[batch[i], a] += charges[i] * np.float64(positions[i, a]) + scale * np.float64(dipoles[i, a])
    return polarization


@compiled()
def _with_back(by_values: Array, back: Array, by_features: Array) -> Array:
    """∂/∂x, what comes through the values added."""
    product = np.empty(by_features.shape, by_features.dtype)
    write_product(by_values, back, product)
    by_features += product
    return by_features


@compiled()
def _own_vectors(head: PolarizationArrays, moments: Array) -> tuple[Array, Array]:
    """X ``(n_atoms, 3, K)``, and V M ``(n_atoms, 3, C)``; moments are V and D in the order of `with_products`."""
    n_atoms, n_channels, n_turned = len(moments), moments.shape[2], head.turned.shape[1]
    own = np.empty((n_atoms, 3, n_channels + n_turned), moments.dtype)
    turned = np.empty((n_atoms, 3, n_turned), moments.dtype)
    firsts = np.ascontiguousarray(moments[:, :3]).reshape(3 * n_atoms, n_channels)
    own[:, :, :n_channels] = moments[:, :3]
    if n_turned == 0:
        return own, turned
    write_product(firsts, head.turned, turned.reshape(3 * n_atoms, n_turned))
    for i in range(n_atoms):
        for a in range(3):
            x, y, z = PLACES[a][0], PLACES[a][1], PLACES[a][2]
            for c in range(n_turned):
                own[i, a, n_channels + c] = (
                    moments[i, x, c] * turned[i, 0, c]
                    + moments[i, y, c] * turned[i, 1, c]
                    + moments[i, z, c] * turned[i, 2, c]
                )
    return own, turned


@compiled()
def _back_to_moments(head: PolarizationArrays, moments: Array, turned: Array, by_own: Array) -> Array:
    """∂/∂(V, D) from ∂/∂X."""
    n_atoms, n_channels, n_turned = len(moments), moments.shape[2], turned.shape[2]
    out = np.zeros(moments.shape, moments.dtype)
    out[:, :3] = by_own[:, :, :n_channels]
    if n_turned == 0:
        return out
    by_turned, product = np.zeros(turned.shape, moments.dtype), np.empty((3 * n_atoms, n_channels), moments.dtype)
    for i in range(n_atoms):
        for a in range(3):
            for b in range(3):
                place = PLACES[a][b]
                for c in range(n_turned):
                    by_turned[i, b, c] += moments[i, place, c] * by_own[i, a, n_channels + c]
                for c in range(n_turned):
                    out[i, place, c] += turned[i, b, c] * by_own[i, a, n_channels + c]
    write_product(by_turned.reshape(3 * n_atoms, n_turned), head.turned_back, product)
    out[:, :3] += product.reshape((n_atoms, 3, n_channels))
    return out


@compiled()
def _through_gates(head: PolarizationArrays, features: Array, moments: Array, e: Array) -> tuple[Array, Array, Array]:
    """μ, and ∂(Σ_i e_i·μ_i)/∂V ``(n_atoms, 3, C)`` and /∂x ``(n_atoms, F)``."""
    n_atoms, _, n_channels = moments.shape
    dtype = features.dtype
    mixed = np.empty((3 * n_atoms, 2 * n_channels), dtype)
    write_product(moments.reshape(3 * n_atoms, n_channels), head.mixed, mixed)
    invariants = np.zeros((n_atoms, n_channels), dtype)
    for row in range(3 * n_atoms):
        for c in range(n_channels):
            invariants[row // 3, c] += mixed[row, c] * mixed[row, n_channels + c]
    hidden, product = (
        np.empty((n_atoms, len(head.hidden_bias)), dtype),
        np.empty((n_atoms, len(head.hidden_bias)), dtype),
    )
    write_product(features, head.of_features, hidden)
    write_product(invariants, head.of_invariants, product)
    hidden += product
    hidden += head.hidden_bias
    hidden_slopes = np.empty(hidden.shape, dtype)
    apply_silu(hidden, hidden_slopes)
    gates = np.empty((n_atoms, n_channels), dtype)
    write_product(hidden, head.gates, gates)
    gates += head.gates_bias
    dipoles, by_gates = np.zeros((n_atoms, 3), dtype), np.zeros((n_atoms, n_channels), dtype)
    by_moments = np.empty(moments.shape, dtype)
    _dot_gates(moments, gates, e, dipoles, by_gates, by_moments)
    write_product(by_gates, head.gates_back, hidden)
    hidden *= hidden_slopes
    write_product(hidden, head.of_invariants_back, invariants)
    by_features = np.empty(features.shape, dtype)
    write_product(hidden, head.of_features_back, by_features)
    for row in range(3 * n_atoms):
        for c in range(n_channels):
            left, right, gradient = mixed[row, c], mixed[row, n_channels + c], invariants[row // 3, c]
            mixed[row, c], mixed[row, n_channels + c] = gradient * right, gradient * left
    through = np.empty((3 * n_atoms, n_channels), dtype)
    write_product(mixed, head.mixed_back, through)
    by_moments += through.reshape(moments.shape)
    return dipoles, by_moments, by_features


@compiled(sums=True)
def _dot_gates(moments: Array, gates: Array, e: Array, dipoles: Array, by_gates: Array, by_moments: Array) -> None:
    """Write μ, and ∂/∂g and ∂/∂V as far as μ = Σ_c g ⊙ V goes."""
    for i in range(len(gates)):
        for a in range(3):
            total = gates[i, 0] - gates[i, 0]
            for c in range(gates.shape[1]):
                total += moments[i, a, c] * gates[i, c]
            dipoles[i, a] = total
            for c in range(gates.shape[1]):
                by_moments[i, a, c] = e[i, a] * gates[i, c]
            for c in range(gates.shape[1]):
                by_gates[i, c] += e[i, a] * moments[i, a, c]
