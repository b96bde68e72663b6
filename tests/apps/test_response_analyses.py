"""Phonons, spectra and conductivities of models with a response head, against what their own Z and P say."""

import csv
import json

import ase.io
import numpy as np
import pytest
from ase import units

from gnnpot import analyze, phonon
from gnnpot.apps.calculator import Calculator
from gnnpot.apps.md import md
from gnnpot.keys import COULOMB_CONSTANT
from tests.contract.conftest import rattled
from tests.contract.test_heads import with_head

pytestmark = pytest.mark.filterwarnings("ignore:.*:gnnpot.errors.DataWarning")
EPSILON = 2.9
STEP = 0.5
"""fs."""
THZ = units.fs * 1e3 / (2 * np.pi)
"""THz of one radian per unit of time of ASE."""


@pytest.fixture(scope="module", params=["polarization", "born_tensor"])
def response(request):
    return with_head("schnet", request.param)


@pytest.fixture(scope="module")
def run(response, tmp_path_factory):
    """Trajectory of 60 frames, at every one the response of the model, and velocities."""
    folder = tmp_path_factory.mktemp("run") / "md"
    settings = {"steps": 120, "timestep": STEP, "trajectory_interval": 2, "born_every": 1, "temperature": 600}
    md(response, rattled((2, 1, 1), seed=1), ensemble="nve", output=folder, dtype="float64", **settings)
    return folder


def signed_squares(frequencies):
    return np.sort(np.sign(frequencies) * np.square(frequencies))


def test_longitudinal_modes_lie_above_transverse_ones_by_the_field_of_their_charge(response, tmp_path):
    """Σ ω² grows by e²/(ε0 ε∞ V) Σ_i |n·Z_i|²/m_i, and between two frequencies before there is one after (Weyl)."""
    settings = {"supercell": 1, "mesh": 8.0, "points": 3, "t_step": 500.0, "dielectric": EPSILON}
    found = phonon(response, rattled(seed=2), output=tmp_path / "out", **settings)
    before = signed_squares(found.gamma)
    masses, volume = found.primitive.get_masses(), found.primitive.get_volume()
    assert found.record["electric"]["born_changed_by_symmetrization_e"] < 1e-9
    assert np.abs(found.born.sum(axis=0)).max() < 1e-9
    assert len(found.longitudinal) >= 3
    for axis, name in enumerate("xyz"):
        after = signed_squares(found.longitudinal[name])
        pushes = np.square(found.born[:, axis]).sum(axis=1) / masses
        expected = 4 * np.pi * COULOMB_CONSTANT / (EPSILON * volume) * pushes.sum() * THZ**2
        assert (after - before).sum() == pytest.approx(expected, rel=1e-5)
        assert (after >= before - 1e-6).all() and (after[:-1] <= before[1:] + 1e-6).all()
        assert np.sort(np.abs(found.longitudinal[name]))[:3].max() < 1e-2


def currents_and_dipoles(model, run):
    """dP/dt ``(n_frames, 3)`` in e·Å/ps and P in e·Å of the frames, by a calculator in double precision."""
    calculator, found = Calculator(model, dtype="float64"), []
    for frame in ase.io.read(run / "trajectory.extxyz", ":"):
        velocities = frame.get_velocities() * units.fs * 1e3
        frame.calc = calculator
        current = np.einsum("nab,nb->a", calculator.get_property("born_effective_charges", frame), velocities)
        has_dipole = "polarization" in model.outputs
        found.append((current, calculator.get_property("polarization", frame) if has_dipole else np.full(3, np.nan)))
    return (np.array(column) for column in zip(*found, strict=True))


def test_a_spectrum_holds_the_square_of_the_current(response, run, tmp_path):
    """∫ α n dν = <J²> / (12 V k_B T ε0 c²), and no absorption is negative."""
    path = run / "trajectory.extxyz"
    settings = {"checkpoint": response, "skip": 0.0, "max_time": 0.02, "blocks": 2, "born_every": 1}
    record = analyze("infrared", path, output=tmp_path / "ir", temperature=300, **settings).record
    wavenumbers, absorption = (np.array(record[f"{name}_per_cm"]) for name in ("wavenumbers", "absorption"))
    current, _ = currents_and_dipoles(response, run)
    square = float(np.square(current - current.mean(axis=0)).sum(axis=1).mean())
    volume = ase.io.read(path, 0).get_volume()
    permittivity = 1 / (4 * np.pi * COULOMB_CONSTANT) * units._e / 1e-10
    strength = square * (units._e * 100.0) ** 2 / (volume * 1e-30) / (12 * units._k * 300 * permittivity * units._c**2)
    assert np.trapezoid(absorption, wavenumbers) == pytest.approx(strength * 1e-4, rel=0.02)
    assert absorption.min() > -0.02 * absorption.max()


def test_the_charge_that_conducts_is_the_dipole_of_the_model(response, run, tmp_path):
    """<|ΔP|²> of one interval from Born charges along the path: that of the dipole itself, or of its current."""
    settings = {"checkpoint": response, "skip": 0.0, "blocks": 2, "born_every": 1, "fit": [0.005, 0.02]}
    found = analyze("conductivity", run / "trajectory.extxyz", output=tmp_path / "c", **settings)
    assert set(found.record["trajectories"][0]["conductivity"]) == {"born", "integer", "nernst_einstein"}
    with (tmp_path / "c" / "conductivity.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if float(row["time_ps"]) == pytest.approx(2e-3 * STEP)]
    first = {row["method"]: float(row["squared_displacement_e2A2"]) for row in rows}
    currents, dipoles = currents_and_dipoles(response, run)
    has_dipole = "polarization" in response.outputs
    steps = np.diff(dipoles, axis=0) if has_dipole else 2e-3 * STEP * currents
    assert first["born"] == pytest.approx(np.square(steps).sum(axis=1).mean(), rel=1e-4 if has_dipole else 0.02)
    assert first["born"] != pytest.approx(first["integer"], rel=0.001)
    assert json.loads((tmp_path / "c" / "conductivity.json").read_text())["integer_charges_e"] == {"Li": 1.0, "O": -2.0}
