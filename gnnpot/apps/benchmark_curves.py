"""The force of a potential along the stretch of one bond, where a jump or a kink would show."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from gnnpot.apps.foreign import predicted_by
from gnnpot.data.graph import graph_from_atoms

FloatArray = NDArray[np.float64]

STRETCH_STEP = 0.01
STRETCH = (0.75, 1.6)
"""Range of a stretched bond, over its length."""

BOND_REACH = 8.0


def bond_stretch(example: Atoms, calculators: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Force along a bond while one atom of a structure moves along it, and how far it is from smooth.

    The atom with the shortest bond moves from 0.75 to 1.6 times its length, in steps of 0.01 Å. `roughness` is the
    largest deviation of the force from the cubic through its four neighbors,
    |F_k - (4F_{k-1} + 4F_{k+1} - F_{k-2} - F_{k+2})/6|, eV/Å: near zero for a smooth potential, half a jump at a jump.

    Returns the curves by model, and what was stretched, in words.
    """
    bond = _shortest_bond(example)
    if bond is None:
        return {}, "no bond"
    atom, direction, length, other = bond
    distances = np.arange(STRETCH[0] * length, STRETCH[1] * length, STRETCH_STEP)
    found: dict[str, Any] = {}
    for model, calculator in calculators.items():
        force = _forces_along(calculator, example, atom, direction, distances - length)
        if force is None:
            continue
        found[model] = {
            "distance": np.round(distances, 4).tolist(),
            "force": [float(f"{x:.7g}") for x in force],
            "roughness": roughness(force),
        }
    symbols = example.get_chemical_symbols()
    return found, f"{symbols[atom]}-{symbols[other]} bond of {length:.2f} Å"


def _forces_along(
    calculator: Any, example: Atoms, atom: int, direction: FloatArray, moves: FloatArray
) -> FloatArray | None:
    """Force on an atom against a direction, moved by lengths against it; None where the model gives none."""
    forces = []
    for move in moves:
        try:
            given = predicted_by(calculator, _stretched(example, atom, move * direction))
            forces.append(-float(given["forces"][atom] @ direction))
        except Exception:  # calculators of others refuse in ways of their own
            return None
    return np.array(forces)


def _stretched(example: Atoms, atom: int, back: FloatArray) -> Atoms:
    moved = example.copy()
    moved.positions[atom] -= back
    return moved


def roughness(force: FloatArray) -> float:
    """Largest deviation of a curve from the cubic through the two neighbors on either side.

    >>> bool(roughness(np.linspace(0.0, 1.0, 9) ** 3) < 1e-12), round(roughness(np.array([0.0] * 5 + [1.0] * 5)), 3)
    (True, 0.5)
    """
    middle = (4.0 * force[1:-3] + 4.0 * force[3:-1] - force[:-4] - force[4:]) / 6.0
    return float(np.abs(force[2:-2] - middle).max())


def _shortest_bond(example: Atoms) -> tuple[int, FloatArray, float, int] | None:
    """Atom, direction to its nearest neighbor, distance, and neighbor; None without one within 8 Å."""
    graph = graph_from_atoms(example, BOND_REACH)
    vectors = graph.positions[graph.neighbors] - graph.positions[graph.centers] + graph.edge_shifts @ graph.cell[0]
    lengths = vectors.norm(dim=1).where(graph.neighbors != graph.centers, torch.inf)
    if not bool(torch.isfinite(lengths).any()):
        return None
    edge = int(lengths.argmin())
    length = float(lengths[edge])
    return int(graph.centers[edge]), vectors[edge].numpy() / length, length, int(graph.neighbors[edge])
