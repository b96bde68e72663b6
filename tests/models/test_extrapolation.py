"""Extrapolation of an HDNNP, counted in the evaluation that gives the forces, and shown by the verbs."""

import json
import warnings

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.evaluate import evaluate
from gnnpot.apps.md import md
from gnnpot.data.graph import graph_from_atoms
from gnnpot.errors import ExtrapolationWarning
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.prediction import predict
from gnnpot.models.schnet import SchNet

LINES = ["G2 Si Si eta=1 shift=2 cutoff=4 polynomial", "G5 Si Si Si eta=0.1 zeta=2 cutoff=4 polynomial"]


def silicon(seed, amplitude=0.05):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(amplitude, seed=seed)
    rng = np.random.default_rng(seed)
    atoms.calc = SinglePointCalculator(atoms, energy=-30.0 + rng.normal(), forces=rng.normal(size=(8, 3)))
    return atoms


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = HDNNP(["Si"], 4.0, LINES, hidden=[3])
    model.learn_from([graph_from_atoms(silicon(seed), 4.0, torch.float32) for seed in range(6)])
    return model.eval()


def test_counts_come_with_the_forces_and_are_those_of_the_model(model):
    frames = [silicon(0), silicon(9, 0.6)]
    found = predict(model, frames, ["forces", "extrapolations"])
    expected = [model.extrapolations(graph_from_atoms(frame, 4.0, torch.float32)).numpy() for frame in frames]
    assert [list(prediction["extrapolations"]) for prediction in found] == [list(counts) for counts in expected]
    assert expected[0].sum() == 0 < expected[1].sum()
    assert "extrapolations" not in predict(model, frames)[0]


def test_the_descriptors_are_not_computed_again(model, monkeypatch):
    calls = []
    original = HDNNP._evaluation
    monkeypatch.setattr(HDNNP, "_evaluation", lambda *given: calls.append(1) or original(*given))
    predict(model, [silicon(0)], ["energy", "forces", "extrapolations"])
    assert len(calls) == 1


def test_models_without_ranges_show_nothing(tmp_path, capsys):
    path = tmp_path / "frame.extxyz"
    ase.io.write(path, silicon(0))
    for model in (SchNet(["Si"], cutoff=4.0, n_features=4, n_interactions=1), HDNNP(["Si"], 4.0, LINES, hidden=[3])):
        assert "extrapolations" not in predict(model, [silicon(0)], ["forces", "extrapolations"])[0]
        assert "extrapolation" not in evaluate(model, str(path)).metrics
        atoms = silicon(0)
        atoms.calc = Calculator(model)
        atoms.get_forces()
        assert atoms.calc.extrapolations is None
    assert "extrapolation" not in capsys.readouterr().out


def test_the_calculator_counts_always_and_warns_once(model):
    atoms = silicon(9, 0.6)
    atoms.calc = Calculator(model)
    with pytest.warns(ExtrapolationWarning, match=r"of 8 atoms, in 1 of 1 structures, have symmetry functions outside"):
        atoms.get_forces()
    assert atoms.calc.extrapolations.sum() > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.rattle(0.1, seed=2)
        atoms.get_forces()
        atoms.positions = silicon(0).positions
        atoms.get_potential_energy()
    assert atoms.calc.extrapolations.sum() == 0


def test_evaluate_names_the_worst_structure(model, tmp_path, capsys):
    path = tmp_path / "frames.extxyz"
    ase.io.write(path, [silicon(0), silicon(9, 0.6), silicon(1)])
    evaluate(model, str(path), output=tmp_path / "errors.json")
    counted = json.loads((tmp_path / "errors.json").read_text())["extrapolation"]
    assert (counted["n_structures"], counted["of_structures"], counted["of_atoms"]) == (1, 3, 24)
    assert counted["atoms_per_structure"][0] == 0 < counted["n_atoms"] == counted["atoms_per_structure"][1]
    printed = " ".join(capsys.readouterr().out.split())
    assert "extrapolation:" in printed
    assert "frame 1: " in printed


def test_md_counts_every_step(model, tmp_path, capsys):
    result = md(model, silicon(9, 0.4), steps=4, log_interval=2, output=tmp_path, ensemble="nve", max_force=1e6)
    assert result.extrapolation is not None
    assert result.extrapolation["n_steps"] == 5 >= result.extrapolation["n_steps_outside"] > 0
    assert json.loads((tmp_path / "md.json").read_text())["extrapolation"] == result.extrapolation
    header, *lines = (tmp_path / "thermo.csv").read_text().splitlines()
    assert header.endswith("extrapolating_atoms")
    assert int(lines[0].rsplit(",", 1)[1]) > 0
    assert "extrapolation: in" in capsys.readouterr().out
