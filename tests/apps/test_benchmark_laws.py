"""Energies that forces alone conserve, or do not, against motions that are known exactly."""

import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from scipy.linalg import expm

from gnnpot.apps.benchmark_laws import N_SAMPLES, energy_slopes
from gnnpot.apps.benchmark_measure import _laws
from gnnpot.apps.calculator import Calculator
from gnnpot.apps.ensembles import degrees_of_freedom, set_velocities
from gnnpot.apps.physics_tests import bare
from gnnpot.apps.thermo import slope_after_first_tenth

STIFF, SWIRL = 0.5, 0.1
MATRIX = np.array([[-STIFF, -SWIRL, 0.0], [SWIRL, -STIFF, 0.0], [0.0, 0.0, -STIFF]])


class Swirl(AseCalculator):
    """F = -k (r - r₀) + s z × (r - r₀) of every atom, without an energy: no gradient of anything."""

    implemented_properties = ("forces",)

    def __init__(self, centers):
        super().__init__()
        self.centers = centers

    def calculate(self, atoms=None, properties=("forces",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"forces": (atoms.positions - self.centers) @ MATRIX.T}


def test_what_swirling_forces_gain_is_that_of_the_exact_motion(argon):
    """Linear forces: a matrix exponential moves the atoms, and their swirl does no work along a line from r₀."""
    timestep, steps = 2.0, 400
    calculator = Swirl(argon.positions.copy())
    total, found = energy_slopes(calculator, argon, np.random.default_rng(5), 30.0, steps, timestep, False)
    started = bare(argon)
    set_velocities(started, 30.0, degrees_of_freedom(started, keeps_rotation=True), np.random.default_rng(5))
    mass, velocities = started.get_masses()[0], started.get_velocities()
    motion = np.block([[np.zeros((3, 3)), np.eye(3)], [MATRIX / mass, np.zeros((3, 3))]])
    time = timestep * np.arange(0, steps + 1, steps // N_SAMPLES)
    exact = [expm(motion * t * units.fs)[:, 3:] @ velocities.T for t in time]
    energies = [(0.5 * mass * (x[3:] ** 2).sum() + 0.5 * STIFF * (x[:3] ** 2).sum()) / len(argon) for x in exact]
    expected = slope_after_first_tenth(time / 1000.0, energies)
    assert total is None
    assert expected > 1.0
    assert found == pytest.approx(expected, rel=2e-3)


def test_kinetic_energy_less_work_is_the_total_energy_of_a_gradient(argon_potential, argon, monkeypatch):
    """At a step so long that the total energy moves, both have the same slope through the same steps."""
    monkeypatch.setattr("gnnpot.apps.benchmark_laws.N_SAMPLES", 40)
    calculator = Calculator(argon_potential, dtype="float64")
    total, found = energy_slopes(calculator, argon, np.random.default_rng(0), 100.0, 40, 80.0, True)
    assert abs(total) > 0.05
    assert found == pytest.approx(total, rel=1e-3)


def test_direct_forces_are_told_from_a_gradient(argon_potential, swirling_forces, argon, monkeypatch):
    """The model of direct forces has no total energy that could drift, and still shows what it does not conserve."""
    settings = {"temperature": 30.0, "steps": 200, "timestep": 4.0}
    monkeypatch.setattr("gnnpot.apps.benchmark_measure.DRIFT", settings)
    of_energy, of_forces = (
        _laws(Calculator(potential, dtype="float64"), argon) for potential in (argon_potential, swirling_forces)
    )
    assert of_forces["drift"] is None
    assert of_energy["drift_of_forces"] == pytest.approx(of_energy["drift"], rel=0.05, abs=1e-3)
    assert of_forces["drift_of_forces"] > 100.0 * of_energy["drift_of_forces"]
