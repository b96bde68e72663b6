import json

import numpy as np
import pytest
import torch
from ase.build import fcc111

from gnnpot.apps.check import FAILED, LAWS, REPORTED, RESPONSE_LAWS, SKIPPED, check, example_structure
from gnnpot.errors import UnknownElementError
from gnnpot.models.schnet import SchNet
from tests.contract.conftest import rattled
from tests.contract.test_heads import with_head

HEADS = ("polarization", "born_tensor")


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


def test_a_field_leaves_no_work_on_a_loop_with_a_polarization_and_some_with_a_tensor_head(capsys):
    dipole, tensor = (check(with_head("schnet", name), rattled((2, 1, 1)), steps=3) for name in HEADS)
    assert len(dipole.findings) == len(tensor.findings) == len(LAWS) + 1 + len(RESPONSE_LAWS)
    assert {statuses(dipole)[law.name] for law in RESPONSE_LAWS} == {"passed"}
    assert [statuses(tensor)[law.name] for law in RESPONSE_LAWS] == ["passed", "passed", SKIPPED, REPORTED]
    left = tensor.findings[-1]
    assert left.value > 1e-4 > 1e-6 > dipole.findings[-1].value
    assert "∮dW/∮|dW|" in capsys.readouterr().out and "head=polarization leaves none" in left.remark


def test_born_charges_that_do_not_add_up_or_turn_fail(monkeypatch):
    model = with_head("schnet", "born_tensor")
    derived = type(model.head).forward

    def wrong(head, *inputs):
        return {
            name: born + 1e-3 * torch.diag(born.new_tensor([1.0, 0, 0]))
            for name, born in derived(head, *inputs).items()
        }

    monkeypatch.setattr(type(model.head), "forward", wrong)
    found = statuses(check(model, rattled((2, 1, 1)), steps=3))
    assert found["rotation of Born charges"] == found["Born charges add up to Q"] == FAILED


def test_a_model_of_born_charges_alone_meets_their_laws():
    model = with_head("schnet", "polarization")
    model.has_energy, model.outputs = False, model.head.outputs
    found = check(model, rattled((2, 1, 1)))
    assert found.ok and [f.name for f in found.findings] == [law.name for law in RESPONSE_LAWS]


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
