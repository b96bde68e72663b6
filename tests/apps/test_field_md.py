"""Simulations in a field: what they conserve, what fails without the term -E·P, and what they write."""

import copy
import csv
import json

import ase.io
import numpy as np
import pytest
from ase import units
from ase.md.verlet import VelocityVerlet

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.ensembles import set_velocities
from gnnpot.apps.md import md
from gnnpot.apps.thermo import FIELD_COLUMNS
from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.errors import ConfigError, PhysicsWarning, PropertyNotAvailableError
from tests.apps.test_field_proofs import slope_in_errors
from tests.contract.conftest import rattled, trained_like
from tests.contract.test_heads import with_head

FIELD = [0.03, 0.0, 0.1]
WAVE = {"amplitude": [0.0, 0.05, 0.1], "frequency": 20.0, "phase": 30.0}


SHIFTED = pytest.mark.filterwarnings("ignore:.*the ions carry their oxidation numbers and:gnnpot.errors.PhysicsWarning")


@pytest.fixture(scope="module")
def models():
    return {name: with_head("schnet", name) for name in ("polarization", "born_tensor")}


@pytest.fixture(scope="module")
def polarized(models):
    return models["polarization"]


def columns(folder):
    with (folder / "thermo.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    return {name: np.array([float(line[name] or "nan") for line in lines]) for name in lines[0]}


def verlet_energies(model, charge, timestep, time=80.0):
    """(K + U, K + H) along a path of ``time`` fs at a constant field."""
    atoms = rattled((2, 1, 1), seed=1)
    atoms.info["charge"] = charge
    atoms.calc = Calculator(model, dtype="float64", field=FIELD, remove_net_force=True)
    set_velocities(atoms, 400.0, 3 * len(atoms) - 3, np.random.default_rng(0))
    found = []

    def note():
        kinetic = atoms.get_kinetic_energy()
        found.append((kinetic + atoms.calc.results["internal_energy"], kinetic + atoms.get_potential_energy()))

    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    dynamics.attach(note, interval=round(2.0 / timestep))
    dynamics.run(round(time / timestep))
    return np.array(found).T


@SHIFTED
@pytest.mark.parametrize("charge", [0.0, 1.0])
def test_the_enthalpy_is_conserved_and_the_energy_without_the_field_is_not(polarized, charge):
    """The fluctuation of K + H falls 4 x when the step is halved and has no slope; both fail without -E·P."""
    model = copy.deepcopy(polarized)
    model.backbone.energy_scale.scale.mul_(100.0)
    coarse, fine = (verlet_energies(model, charge, step) for step in (1.0, 0.5))
    (bare, enthalpy), (bare_fine, enthalpy_fine) = coarse, fine
    assert enthalpy.std() / enthalpy_fine.std() == pytest.approx(4.0, rel=0.12)
    assert bare.std() / bare_fine.std() == pytest.approx(1.0, rel=0.05)
    time = np.arange(len(enthalpy_fine))
    assert abs(slope_in_errors(time, enthalpy_fine)) < 3.0 < abs(slope_in_errors(time, bare_fine))
    assert bare_fine.std() > 50.0 * enthalpy_fine.std()


@pytest.mark.parametrize("head", ["polarization", "born_tensor"])
@pytest.mark.parametrize("field", [FIELD, WAVE], ids=["constant", "alternating"])
def test_the_account_closes(models, tmp_path, head, field):
    """K + U changes by the work of the field less the heat, also in a field in time and without a polarization."""
    settings = {"steps": 30, "timestep": 0.5, "temperature": 300, "log_interval": 2, "dtype": "float64"}
    atoms = rattled((2, 1, 1), seed=2)
    spreads = {}
    for ensemble in ("nve", "nvt"):
        folder = tmp_path / ensemble
        md(models[head], atoms, ensemble=ensemble, field=field, output=folder, thermostat_time=20, **settings)
        log = columns(folder)
        work, heat = log["work_eV"], log["heat_eV"]
        total = log["total_eV_per_atom"] * len(atoms)
        spreads[ensemble] = np.std(total - total[0] - work + heat)
        assert spreads[ensemble] < 0.02 * max(np.ptp(work), 1e-2)
        np.testing.assert_allclose(log["conserved_eV_per_atom"].std() * len(atoms), spreads[ensemble], atol=1e-7)
        assert (np.abs(heat).max() > 1e-3) == (ensemble == "nvt")
    dipoles = np.stack([log[f"polarization_{a}_e_A"] for a in "xyz"], axis=1)
    fields = np.stack([log[f"field_{a}_V_per_A"] for a in "xyz"], axis=1)
    if head == "polarization":
        expected = log["potential_eV"] - (fields * dipoles).sum(axis=1)
        np.testing.assert_allclose(log["enthalpy_eV"], expected, atol=1e-6)
    else:
        assert np.isnan(dipoles).all() and np.isnan(log["enthalpy_eV"]).all()
    if field is WAVE:
        phases = 2 * np.pi * 20.0 * log["time_ps"] + np.radians(30)
        np.testing.assert_allclose(fields[:, 2], 0.1 * np.sin(phases), atol=1e-9)


def test_langevin_takes_the_balance_as_heat(polarized, tmp_path):
    result = md(
        polarized, rattled((2, 1, 1), seed=3), thermostat="langevin", field=FIELD, steps=20, output=tmp_path / "md"
    )
    log = columns(tmp_path / "md")
    total = log["total_eV_per_atom"] * len(result.atoms)
    np.testing.assert_allclose(total - total[0], log["work_eV"] - log["heat_eV"], atol=2e-4)
    assert result.drift is None


def test_a_neutral_cell_stays_where_it_is(models, tmp_path):
    settings = {"ensemble": "nve", "field": FIELD, "steps": 250, "timestep": 2.0, "dtype": "float64"}
    for head, model in models.items():
        atoms = rattled((2, 1, 1), seed=4)
        result = md(model, atoms, output=tmp_path / head, **settings)
        np.testing.assert_allclose(result.atoms.get_momenta().sum(axis=0), 0.0, atol=1e-10)
        assert np.linalg.norm(result.atoms.positions - atoms.positions, axis=1).max() > 0.5
        np.testing.assert_allclose(result.atoms.get_center_of_mass(), atoms.get_center_of_mass(), atol=1e-9)


def test_what_the_trajectory_keeps(polarized, tmp_path):
    result = md(
        polarized, rattled((2, 1, 1), seed=5), field=FIELD, steps=12, trajectory_interval=2, born_every=3,
        output=tmp_path / "md",
    )  # fmt: skip
    assert tuple(columns(tmp_path / "md")) == FIELD_COLUMNS
    frames = read(tmp_path / "md" / "trajectory.extxyz")
    labels = [labels_of(frame) for frame in frames]
    assert ["born_effective_charges" in label for label in labels] == [True, False, False, True, False, False, True]
    assert all("polarization" in label for label in labels)
    assert [frame.info["time_ps"] for frame in frames] == pytest.approx([0.002 * k for k in range(7)])
    last = ase.io.read(tmp_path / "md" / "trajectory.extxyz", -1)
    last.calc = Calculator(polarized)
    tensors = last.calc.get_property("born_effective_charges", last)
    np.testing.assert_allclose(labels[-1]["born_effective_charges"], tensors, atol=1e-5)
    np.testing.assert_allclose(labels[-1]["polarization"], result.atoms.info["polarization"], atol=1e-6)


def test_response_is_kept_without_a_field_too(polarized, tmp_path):
    md(polarized, rattled(seed=6), steps=2, trajectory_interval=1, born_every=2, output=tmp_path / "md")
    labels = [labels_of(frame) for frame in read(tmp_path / "md" / "trajectory.extxyz")]
    assert ["polarization" in label and "born_effective_charges" in label for label in labels] == [True, False, True]


def test_a_run_in_a_field_goes_on(polarized, tmp_path):
    settings = {"ensemble": "nve", "dtype": "float64", "field": FIELD}
    atoms = rattled((2, 1, 1), seed=7)
    whole = md(polarized, atoms, steps=10, output=tmp_path / "whole", **settings)
    md(polarized, atoms, steps=5, output=tmp_path / "first", **settings)
    start = tmp_path / "first" / "last.extxyz"
    second = md(polarized, start, steps=5, velocities="keep", output=tmp_path / "second", **settings)
    np.testing.assert_allclose(second.atoms.positions, whole.atoms.positions, atol=1e-6)


def test_a_field_in_time_goes_on(polarized, tmp_path):
    settings = {"ensemble": "nve", "dtype": "float64", "field": {"amplitude": [0.0, 0.15, 0.1], "frequency": 40.0}}
    atoms = rattled((2, 1, 1), seed=7)
    whole = md(polarized, atoms, steps=15, output=tmp_path / "whole", **settings)
    start = atoms
    for part in ("first", "second", "third"):
        keep = {} if part == "first" else {"velocities": "keep"}
        run = md(polarized, start, steps=5, output=tmp_path / part, **keep, **settings)
        start = tmp_path / part / "last.extxyz"
    np.testing.assert_allclose(run.atoms.positions, whole.atoms.positions, atol=1e-6)
    assert ase.io.read(start).info["time_ps"] == pytest.approx(0.015)
    anew = md(polarized, tmp_path / "second" / "last.extxyz", steps=5, output=tmp_path / "anew", **settings)
    assert np.abs(anew.atoms.positions - whole.atoms.positions).max() > 1e-4


@SHIFTED
def test_charged_cells(polarized, tmp_path):
    atoms = rattled((2, 1, 1), seed=8)
    atoms.info["charge"] = 1.0
    with pytest.raises(ConfigError, match="remove_net_force"):
        md(polarized, atoms, field=FIELD, steps=2, output=tmp_path / "md")
    assert not (tmp_path / "md").exists()
    settings = {"field": FIELD, "steps": 10, "ensemble": "nve", "dtype": "float64"}
    held = md(polarized, atoms, remove_net_force=True, output=tmp_path / "held", **settings)
    np.testing.assert_allclose(held.atoms.get_momenta().sum(axis=0), 0.0, atol=1e-10)
    fallen = md(polarized, atoms, remove_net_force=False, output=tmp_path / "fallen", **settings)
    expected = np.array(FIELD) * 10 * units.fs
    np.testing.assert_allclose(fallen.atoms.get_momenta().sum(axis=0), expected, rtol=1e-9, atol=1e-12)


def test_a_pulse_between_the_lines_of_the_log_is_not_lost(polarized, tmp_path):
    """Strong at 3 and 4 fs alone, where neither a line nor a frame is written."""
    pulse = np.array([0.0, 0.4, 0.3])

    def field(time):
        return (1.0 if 2.5 < time < 4.5 else 1e-3) * pulse

    with pytest.warns(PhysicsWarning, match=r"0\.5 V/Å is beyond linear response") as said:
        md(polarized, rattled((2, 1, 1), seed=9), field=field, steps=20, temperature=50, output=tmp_path / "md")
    assert len(said) == 1
    log = columns(tmp_path / "md")
    assert log["field_y_V_per_A"].max() == pytest.approx(4e-4)
    settings = json.loads((tmp_path / "md" / "md.json").read_text())
    assert settings["largest_field_v_per_ang"] == pytest.approx(pulse.tolist())
    assert "0.5 V/Å" in settings["linear_response"]
    (run,) = json.loads((tmp_path / "md" / "field_report.json").read_text())["runs"]
    assert run["field_v_per_ang"] == pytest.approx(pulse.tolist())
    assert run["notes"] == [settings["linear_response"]]


def test_what_is_refused(polarized, tmp_path):
    with pytest.raises(ConfigError, match="ensemble=npt with field"):
        md(polarized, rattled(), ensemble="npt", field=FIELD, output=tmp_path / "md")
    with pytest.raises(PropertyNotAvailableError, match="response head"):
        md(trained_like("schnet"), rattled(), field=FIELD, output=tmp_path / "md")
    with pytest.raises(ConfigError, match="born_every=0"):
        md(polarized, rattled(), born_every=0, output=tmp_path / "md")
