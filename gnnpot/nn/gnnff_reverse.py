"""The reverse pass of `gnnpot.nn.gnnff_kernels`: from ∂y/∂e^T to derivatives by distances, envelopes and harmonics.

Arrays of gates turn from σ and tanh into the gradients by what entered them, row by row, and go through a matrix
product while they are in the first cache.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from gnnpot.compiled import compiled
from gnnpot.nn.gate_kernels import add, copy, pull_back
from gnnpot.nn.gnnff_kernels import GNNFFArrays, Room, longest_block, weigh_moments
from gnnpot.nn.gnnff_neighborhoods import ROWS, Neighborhoods
from gnnpot.nn.products import write_product

Array: TypeAlias = npt.NDArray[Any]


@compiled(sums=True)
def pull_back_layers(model: GNNFFArrays, around: Neighborhoods, room: Room, by_nodes: Array) -> None:
    """Derivatives by envelopes and harmonics into ``room``, those by e⁰ into ``edge_gradient``.

    ``by_nodes``: derivatives by h^T that do not come from e^T ``(n_atoms, F)``; overwritten.
    """
    room.harmonics_gradient[:] = 0
    room.close_gradient[:] = 0
    product = np.empty(room.node_sums.shape, room.node_sums.dtype)
    for t in range(len(model.pairs) - 1, -1, -1):
        _pull_back_activation(t, room)
        _pull_back_pairs(model, t, around, room, by_nodes)
        room.atom_rows[:] = 0
        _pull_back_moments(model, t, around, room)
        write_product(room.atom_rows, model.atoms_back[t], product)
        for i in range(len(product)):
            add(product[i], by_nodes[i])
        _pull_back_nodes(model, t, around, room, by_nodes)
        if t > 0:
            write_product(room.node_rows, model.node_rows_back[t], product)
            for i in range(len(product)):
                add(product[i], by_nodes[i])


@compiled(sums=True)
def _pull_back_activation(t: int, room: Room) -> None:
    """From e' to what its tanh took, and to the gates of the angles."""
    one = room.edges.dtype.type(1)
    for e in range(room.edges.shape[1]):
        row, value = room.edge_gradient[e], room.edges[t + 1, e]
        for f in range(len(row)):
            row[f] *= one - value[f] * value[f]
        pull_back(room.edge_gates[t, e], row, one)


@compiled(sums=True)
def _pull_back_pairs(model: GNNFFArrays, t: int, around: Neighborhoods, room: Room, by_nodes: Array) -> None:
    """Add what h_i ⊙ h_j brings to the gradient by nodes."""
    nodes, gates = room.nodes[t + 1], room.pair_gates[t]
    width, one = room.edge_gradient.shape[1], nodes.dtype.type(1)
    buffer, both = np.empty((ROWS, nodes.shape[1]), nodes.dtype), np.empty(width, nodes.dtype)
    for start in range(0, len(gates), ROWS):
        stop = min(start + ROWS, len(gates))
        for p in range(start, stop):
            first, second = room.edge_gradient[around.pairs[p, 0]], room.edge_gradient[around.pairs[p, 1]]
            for f in range(width):
                both[f] = first[f] + second[f]
            pull_back(gates[p], both, one)
        write_product(gates[start:stop], model.pairs_back[t], buffer[: stop - start])
        for p in range(start, stop):
            e = around.pairs[p, 0]
            i, j = around.centers[e], around.neighbors[e]
            row = buffer[p - start]
            of_i, of_j, to_i, to_j = nodes[i], nodes[j], by_nodes[i], by_nodes[j]
            for f in range(len(row)):
                to_i[f] += row[f] * of_j[f]
            for f in range(len(row)):
                to_j[f] += row[f] * of_i[f]


@compiled(sums=True)
def _pull_back_moments(model: GNNFFArrays, t: int, around: Neighborhoods, room: Room) -> None:
    """From the gates of the angles to rows of atoms, edges, harmonics and the envelope of angles."""
    gates, double = room.edge_gates[t], room.edge_gates.shape[2]
    width, kind = double // 2, gates.dtype
    n_m, n_channels = room.harmonics.shape[1], model.angular.shape[2]
    longest = longest_block(around)
    buffer, both = np.empty((longest, width), kind), np.empty((longest, 2 * double), kind)
    by_harmonics = np.empty((longest, n_m), kind)
    by_moments = np.empty((ROWS, n_m, 2 * double), kind)
    by_sums = np.empty((ROWS, n_m, n_channels), kind)
    for b in range(len(around.blocks) - 1):
        first_atom, last_atom = around.blocks[b], around.blocks[b + 1]
        start, stop = around.first[first_atom], around.first[last_atom]
        write_product(gates[start:stop], model.gate_edges_back[t], buffer[: stop - start])
        for i in range(first_atom, last_atom):
            first, last = around.first[i], around.first[i + 1]
            if first == last:
                by_moments[i - first_atom] = 0
                continue
            to_atom = room.atom_rows[i, -2 * double :]
            for e in range(first, last):
                row = both[e - first]
                copy(gates[e], row[:double])
                copy(gates[around.reverse[e]], row[double:])
                add(row, to_atom)
                add(buffer[e - start], room.edge_gradient[e])
            np.dot(room.harmonics[first:last].T, both[: last - first], by_moments[i - first_atom])
            for e in range(first, last):
                _scale_back(both[e - first], width)
            np.dot(both[: last - first], room.moments[t, i].T, by_harmonics[: last - first])
            for e in range(first, last):
                add(by_harmonics[e - first], room.harmonics_gradient[e])
        n = last_atom - first_atom
        # by A_i,lm W_l, and from there by A_i,lm
        weigh_moments(by_moments[:n], model.angular_back[t], by_sums[:n])
        _pull_back_channels(model, t, around, room, b, by_sums)


