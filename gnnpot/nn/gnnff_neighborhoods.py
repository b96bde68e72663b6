"""CPU kernels for the geometry that GNNFF's layers see: near edges, envelopes, harmonics, and their derivatives."""

from math import sqrt
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.data.edge_kernels import write_edge_vector
from gnnpot.nn.pair_kernels import envelope_and_slope

Array: TypeAlias = npt.NDArray[Any]

ROWS = 64
"""Edges in a block of whole neighborhoods, which stays in the first cache (an atom with more makes a longer one)."""


class Neighborhoods(NamedTuple):
    """The edges closer than the cutoff, sorted by center; those closer than the cutoff of angles are "close"."""

    first: Array
    """Of the edges of every atom ``(n_atoms + 1,)``."""
    blocks: Array
    """First atom of each block, and behind them their number."""
    centers: Array
    neighbors: Array
    reverse: Array
    pair: Array
    """Of every edge ``(n_edges,)``."""
    pairs: Array
    """Both edges of every pair ``(n_pairs, 2)``."""
    close: Array
    """The close edges ``(n_close,)``."""
    first_close: Array
    """Of every atom ``(n_atoms + 1,)``."""
    distances: Array
    """Of the pairs, as the next three."""
    directions: Array
    """Of the first edge of each pair ``(n_pairs, 3)``."""
    first_edges: Array
    """Number in the graph of the first edge of each pair."""


@compiled()
def neighborhoods(
    positions: Array,
    cell: Array,
    batch: Array,
    edge_index: Array,
    edge_shifts: Array,
    pair_of_edge: Array,
    edge_of_pair: Array,
    cutoff: float,
    close_cutoff: float,
) -> Neighborhoods:
    """Leave out what is beyond the cutoff; geometry in double precision."""
    n_atoms = len(positions)
    number = np.full(len(edge_of_pair), -1, dtype=np.int64)
    distances = np.empty(len(edge_of_pair), dtype=np.float64)
    directions = np.empty((len(edge_of_pair), 3), dtype=np.float64)
    edges_in_graph = np.empty(len(edge_of_pair), dtype=np.int64)
    n = 0
    for p in range(len(edge_of_pair)):
        edge = edge_of_pair[p]
        structure = batch[edge_index[0, edge]]
        square = write_edge_vector(positions, cell, structure, edge_index, edge_shifts, edge, directions, n)
        if square < cutoff * cutoff:
            number[p], distances[n], edges_in_graph[n] = n, sqrt(square), edge
            for a in range(3):
                directions[n, a] /= distances[n]
            n += 1
    index = np.empty((4, 2 * n), dtype=np.int64)
    centers, neighbors, reverse, pair = index[0], index[1], index[2], index[3]
    pairs = np.empty((n, 2), dtype=np.int64)
    first, first_close = np.zeros(n_atoms + 1, dtype=np.int64), np.zeros(n_atoms + 1, dtype=np.int64)
    close = np.empty(2 * n, dtype=np.int64)
    k, m = 0, 0
    for edge in range(len(pair_of_edge)):
        p = number[pair_of_edge[edge]]
        if p < 0:
            continue
        centers[k], neighbors[k], pair[k] = edge_index[0, edge], edge_index[1, edge], p
        pairs[p, 0 if edges_in_graph[p] == edge else 1] = k
        if distances[p] < close_cutoff:
            close[m] = k
            m += 1
            first_close[centers[k] + 1] += 1
        first[centers[k] + 1] += 1
        k += 1
    for p in range(n):
        reverse[pairs[p, 0]], reverse[pairs[p, 1]] = pairs[p, 1], pairs[p, 0]
    first, first_close = np.cumsum(first), np.cumsum(first_close)
    near = distances[:n], directions[:n], edges_in_graph[:n]
    return Neighborhoods(first, _blocks(first), centers, neighbors, reverse, pair, pairs, close[:m], first_close, *near)


@compiled()
def _blocks(first: Array) -> Array:
    n_atoms = len(first) - 1
    starts = np.empty(n_atoms + 1, dtype=np.int64)
    n, start = 0, 0
    for atom in range(n_atoms):
        if atom == start or (first[atom + 1] - first[start] > ROWS) or atom - start >= ROWS:
            starts[n], start = atom, atom
            n += 1
    starts[n] = n_atoms
    return starts[: n + 1]


@compiled()
def write_envelopes(
    distances: Array, pairs: Array, cutoff: float, exponent: int, envelopes: Array, slopes: Array
) -> None:
    """f_c of every edge ``(n_edges,)`` and its derivative by the distance of every pair ``(n_pairs,)``.

    ``exponent``: p of the polynomial envelope, 0 for the cosine, negative for none (1 within the cutoff).
    """
    for p in range(len(distances)):
        value, slope = 0.0, 0.0
        if distances[p] < cutoff:
            value, slope = (1.0, 0.0) if exponent < 0 else envelope_and_slope(distances[p] / cutoff, exponent)
        envelopes[pairs[p, 0]] = envelopes[pairs[p, 1]] = value
        slopes[p] = slope / cutoff


