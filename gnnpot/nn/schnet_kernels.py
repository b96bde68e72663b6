"""SchNet's forward pass and its reverse pass by hand, for a CPU and where nothing is trained, as one compiled function.

The features enter every layer linearly, x_i^t = e_i + Σ_{s<t} (W_b^s h_i^s + b_b^s), h the activations inside of the
interactions. So products of weights are made once, and x is never written:

    v_i^t = C^t + Σ_{s<t} h_i^s M^ts,   m_i^t = g^t ⊙ Σ_j v_j^t ⊙ S^t(r_ij),   h_i^t = ssp(m_i^t W_a^t + b_a^t),
    y_i = w · ssp(C + Σ_s h_i^s N^s),

C and g depending on the element alone (rows of atoms are multiplied from the right). Filters S are splines of the
distance.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.nn.activation_kernels import SERIES, write_activation
from gnnpot.nn.convolution_kernels import add_messages
from gnnpot.nn.pair_kernels import add_messages_and_slopes, add_slopes
from gnnpot.nn.products import write_product

Array: TypeAlias = npt.NDArray[Any]


class SchNetArrays(NamedTuple):
    """Products of the weights of a SchNet, for T interactions of F features; ``_back``: transposed."""

    filters: Array
    """Spline coefficients ``(T, n_coefficients, F)``."""
    centers: Array
    """g^t ``(T, n_elements, F)``; ``(0, n_elements, F)``: 1."""
    start: Array
    """C^t ``(T, n_elements, F)``."""
    inward: Array
    """M^ts ``(T, T, F, F)``, used where s < t."""
    inward_back: Array
    outward: Array
    """W_a^t ``(T, F, F)``."""
    outward_back: Array
    bias: Array
    """b_a^t ``(T, F)``."""
    readout_start: Array
    """C ``(n_elements, n_hidden)``."""
    readout: Array
    """N^t ``(T, F, n_hidden)``."""
    readout_back: Array
    features_start: Array
    """x^T without activations ``(n_elements, F)``."""
    features: Array
    """W_b^t ``(T, F, F)``."""
    features_back: Array
    last: Array
    """w ``(n_hidden,)``."""
    isolated: Array
    """y of an isolated atom of each element, ``(n_elements,)``."""
    series: Array
    """Constants of the activation in this precision."""


def constants(dtype: npt.DTypeLike) -> Array:
    """`SchNetArrays.series`."""
    return SERIES.astype(dtype)


@compiled()
def outputs_and_slopes(
    model: SchNetArrays, types: Array, pair_atoms: Array, first: Array, weights: Array, slopes: Array
) -> tuple[Array, Array]:
    """y_i less that of the isolated atom ``(n_atoms,)``, and ∂(Σy)/∂r of every pair ``(n_pairs,)``."""
    values, hidden, gates = pass_forward(model, types, pair_atoms, first, weights)
    outputs, to_readout = _read_out(model, types, hidden)
    nothing = to_readout[:0]
    return outputs, pass_back(model, types, values, gates, to_readout, nothing, pair_atoms, first, weights, slopes)


@compiled()
def features_and_outputs(model: SchNetArrays, types: Array, hidden: Array) -> tuple[Array, Array, Array]:
    """Features ``(n_atoms, F)``, outputs, and ∂(Σy) by what enters the readout's activation, after `pass_forward`."""
    features, product = np.empty(hidden.shape[1:], hidden.dtype), np.empty(hidden.shape[1:], hidden.dtype)
    _take(model.features_start, types, features)
    for t in range(len(hidden)):
        write_product(hidden[t], model.features[t], product)
        _add(product, features)
    outputs, to_readout = _read_out(model, types, hidden)
    return features, outputs, to_readout


