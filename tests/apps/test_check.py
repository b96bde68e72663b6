import json

import numpy as np
import pytest
from ase.build import fcc111

from gnnpot.apps.check import FAILED, LAWS, REPORTED, SKIPPED, check, example_structure
from gnnpot.errors import UnknownElementError
from gnnpot.models.schnet import SchNet


def statuses(result):
    return {finding.name: finding.status for finding in result.findings}


def test_lennard_jones_passes(argon_potential, capsys):
    result = check(argon_potential, steps=100, timestep=2.0, temperature=30.0)
    assert result.ok, statuses(result)
    assert len(result.findings) == len(LAWS) + 1
    printed = capsys.readouterr().out
    assert all(unit in printed for unit in ("eV/Å", "meV/atom/ps", "eV/atom"))


def test_jump_at_the_cutoff_fails(bare_lennard_jones):
    result = check(bare_lennard_jones, steps=5)
    assert not result.ok
    assert statuses(result)["energy at the cutoff"] == FAILED
    assert statuses(result)["rotation"] == "passed"


def test_direct_forces_skip_the_energy_and_report_their_curl(swirling_forces):
    result = check(swirling_forces, steps=5)
    found = statuses(result)
    assert found["forces = -dE/dr"] == found["stress = dE/dε / V"] == SKIPPED
    assert found["symmetric force Jacobian"] == REPORTED
    assert found["rotation"] == FAILED


def test_slab_skips_the_stress_with_the_reason(argon_potential):
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=8.0)
    slab.rattle(0.05)
    result = check(argon_potential, slab, steps=5, temperature=10.0)
    stress = next(finding for finding in result.findings if finding.name.startswith("stress"))
    assert stress.status == SKIPPED
    assert "pbc is [True, True, False]" in stress.remark


def test_an_unknown_element_in_the_structure_is_no_failure_of_the_model(argon_potential):
    with pytest.raises(UnknownElementError, match=r"Li2O, frame \d+: .*this model knows Ar"):
        check(argon_potential, "Li2O", steps=5)


def test_the_table_of_a_direct_model_fits_a_terminal_and_reasons_stand_below_it(swirling_forces, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    check(swirling_forces, steps=5)
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines[:-1] if line.split()[-1:] in (["passed"], ["skipped"], ["failed"], ["reported"])]
    assert len(rows) == len(LAWS) + 1
    assert lines.count("skipped: a direct-force model has no energy") == 1
    assert lines[-1].startswith("Swirl") and "reported" in lines[-1]


def test_findings_are_written(argon_potential, tmp_path):
    check(argon_potential, steps=5, output=tmp_path / "check.json")
    content = json.loads((tmp_path / "check.json").read_text())
    assert {"name", "status", "value", "unit", "tolerance", "remark"} == set(content["findings"][0])


def test_made_up_structure_holds_every_element():
    elements = [1, 6, 8, 14, 26, 29, 79, 82, 83]
    atoms = example_structure(SchNet(elements), np.random.default_rng(0))
    assert set(atoms.numbers.tolist()) == set(elements)
    assert atoms.pbc.all()
    distances = atoms.get_all_distances(mic=True)
    assert distances[distances > 0].min() > 1.0


def test_bundled_structure_is_taken_for_its_elements():
    atoms = example_structure(SchNet(["Li", "O", "F"]), np.random.default_rng(0))
    assert set(atoms.symbols) == {"Li", "O"}


@pytest.mark.parametrize("repeat", [2, [1, 1, 2]])
def test_repeat(argon_potential, argon, repeat):
    assert len(check(argon_potential, argon[:1], repeat=repeat, steps=3).structure) in (8, 2)
