"""What an evaluation of SchNet without automatic differentiation needs of its weights, made once and kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph
from gnnpot.nn.layers import ShiftedSoftplus
from gnnpot.nn.near_pairs import NearPairs, SplineGrid, SplinePlaces, pairs_within
from gnnpot.nn.pair_kernels import write_edge_gradients
from gnnpot.nn.schnet_kernels import (
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

    grid: SplineGrid
    sizes: npt.NDArray[Any] | None
    """What each element adds to the distance in filters (`gnnpot.nn.atom_sizes`), Å."""
    arrays: SchNetArrays


def multiply_out(
    filters: Sequence[Tensor], embedding: Tensor, blocks: Sequence[Any], readout: Iterable[Any]
) -> SchNetArrays:
    """Products of the weights (`gnnpot.nn.schnet_kernels`), in double precision before they are rounded.

    Args:
        filters: spline coefficients of each interaction, ``(n_coefficients, n_features)``.
        embedding: features of the elements, ``(n_elements, n_features)``.
        blocks: the interactions, with layers ``inward`` and ``outward``, and g by ``of_centers``.
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
    centers = [gate for gate in (block.of_centers(embedding) for block in blocks) if gate is not None]
    tensors = (
        torch.stack(list(filters)),
        torch.stack(centers) if centers else embedding.new_empty(0, *embedding.shape),
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
    pairs, places = _pairs_and_places(tables, graph, types)
    outputs, pair_slopes = outputs_and_slopes(tables.arrays, types.numpy(), pairs.atoms, *places)
    by_edge = np.zeros((graph.n_edges, 3), dtype=outputs.dtype)
    write_edge_gradients(pair_slopes, scale, pairs.directions, pairs.edges, by_edge)
    return torch.from_numpy(outputs), torch.from_numpy(by_edge)


def _pairs_and_places(tables: SchNetTables, graph: AtomicGraph, types: Tensor) -> tuple[NearPairs, SplinePlaces]:
    pairs, dtype = pairs_within(tables.grid.cutoff, graph), tables.arrays.last.dtype
    if tables.sizes is None:
        return pairs, pairs.places(tables.grid, dtype)
    of_atoms = tables.sizes[types.numpy()][pairs.atoms]
    return pairs, pairs.shifted_places(tables.grid, pairs.distances + of_atoms.sum(axis=0), dtype)


class SchNetPass:
    """SchNet's forward pass, with the way back open."""

    def __init__(self, tables: SchNetTables, graph: AtomicGraph, types: Tensor, scale: float) -> None:
        self.pairs, self._places = _pairs_and_places(tables, graph, types)
        self._tables, self._n_edges, self._scale = tables, graph.n_edges, scale
        self._types = numbers = types.numpy()
        self._values, hidden, self._gates = pass_forward(
            tables.arrays, numbers, self.pairs.atoms, self._places.first, self._places.weights
        )
        features, outputs, self._to_readout = features_and_outputs(tables.arrays, numbers, hidden)
        self.features, self.outputs = torch.from_numpy(features), torch.from_numpy(outputs)

    def edge_gradients(self, by_features: Tensor | None) -> Tensor:
        """∂(s Σy + f)/∂r_ij by one edge of each pair (those by the other are zero)."""
        seed = self._to_readout[:0] if by_features is None else by_features.numpy() / self._scale
        pairs = self.pairs
        given = (self._types, self._values, self._gates, self._to_readout, seed, pairs.atoms)
        slopes = pass_back(self._tables.arrays, *given, *self._places)
        by_edge = np.zeros((self._n_edges, 3), dtype=slopes.dtype)
        write_edge_gradients(slopes, self._scale, pairs.directions, pairs.edges, by_edge)
        return torch.from_numpy(by_edge)