@compiled()
def write_harmonics(directions: Array, pairs: Array, out: Array) -> None:
    """Y_lm of every edge ``(n_edges, (l_max + 1)²)``, as `gnnpot.nn.angular.SphericalHarmonics` gives it."""
    values = np.zeros(16, dtype=np.float64)
    for p in range(len(directions)):
        _harmonics(directions[p, 0], directions[p, 1], directions[p, 2], out.shape[1], values)
        for m in range(out.shape[1]):
            out[pairs[p, 0], m] = values[m]
            out[pairs[p, 1], m] = -values[m] if 1 <= m < 4 or m >= 9 else values[m]


@compiled()
def _harmonics(x: float, y: float, z: float, n: int, out: Array) -> None:
    out[0] = 1.0
    if n > 1:
        out[1], out[2], out[3] = y, z, x
    if n > 4:
        out[4], out[5], out[7] = sqrt(3.0) * x * y, sqrt(3.0) * y * z, sqrt(3.0) * x * z
        out[6] = z * z - 0.5 * (x * x + y * y)
        out[8] = sqrt(0.75) * (x * x - y * y)
    if n > 9:
        xx, yy, zz = x * x, y * y, z * z
        out[9] = y * (sqrt(5.625) * xx - sqrt(0.625) * yy)
        out[10] = sqrt(15.0) * x * y * z
        out[11] = y * (sqrt(6.0) * zz - sqrt(0.375) * (xx + yy))
        out[12] = z * (zz - 1.5 * (xx + yy))
        out[13] = x * (sqrt(6.0) * zz - sqrt(0.375) * (xx + yy))
        out[14] = sqrt(3.75) * z * (xx - yy)
        out[15] = x * (sqrt(0.625) * xx - sqrt(5.625) * yy)


@compiled()
def _harmonics_pull_back(x: float, y: float, z: float, n: int, d: Array, out: Array) -> None:
    """Σ_m d_m ∂Y_m/∂(x, y, z)."""
    gx, gy, gz = 0.0, 0.0, 0.0
    if n > 1:
        gy, gz, gx = d[1], d[2], d[3]
    if n > 4:
        root = sqrt(3.0)
        gx += root * (y * d[4] + z * d[7] + x * d[8]) - x * d[6]
        gy += root * (x * d[4] + z * d[5] - y * d[8]) - y * d[6]
        gz += root * (y * d[5] + x * d[7]) + 2.0 * z * d[6]
    if n > 9:
        xx, yy, zz = x * x, y * y, z * z
        a, b, c = sqrt(5.625), sqrt(0.625), sqrt(0.375)
        e, f, g = sqrt(15.0), sqrt(6.0), sqrt(3.75)
        gx += 2.0 * a * x * y * d[9] + e * y * z * d[10] - 2.0 * c * x * y * d[11] - 3.0 * x * z * d[12]
        gx += (f * zz - c * (3.0 * xx + yy)) * d[13] + 2.0 * g * x * z * d[14] + (3.0 * b * xx - a * yy) * d[15]
        gy += (a * xx - 3.0 * b * yy) * d[9] + e * x * z * d[10] + (f * zz - c * (xx + 3.0 * yy)) * d[11]
        gy -= 3.0 * y * z * d[12] + 2.0 * c * x * y * d[13] + 2.0 * g * y * z * d[14] + 2.0 * a * x * y * d[15]
        gz += e * x * y * d[10] + 2.0 * f * z * (y * d[11] + x * d[13])
        gz += (3.0 * zz - 1.5 * (xx + yy)) * d[12] + g * (xx - yy) * d[14]
    out[0], out[1], out[2] = gx, gy, gz


@compiled()
def write_gradients(around: Neighborhoods, by_distance: Array, by_harmonics: Array, scale: float, out: Array) -> None:
    """Write s ∂y/∂r of every pair ``(n_edges in the graph, 3)`` to its first edge.

    Args:
        around: the near edges.
        by_distance: derivatives by the distance of every pair ``(n_pairs,)``.
        by_harmonics: derivatives by Y of every edge ``(n_edges, (l_max + 1)²)``.
        scale: s.
        out: zero where no pair is written.
    """
    n = by_harmonics.shape[1]
    d, g = np.zeros(16, dtype=np.float64), np.zeros(3, dtype=np.float64)
    for p in range(len(around.pairs)):
        one, two = around.pairs[p, 0], around.pairs[p, 1]
        for m in range(n):
            other = np.float64(by_harmonics[two, m])
            d[m] = by_harmonics[one, m] + (-other if 1 <= m < 4 or m >= 9 else other)
        x, y, z = around.directions[p, 0], around.directions[p, 1], around.directions[p, 2]
        _harmonics_pull_back(x, y, z, n, d, g)
        along = by_distance[p] - (x * g[0] + y * g[1] + z * g[2]) / around.distances[p]
        for a in range(3):
            total = g[a] / around.distances[p] + along * around.directions[p, a]
            out[around.first_edges[p], a] = scale * total
