"""A compiled search for the edges of colliding atoms, as fast as reading the edges once."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def edges_within(
    positions: Array, cell: Array, batch: Array, edge_index: Array, edge_shifts: Array, types: Array, radii: Array
) -> Array:
    """Numbers of the edges shorter than ``radii[t_i, t_j]``."""
    largest = 0.0
    for t in range(radii.shape[0]):
        for u in range(radii.shape[1]):
            largest = max(largest, radii[t, u])
    found = np.empty(16, dtype=np.int64)
    n = 0
    for edge in range(edge_index.shape[1]):
        i, j = edge_index[0, edge], edge_index[1, edge]
        s = batch[i]
        square = 0.0
        for a in range(3):
            x = np.float64(positions[j, a]) - np.float64(positions[i, a])
            for b in range(3):
                x += np.float64(edge_shifts[edge, b]) * np.float64(cell[s, b, a])
            square += x * x
        if square >= largest * largest or square >= radii[types[i], types[j]] ** 2:
            continue
        if n == len(found):
            larger = np.empty(2 * n, dtype=np.int64)
            larger[:n] = found
            found = larger
        found[n] = edge
        n += 1
    return found[:n]
