import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from gnnpot.apps import physics_tests as physics

SYMMETRIES = (
    physics.rotation_error,
    physics.reflection_error,
    physics.translation_error,
    physics.permutation_error,
    physics.lattice_shift_error,
    physics.supercell_error,
    physics.batch_error,
    physics.separation_error,
    physics.partial_periodicity_error,
)


@pytest.fixture
def cell() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.3).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize("measure", SYMMETRIES)
def test_lennard_jones_obeys_every_law(argon_potential, cell, measure):
    assert measure(argon_potential, cell, np.random.default_rng(0)) < 1e-10


@pytest.mark.parametrize("measure", SYMMETRIES)
def test_a_molecule_obeys_them_too(argon_potential, measure):
    cluster = Atoms("Ar4", [[0, 0, 0], [3.8, 0, 0], [0, 3.9, 0.3], [0.2, 0.1, 4.0]])
    assert measure(argon_potential, cluster, np.random.default_rng(0)) < 1e-10


def test_derivatives(argon_potential, cell):
    rng = np.random.default_rng(0)
    assert physics.force_derivative_error(argon_potential, cell, rng) < 1e-8
    assert physics.stress_derivative_error(argon_potential, cell, rng) < 1e-8
    assert physics.nonconservativeness(argon_potential, cell, rng) < 1e-6
    assert physics.net_force(argon_potential, cell, rng) < 1e-12


def test_wrong_stress_is_seen(argon_potential, cell, monkeypatch):
    def flipped(potential, frames, properties=None):
        values = physics_predict(potential, frames, properties)
        return [{**v, "stress": -v["stress"]} for v in values]

    physics_predict = physics.predict
    monkeypatch.setattr(physics, "predict", flipped)
    assert physics.stress_derivative_error(argon_potential, cell, np.random.default_rng(0)) > 1e-3


def test_smooth_and_bare_cutoff(argon_potential, bare_lennard_jones, cell):
    rng = np.random.default_rng(0)
    assert physics.cutoff_energy_jump(argon_potential, cell, rng) < 1e-8
    assert physics.cutoff_force_jump(argon_potential, cell, rng) < 1e-6
    assert physics.cutoff_energy_jump(bare_lennard_jones, cell, rng) > 1e-5
    assert physics.cutoff_force_jump(bare_lennard_jones, cell, rng) > 1e-4


def test_cutoff_of_a_dimer_is_crossed(bare_lennard_jones):
    dimer = Atoms("Ar2", [[0, 0, 0], [3.8, 0, 0]])
    jump = physics.cutoff_energy_jump(bare_lennard_jones, dimer, np.random.default_rng(0))
    power = (3.4 / 6.0) ** 6
    assert jump == pytest.approx(abs(4 * 0.0103 * (power**2 - power)) / 2, rel=1e-5)


def test_isolated_atoms(argon_potential):
    rng = np.random.default_rng(0)
    assert physics.isolated_force(argon_potential, Atoms("Ar"), rng) == 0.0
    assert physics.isolated_energy_error(argon_potential, Atoms("Ar"), rng) == 0.0


def test_swirling_forces_are_seen(swirling_forces, cell):
    rng = np.random.default_rng(0)
    assert physics.rotation_error(swirling_forces, cell, rng) > 1e-4
    assert physics.nonconservativeness(swirling_forces, cell, rng) > 0.05


def test_drift_of_a_conservative_model(argon_potential, cell):
    drift = physics.nve_drift(argon_potential, cell, np.random.default_rng(0), temperature=30, steps=100, timestep=4.0)
    assert drift < 0.1


def test_not_a_number_is_never_small():
    assert np.isnan(physics.largest([0.0, float("nan")]))
    assert np.isnan(physics.deviation({"forces": np.full((2, 3), np.nan)}, {"forces": np.zeros((2, 3))}))


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False), (False, False, False)])
def test_vacuum_keeps_the_periodic_vectors(pbc):
    atoms = molecule("H2O")
    atoms.set_cell([[4, 0.3, 0], [0.5, 5, 0], [0, 0.2, 6]])
    atoms.pbc = pbc
    filled = physics.with_vacuum(atoms, 10.0)
    assert filled.pbc.all()
    np.testing.assert_array_equal(filled.cell.array[list(pbc)], atoms.cell.array[list(pbc)])
    added = filled.cell.array[~np.array(pbc)]
    assert (np.linalg.norm(added, axis=1) >= 10.0).all()
    np.testing.assert_allclose(added @ atoms.cell.array[list(pbc)].T, 0.0, atol=1e-12)
