"""Born charges from the moments of the neighborhoods, for a CPU and where nothing is trained.

With features x_i, vectors V_i and tensors D_i (`gnnpot.nn.moments`), rows multiplied from the right, l = 0, 1, 2:

    n_i = (Σ_m V_im², Σ_m D_im²),   g_i = silu(x_i G_x + n_i G_n + b) G_g + b_g,

    x_il = Σ_c g_lc [(V_i A_l)_c ⊗ V_ic]_l + Σ_c g'_lc [(D_i B_l)_c ⊗ D_ic]_l and besides

    Σ_c g''_c D_ic in x_i2, g''' in x_i0.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.nn.gate_kernels import apply_silu
from gnnpot.nn.products import write_product

Array: TypeAlias = npt.NDArray[Any]

FIRST = (0, 1, 4)
"""Where the components of l = 0, 1, 2 begin."""
N_COMPONENTS = 9


class BornArrays(NamedTuple):
    """Weights of a Born tensor head with C channels on F features."""

    mixed_vectors: Array
    """A_0, A_1, A_2 beside each other ``(C, 3 C)``."""
    mixed_tensors: Array
    """B_0, B_1, B_2."""
    of_features: Array
    """G_x ``(F, n_hidden)``."""
    of_squares: Array
    """G_n ``(2 C, n_hidden)``."""
    hidden_bias: Array
    gates: Array
    """G_g ``(n_hidden, 7 C + 1)``: g''' first, then g_0, g'_0, g_1, g'_1, g_2, g'_2, g''."""
    gates_bias: Array
    vector_products: Array
    """[⊗] of two vectors ``(9, 9)``: products of components by components of l = 0, 1, 2."""
    tensor_products: Array
    """[⊗] of two tensors ``(25, 9)``."""


@compiled()
def irreducible_parts(head: BornArrays, features: Array, vectors: Array, tensors: Array) -> Array:
    """x_i0, x_i1, x_i2 of every atom ``(n_atoms, 9)``, float64; V ``(n_atoms, 3, C)``, D ``(n_atoms, 5, C)``."""
    n_channels = vectors.shape[2]
    gates = _gates(head, features, vectors, tensors)
    out = np.zeros((len(features), N_COMPONENTS), np.float64)
    _add_products(vectors, head.mixed_vectors, gates, 1, head.vector_products, out)
    _add_products(tensors, head.mixed_tensors, gates, 1 + n_channels, head.tensor_products, out)
    _add_linear(tensors, gates, out)
    return out


@compiled()
def scaled_with_sum_rule(
    parts: Array, products: Array, scale: float, means: Array, types: Array, charges: Array, batch: Array
) -> Array:
    """Z_i = ⟨Z⟩ 1 + s Σ_l Q_l x_il less an equal share of ΣZ - Q·1, ``(n_atoms, 3, 3)``.

    ``products``: those of two vectors, whose transpose leads back; ⟨Z⟩ by type, Q by structure.
    """
    born = np.empty((len(parts), 3, 3), np.float64)
    excess, sizes = np.zeros((len(charges), 3, 3), np.float64), np.zeros(len(charges), np.float64)
    for i in range(len(parts)):
        structure = batch[i]
        sizes[structure] += 1.0
        for a in range(3):
            for b in range(3):
                total = 0.0
                for component in range(N_COMPONENTS):
                    total += parts[i, component] * products[3 * a + b, component]
                born[i, a, b] = scale * total + (means[types[i]] if a == b else 0.0)
                excess[structure, a, b] += born[i, a, b]
    for structure in range(len(charges)):
        for a in range(3):
            excess[structure, a, a] -= charges[structure]
    for i in range(len(parts)):
        for a in range(3):
            for b in range(3):
                born[i, a, b] -= excess[batch[i], a, b] / sizes[batch[i]]
    return born


@compiled()
def _gates(head: BornArrays, features: Array, vectors: Array, tensors: Array) -> Array:
    n_atoms, _, n_channels = vectors.shape
    squares = np.zeros((n_atoms, 2 * n_channels), features.dtype)
    _add_squares(vectors, 0, squares)
    _add_squares(tensors, n_channels, squares)
    shape = (n_atoms, len(head.hidden_bias))
    hidden, other = np.empty(shape, features.dtype), np.empty(shape, features.dtype)
    write_product(features, head.of_features, hidden)
    write_product(squares, head.of_squares, other)
    hidden += other
    hidden += head.hidden_bias
    apply_silu(hidden, other)
    gates = np.empty((n_atoms, len(head.gates_bias)), features.dtype)
    write_product(hidden, head.gates, gates)
    gates += head.gates_bias
    return gates


@compiled()
def _add_squares(moments: Array, start: int, out: Array) -> None:
    for i in range(moments.shape[0]):
        for m in range(moments.shape[1]):
            for c in range(moments.shape[2]):
                out[i, start + c] += moments[i, m, c] * moments[i, m, c]


@compiled()
def _add_products(moments: Array, mixing: Array, gates: Array, start: int, products: Array, out: Array) -> None:
    """Add Σ_c g_lc [(M A_l)_c ⊗ M_c]_l of all l; the gates of l begin at ``start`` + 2 l C."""
    n_atoms, n_m, n_channels = moments.shape
    mixed = np.empty((n_atoms * n_m, mixing.shape[1]), moments.dtype)
    write_product(moments.reshape(n_atoms * n_m, n_channels), mixing, mixed)
    left = np.empty((n_m, n_channels), moments.dtype)
    for i in range(n_atoms):
        for rank in range(3):
            gate = start + 2 * rank * n_channels
            for m in range(n_m):
                for c in range(n_channels):
                    left[m, c] = mixed[i * n_m + m, rank * n_channels + c] * gates[i, gate + c]
            for m in range(n_m):
                for k in range(n_m):
                    value = np.float64(_dot(left[m], moments[i, k]))
                    for component in range(FIRST[rank], FIRST[rank] + 2 * rank + 1):
                        out[i, component] += value * products[m * n_m + k, component]


@compiled(sums=True)
def _dot(left: Array, right: Array) -> float:
    total = left[0] * right[0]
    for c in range(1, len(left)):
        total += left[c] * right[c]
    return total


@compiled()
def _add_linear(tensors: Array, gates: Array, out: Array) -> None:
    """Add g''' to l = 0 and Σ_c g''_c D_c to l = 2."""
    n_channels = tensors.shape[2]
    last = gates.shape[1] - n_channels
    for i in range(len(out)):
        out[i, 0] += gates[i, 0]
        for m in range(tensors.shape[1]):
            out[i, FIRST[2] + m] += np.float64(_dot(gates[i, last:], tensors[i, m]))
