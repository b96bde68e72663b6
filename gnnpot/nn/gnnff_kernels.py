"""GNNFF's pair energies and their derivatives without automatic differentiation, on a CPU, where nothing is trained.

The equations of `gnnpot.nn.gnnff_layers` with angles, and their reverse pass by hand. Edges are sorted by center and
worked on in blocks of whole neighborhoods, which stay in the first cache from a matrix product to the last sum; every
array over edges is written once and read once. Three identities save products:

- J_ij W = Σ_lm Y_lm(r̂_ij) (A_i,lm W_l): the angular features are never formed, only their products with weights.
- What an edge needs of the moments at its neighbor, its reverse edge takes from those at its own center, so that
  moments are read and summed where they are.
- φ_ik vanishes beyond the cutoff of angles, so that it is computed for the close edges alone.

Weights of gates are scaled as `gnnpot.nn.gate_kernels` wants it; those ending in ``_back`` are unscaled and transposed.
T interactions, F node features, G edge features, C channels of each degree, L degrees, Q = 2 (2 L C) + 2 (2 G).
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.nn.activation_kernels import write_activation
from gnnpot.nn.gate_kernels import add, copy, exponential, open_gates, write_tanh
from gnnpot.nn.gnnff_neighborhoods import ROWS, Neighborhoods
from gnnpot.nn.products import write_product

Array: TypeAlias = npt.NDArray[Any]


class GNNFFArrays(NamedTuple):
    """Weights of a conservative GNNFF."""

    embedding: Array
    """``(n_elements, F)``."""
    gaussians: Array
    """μ_k, and behind them the coefficient c of exp(c (u - μ_k)²), ``(G + 1,)``."""
    neighbors: Array
    """Factors of the Gaussians towards each element ``(n_elements, G)``; none: 1."""
    scales: Array
    """Of messages and of angles, ``(2,)``."""
    node_rows: Array
    """W₁, W₂ on h_i ``(T, F, 2 F)``."""
    node_bias: Array
    node_edges: Array
    """W₁, W₂ on e_ij ``(T, G, 2 F)``."""
    atoms: Array
    """On h: that of i and that of k in φ, that of i and that of j in the angular gate ``(T, F, Q)``."""
    atoms_bias: Array
    channel_edges: Array
    """W₇, W₈ on e_ik ``(T, G, 2 L C)``."""
    gate_edges: Array
    """W₅, W₆ on e_ij ``(T, G, 2 G)``."""
    angular: Array
    """W₅, W₆ on J_ij and behind them on J_ji ``(T, L, C, 4 G)``."""
    pairs: Array
    """W₃, W₄ ``(T, F, 2 G)``."""
    pairs_bias: Array
    readout: Array
    """Hidden layer ``(G, G)``."""
    readout_bias: Array
    last: Array
    """Weights and bias of the last layer ``(G + 1,)``."""
    node_rows_back: Array
    node_edges_back: Array
    atoms_back: Array
    channel_edges_back: Array
    gate_edges_back: Array
    angular_back: Array
    pairs_back: Array
    readout_back: Array
    series: Array
    """Constants of the readout's activation."""


class Room(NamedTuple):
    """Where the passes write; arrays over edges of every interaction hold σ and tanh of its gates, then gradients."""

    nodes: Array
    """h^t ``(T + 1, n_atoms, F)``."""
    edges: Array
    """e^t ``(T + 1, n_edges, G)``."""
    node_gates: Array
    """``(T, n_edges, 2 F)``."""
    channels: Array
    """``(T, n_close, 2 L C)``."""
    edge_gates: Array
    """``(T, n_edges, 2 G)``."""
    pair_gates: Array
    """``(T, n_pairs, 2 G)``."""
    moments: Array
    """A_i,lm times the weights on it ``(T, n_atoms, L², 4 G)``."""
    atom_rows: Array
    """``(n_atoms, Q)``."""
    node_rows: Array
    """``(n_atoms, 2 F)``."""
    node_sums: Array
    """``(n_atoms, F)``."""
    of_reverse: Array
    """``(n_edges, 2 G)``."""
    edge_gradient: Array
    """``(n_edges, G)``."""
    harmonics: Array
    """``(n_edges, L²)``."""
    harmonics_gradient: Array
    envelope: Array
    """``(n_edges,)``, and so on."""
    close_envelope: Array
    envelope_gradient: Array
    close_gradient: Array


@compiled(sums=True)
def evaluate(model: GNNFFArrays, around: Neighborhoods, types: Array, arguments: Array, room: Room) -> Array:
    """Features of every interaction into ``room``, and y_i ``(n_atoms,)``; the gradient by the last edges too."""
    write_gaussians(around, arguments, model.gaussians, room.edges[0])
    if len(model.neighbors) > 0:
        _tell_neighbors_apart(model.neighbors, around, types, room.edges[0])
    for i in range(len(types)):
        copy(model.embedding[types[i]], room.nodes[0, i])
    for t in range(len(model.pairs)):
        _update_nodes(model, t, around, room)
        _write_channels(model, t, around, room)
        _write_pair_gates(model, t, around, room)
        _update_edges(model, t, around, room)
    return _read_out(model, around, room)


