"""Curves that show a potential where data end: along the stretch of one bond, and two atoms alone down to collision."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from gnnpot.apps.datasets import frames_from
from gnnpot.apps.foreign import predicted_by
from gnnpot.data.graph import graph_from_atoms
from gnnpot.data.labels import labels_of
from gnnpot.errors import GnnpotError

FloatArray = NDArray[np.float64]

STRETCH_STEP = 0.01
STRETCH = (0.75, 1.6)
"""Range of a stretched bond, over its length."""

BOND_REACH = 8.0

DIMER = (0.35, 6.0)
"""Shortest distance of two atoms over the sum of their covalent radii, and the longest, Å."""

REFUSALS = (GnnpotError, ValueError, KeyError, RuntimeError, NotImplementedError)
"""What calculators raise for a structure that they were not made for."""

N_DIMER = 120
MOST_PAIRS = 6


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
        except REFUSALS:
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


def dimer_curves(calculators: Mapping[str, Any], elements_of: Mapping[str, set[int]]) -> dict[str, Any]:
    """Energy of two atoms alone against their distance, relative to the longest one, for each pair of elements.

    A direct-force model has no energy: the work  -∫ F dr  takes its place. A pair that a model cannot compute is
    left out.
    """
    numbers = sorted(set.union(*elements_of.values())) if elements_of else []
    found: dict[str, Any] = {}
    for a, b in list(itertools.combinations_with_replacement(numbers, 2))[:MOST_PAIRS]:
        bond = float(covalent_radii[a] + covalent_radii[b])
        distances = np.geomspace(DIMER[0] * bond, max(DIMER[1], 2.0 * bond), N_DIMER)
        curves = {}
        for model, calculator in calculators.items():
            curve = _dimer(calculator, a, b, distances)
            if curve is not None:
                curves[model] = [float(f"{x:.6g}") for x in curve]
        found[f"{chemical_symbols[a]}-{chemical_symbols[b]}"] = {
            "bond": bond,
            "distance": np.round(distances, 4).tolist(),
            "energy": curves,
            "repels_down_to": {
                model: repels_down_to(distances, np.array(curve), bond) for model, curve in curves.items()
            },
        }
    return found


def _dimer(calculator: Any, a: int, b: int, distances: FloatArray) -> FloatArray | None:
    energies, forces = [], []
    for distance in distances:
        try:
            given = predicted_by(calculator, Atoms([a, b], [[0.0, 0.0, 0.0], [float(distance), 0.0, 0.0]]))
        except REFUSALS:
            return None
        energies.append(given.get("energy", np.nan))
        forces.append(float(given["forces"][1, 0]) if "forces" in given else np.nan)
    energy = np.array(energies, dtype=np.float64)
    if not np.isfinite(energy).all():
        force = np.array(forces)
        steps = 0.5 * (force[1:] + force[:-1]) * np.diff(distances)
        energy = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    return energy - energy[-1]


def repels_down_to(distances: FloatArray, energy: FloatArray, bond: float) -> float:
    """Shortest distance down to which the energy rises all the way, from 0.8 bonds inward.

    A potential may turn over where the data end: below this distance atoms fall into each other. 0.8 bonds means that
    there is no repulsion at all.

    >>> r = np.array([1.0, 2.0, 3.0, 4.0])
    >>> [repels_down_to(r, np.array([inner, 1.0, -1.0, 0.0]), bond=2.5) for inner in (5.0, -9.0)]
    [1.0, 2.0]
    """
    k = int(np.flatnonzero(distances <= 0.8 * bond)[-1])
    while k > 0 and energy[k - 1] > energy[k]:
        k -= 1
    return float(distances[k])


def reference_dimers(path: str, numbers: set[int]) -> dict[str, Any]:
    """Labeled pairs of atoms: distance and energy relative to the longest distance, eV, by pair of elements."""
    points: dict[str, list[tuple[float, float]]] = {}
    for atoms in frames_from(path):
        energy = labels_of(atoms).get("energy")
        if len(atoms) != 2 or energy is None or not set(atoms.numbers.tolist()) <= numbers:
            continue
        a, b = sorted(atoms.numbers.tolist())
        pair = f"{chemical_symbols[a]}-{chemical_symbols[b]}"
        points.setdefault(pair, []).append((float(atoms.get_distance(0, 1)), float(energy)))
    found = {}
    for pair, values in points.items():
        values.sort()
        found[pair] = {"distance": [r for r, _ in values], "energy": [e - values[-1][1] for _, e in values]}
    return found
