"""CPU kernels that turn ∂E/∂r_ij of every edge into forces and stress."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.nn.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def add_forces(gradients: Array, edge_index: Array, forces: Array) -> None:
    """F_i += ∂E/∂r_ij and F_j -= ∂E/∂r_ij."""
    for edge in range(edge_index.shape[1]):
        i, j = edge_index[0, edge], edge_index[1, edge]
        for a in range(3):
            forces[i, a] += gradients[edge, a]
            forces[j, a] -= gradients[edge, a]


@compiled()
def write_stress(
    gradients: Array,
    positions: Array,
    cell: Array,
    pbc: Array,
    batch: Array,
    edge_index: Array,
    edge_shifts: Array,
    stress: Array,
) -> None:
    """σ = (1/|V|) Σ_edges r ⊗ ∂E/∂r, symmetrized; NaN for structures that are not fully periodic."""
    virial = np.zeros(stress.shape, dtype=np.float64)
    r = np.empty(3, dtype=np.float64)
    for edge in range(edge_index.shape[1]):
        g0, g1, g2 = gradients[edge, 0], gradients[edge, 1], gradients[edge, 2]
        if g0 == 0.0 and g1 == 0.0 and g2 == 0.0:
            continue
        i, j = edge_index[0, edge], edge_index[1, edge]
        s = batch[i]
        for a in range(3):
            r[a] = positions[j, a] - positions[i, a]
            for b in range(3):
                r[a] += edge_shifts[edge, b] * cell[s, b, a]
        for a in range(3):
            virial[s, a, 0] += r[a] * g0
            virial[s, a, 1] += r[a] * g1
            virial[s, a, 2] += r[a] * g2
    for s in range(len(stress)):
        volume = abs(_determinant(cell[s])) if pbc[s].all() else np.nan
        for a in range(3):
            for b in range(3):
                stress[s, a, b] = (virial[s, a, b] + virial[s, b, a]) / (2.0 * volume)


@compiled()
def _determinant(m: Array) -> float:
    return (
        np.float64(m[0, 0]) * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - np.float64(m[0, 1]) * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + np.float64(m[0, 2]) * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )
