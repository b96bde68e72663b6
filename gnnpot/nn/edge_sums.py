"""CPU kernels that turn ∂E/∂r_ij of every edge into forces and stress."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def forces_and_virials(
    gradients: Array, positions: Array, cell: Array, batch: Array, edge_index: Array, edge_shifts: Array
) -> tuple[Array, Array]:
    """F_i = Σ_j ∂E/∂r_ij - ∂E/∂r_ji ``(n_atoms, 3)``, and Σ_edges r ⊗ ∂E/∂r of each structure, symmetrized."""
    forces = np.zeros(positions.shape, dtype=positions.dtype)
    virials = np.zeros(cell.shape, dtype=np.float64)
    r = np.empty(3, dtype=np.float64)
    for edge in range(edge_index.shape[1]):
        g0, g1, g2 = gradients[edge, 0], gradients[edge, 1], gradients[edge, 2]
        if g0 == 0.0 and g1 == 0.0 and g2 == 0.0:
            continue
        i, j = edge_index[0, edge], edge_index[1, edge]
        s = batch[i]
        for a in range(3):
            forces[i, a] += gradients[edge, a]
            forces[j, a] -= gradients[edge, a]
            r[a] = positions[j, a] - positions[i, a]
            for b in range(3):
                r[a] += edge_shifts[edge, b] * cell[s, b, a]
        for a in range(3):
            virials[s, a, 0] += r[a] * g0
            virials[s, a, 1] += r[a] * g1
            virials[s, a, 2] += r[a] * g2
    return forces, 0.5 * (virials + virials.transpose(0, 2, 1))


@compiled()
def stress(virials: Array, cell: Array, pbc: Array) -> Array:
    """σ = virial / |V|, in the precision of the cell; NaN for structures that are not fully periodic."""
    out = np.empty(cell.shape, dtype=cell.dtype)
    for s in range(len(cell)):
        volume = abs(_determinant(cell[s])) if pbc[s].all() else np.nan
        for a in range(3):
            for b in range(3):
                out[s, a, b] = virials[s, a, b] / volume
    return out


@compiled()
def _determinant(m: Array) -> float:
    return (
        np.float64(m[0, 0]) * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - np.float64(m[0, 1]) * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + np.float64(m[0, 2]) * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )
