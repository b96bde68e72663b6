"""SchNet's energies and forces on a CPU without automatic differentiation: a forward and one reverse pass by hand.

The features enter every layer linearly, x_i^t = e_i + Σ_{s<t} (W_b^s h_i^s + b_b^s), h the activations inside of the
interactions. So products of weights are made once, and x is never written:

    v_i^t = C^t + Σ_{s<t} M^ts h_i^s,   m_i^t = Σ_j v_j^t ⊙ S^t(r_ij),   h_i^t = ssp(W_a^t m_i^t + b_a^t),
    y_i = w · ssp(C + Σ_s N^s h_i^s),

C depending on the element alone. Filters are tables of spline coefficients.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph
from gnnpot.nn.activation_kernels import shifted_softplus_and_slope
from gnnpot.nn.convolution_kernels import add_messages
from gnnpot.nn.layers import ShiftedSoftplus
from gnnpot.nn.pair_kernels import add_messages_and_slopes, add_slopes, near_pairs, write_edge_gradients, write_weights


@dataclass(frozen=True)
class Filters:
    """What the pairs of an evaluation need."""

    cutoff: float
    n_intervals: int
    exponent: int
    """Of the polynomial envelope; 0: cosine."""
    tables: list[Tensor]
    """Spline coefficients of each interaction, ``(n_coefficients, n_features)``."""


@dataclass(frozen=True)
class InteractionTables:
    """Products of weights of one interaction; matrices multiply rows from the right."""

    start: Tensor
    """C^t of every element, ``(n_elements, n_features)``."""
    inward: Tensor
    """M^t of all earlier activations side by side, ``((t-1) n_features, n_features)``."""
    outward: Tensor
    """W_a^t, transposed."""
    bias: Tensor
    """b_a^t."""


@dataclass(frozen=True)
class SchNetTables:
    """All that an evaluation needs of the weights of a SchNet."""

    filters: Filters
    interactions: list[InteractionTables]
    readout_start: Tensor
    """C of every element, ``(n_elements, n_hidden)``."""
    readout: Tensor
    """N of all activations side by side, ``(n_interactions n_features, n_hidden)``."""
    last: Tensor
    """w, ``(n_hidden,)``."""
    isolated: Tensor
    """y of an isolated atom of each element, ``(n_elements,)``."""


def collect_tables(filters: Filters, embedding: Tensor, blocks: Sequence[Any], readout: Iterable[Any]) -> SchNetTables:
    """Multiply out the weights, in double precision.

    Args:
        filters: tables and envelope.
        embedding: features of the elements, ``(n_elements, n_features)``.
        blocks: the interactions, with layers ``inward`` and ``outward``.
        readout: two dense layers around an activation.
    """
    dtype = embedding.dtype
    x = embedding.double()
    into_x = x.new_zeros((0, x.shape[1]))
    interactions = []
    for block in blocks:
        first, _, second = block.outward
        inward = block.inward.weight.double().T
        products = (x @ inward, into_x @ inward, first.weight.T, first.bias)
        interactions.append(InteractionTables(*(product.to(dtype).contiguous() for product in products)))
        into_x = torch.cat([into_x, second.weight.double().T])
        x = x + second.bias.double()
    hidden, _, last = readout
    matrix = hidden.weight.double().T
    start, into_readout, bias = x @ matrix + hidden.bias.double(), into_x @ matrix, [t.bias for t in interactions]
    activation = ShiftedSoftplus()
    silent = torch.cat([activation(b.double()) for b in bias])
    weights = last.weight[0]
    isolated = activation(start + silent @ into_readout) @ weights.double()
    return SchNetTables(
        filters, interactions, start.to(dtype), into_readout.to(dtype).contiguous(), weights, isolated.to(dtype)
    )


def _activated(x: Tensor) -> tuple[Tensor, Tensor]:
    """ssp(x) and its slope."""
    values, slopes = torch.empty_like(x), torch.empty_like(x)
    shifted_softplus_and_slope(x.numpy(), values.numpy(), slopes.numpy())
    return values, slopes


def outputs_and_edge_gradients(tables: SchNetTables, graph: AtomicGraph, types: Tensor) -> tuple[Tensor, Tensor]:
    """y_i less that of the isolated atom ``(n_atoms,)``, and ∂(Σy)/∂r_ij ``(n_edges, 3)``, on one edge of each pair."""
    pairs = _Pairs(tables.filters, graph, tables.last.dtype)
    n_features = tables.interactions[0].bias.shape[0]
    hidden = tables.last.new_empty((len(types), n_features * len(tables.interactions)))
    values, gates = [], []
    for t, block in enumerate(tables.interactions):
        before, now = hidden[:, : t * n_features], hidden[:, t * n_features : (t + 1) * n_features]
        value = block.start.index_select(0, types)
        if t > 0:
            value.addmm_(before, block.inward)
        preactivation = torch.addmm(block.bias, pairs.messages(value, t), block.outward)
        activation, gate = _activated(preactivation)
        now.copy_(activation)
        values.append(value)
        gates.append(gate)
    activation, gate = _activated(tables.readout_start.index_select(0, types).addmm_(hidden, tables.readout))
    outputs = torch.mv(activation, tables.last) - tables.isolated.index_select(0, types)
    to_hidden = torch.mm(gate.mul_(tables.last), tables.readout.T)
    for t in reversed(range(len(tables.interactions))):
        block = tables.interactions[t]
        before, now = to_hidden[:, : t * n_features], to_hidden[:, t * n_features : (t + 1) * n_features]
        gradient = torch.mm(gates[t].mul_(now), block.outward.T)
        if t > 0:
            before.addmm_(pairs.messages_with_slopes(gradient, values[t], t), block.inward.T)
        else:
            pairs.slopes_alone(gradient, values[t], t)
    return outputs, pairs.edge_gradients(graph.n_edges)


class _Pairs:
    """The pairs of a graph that are closer than the cutoff, and ∂(Σy)/∂r of each as it is collected."""

    def __init__(self, filters: Filters, graph: AtomicGraph, dtype: torch.dtype) -> None:
        self.atoms, self.edges, distances, self.directions = near_pairs(
            graph.positions.numpy(),
            graph.cell.numpy(),
            graph.batch.numpy(),
            graph.edge_index.numpy(),
            graph.edge_shifts.numpy(),
            graph.edge_of_pair.numpy(),
            filters.cutoff,
        )
        n = len(distances)
        kind = torch.empty(0, dtype=dtype).numpy().dtype
        self.first = np.empty(n, dtype=np.int64)
        self.weights, self.slopes = np.empty((n, 6), dtype=kind), np.empty((n, 6), dtype=kind)
        write_weights(
            distances, filters.cutoff, filters.n_intervals, filters.exponent, self.first, self.weights, self.slopes
        )
        self.tables = [table.numpy() for table in filters.tables]
        self.gradients = np.zeros(n, dtype=kind)

    def messages(self, values: Tensor, t: int) -> Tensor:
        out = torch.zeros_like(values)
        add_messages(values.numpy(), self.tables[t], self.weights, self.first, self.atoms, out.numpy())
        return out

    def messages_with_slopes(self, gradient: Tensor, values: Tensor, t: int) -> Tensor:
        out = torch.zeros_like(values)
        add_messages_and_slopes(
            gradient.numpy(),
            values.numpy(),
            self.tables[t],
            self.weights,
            self.slopes,
            self.first,
            self.atoms,
            out.numpy(),
            self.gradients,
        )
        return out

    def slopes_alone(self, gradient: Tensor, values: Tensor, t: int) -> None:
        add_slopes(
            gradient.numpy(), values.numpy(), self.tables[t], self.slopes, self.first, self.atoms, self.gradients
        )

    def edge_gradients(self, n_edges: int) -> Tensor:
        out = np.zeros((n_edges, 3), dtype=self.gradients.dtype)
        write_edge_gradients(self.gradients, self.directions, self.edges, out)
        return torch.from_numpy(out)
