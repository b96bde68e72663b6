"""Dipoles of the atoms of a polarization head and their way back by hand, for a CPU and where nothing is trained.

With features x_i and vectors V_i of the neighborhood (`gnnpot.nn.moments`), rows multiplied from the right:

    n_i = ⅓ Σ_a V_ia L ⊙ V_ia R,   g_i = silu(x_i G_x + n_i G_n + b) G_g + b_g,   μ_ia = Σ_c (g_i ⊙ V_ia)_c.

The way back is that of Σ_i e_i·μ_i.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.nn.gate_kernels import apply_silu
from gnnpot.nn.moment_kernels import add_moments, add_vector_gradients
from gnnpot.nn.products import write_product

Array: TypeAlias = npt.NDArray[Any]


class PolarizationArrays(NamedTuple):
    """Weights of a polarization head with C channels on F features; ``_back``: transposed."""

    filters: Array
    """Spline coefficients ``(n_coefficients, C)``."""
    values: Array
    """B ``(F, C)``, and its bias."""
    values_bias: Array
    values_back: Array
    mixed: Array
    """L/3 and R ``(C, 2 C)``."""
    mixed_back: Array
    of_features: Array
    """G_x ``(F, n_hidden)``."""
    of_features_back: Array
    of_invariants: Array
    """G_n ``(C, n_hidden)``."""
    of_invariants_back: Array
    hidden_bias: Array
    gates: Array
    """G_g ``(n_hidden, C)``."""
    gates_back: Array
    gates_bias: Array


@compiled()
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
    """P = Σ_i q_i r_i + s Σ_i μ_i of every structure; of -E·s Σ_i μ_i, ∂/∂x and ∂/∂r_ij ``(n_pairs, 3)``."""
    n_atoms, n_channels, dtype = len(features), len(head.gates_bias), features.dtype
    e = np.empty((n_atoms, 3), dtype)
    for i in range(n_atoms):
        for a in range(3):
            e[i, a] = -scale * field[batch[i], a]
    values = np.empty((n_atoms, n_channels), dtype)
    write_product(features, head.values, values)
    values += head.values_bias
    moments = np.zeros((n_atoms, 3, n_channels), dtype)
    add_moments(values, head.filters, weights, first, directions, -1, pair_atoms, moments)
    dipoles, by_moments, by_features = _through_gates(head, features, moments, e)
    polarization = np.zeros(field.shape, np.float64)
    for i in range(n_atoms):
        for a in range(3):
            polarization[batch[i], a] += charges[i] * np.float64(positions[i, a]) + scale * np.float64(dipoles[i, a])
    by_values, by_vectors = np.zeros(values.shape, dtype), np.empty(directions.shape, dtype)
    add_vector_gradients(
        by_moments, values, head.filters, weights, slopes, first, distances, directions, pair_atoms,
        by_values, by_vectors,
    )  # fmt: skip
    product = np.empty(features.shape, dtype)
    write_product(by_values, head.values_back, product)
    by_features += product
    return polarization, by_features, by_vectors


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