@compiled(sums=True)
def write_gaussians(around: Neighborhoods, arguments: Array, gaussians: Array, out: Array) -> None:
    """exp(c (u - μ_k)²) of both edges of every pair; u is r, or r and a constant of the pair."""
    n, kind = out.shape[1], out.dtype.type
    coefficient = gaussians[n]
    for p in range(len(around.pairs)):
        row, other = out[around.pairs[p, 0]], out[around.pairs[p, 1]]
        u = kind(arguments[p])
        for k in range(n):
            row[k] = exponential(coefficient * (u - gaussians[k]) * (u - gaussians[k]))
        for k in range(n):
            other[k] = row[k]


@compiled()
def _tell_neighbors_apart(factors: Array, around: Neighborhoods, types: Array, out: Array) -> None:
    """Multiply every edge with the factors of its neighbor."""
    for e in range(len(out)):
        row = factors[types[around.neighbors[e]]]
        for k in range(len(row)):
            out[e, k] *= row[k]


@compiled(sums=True)
def _update_nodes(model: GNNFFArrays, t: int, around: Neighborhoods, room: Room) -> None:
    """h' = tanh(h + s Σ_j f_c σ tanh)."""
    nodes, updated = room.nodes[t], room.nodes[t + 1]
    gates, width = room.node_gates[t], room.nodes.shape[2]
    write_product(nodes, model.node_rows[t], room.node_rows)
    for b in range(len(around.blocks) - 1):
        start, stop = around.first[around.blocks[b]], around.first[around.blocks[b + 1]]
        write_product(room.edges[t, start:stop], model.node_edges[t], gates[start:stop])
        for i in range(around.blocks[b], around.blocks[b + 1]):
            row, total = room.node_rows[i], room.node_sums[i]
            add(model.node_bias[t], row)
            total[:] = 0
            for e in range(around.first[i], around.first[i + 1]):
                add(row, gates[e])
                open_gates(gates[e])
                s, r, weight = gates[e, :width], gates[e, width:], room.envelope[e]
                for f in range(width):
                    total[f] += weight * s[f] * r[f]
            for f in range(width):
                updated[i, f] = nodes[i, f] + model.scales[0] * total[f]
    write_tanh(updated)


@compiled(sums=True)
def _write_channels(model: GNNFFArrays, t: int, around: Neighborhoods, room: Room) -> None:
    """Gates of φ_ik, and the products of their moments with weights."""
    n_degrees, n_channels = model.angular.shape[1:3]
    double = 2 * n_degrees * n_channels
    channels = room.channels[t]
    buffer = np.empty((longest_block(around), room.edges.shape[2]), channels.dtype)
    own = np.empty((ROWS, n_degrees * n_degrees, n_channels), channels.dtype)
    write_product(room.nodes[t + 1], model.atoms[t], room.atom_rows)
    for i in range(len(room.atom_rows)):
        add(model.atoms_bias[t], room.atom_rows[i])
    for b in range(len(around.blocks) - 1):
        first_atom, last_atom = around.blocks[b], around.blocks[b + 1]
        start, stop = around.first_close[first_atom], around.first_close[last_atom]
        for c in range(start, stop):
            copy(room.edges[t, around.close[c]], buffer[c - start])
        write_product(buffer[: stop - start], model.channel_edges[t], channels[start:stop])
        own[:] = 0
        for i in range(first_atom, last_atom):
            for c in range(around.first_close[i], around.first_close[i + 1]):
                e, gates = around.close[c], channels[c]
                add(room.atom_rows[i, :double], gates)
                add(room.atom_rows[around.neighbors[e], double : 2 * double], gates)
                open_gates(gates)
                weight = model.scales[1] * room.close_envelope[e]
                _add_moments(gates, weight, room.harmonics[e], own[i - first_atom])
        weigh_moments(own[: last_atom - first_atom], model.angular[t], room.moments[t, first_atom:last_atom])


@compiled(sums=True)
def _add_moments(gates: Array, weight: Any, harmonics: Array, out: Array) -> None:
    """Add φ_l Y_lm to A_lm ``(L², C)``, φ = weight σ t."""
    n_channels = out.shape[1]
    half = len(gates) // 2
    degree, end = 0, 1
    for m in range(len(harmonics)):
        if m == end:
            degree += 1
            end += 2 * degree + 1
        y, row = weight * harmonics[m], out[m]
        s = gates[degree * n_channels : (degree + 1) * n_channels]
        r = gates[half + degree * n_channels : half + (degree + 1) * n_channels]
        for c in range(n_channels):
            row[c] += y * s[c] * r[c]