@compiled()
def pass_forward(
    model: SchNetArrays, types: Array, pair_atoms: Array, first: Array, weights: Array
) -> tuple[Array, Array, Array]:
    """v^t, h^t and the activation's slopes of all interactions, each ``(T, n_atoms, F)``."""
    n_layers, n_features = model.bias.shape
    shape = (n_layers, len(types), n_features)
    values, hidden, gates = (
        np.empty(shape, weights.dtype),
        np.empty(shape, weights.dtype),
        np.empty(shape, weights.dtype),
    )
    messages, product = np.empty(shape[1:], weights.dtype), np.empty(shape[1:], weights.dtype)
    for t in range(n_layers):
        _take(model.start[t], types, values[t])
        for s in range(t):
            write_product(hidden[s], model.inward[t, s], product)
            _add(product, values[t])
        messages[:] = 0
        add_messages(values[t], model.filters[t], weights, first, pair_atoms, messages)
        _multiply_by_element(model.centers[t : t + 1], types, messages)
        write_product(messages, model.outward[t], product)
        _add_row(model.bias[t], product)
        write_activation(product, model.series, hidden[t], gates[t])
    return values, hidden, gates


@compiled()
def pass_back(
    model: SchNetArrays,
    types: Array,
    values: Array,
    gates: Array,
    to_readout: Array,
    by_features: Array,
    pair_atoms: Array,
    first: Array,
    weights: Array,
    slopes: Array,
) -> Array:
    """∂/∂r of every pair of Σy and of what has the derivatives ``by_features`` by x (no rows: of Σy alone)."""
    n_layers, shape = len(gates), gates.shape[1:]
    product, messages = np.empty(shape, gates.dtype), np.empty(shape, gates.dtype)
    hidden = np.empty(gates.shape, gates.dtype)
    for t in range(n_layers):
        write_product(to_readout, model.readout_back[t], hidden[t])
        if len(by_features) > 0:
            write_product(by_features, model.features_back[t], product)
            _add(product, hidden[t])
    pair_slopes = np.zeros(len(first), weights.dtype)
    for t in range(n_layers - 1, -1, -1):
        _multiply(hidden[t], gates[t])
        write_product(gates[t], model.outward_back[t], product)
        _multiply_by_element(model.centers[t : t + 1], types, product)
        if t == 0:
            add_slopes(product, values[t], model.filters[t], slopes, first, pair_atoms, pair_slopes)
            break
        messages[:] = 0
        add_messages_and_slopes(
            product, values[t], model.filters[t], weights, slopes, first, pair_atoms, messages, pair_slopes
        )
        for s in range(t):
            write_product(messages, model.inward_back[t, s], product)
            _add(product, hidden[s])
    return pair_slopes


@compiled()
def _read_out(model: SchNetArrays, types: Array, hidden: Array) -> tuple[Array, Array]:
    """Outputs, and their derivatives by what enters the readout's activation ``(n_atoms, n_hidden)``."""
    shape = (len(types), len(model.last))
    total, product = np.empty(shape, hidden.dtype), np.empty(shape, hidden.dtype)
    _take(model.readout_start, types, total)
    for t in range(len(hidden)):
        write_product(hidden[t], model.readout[t], product)
        _add(product, total)
    gates = np.empty(shape, hidden.dtype)
    write_activation(total, model.series, product, gates)
    outputs = np.dot(product, model.last)
    for i in range(shape[0]):
        outputs[i] -= model.isolated[types[i]]
        for f in range(shape[1]):
            gates[i, f] *= model.last[f]
    return outputs, gates


@compiled()
def _take(rows: Array, types: Array, out: Array) -> None:
    for i in range(len(types)):
        for f in range(out.shape[1]):
            out[i, f] = rows[types[i], f]


@compiled()
def _add(values: Array, out: Array) -> None:
    for i in range(out.shape[0]):
        for f in range(out.shape[1]):
            out[i, f] += values[i, f]


@compiled()
def _add_row(row: Array, out: Array) -> None:
    for i in range(out.shape[0]):
        for f in range(out.shape[1]):
            out[i, f] += row[f]


@compiled()
def _multiply(values: Array, out: Array) -> None:
    for i in range(out.shape[0]):
        for f in range(out.shape[1]):
            out[i, f] *= values[i, f]


@compiled()
def _multiply_by_element(rows: Array, types: Array, out: Array) -> None:
    """Multiply the features of each atom by those of its element, ``(1, n_elements, F)``, where there are such."""
    if len(rows) == 0:
        return
    for i in range(out.shape[0]):
        for f in range(out.shape[1]):
            out[i, f] *= rows[0, types[i], f]
