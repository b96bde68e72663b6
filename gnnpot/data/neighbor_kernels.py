"""Compiled loops of the neighbor search: atoms are sorted into bins, and each looks into the bins around its own."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled
from gnnpot.data.edge_kernels import write_edge_vector

Floats: TypeAlias = npt.NDArray[Any]
Integers: TypeAlias = npt.NDArray[Any]


@compiled()
def fill_bins(
    fractions: Floats, n_bins: Integers, periodic: Integers, wraps: Integers, bins: Integers, members: Integers
) -> Integers:
    """Sort atoms into bins; where each bin begins in ``members``, ``(number of bins + 1,)``.

    Args:
        fractions: positions in units of the box ``(n_atoms, 3)``; in directions that do not repeat within [0, 1].
        n_bins: number of bins along each vector.
        periodic: 1 where a vector repeats.
        wraps: set to the lattice vectors that lie between each atom and its image in the box, ``(n_atoms, 3)``.
        bins: set to the three numbers of each atom's bin, ``(n_atoms, 3)``.
        members: set to the atoms, bin by bin, ``(n_atoms,)``.
    """
    n_atoms = len(fractions)
    starts = np.zeros(n_bins[0] * n_bins[1] * n_bins[2] + 1, np.int64)
    for i in range(n_atoms):
        for c in range(3):
            whole = np.floor(fractions[i, c]) * periodic[c]
            wraps[i, c] = np.int64(whole)
            inside = np.int64((fractions[i, c] - whole) * n_bins[c])
            bins[i, c] = min(max(inside, 0), n_bins[c] - 1)
        starts[(bins[i, 0] * n_bins[1] + bins[i, 1]) * n_bins[2] + bins[i, 2] + 1] += 1
    for b in range(len(starts) - 1):
        starts[b + 1] += starts[b]
    fill = starts[:-1].copy()
    for i in range(n_atoms):
        b = (bins[i, 0] * n_bins[1] + bins[i, 1]) * n_bins[2] + bins[i, 2]
        members[fill[b]] = i
        fill[b] += 1
    return starts


@compiled()
def sort_atoms(positions: Floats, box: Floats, wraps: Integers, members: Integers, inside: Floats) -> None:
    """Set the positions of the images in the box, bin by bin, ``(3, n_atoms)``."""
    for m in range(len(members)):
        i = members[m]
        for c in range(3):
            away = wraps[i, 0] * box[0, c] + wraps[i, 1] * box[1, c] + wraps[i, 2] * box[2, c]
            inside[c, m] = positions[i, c] - away


@compiled()
def search(
    inside: Floats,
    box: Floats,
    cutoff: float,
    n_bins: Integers,
    reach: Integers,
    periodic: Integers,
    wraps: Integers,
    bins: Integers,
    members: Integers,
    starts: Integers,
    edge_index: Integers,
    shifts: Integers,
) -> int:
    """Write the edges of every center, in the order of the centers; how many there are, also beyond the room.

    A distance and that of the reverse edge are computed from the same numbers with opposite signs, so that both
    are within the cutoff or neither.

    Args:
        inside: from `sort_atoms`.
        box: lattice vectors in rows, ``(3, 3)``, zero where nothing repeats, Å.
        cutoff: Å.
        n_bins: see `fill_bins`.
        reach: how many bins to each side of its own an atom looks into.
        periodic: see `fill_bins`.
        wraps: see `fill_bins`.
        bins: see `fill_bins`.
        members: see `fill_bins`.
        starts: what `fill_bins` returned.
        edge_index: set to centers and neighbors, ``(2, room)``.
        shifts: set to S of r_ij = r_j - r_i + S·box, ``(room, 3)``.
    """
    n_atoms, room, count, limit = len(members), edge_index.shape[1], 0, cutoff * cutoff
    widest = 2 * reach.max() + 1
    image, place = np.zeros((3, widest), np.int64), np.zeros((3, widest), np.int64)
    position, found = np.empty(n_atoms, np.int64), np.empty(n_atoms, np.int64)
    for m in range(n_atoms):
        position[members[m]] = m
    for i in range(n_atoms):
        own = position[i]
        x, y, z = inside[0, own], inside[1, own], inside[2, own]
        span = bins_around(bins[i], n_bins, reach, periodic, image, place)
        for u in range(span[0]):
            for v in range(span[1]):
                for w in range(span[2]):
                    s0, s1, s2 = image[0, u], image[1, v], image[2, w]
                    dx = s0 * box[0, 0] + s1 * box[1, 0] + s2 * box[2, 0]
                    dy = s0 * box[0, 1] + s1 * box[1, 1] + s2 * box[2, 1]
                    dz = s0 * box[0, 2] + s1 * box[1, 2] + s2 * box[2, 2]
                    b = (place[0, u] * n_bins[1] + place[1, v]) * n_bins[2] + place[2, w]
                    n = 0
                    for m in range(starts[b], starts[b + 1]):
                        px, py, pz = (inside[0, m] - x) + dx, (inside[1, m] - y) + dy, (inside[2, m] - z) + dz
                        found[n] = m
                        n += px * px + py * py + pz * pz < limit
                    for k in range(n):
                        j = members[found[k]]
                        if i == j and s0 == 0 and s1 == 0 and s2 == 0:
                            continue
                        if count < room:
                            edge_index[0, count], edge_index[1, count] = i, j
                            shifts[count, 0] = s0 + wraps[i, 0] - wraps[j, 0]
                            shifts[count, 1] = s1 + wraps[i, 1] - wraps[j, 1]
                            shifts[count, 2] = s2 + wraps[i, 2] - wraps[j, 2]
                        count += 1
    return count


@compiled()
def bins_around(
    own: Integers, n_bins: Integers, reach: Integers, periodic: Integers, image: Integers, place: Integers
) -> tuple[int, int, int]:
    """Set number and image of the bins around one along each vector; how many there are."""
    counts = np.zeros(3, np.int64)
    for c in range(3):
        for step in range(-reach[c], reach[c] + 1):
            b = own[c] + step
            whole = b // n_bins[c]
            if periodic[c] or whole == 0:
                image[c, counts[c]] = whole
                place[c, counts[c]] = b - whole * n_bins[c]
                counts[c] += 1
    return counts[0], counts[1], counts[2]


@compiled()
def closest_edge(positions: Floats, box: Floats, edge_index: Integers, shifts: Integers) -> tuple[int, float]:
    """Number and length of the shortest edge, Å; -1 and infinity without any."""
    shortest, found = np.inf, -1
    cell, vector = box.copy().reshape(1, 3, 3), np.empty((1, 3))
    for e in range(edge_index.shape[1]):
        square = write_edge_vector(positions, cell, 0, edge_index, shifts, e, vector, 0)
        if square < shortest:
            shortest, found = square, e
    return found, np.sqrt(shortest)
