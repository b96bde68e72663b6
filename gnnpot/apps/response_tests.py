"""What physics asks of the response to a field, each as one measurement, beside `gnnpot.apps.physics_tests`.

Every function takes a potential with a response head, in float64, and a structure. Z is field first,
Z[i, a, b] = ∂P_a/∂r_ib.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from ase import Atoms

from gnnpot.apps.physics_tests import Generator, bare, central_difference, largest, random_rotation
from gnnpot.data.neighbors import FloatArray
from gnnpot.keys import BORN
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import predict

RADIUS = 0.1
"""Å, root mean square over the atoms: as far as heat moves them."""
N_POINTS = 48
"""Around a loop: smooth forces are summed to ten digits of their work."""
TINY = 1e-12
"""e·Å; no atom that a field does less work on is moved by it."""


def born_orientation_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Z(Rr) = R Z(r) Rᵀ for a random rotation of positions and cell, and for it and an inversion; e."""
    rotation = random_rotation(rng)
    (plain,) = born_charges_of(potential, [atoms])
    errors = []
    for matrix in (rotation, -rotation):
        turned = bare(atoms)
        turned.set_cell(atoms.cell.array @ matrix.T)
        turned.positions = atoms.positions @ matrix.T
        errors.append(largest(born_charges_of(potential, [turned])[0] - matrix @ plain @ matrix.T))
    return largest(errors)


def sum_rule_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """|Σ_i Z_i - Q·1| over the number of atoms, e."""
    (born,) = born_charges_of(potential, [atoms])
    return largest(born.sum(axis=0) - float(atoms.info.get("charge") or 0.0) * np.eye(3)) / len(atoms)


def born_derivative_error(potential: Potential, atoms: Atoms, rng: Generator, n_coordinates: int = 6) -> float:
    """Z[i, a, b] = ∂P_a/∂r_ib by central differences of fourth order in some coordinates, e."""
    (born,) = born_charges_of(potential, [atoms])
    chosen = rng.choice(3 * len(atoms), min(n_coordinates, 3 * len(atoms)), replace=False)

    def dipole(coordinate: int, step: float) -> FloatArray:
        moved = bare(atoms)
        moved.positions[coordinate // 3, coordinate % 3] += step
        return np.asarray(predict(potential, [moved], ["polarization"])[0]["polarization"])

    return largest(largest(central_difference(partial(dipole, int(c)), 1e-3) - born[c // 3, :, c % 3]) for c in chosen)


def work_on_a_loop(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """|∮ dW| / ∮ |dW| of a field on atoms that go around a loop of `RADIUS`: the part that does not come back.

    Zero where Z is the derivative of a polarization. Of a tensor head it is what a field gains or loses on atoms that
    come back to where they were. The largest of the three directions of the field.
    """
    work, size = loop_work(potential, atoms, random_plane(atoms, rng))
    return largest(work / np.maximum(size, TINY))


def loop_work(
    potential: Potential, atoms: Atoms, plane: FloatArray, radius: float = RADIUS, n_points: int = N_POINTS
) -> tuple[FloatArray, FloatArray]:
    """∮ Σ_ib Z[i, a, b] dr_ib and ∮ |Σ_ib Z[i, a, b] dr_ib| around a circle, each ``(3,)`` e·Å.

    The sum over equidistant points converges faster than any power of their distance, but for what happens at the
    cutoff.

    Args:
        potential: with a response head.
        atoms: at the center.
        plane: two directions at right angles in the space of all positions, ``(2, n_atoms, 3)``, as `random_plane`.
        radius: Å, of the circle in units of these directions.
        n_points: on the circle.
    """
    angles = 2.0 * np.pi * np.arange(n_points) / n_points
    frames, tangents = [], []
    for angle in angles:
        moved = bare(atoms)
        moved.positions += radius * (np.cos(angle) * plane[0] + np.sin(angle) * plane[1])
        frames.append(moved)
        tangents.append(radius * (np.cos(angle) * plane[1] - np.sin(angle) * plane[0]))
    born = np.array(born_charges_of(potential, frames))
    steps = np.einsum("tnab,tnb->ta", born, np.array(tangents)) * 2.0 * np.pi / n_points
    return steps.sum(axis=0), np.abs(steps).sum(axis=0)


def random_plane(atoms: Atoms, rng: Generator) -> FloatArray:
    """Two orthogonal random directions of all atoms, each of root mean square 1 per atom, ``(2, n_atoms, 3)``."""
    orthogonal = np.linalg.qr(rng.normal(size=(3 * len(atoms), 2)))[0]
    return np.asarray(orthogonal.T.reshape(2, len(atoms), 3) * len(atoms) ** 0.5)


def born_charges_of(potential: Potential, frames: Sequence[Atoms]) -> list[FloatArray]:
    """Z ``(n_atoms, 3, 3)`` of every structure, e."""
    return [found[BORN.name] for found in predict(potential, [bare(frame) for frame in frames], [BORN.name])]
