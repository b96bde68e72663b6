"""The one compiled equation of an edge, from which every compiled loop over edges takes its geometry."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def write_edge_vector(
    positions: Array,
    cell: Array,
    structure: int,
    edge_index: Array,
    edge_shifts: Array,
    edge: int,
    vectors: Array,
    row: int,
) -> float:
    """Write r_ij = r_j - r_i + S·cell of one edge to a row of ``vectors``, in double precision; its square."""
    i, j = edge_index[0, edge], edge_index[1, edge]
    square = 0.0
    for a in range(3):
        x = np.float64(positions[j, a]) - np.float64(positions[i, a])
        for b in range(3):
            x += np.float64(edge_shifts[edge, b]) * np.float64(cell[structure, b, a])
        vectors[row, a] = x
        square += x * x
    return square
