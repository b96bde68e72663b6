"""What an evaluation of the conservative GNNFF without automatic differentiation needs of its weights."""

from collections.abc import Iterable
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph
from gnnpot.nn.activation_kernels import SERIES
from gnnpot.nn.atom_sizes import AtomSizes
from gnnpot.nn.gnnff_kernels import GNNFFArrays, Room, evaluate
from gnnpot.nn.gnnff_layers import AngularEdgeUpdate, GNNFFLayers, NodeUpdate
from gnnpot.nn.gnnff_neighborhoods import (
    Neighborhoods,
    neighborhoods,
    write_envelopes,
    write_gradients,
    write_harmonics,
)
from gnnpot.nn.gnnff_reverse import pull_back_layers, write_slopes
from gnnpot.nn.near_pairs import NearPairs, pairs_within
from gnnpot.nn.radial import CosineCutoff, PolynomialCutoff

Array = npt.NDArray[Any]

LARGEST_KEPT = 2**28
"""Bytes of room that are kept from one evaluation to the next: to ask for fresh memory takes longer than to fill it."""


class GNNFFTables:
    """Weights of a conservative GNNFF as compiled code wants them, and room to work in."""

    def __init__(self, layers: GNNFFLayers, readout: Iterable[Any], sizes: AtomSizes | None) -> None:
        self.cutoffs = layers.envelope.cutoff, layers.triplet_envelope.cutoff
        self.exponents = _exponent(layers.envelope), _exponent(layers.triplet_envelope)
        self._layers = layers
        self._sizes = None if sizes is None else sizes().double().numpy()
        with torch.no_grad():
            self._weights = _arrays(layers, readout)
        self._rooms: list[Array] = []

    @property
    def arrays(self) -> GNNFFArrays:
        """Weights, and the scales as they are now: training sets them where no weight changes."""
        scales = torch.stack([self._layers.message_scale, self._layers.triplet_scale])
        return self._weights._replace(scales=scales.numpy())

    def neighborhoods(self, graph: AtomicGraph) -> Neighborhoods:
        """Edges and pairs closer than the cutoffs."""
        structure = [x.contiguous().numpy() for x in (graph.positions, graph.cell, graph.batch)]
        edges = (graph.edge_index, graph.edge_shifts, graph.pair_of_edge, graph.edge_of_pair)
        arrays: list[Any] = [*structure, *(x.contiguous().numpy() for x in edges), *self.cutoffs]
        around: Neighborhoods = neighborhoods(*arrays)
        return around

    def arguments(self, around: Neighborhoods, types: Array) -> Array:
        """Of the Gaussians of every pair: the distance, and what the sizes of both atoms add to it."""
        if self._sizes is None:
            return around.distances
        of_atoms = self._sizes[types]
        first = around.pairs[:, 0]
        arguments: Array = around.distances + of_atoms[around.centers[first]] + of_atoms[around.neighbors[first]]
        return arguments

    def take(self, size: int, dtype: npt.DTypeLike) -> Array:
        """Memory that no other thread works in."""
        try:
            memory = self._rooms.pop()
        except IndexError:
            return np.empty(size, dtype=dtype)
        return memory if len(memory) >= size else np.empty(size + size // 8, dtype=dtype)

    def give_back(self, memory: Array) -> None:
        """Keep memory for the next evaluation."""
        if memory.nbytes <= LARGEST_KEPT:
            self._rooms.append(memory)


class GNNFFPass:
    """A forward pass of the conservative GNNFF, with the way back open."""

    def __init__(self, tables: GNNFFTables, graph: AtomicGraph, types: Tensor, scale: float) -> None:
        self._tables, self._graph, self._scale = tables, graph, scale
        self._around = around = tables.neighborhoods(graph)
        self._model = model = tables.arrays
        shapes = room_shapes(model, around)
        self._memory = tables.take(sum(map(prod, shapes.values())), model.last.dtype)
        self._room = room = _room(self._memory, shapes)
        self._slopes = np.empty((3, len(around.pairs)), dtype=model.last.dtype)
        places, kinds = (around.distances, around.pairs), zip(tables.cutoffs, tables.exponents, strict=True)
        for kind, envelope, slopes in zip(kinds, (room.envelope, room.close_envelope), self._slopes, strict=False):
            write_envelopes(*places, *kind, envelope, slopes)
        write_harmonics(around.directions, around.pairs, room.harmonics)
        self._arguments = tables.arguments(around, types.numpy())
        self.outputs = torch.from_numpy(evaluate(model, around, types.numpy(), self._arguments, room))
        self.features = torch.from_numpy(room.nodes[-1])

    @cached_property
    def pairs(self) -> NearPairs:
        """Closer than the cutoff."""
        return pairs_within(self._tables.cutoffs[0], self._graph)

    def edge_gradients(self, by_features: Tensor | None) -> Tensor:
        """∂(s Σy + f)/∂r_ij by one edge of each pair (those by the other are zero); once, for its memory goes on."""
        around, room, slopes = self._around, self._room, self._slopes
        seed = np.zeros(room.node_sums.shape, room.node_sums.dtype)
        if by_features is not None:
            seed[:] = by_features.numpy() / self._scale
        pull_back_layers(self._model, around, room, seed)
        write_slopes(self._model, around, self._arguments, room, *slopes)
        gradients = np.zeros((self._graph.n_edges, 3), dtype=seed.dtype)
        write_gradients(around, slopes[2], room.harmonics_gradient, self._scale, gradients)
        self._tables.give_back(self._memory)
        return torch.from_numpy(gradients)


def room_shapes(model: GNNFFArrays, around: Neighborhoods) -> dict[str, tuple[int, ...]]:
    """Shapes of the fields of `Room`."""
    n_atoms, n_edges = len(around.first) - 1, len(around.centers)
    n_layers, n_features, _ = model.pairs.shape
    n_edge_features = len(model.gaussians) - 1
    n_degrees, n_channels = model.angular.shape[1:3]
    n_harmonics = n_degrees**2
    return {
        "nodes": (n_layers + 1, n_atoms, n_features),
        "edges": (n_layers + 1, n_edges, n_edge_features),
        "node_gates": (n_layers, n_edges, 2 * n_features),
        "channels": (n_layers, len(around.close), 2 * n_degrees * n_channels),
        "edge_gates": (n_layers, n_edges, 2 * n_edge_features),
        "pair_gates": (n_layers, len(around.pairs), 2 * n_edge_features),
        "moments": (n_layers, n_atoms, n_harmonics, 4 * n_edge_features),
        "atom_rows": (n_atoms, model.atoms.shape[2]),
        "node_rows": (n_atoms, 2 * n_features),
        "node_sums": (n_atoms, n_features),
        "of_reverse": (n_edges, 2 * n_edge_features),
        "edge_gradient": (n_edges, n_edge_features),
        "harmonics": (n_edges, n_harmonics),
        "harmonics_gradient": (n_edges, n_harmonics),
        "envelope": (n_edges,),
        "close_envelope": (n_edges,),
        "envelope_gradient": (n_edges,),
        "close_gradient": (n_edges,),
    }


def _room(memory: Array, shapes: dict[str, tuple[int, ...]]) -> Room:
    bounds = pairwise(accumulate(map(prod, shapes.values()), initial=0))
    views = zip(bounds, shapes.values(), strict=True)
    return Room(*(memory[start:stop].reshape(shape) for (start, stop), shape in views))


def _exponent(envelope: nn.Module) -> int:
    """As `write_envelopes` wants it."""
    if isinstance(envelope, PolynomialCutoff):
        return envelope.exponent
    return 0 if isinstance(envelope, CosineCutoff) else -1


def _arrays(layers: GNNFFLayers, readout: Iterable[Any]) -> GNNFFArrays:
    hidden, _, last = readout
    nodes = [_node_weights(update) for update in layers.node_updates if isinstance(update, NodeUpdate)]
    edges = [_edge_weights(update) for update in layers.edge_updates if isinstance(update, AngularEdgeUpdate)]
    stacks = {name: torch.stack([w[name] for w in ws]) for ws in (nodes, edges) for name in ws[0]}
    basis = layers.radial_basis
    coefficient = basis.centers.new_tensor([basis.coefficient])
    factors = layers.of_neighbors(layers.embedding.weight)
    stacks |= {
        "embedding": layers.embedding.weight,
        "neighbors": layers.embedding.weight[:0] if factors is None else factors,
        "gaussians": torch.cat([basis.centers, coefficient]),
        "readout": hidden.weight.T,
        "readout_bias": hidden.bias,
        "readout_back": hidden.weight,
        "last": torch.cat([last.weight[0], last.bias]),
    }
    arrays = {name: tensor.contiguous().clone().numpy() for name, tensor in stacks.items()}
    return GNNFFArrays(**arrays, scales=np.empty(2), series=SERIES.astype(arrays["last"].dtype))


def _node_weights(update: NodeUpdate) -> dict[str, Tensor]:
    on_node, on_edge = update.linear.weight.split(update.sizes, dim=1)
    return {
        "node_rows": _scaled(on_node).T,
        "node_bias": _scaled(update.linear.bias),
        "node_edges": _scaled(on_edge).T,
        "node_rows_back": on_node,
        "node_edges_back": on_edge,
    }


def _edge_weights(update: AngularEdgeUpdate) -> dict[str, Tensor]:
    channel_i, channel_k, channel_ik = update.channel_linear.weight.split(update.channel_sizes, dim=1)
    gate_i, gate_j, gate_ij, own, other = update.gate_linear.weight.split(update.gate_sizes, dim=1)
    biases = [update.channel_linear.bias, update.gate_linear.bias]
    on_atoms = [channel_i, channel_k, gate_i, gate_j]
    by_degree = (2 * gate_i.shape[0], update.n_degrees, update.n_channels)
    angular = torch.cat([own, other]).reshape(by_degree).permute(1, 2, 0)
    scaled = torch.cat([_scaled(own), _scaled(other)]).reshape(by_degree).permute(1, 2, 0)
    return {
        "atoms": torch.cat([_scaled(weight) for weight in on_atoms]).T,
        "atoms_bias": torch.cat([part for bias in biases for part in (_scaled(bias), torch.zeros_like(bias))]),
        "atoms_back": torch.cat(on_atoms),
        "channel_edges": _scaled(channel_ik).T,
        "channel_edges_back": channel_ik,
        "gate_edges": _scaled(gate_ij).T,
        "gate_edges_back": gate_ij,
        "angular": scaled,
        "angular_back": angular.transpose(1, 2),
        "pairs": _scaled(update.pair_linear.weight).T,
        "pairs_bias": _scaled(update.pair_linear.bias),
        "pairs_back": update.pair_linear.weight,
    }


def _scaled(weight: Tensor) -> Tensor:
    """Rows of a gate's weights, those of a times -1 and those of b times -2 (`gnnpot.nn.gate_kernels`)."""
    first, second = weight.chunk(2, dim=0)
    return torch.cat([-first, -2.0 * second])