@register_jitable
def _scale_back(row: Array, width: int) -> None:
    """Undo on gradients what the scaling of weights did to the products that they meet."""
    for start in range(0, len(row), 2 * width):
        first, second = row[start : start + width], row[start + width : start + 2 * width]
        for f in range(width):
            first[f] *= -1
            second[f] *= row.dtype.type(-0.5)


@compiled(sums=True)
def _pull_back_channels(model: GNNFFArrays, t: int, around: Neighborhoods, room: Room, b: int, by_sums: Array) -> None:
    """From the moments of a block of atoms to φ of their close edges, and on."""
    channels, double = room.channels[t], room.channels.shape[2]
    first_atom, last_atom = around.blocks[b], around.blocks[b + 1]
    start, stop = around.first_close[first_atom], around.first_close[last_atom]
    by_channels = np.empty(double // 2, channels.dtype)
    buffer = np.empty((stop - start, room.edge_gradient.shape[1]), channels.dtype)
    for i in range(first_atom, last_atom):
        to_center = room.atom_rows[i, :double]
        for c in range(around.first_close[i], around.first_close[i + 1]):
            e, gates = around.close[c], channels[c]
            weight = model.scales[1] * room.close_envelope[e]
            total = _pull_back_sums(
                gates, weight, by_sums[i - first_atom], room.harmonics[e], room.harmonics_gradient[e], by_channels
            )
            room.close_gradient[e] += model.scales[1] * total
            pull_back(gates, by_channels, weight)
            add(gates, to_center)
            add(gates, room.atom_rows[around.neighbors[e], double : 2 * double])
    write_product(channels[start:stop], model.channel_edges_back[t], buffer)
    for c in range(start, stop):
        add(buffer[c - start], room.edge_gradient[around.close[c]])


@compiled(sums=True)
def _pull_back_sums(
    gates: Array, weight: Any, by_sums: Array, harmonics: Array, to_harmonics: Array, by_channels: Array
) -> Any:
    """Write derivatives by σ t, add those by harmonics, and return that by the weight of σ t in the sums."""
    n_channels, half = by_sums.shape[1], len(gates) // 2
    zero = gates.dtype.type(0)
    total, degree, end = zero, 0, 1
    by_channels[:] = 0
    for m in range(len(harmonics)):
        if m == end:
            degree += 1
            end += 2 * degree + 1
        y, row = harmonics[m], by_sums[m]
        to = by_channels[degree * n_channels : (degree + 1) * n_channels]
        s = gates[degree * n_channels : (degree + 1) * n_channels]
        r = gates[half + degree * n_channels : half + (degree + 1) * n_channels]
        by_harmonic = zero
        for c in range(n_channels):
            by_harmonic += row[c] * s[c] * r[c]
        for c in range(n_channels):
            to[c] += y * row[c]
        to_harmonics[m] += weight * by_harmonic
        total += y * by_harmonic
    return total


@compiled(sums=True)
def _pull_back_nodes(model: GNNFFArrays, t: int, around: Neighborhoods, room: Room, by_nodes: Array) -> None:
    """From h' to what its tanh took, to rows of nodes, edges and the envelope."""
    gates, width = room.node_gates[t], by_nodes.shape[1]
    one, zero = gates.dtype.type(1), gates.dtype.type(0)
    buffer = np.empty((longest_block(around), room.edge_gradient.shape[1]), gates.dtype)
    by_sum = np.empty(width, gates.dtype)
    for b in range(len(around.blocks) - 1):
        start, stop = around.first[around.blocks[b]], around.first[around.blocks[b + 1]]
        for i in range(around.blocks[b], around.blocks[b + 1]):
            row, value, to_atom = by_nodes[i], room.nodes[t + 1, i], room.node_rows[i]
            to_atom[:] = 0
            for f in range(width):
                row[f] *= one - value[f] * value[f]
                by_sum[f] = model.scales[0] * row[f]
            for e in range(around.first[i], around.first[i + 1]):
                s, r, total = gates[e, :width], gates[e, width:], zero
                for f in range(width):
                    total += by_sum[f] * s[f] * r[f]
                room.envelope_gradient[e] += total
                pull_back(gates[e], by_sum, room.envelope[e])
                add(gates[e], to_atom)
        write_product(gates[start:stop], model.node_edges_back[t], buffer[: stop - start])
        for e in range(start, stop):
            add(buffer[e - start], room.edge_gradient[e])


@compiled(sums=True)
def write_slopes(
    model: GNNFFArrays,
    around: Neighborhoods,
    arguments: Array,
    room: Room,
    slopes: Array,
    close_slopes: Array,
    out: Array,
) -> None:
    """Derivatives by the distance of every pair ``(n_pairs,)``, from those by Gaussians and envelopes."""
    n, two = room.edges.shape[2], room.edges.dtype.type(2)
    coefficient = model.gaussians[n]
    for p in range(len(out)):
        e, o = around.pairs[p, 0], around.pairs[p, 1]
        one, first, other, second = room.edges[0, e], room.edge_gradient[e], room.edges[0, o], room.edge_gradient[o]
        u = room.edges.dtype.type(arguments[p])
        total = two - two
        for k in range(n):
            total += (first[k] * one[k] + second[k] * other[k]) * (u - model.gaussians[k])
        out[p] = two * coefficient * total
        out[p] += slopes[p] * (room.envelope_gradient[e] + room.envelope_gradient[o])
        out[p] += close_slopes[p] * (room.close_gradient[e] + room.close_gradient[o])
