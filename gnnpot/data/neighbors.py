"""Neighbor lists: every pair of atoms, images included, closer than the cutoff.

The list is full (i→j and j→i), sorted by center, and has no cap on the number of neighbors. An atom neighbors
its own images, so that cells smaller than the cutoff are treated exactly.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]


def neighbor_list(
    positions: FloatArray, cell: FloatArray, pbc: npt.NDArray[np.bool_], cutoff: float
) -> tuple[IntArray, IntArray]:
    """Return all edges r_ij = r_j - r_i + S·cell with 0 < |r_ij| < cutoff.

    Args:
        positions: ``(n_atoms, 3)``, Å; atoms may lie outside of the cell.
        cell: ``(3, 3)``, rows are lattice vectors, Å; rows of non-periodic directions are ignored.
        pbc: ``(3,)``, which lattice vectors repeat.
        cutoff: Å.

    Returns:
        ``edge_index`` ``(2, n_edges)``, row 0 the center i and row 1 the neighbor j, sorted by center, and the
        integer cell shifts S ``(n_edges, 3)``.

    >>> edge_index, shifts = neighbor_list(
    ...     np.zeros((1, 3)), 3.0 * np.eye(3), np.array([True, True, True]), cutoff=3.5
    ... )
    >>> edge_index.shape  # one atom in a simple cubic cell sees its six nearest images
    (2, 6)
    """
    import vesin

    if len(positions) == 0:
        return np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    periodic = np.asarray(pbc, dtype=bool)
    box = np.where(periodic[:, None], np.asarray(cell, dtype=np.float64), 0.0)
    calculator = vesin.NeighborList(cutoff=float(cutoff), full_list=True, sorted=True)
    center, neighbor, shifts = calculator.compute(
        points=np.asarray(positions, dtype=np.float64), box=box, periodic=periodic, quantities="ijS"
    )
    edge_index = np.stack([center, neighbor]).astype(np.int64)
    return edge_index, np.asarray(shifts, dtype=np.int64).reshape(-1, 3)
