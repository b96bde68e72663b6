import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.data.labels import attach_labels, frame_name, full_tensor, labels_of, voigt_vector
from gnnpot.errors import DataError


@pytest.fixture
def crystal() -> Atoms:
    atoms = Atoms("MgO", positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
    atoms.info.update(source="mgo.xyz", frame=7)
    return atoms


def test_no_labels_are_no_keys(crystal):
    assert labels_of(crystal) == {}


def test_canonical_columns_are_labels(crystal):
    crystal.info.update(energy=-3.0, stress=np.eye(3), polarization=[1.0, 2.0, 3.0], dielectric_tensor=2 * np.eye(3))
    crystal.arrays["forces"] = np.ones((2, 3))
    crystal.arrays["born_effective_charges"] = np.arange(18.0).reshape(2, 9)
    labels = labels_of(crystal)
    assert set(labels) == {
        "energy", "forces", "stress", "born_effective_charges", "polarization", "dielectric_tensor",
    }  # fmt: skip
    assert isinstance(labels["energy"], float)
    # Row = field: the second of the nine columns is Z[0, 1] = ∂P_x/∂u_y.
    assert labels["born_effective_charges"][0, 0, 1] == 1.0
    assert labels["born_effective_charges"].shape == (2, 3, 3)


def test_results_come_before_columns(crystal):
    crystal.info["energy"] = 99.0
    crystal.calc = SinglePointCalculator(crystal, energy=-1.0)
    assert labels_of(crystal)["energy"] == -1.0


@pytest.mark.parametrize("shape", [(6,), (9,), (3, 3)])
def test_stress_in_every_shape(crystal, shape):
    full = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    forms = {(6,): np.arange(1.0, 7.0), (9,): full.reshape(9), (3, 3): full}
    crystal.info["stress"] = forms[shape]
    np.testing.assert_array_equal(labels_of(crystal)["stress"], full)


def test_voigt_round_trip():
    voigt = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    np.testing.assert_array_equal(voigt_vector(full_tensor(voigt)), voigt)


def test_nan_throughout_is_missing(crystal):
    crystal.info["energy"] = float("nan")
    crystal.arrays["forces"] = np.full((2, 3), np.nan)
    assert labels_of(crystal) == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_single_bad_component_names_the_atom(crystal, bad):
    crystal.arrays["forces"] = np.ones((2, 3))
    crystal.arrays["forces"][1, 2] = bad
    with pytest.raises(DataError, match=r"mgo.xyz, frame 7: forces of atom 1 is (nan|inf); drop the frame"):
        labels_of(crystal)


def test_infinite_energy_is_refused(crystal):
    crystal.info["energy"] = -np.inf
    with pytest.raises(DataError, match="energy is -inf"):
        labels_of(crystal)


def test_wrong_shape_names_both_shapes(crystal):
    crystal.arrays["forces"] = np.ones((2, 2))
    with pytest.raises(DataError, match=r"forces of shape \(2, 2\), but 2 atoms need \(2, 3\)"):
        labels_of(crystal)


def test_text_is_no_label(crystal):
    crystal.info["energy"] = "low"
    with pytest.raises(DataError, match="energy are not numbers: 'low'"):
        labels_of(crystal)


def test_results_of_moved_atoms_are_stale(crystal):
    crystal.calc = SinglePointCalculator(crystal, energy=-1.0)
    crystal.rattle(0.1, seed=1)
    assert labels_of(crystal) == {}


def test_stress_of_a_slab_is_absent(crystal):
    crystal.info["stress"] = np.eye(3)
    crystal.pbc = [True, True, False]
    assert labels_of(crystal) == {}


def test_a_live_calculator_gives_its_results():
    atoms = bulk("Ar", cubic=True)
    atoms.calc = LennardJones(rc=8.0)
    atoms.get_forces()
    atoms.get_stress()
    labels = labels_of(atoms)
    assert labels["energy"] == atoms.get_potential_energy()
    np.testing.assert_allclose(voigt_vector(labels["stress"]), atoms.get_stress(), atol=1e-15)


def test_attached_labels_come_back_and_replace_what_was_there(crystal):
    crystal.info["energy"] = 5.0
    crystal.arrays["forces"] = np.zeros((2, 3))
    born = np.arange(18.0).reshape(2, 3, 3)
    attach_labels(crystal, {"energy": -2.0, "stress": np.diag([1.0, 2.0, 3.0]), "born_effective_charges": born})
    labels = labels_of(crystal)
    assert set(labels) == {"energy", "stress", "born_effective_charges"}
    np.testing.assert_array_equal(labels["born_effective_charges"], born)
    np.testing.assert_array_equal(crystal.get_stress(), [1, 2, 3, 0, 0, 0])
    assert crystal.calc.results["free_energy"] == -2.0


def test_attach_refuses_what_is_no_label(crystal):
    with pytest.raises(DataError, match="'force' is no label: did you mean 'forces'"):
        attach_labels(crystal, {"force": np.zeros((2, 3))})


def test_attaching_nothing_leaves_no_calculator(crystal):
    attach_labels(crystal, {})
    assert crystal.calc is None


def test_frame_name(crystal):
    assert frame_name(crystal) == "mgo.xyz, frame 7"
    assert frame_name(Atoms("OH2")) == "a frame of H2O without a file name"