@compiled()
def weigh_moments(moments: Array, weights: Array, out: Array) -> None:
    """Write A_i,lm W_l of some atoms, ``(n, L², 4 G)``; with the transposed weights, the derivatives by A_i,lm."""
    left = np.empty((len(moments), moments.shape[2]), moments.dtype)
    right = np.empty((len(moments), out.shape[2]), moments.dtype)
    for degree in range(len(weights)):
        for m in range(degree * degree, (degree + 1) * (degree + 1)):
            for i in range(len(moments)):
                copy(moments[i, m], left[i])
            write_product(left, weights[degree], right)
            for i in range(len(moments)):
                copy(right[i], out[i, m])


@compiled(sums=True)
def _write_pair_gates(model: GNNFFArrays, t: int, around: Neighborhoods, room: Room) -> None:
    """Gates of h_i ⊙ h_j."""
    nodes, gates = room.nodes[t + 1], room.pair_gates[t]
    buffer = np.empty((ROWS, nodes.shape[1]), nodes.dtype)
    for start in range(0, len(gates), ROWS):
        stop = min(start + ROWS, len(gates))
        for p in range(start, stop):
            e = around.pairs[p, 0]
            row, one, two = buffer[p - start], nodes[around.centers[e]], nodes[around.neighbors[e]]
            for f in range(len(row)):
                row[f] = one[f] * two[f]
        write_product(buffer[: stop - start], model.pairs[t], gates[start:stop])
        for p in range(start, stop):
            add(model.pairs_bias[t], gates[p])
            open_gates(gates[p])


@compiled(sums=True)
def _update_edges(model: GNNFFArrays, t: int, around: Neighborhoods, room: Room) -> None:
    """e' = tanh(e + gates of the pair + gates of the angles)."""
    gates, width = room.edge_gates[t], room.edges.shape[2]
    at_center = room.atom_rows.shape[1] - 4 * width
    one, minus_two = gates.dtype.type(1), gates.dtype.type(-2)
    buffer = np.empty((longest_block(around), 4 * width), gates.dtype)
    for b in range(len(around.blocks) - 1):
        start, stop = around.first[around.blocks[b]], around.first[around.blocks[b + 1]]
        write_product(room.edges[t, start:stop], model.gate_edges[t], gates[start:stop])
        for i in range(around.blocks[b], around.blocks[b + 1]):
            first, last = around.first[i], around.first[i + 1]
            if first == last:
                continue
            np.dot(room.harmonics[first:last], room.moments[t, i], buffer[: last - first])
            row = room.atom_rows[i, at_center : at_center + 2 * width]
            for e in range(first, last):
                add(row, gates[e])
                add(room.atom_rows[around.neighbors[e], at_center + 2 * width :], gates[e])
                add(buffer[e - first, : 2 * width], gates[e])
                copy(buffer[e - first, 2 * width :], room.of_reverse[e])
    for e in range(len(gates)):
        add(room.of_reverse[around.reverse[e]], gates[e])
        open_gates(gates[e])
        s, r = gates[e, :width], gates[e, width:]
        pair = room.pair_gates[t, around.pair[e]]
        s2, r2 = pair[:width], pair[width:]
        old, new = room.edges[t, e], room.edges[t + 1, e]
        for f in range(width):
            u = exponential(minus_two * (old[f] + s[f] * r[f] + s2[f] * r2[f]))
            new[f] = (one - u) / (one + u)


@compiled(sums=True)
def _read_out(model: GNNFFArrays, around: Neighborhoods, room: Room) -> Array:
    """y_i = ¼ Σ_j f_c (ε_ij + ε_ji); ∂Σy/∂e^T into ``edge_gradient``, ∂Σy/∂f_c into ``envelope_gradient``."""
    edges, width = room.edges[-1], room.edges.shape[2]
    kind = edges.dtype.type
    values, slopes = np.empty((ROWS, width), edges.dtype), np.empty((ROWS, width), edges.dtype)
    hidden = np.empty((ROWS, width), edges.dtype)
    last = model.last[:width]
    outputs = np.zeros(len(around.first) - 1, edges.dtype)
    for start in range(0, len(edges), ROWS):
        n = min(ROWS, len(edges) - start)
        write_product(edges[start : start + n], model.readout, hidden[:n])
        for k in range(n):
            add(model.readout_bias, hidden[k])
        write_activation(hidden[:n], model.series, values[:n], slopes[:n])
        for k in range(n):
            e, energy = start + k, model.last[width]
            row, slope = values[k], slopes[k]
            half = kind(0.5) * room.envelope[e]
            for f in range(width):
                energy += row[f] * last[f]
                slope[f] *= last[f] * half
            room.envelope_gradient[e] = kind(0.5) * energy
            outputs[around.centers[e]] += kind(0.5) * half * energy
            outputs[around.neighbors[e]] += kind(0.5) * half * energy
        write_product(slopes[:n], model.readout_back, room.edge_gradient[start : start + n])
    return outputs


@compiled()
def longest_block(around: Neighborhoods) -> int:
    """Edges in the longest block."""
    longest = 0
    for b in range(len(around.blocks) - 1):
        longest = max(longest, around.first[around.blocks[b + 1]] - around.first[around.blocks[b]])
    return longest
