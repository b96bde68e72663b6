"""What an evaluation of SchNet without automatic differentiation needs of its weights, made once and kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph
from gnnpot.nn.layers import ShiftedSoftplus
from gnnpot.nn.pair_kernels import near_pairs, write_edge_gradients, write_weights
from gnnpot.nn.schnet_kernels import (
    Array,
    SchNetArrays,
    constants,
    features_and_outputs,
    outputs_and_slopes,
    pass_back,
    pass_forward,
)


@dataclass(frozen=True)
class SchNetTables:
    """Envelope and splines of the filters, and products of the weights."""

    cutoff: float
    n_intervals: int
    exponent: int
    """Of the polynomial envelope; 0: cosine."""
    arrays: SchNetArrays


def multiply_out(
    filters: Sequence[Tensor], embedding: Tensor, blocks: Sequence[Any], readout: Iterable[Any]
) -> SchNetArrays:
    """Products of the weights (`gnnpot.nn.schnet_kernels`), in double precision before they are rounded.

    Args:
        filters: spline coefficients of each interaction, ``(n_coefficients, n_features)``.
        embedding: features of the elements, ``(n_elements, n_features)``.
        blocks: the interactions, with layers ``inward`` and ``outward``.
        readout: two dense layers around an activation.
    """
    n, activation = len(blocks), ShiftedSoftplus()
    hidden, _, last = readout
    into_readout, weights = hidden.weight.double().T, last.weight[0].double()
    x, out = embedding.double(), [block.outward[2].weight.double().T for block in blocks]
    inward = [block.inward.weight.double().T for block in blocks]
    start, silent = [], []
    for t, block in enumerate(blocks):
        start.append(x @ inward[t])
        silent.append(activation(block.outward[0].bias.double()))
        x = x + block.outward[2].bias.double()
    products = torch.stack([torch.stack([out[s] @ inward[t] for s in range(n)]) for t in range(n)])
    outward = torch.stack([block.outward[0].weight.T for block in blocks])
    into = torch.stack([matrix @ into_readout for matrix in out])
    readout_start = x @ into_readout + hidden.bias.double()
    quiet = readout_start + sum(h @ matrix for h, matrix in zip(silent, into, strict=True))
    tensors = (
        torch.stack(list(filters)),
        torch.stack(start),
        products,
        products.transpose(2, 3),
        outward,
        outward.transpose(1, 2),
        torch.stack([block.outward[0].bias for block in blocks]),
        readout_start,
        into,
        into.transpose(1, 2),
        x,
        torch.stack(out),
        torch.stack(out).transpose(1, 2),
        weights,
        activation(quiet) @ weights,
    )
    arrays = [tensor.detach().to(embedding.dtype).contiguous().clone().numpy() for tensor in tensors]
    return SchNetArrays._make([*arrays, constants(arrays[0].dtype)])


def outputs_and_edge_gradients(
    tables: SchNetTables, graph: AtomicGraph, types: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """y_i less that of the isolated atom ``(n_atoms,)``, and s ∂Σy/∂r_ij ``(n_edges, 3)``, of one edge of each pair."""
    pairs = pairs_within(tables, graph)
    dtype = tables.arrays.last.dtype
    arguments = (pairs.atoms, pairs.first, pairs.weights, pairs.slopes)
    outputs, pair_slopes = outputs_and_slopes(tables.arrays, types.numpy(), *arguments)
    by_edge = np.zeros((graph.n_edges, 3), dtype=dtype)
    write_edge_gradients(pair_slopes, scale, pairs.directions, pairs.edges, by_edge)
    return torch.from_numpy(outputs), torch.from_numpy(by_edge)


class NearPairs(NamedTuple):
    """The pairs closer than the cutoff, and what their distances are in the splines."""

    atoms: Array
    """``(2, n_pairs)``."""
    edges: Array
    """One of the two edges of each."""
    distances: Array
    directions: Array
    """r/|r| ``(n_pairs, 3)``."""
    first: Array
    weights: Array
    slopes: Array


def pairs_within(tables: SchNetTables, graph: AtomicGraph) -> NearPairs:
    """The pairs of a graph, of which it holds ``edge_of_pair``."""
    atoms, edges, distances, directions = near_pairs(
        graph.positions.numpy(),
        graph.cell.numpy(),
        graph.batch.numpy(),
        graph.edge_index.numpy(),
        graph.edge_shifts.numpy(),
        graph.edge_of_pair.numpy(),
        tables.cutoff,
    )
    dtype = tables.arrays.last.dtype
    first = np.empty(len(distances), dtype=np.int64)
    weights, slopes = (np.empty((len(distances), 6), dtype=dtype) for _ in range(2))
    write_weights(distances, tables.cutoff, tables.n_intervals, tables.exponent, first, weights, slopes)
    return NearPairs(atoms, edges, distances, directions, first, weights, slopes)


class SchNetPass:
    """A forward pass that waits for its way back: with more to differentiate than the energy.

    ``features`` ``(n_atoms, F)`` and ``outputs`` ``(n_atoms,)`` are those of the model, ``pairs`` its geometry.
    """

    def __init__(self, tables: SchNetTables, graph: AtomicGraph, types: Tensor, scale: float) -> None:
        self.pairs = pairs_within(tables, graph)
        self._tables, self._n_edges, self._scale = tables, graph.n_edges, scale
        numbers = types.numpy()
        self._values, hidden, self._gates = pass_forward(
            tables.arrays, numbers, self.pairs.atoms, self.pairs.first, self.pairs.weights
        )
        features, outputs, self._to_readout = features_and_outputs(tables.arrays, numbers, hidden)
        self.features, self.outputs = torch.from_numpy(features), torch.from_numpy(outputs)

    def edge_gradients(self, by_features: Tensor, by_vectors: Array) -> Tensor:
        """∂(s Σy + f)/∂r_ij ``(n_edges, 3)``, of one edge of each pair.

        Args:
            by_features: ∂f/∂features.
            by_vectors: ∂f/∂r_ij ``(n_pairs, 3)`` with the features held.
        """
        of_outputs = np.ascontiguousarray((by_features / self._scale).numpy())
        pairs = self.pairs
        slopes = pass_back(
            self._tables.arrays, self._values, self._gates, self._to_readout, of_outputs,
            pairs.atoms, pairs.first, pairs.weights, pairs.slopes,
        )  # fmt: skip
        by_edge = np.zeros((self._n_edges, 3), dtype=slopes.dtype)
        write_edge_gradients(slopes, self._scale, pairs.directions, pairs.edges, by_edge)
        by_edge[pairs.edges] += by_vectors
        return torch.from_numpy(by_edge)
