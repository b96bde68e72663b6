"""Calculators of others by name: Tersoff's silicon stands for those that a class method makes."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.calculators.tersoff import Tersoff

from gnnpot.apps.benchmark import benchmark
from gnnpot.apps.foreign import calculator_named, package_of
from gnnpot.data.writers import write_extxyz
from gnnpot.errors import ConfigError

NAME = "ase.calculators.tersoff.Tersoff.from_lammps"
SILICON = """# Silicon of J. Tersoff, Phys. Rev. B 38, 9902 (1988), in the format of LAMMPS:
# e1 e2 e3  m gamma lambda3  c d cos(theta0)  n beta  lambda2 B  R D  lambda1 A
Si Si Si  3.0 1.0 0.0  1.0039e5 16.217 -0.59825  0.78734 1.1e-6  1.73222 471.18  2.85 0.15  2.4799 1830.8
"""


@pytest.fixture
def parameters(tmp_path):
    path = tmp_path / "Si.tersoff"
    path.write_text(SILICON)
    return path


def test_a_class_method_makes_a_calculator(parameters):
    """Tersoff (1988), table II: diamond of a = 5.432 Å has -4.63 eV per atom, and is at its minimum."""
    calculator = calculator_named(NAME, {"potential_file": str(parameters)}, "models: ase=")
    energies = []
    for a in (5.40, 5.432, 5.46):
        atoms = bulk("Si", a=a)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy() / 2)
    assert energies[1] == pytest.approx(-4.63, abs=0.005)
    assert energies[1] == min(energies)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (NAME, {"potential_file": "not_there.tersoff"}, "not_there.tersoff"),
        (NAME, {"file": "x"}, "potential_file"),
        ("ase.calculators.tersoff.Tersof", {}, "cannot be imported"),
        ("ase.calculators.tersof.Tersoff", {}, "cannot be imported"),
        ("no_such_package.module.Class", {}, "is its package installed here"),
    ],
)
def test_what_cannot_be_made_is_said(name, arguments, message):
    with pytest.raises(ConfigError, match=message):
        calculator_named(name, arguments, "models: ase=")


def test_a_module_of_ones_own_has_no_package(tmp_path, monkeypatch):
    (tmp_path / "own_potential.py").write_text("from ase.calculators.emt import EMT as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(calculator_named("own_potential.Mine", {}, ""), Calculator)
    assert package_of("own_potential.Mine") == {}


def test_tersoff_is_an_entrant_of_a_benchmark(parameters, tmp_path, monkeypatch):
    """On labels of Tersoff itself, with another zero of energy, it makes no error."""
    monkeypatch.setattr("gnnpot.apps.benchmark.write_pages", lambda output, results: output)
    frames = []
    for k in range(8):
        atoms = bulk("Si", a=5.43, cubic=True)
        atoms.rattle(0.1, seed=k)
        atoms.calc = Tersoff.from_lammps(parameters)
        labels = {"energy": atoms.get_potential_energy() - 8 * 100.0, "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    write_extxyz(tmp_path / "silicon.extxyz", frames)
    config = {
        "models": [{"ase": NAME, "arguments": {"potential_file": str(parameters)}}],
        "data": {"path": str(tmp_path / "silicon.extxyz"), "split": {"kind": "random", "fractions": [0.5, 0.25, 0.25]}},
        "output": str(tmp_path / "out"),
        "measure": False,
    }
    (cell,) = benchmark(config).results["cells"]
    assert cell["model"] == "Tersoff"
    assert cell["status"] == "finished"
    assert cell["errors"]["forces_mae_mev_per_ang"] < 1e-3
    assert cell["errors"]["energy_mae_mev_per_atom"] < 1e-3
    assert cell["provenance"]["reference_offsets_ev"]["Si"] == pytest.approx(-100.0)
    assert np.isfinite(cell["errors"]["forces_rmse_mev_per_ang"])
