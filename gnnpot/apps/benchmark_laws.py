"""Whether forces conserve an energy along a simulation, also those of a model that knows no energy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from gnnpot.apps.physics_tests import Generator, nve_walk
from gnnpot.apps.thermo import slope_after_first_tenth
from gnnpot.data.neighbors import FloatArray

N_SAMPLES = 20
"""Times of a simulation at which the work along a straight line is computed, at least."""

N_NODES = 24
"""Points of the Gauss-Legendre rule along the line."""

LONGEST = 0.5
"""Move of an atom, Å, from which on a further line begins where the last one ends, so that none leads through atoms."""


def energy_slopes(
    calculator: Any,
    atoms: Atoms,
    rng: Generator,
    temperature: float,
    steps: int,
    timestep: float,
    has_energy: bool,
) -> tuple[float | None, float | None]:
    """Slopes of two energies per atom in velocity-Verlet dynamics after its first tenth, meV/atom/ps.

    The first is the total energy, None where the calculator has none. The second asks for forces alone: the kinetic
    energy less the work that the forces do along the straight line from the first positions to the present ones,

        K(t) - ∫₀¹ F(r₀ + s d)·d ds,  d = r(t) - r₀.

    Forces that are the gradient of an energy do the same work on every path: then it is the total energy up to a
    constant. Of others its growth is what they gain on the way there and straight back, from nowhere. Where an atom
    has moved farther than `LONGEST`, a further line begins, and the work on all of them counts.

    Args:
        calculator: any that gives forces.
        atoms: the start, repeated to at least eight atoms where it is periodic.
        rng: of the velocities.
        temperature: of the first velocities, K.
        steps: number of steps.
        timestep: fs.
        has_energy: whether the calculator gives an energy.
    """
    total, sampled = [], []
    every = max(1, steps // N_SAMPLES)
    walkers = atoms
    for k, walkers in enumerate(nve_walk(calculator, atoms, rng, temperature, steps, timestep)):
        total.append(walkers.get_total_energy() / len(walkers) if has_energy else np.nan)
        if k % every == 0:
            sampled.append((k, walkers.get_kinetic_energy(), walkers.positions.copy()))
    work = _work_on_lines(walkers, [positions for _, _, positions in sampled])
    conserved = [(kinetic - done) / len(walkers) for (_, kinetic, _), done in zip(sampled, work, strict=True)]
    return (
        slope_after_first_tenth([k * timestep / 1000.0 for k in range(len(total))], total),
        slope_after_first_tenth([k * timestep / 1000.0 for k, _, _ in sampled], conserved),
    )


def _work_on_lines(walkers: Atoms, path: Sequence[FloatArray]) -> list[float]:
    """Work of the forces from the first positions to each of a path, eV, along straight lines that are not long."""
    start, before = path[0], 0.0
    found = []
    for end in path:
        found.append(before + _work(walkers, start, end))
        if np.linalg.norm(end - start, axis=1).max() > LONGEST:
            start, before = end, found[-1]
    return found


def _work(walkers: Atoms, start: FloatArray, end: FloatArray) -> float:
    """Work of the forces along the straight line between two sets of positions, eV."""
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    moved = end - start
    if not moved.any():
        return 0.0
    probe = walkers.copy()
    probe.calc = walkers.calc
    work = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        probe.positions = start + 0.5 * (1.0 + node) * moved
        work += 0.5 * weight * float((probe.get_forces() * moved).sum())
    return work
