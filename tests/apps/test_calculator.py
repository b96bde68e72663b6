import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones as AseLennardJones

from gnnpot.apps.calculator import Calculator
from gnnpot.errors import ConfigError, PropertyNotAvailableError, UnknownElementError
from gnnpot.models.properties import derive

SKEW = np.array([[1.02, 0.03, 0.0], [0.0, 0.99, 0.02], [0.01, 0.0, 1.0]])


def test_agrees_with_lennard_jones_of_ase(bare_lennard_jones, argon):
    argon.set_cell(argon.cell.array @ SKEW, scale_atoms=True)
    argon.calc = AseLennardJones(epsilon=0.0103, sigma=3.4, rc=6.0, smooth=False)
    ours = argon.copy()
    ours.calc = Calculator(bare_lennard_jones, dtype="float64")
    np.testing.assert_allclose(ours.get_forces(), argon.get_forces(), atol=1e-12)
    np.testing.assert_allclose(ours.get_stress(), argon.get_stress(), atol=1e-14)


def test_forces_and_stress_are_derivatives_in_the_order_of_ase(argon_potential, argon):
    argon.set_cell(argon.cell.array @ SKEW, scale_atoms=True)
    argon.calc = Calculator(argon_potential, dtype="float64")
    forces, stress = argon.get_forces(), argon.get_stress()
    np.testing.assert_allclose(calculate_numerical_forces(argon, 1e-4, iatoms=[0, 7])[:], forces[[0, 7]], atol=1e-7)
    np.testing.assert_allclose(calculate_numerical_stress(argon, 1e-5), stress, atol=1e-8)


def test_stress_is_positive_under_tension(argon_potential):
    argon = bulk("Ar", a=5.6)
    argon.calc = Calculator(argon_potential, dtype="float64")
    assert (argon.get_stress()[:3] > 0).all()
    np.testing.assert_allclose(argon.get_stress()[3:], 0.0, atol=1e-12)


def test_gives_every_result_that_ase_expects(argon_potential, argon):
    argon.calc = Calculator(argon_potential)
    argon.get_stress()
    results = argon.calc.results
    assert results["free_energy"] == results["energy"] == pytest.approx(results["energies"].sum())
    assert argon.get_potential_energy(force_consistent=True) == results["energy"]
    assert argon.get_potential_energies().shape == (32,)
    assert results["stress"].shape == (6,)


def test_energy_alone_needs_no_derivative(argon_potential, argon, monkeypatch):
    asked = []

    def spy(potential, graph, properties):
        asked.append(set(properties))
        return derive(potential, graph, properties)

    monkeypatch.setattr("gnnpot.apps.calculator.derive", spy)
    argon.calc = Calculator(argon_potential)
    argon.get_potential_energy()
    assert asked == [{"energy", "energies"}]


def test_forces_and_stress_come_from_one_pass(argon_potential, argon, monkeypatch):
    asked = []

    def spy(potential, graph, properties):
        asked.append(set(properties))
        return derive(potential, graph, properties)

    monkeypatch.setattr("gnnpot.apps.calculator.derive", spy)
    argon.calc = Calculator(argon_potential)
    argon.get_forces(), argon.get_stress(), argon.get_potential_energy()
    assert asked == [{"energy", "energies", "forces", "stress"}]


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False), (False, False, False)])
def test_stress_without_volume_is_refused_by_name(argon_potential, pbc):
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=5.0)
    slab.pbc = pbc
    slab.calc = Calculator(argon_potential)
    assert np.isfinite(slab.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError, match="pbc is"):
        slab.get_stress()
    assert "stress" not in slab.calc.results


def test_charge_in_info_invalidates_results(argon_potential, argon):
    argon.calc = Calculator(argon_potential)
    argon.get_potential_energy()
    assert argon.calc.check_state(argon) == []
    argon.info["charge"] = 1.0
    assert "charge" in argon.calc.check_state(argon)
    argon.get_potential_energy()
    assert argon.calc.check_state(argon) == []
    assert float(argon.calc.neighbors.graph(argon).charge[0]) == 1.0


def test_initial_charges_do_not_invalidate(argon_potential, argon):
    argon.calc = Calculator(argon_potential)
    argon.get_potential_energy()
    argon.set_initial_charges(np.ones(len(argon)))
    assert argon.calc.check_state(argon) == []


def test_unknown_element_is_named(argon_potential):
    water = molecule("H2O")
    water.calc = Calculator(argon_potential)
    with pytest.raises(UnknownElementError, match="this model knows Ar"):
        water.get_forces()


def test_direct_forces_have_no_energy(swirling_forces, argon):
    argon.calc = Calculator(swirling_forces)
    assert argon.get_forces().shape == (32, 3)
    for ask in (argon.get_potential_energy, argon.get_stress, argon.get_potential_energies):
        with pytest.raises(PropertyNotImplementedError, match="SwirlingForces predicts forces directly"):
            ask()


def test_field_without_a_head_is_refused(argon_potential):
    with pytest.raises(PropertyNotAvailableError, match="response head"):
        Calculator(argon_potential, field=(0.0, 0.0, 0.1))


def test_unknown_precision_is_refused(argon_potential):
    with pytest.raises(ConfigError, match="did you mean 'float32'"):
        Calculator(argon_potential, dtype="float23")


def test_given_model_stays_as_it_is(argon_potential, argon):
    argon_potential.train()
    argon.calc = Calculator(argon_potential, dtype="float32")
    argon.get_forces()
    assert argon_potential.training
    assert argon_potential.weight.dtype == torch.float64
    assert argon_potential.weight.requires_grad


def test_isolated_atom_has_no_force(argon_potential):
    atom = Atoms("Ar")
    atom.calc = Calculator(argon_potential)
    assert atom.get_potential_energy() == 0.0
    np.testing.assert_array_equal(atom.get_forces(), np.zeros((1, 3)))


def test_atoms_far_outside_of_the_cell_in_single_precision(argon_potential, argon):
    far = argon.copy()
    far.positions += np.random.default_rng(0).integers(-200, 200, (len(argon), 3)) @ argon.cell.array
    argon.calc, far.calc = Calculator(argon_potential, dtype="float64"), Calculator(argon_potential)
    np.testing.assert_allclose(far.get_forces(), argon.get_forces(), atol=2e-6)
