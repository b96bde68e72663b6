"""Two atoms alone: curves of known potentials, labels of others, and what models refuse."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from gnnpot.apps.benchmark import benchmark
from gnnpot.apps.benchmark_dimers import MOST_PAIRS, dimer_curves, pairs_of, reference_dimers
from gnnpot.apps.calculator import Calculator
from gnnpot.errors import ConfigError, GnnpotWarning
from gnnpot.models.schnet import SchNet


class Labels(AseCalculator):
    """Energy of two atoms as interpolated labels, plus a constant, plus 0.3 eV within a distance."""

    implemented_properties = ("energy", "forces")

    def __init__(self, labels, wrong_within=0.0):
        super().__init__()
        self.labels, self.wrong_within = labels, wrong_within

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        r = atoms.get_distance(0, 1)
        energy = np.interp(r, self.labels["distance"], self.labels["energy"]) - 7.0
        self.results = {"energy": energy + 0.3 * (r < self.wrong_within), "forces": np.zeros((2, 3))}


class ForcesAlone(AseCalculator):
    """The forces of a Lennard-Jones potential, without its energy."""

    implemented_properties = ("forces",)

    def calculate(self, atoms=None, properties=("forces",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        other = LennardJones(sigma=2.5, epsilon=1.0, rc=20.0)
        self.results = {"forces": other.get_forces(Atoms(atoms.numbers, atoms.positions))}


def lennard_jones(r):
    return 4.0 * ((2.5 / r) ** 12 - (2.5 / r) ** 6)


@pytest.fixture(scope="module")
def silicon(gnnpot_data):
    path = str(gnnpot_data / "diatomics" / "dimers_PBE.xyz")
    return path, reference_dimers(path, {14})


def test_labels_are_those_of_the_file(silicon):
    """The silicon dimers of the file as ASE reads them; PBE's bond lies near 2.26 Å."""
    path, found = silicon
    frames = [atoms for atoms in read(path, ":") if atoms.get_chemical_symbols() == ["Si", "Si"]]
    expected = {float(a.get_distance(0, 1)): float(a.get_potential_energy()) for a in frames}
    r, energy = (np.array(found["Si-Si"][key]) for key in ("distance", "energy"))
    assert set(found) == {"Si-Si"}
    assert r.tolist() == sorted(expected)
    np.testing.assert_allclose(energy, [expected[x] - expected[r[-1]] for x in r], atol=1e-9)
    assert 2.2 < r[energy.argmin()] < 2.3
    assert energy[-1] == 0.0


def test_deviation_from_labels(silicon):
    """None of a model that says what the labels say up to a constant; √(n/N)·0.3 eV of one that is off at n of N."""
    _, references = silicon
    labels = references["Si-Si"]
    models = {"right": Labels(labels), "wrong inside": Labels(labels, wrong_within=1.2)}
    found = dimer_curves(models, [(14, 14)], references)["Si-Si"]
    r = np.array(labels["distance"])
    assert found["deviation"]["right"] == {"all": pytest.approx(0.0, abs=1e-9), "outer": pytest.approx(0.0, abs=1e-9)}
    share = np.sqrt(np.mean(r < 1.2))
    assert 0.2 < share < 0.8
    assert found["deviation"]["wrong inside"]["all"] == pytest.approx(0.3 * share)
    assert found["deviation"]["wrong inside"]["outer"] == pytest.approx(0.0, abs=1e-9)
    assert found["missing"] == {}


def test_the_work_of_a_force_takes_the_place_of_an_energy(monkeypatch):
    monkeypatch.setattr("gnnpot.apps.benchmark_dimers.N_DIMER", 1500)
    found = dimer_curves({"forces": ForcesAlone()}, [(14, 14)], {})["Si-Si"]
    r, energy = np.array(found["distance"]), np.array(found["energy"]["forces"])
    expected = lennard_jones(r) - lennard_jones(r[-1])
    outside = r > 2.2
    np.testing.assert_allclose(energy[outside], expected[outside], rtol=2e-3, atol=2e-3)
    assert found["deviation"] == {}


