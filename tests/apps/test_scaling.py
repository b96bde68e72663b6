"""The cost of a step grows like the number of atoms: ratios of processor times, with room for a noisy machine."""

import time

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from gnnpot.apps.calculator import Calculator
from gnnpot.models.potential import Potential
from gnnpot.models.schnet import SchNet


def seconds_of_step(model: Potential, atoms: Atoms, n_steps: int) -> float:
    """Least processor time of a step."""
    atoms.calc = Calculator(model)
    random, found = np.random.default_rng(0), []
    for _ in range(n_steps + 1):
        atoms.positions += random.normal(scale=0.002, size=atoms.positions.shape)
        start = time.process_time()
        atoms.get_forces()
        found.append(time.process_time() - start)
    return min(found[1:])


def test_eight_times_the_atoms_cost_eight_times():
    torch.manual_seed(0)
    model = SchNet(["Si"], cutoff=5.0)
    ratios = []
    for _ in range(2):
        small = seconds_of_step(model, bulk("Si", cubic=True).repeat(2), 10)
        ratios.append(seconds_of_step(model, bulk("Si", cubic=True).repeat(4), 4) / small)
    assert min(ratios) < 8 * 1.6