def test_a_model_that_takes_the_charge_has_its_dimers_in_a_cell(monkeypatch):
    """They do not depend on the size of the cell, for its charge is zero; a model without charge needs none."""
    monkeypatch.setattr("gnnpot.apps.benchmark_dimers.N_DIMER", 5)
    models = {
        name: Calculator(SchNet(["Ga"], cutoff=4.0, n_features=8, n_interactions=1, charge=charge), dtype="float64")
        for name, charge in (("charged", True), ("neutral", False))
    }
    found = dimer_curves(models, [(31, 31)], {})["Ga-Ga"]
    assert found["in_box"] == ["charged"]
    assert set(found["energy"]) == {"charged", "neutral"}
    energies = []
    for r in found["distance"]:
        atoms = Atoms("Ga2", [[0, 0, 0], [r, 0, 0]], cell=[60.0] * 3, pbc=True, info={"charge": 0.0})
        atoms.calc = models["charged"]
        energies.append(atoms.get_potential_energy())
    np.testing.assert_allclose(found["energy"]["charged"], np.array(energies) - energies[-1], rtol=2e-3, atol=1e-4)


def test_a_model_that_does_not_know_an_element_is_named_with_its_reason():
    found = dimer_curves({"emt": EMT()}, [(29, 29), (3, 29)], {})
    assert set(found["Cu-Cu"]["energy"]) == {"emt"}
    assert found["Cu-Cu"]["missing"] == {}
    assert found["Li-Cu"]["missing"]["emt"] == "No EMT-potential for Li"
    assert found["Li-Cu"]["energy"] == {}


def test_pairs_are_counted_and_labeled_ones_drawn_first():
    numbers = list(range(1, 12))
    pairs, n_pairs = pairs_of(numbers, {"Na-Na": {}, "H-Na": {}})
    assert n_pairs == 11 * 12 // 2
    assert len(pairs) == MOST_PAIRS
    assert pairs[:2] == [(1, 11), (11, 11)]


class OnlyPeriodic(AseCalculator):
    """Raises what no one would expect of a structure without a cell, and of one whose atoms nearly touch."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if not atoms.pbc.all() or atoms.numbers[0] == 14:
            raise IndexError("no neighbors in the table")
        self.results = {"energy": 0.0, "forces": np.zeros((2, 3))}


def test_whatever_a_calculator_raises_its_dimers_are_missing_and_no_more(monkeypatch):
    """Hours of training are not lost to an IndexError of somebody else's code; a cell is tried after any refusal."""
    monkeypatch.setattr("gnnpot.apps.benchmark_dimers.N_DIMER", 5)
    found = dimer_curves({"other": OnlyPeriodic()}, [(29, 29), (14, 14)], {})
    assert found["Cu-Cu"]["in_box"] == ["other"]
    assert found["Cu-Cu"]["energy"]["other"] == [0.0] * 5
    assert found["Si-Si"]["missing"] == {"other": "no neighbors in the table"}


def test_a_calculator_that_fails_on_the_repeated_structure_is_left_out_of_the_speeds(monkeypatch):
    from gnnpot.apps.benchmark_measure import seconds_per_atom

    monkeypatch.setattr("gnnpot.apps.benchmark_measure.ROUNDS", 3)
    copper = Atoms("Cu", cell=[2.5] * 3, pbc=True)
    with pytest.warns(GnnpotWarning, match=r"si: speed or physics cannot be measured \(NotImplementedError"):
        found = seconds_per_atom({"si": EMT(), "lj": LennardJones()}, Atoms("Si", cell=[2.5] * 3, pbc=True))
    assert set(found["s_per_atom_step"]) == {"lj"}
    assert set(seconds_per_atom({"cu": EMT()}, copper)["s_per_atom_step"]) == {"cu"}


def test_labels_of_other_elements_are_refused_before_anything_is_trained(tmp_path):
    atoms = Atoms("Si2", [[0, 0, 0], [2.2, 0, 0]])
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0)
    write(tmp_path / "dimers.extxyz", atoms)
    config = {"models": ["schnet"], "data": {"path": "MgO"}, "output": str(tmp_path / "out")}
    with pytest.raises(
        ConfigError, match="no structure of two atoms with an energy whose elements are those of the data"
    ):
        benchmark({**config, "dimers": str(tmp_path / "dimers.extxyz")})
    assert not (tmp_path / "out" / "cells").exists()
