"""The field report on trajectories whose drift and response are known."""

import csv
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms

from gnnpot.apps.analyze import analyze
from gnnpot.apps.field_report import field_report
from gnnpot.apps.md import md
from gnnpot.errors import DataError
from tests.contract.conftest import rattled
from tests.contract.test_heads import with_head

SPEED = 0.8
"""Å/ps of Li against O in a field of 0.1 V/Å."""


def made_up_run(folder, strength=0.1, wrap=False):
    """Li that drifts along y against a frame of heavy O, with known Born charges and energies."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    velocity = SPEED * strength / 0.1 * (1.0 + 4.0 * strength**2)
    times = 0.1 * np.arange(101)
    atoms = Atoms("Li2O2", cell=[5.0, 6.0, 7.0], pbc=True, positions=rng.uniform(0, 5, (4, 3)))
    born = np.array(
        [[[1.0, 0, 0], [0.3, 0.4, 0], [0, 0, 1.0]]] * 2 + [[[-1.0, 0, 0], [-0.3, -0.4, 0], [0, 0, -1.0]]] * 2
    )
    born[0] += 0.02 * np.eye(3)
    start, frames = atoms.positions.copy(), []
    for k, time in enumerate(times):
        atoms.positions[:] = start + 0.01 * rng.normal(size=(4, 3))
        atoms.positions[:2, 1] += velocity * time
        frame = atoms.copy()
        frame.info["time_ps"] = time
        if wrap:
            frame.wrap()
        if k % 25 == 0:
            frame.set_array("born_effective_charges", born.reshape(4, 9))
        frames.append(frame)
    ase.io.write(folder / "trajectory.extxyz", frames)
    settings = {
        "field": [0.0, strength, 0.0], "field_is_constant": True, "temperature": 600.0,
        "trajectory": "trajectory.extxyz", "linear_response": None,
    }  # fmt: skip
    (folder / "md.json").write_text(json.dumps(settings))
    with (folder / "thermo.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_ps", "total_eV_per_atom", "conserved_eV_per_atom", "work_eV", "heat_eV"])
        writer.writerows([t, 0.025 * t, 1.0 + 1e-5 * t, 0.3 * t, 0.2 * t] for t in times)
    return folder


@pytest.mark.parametrize("wrap", [False, True])
def test_a_known_drift(tmp_path, wrap):
    report = field_report(made_up_run(tmp_path / "run", wrap=wrap), tmp_path / "report")
    (run,) = report.record["runs"]
    li, o = run["species"]["Li"], run["species"]["O"]
    share = 2 * 15.999 / (2 * 15.999 + 2 * 6.94)
    expected = SPEED * 1.04
    assert li["drift_ang_per_ps"] == pytest.approx(expected * share, abs=0.004)
    assert li["drift_ang_per_ps"] - o["drift_ang_per_ps"] == pytest.approx(expected, abs=0.004)
    assert li["apparent_mobility_cm2_per_v_s"] == pytest.approx(10 * expected * share * 1e-4, rel=0.01)
    assert li["msd_along_ang2"][-1] == pytest.approx((expected * share * li["lag_ps"][-1]) ** 2, rel=0.01)
    assert li["msd_across_ang2"][-1] == pytest.approx(2e-4, rel=0.3)
    response = run["response"]["species"]["O"]
    assert response["charge_along_field_e"] == pytest.approx(-0.4)
    assert response["perpendicular_share"] == pytest.approx(0.6)
    assert run["response"]["sum_rule_residual_e_per_atom"] == pytest.approx(0.02 / 4)
    energy = run["energy"]
    assert energy["final_work_eV"] == pytest.approx(3.0)
    assert energy["unaccounted_eV"] == pytest.approx(0.1 * 10 - 3 + 2, abs=1e-9)
    assert energy["conserved_drift_mev_per_atom_per_ps"] == pytest.approx(0.01)
    assert json.loads((tmp_path / "report" / "field_report.json").read_text())["runs"][0]["name"] == "run"
    page = (tmp_path / "report" / "field_report.html").read_text()
    assert "Work of the field" in page and "<svg" not in page.split("<body")[0]


def test_a_scan_finds_the_mobility_at_zero_field(tmp_path):
    folders = [made_up_run(tmp_path / str(k), strength) for k, strength in enumerate((0.05, 0.1, 0.2))]
    report = field_report(folders, tmp_path / "scan")
    found = report.record["scan"]["Li"]
    share = 2 * 15.999 / (2 * 15.999 + 2 * 6.94)
    assert found["field_v_per_ang"] == [0.05, 0.1, 0.2]
    assert found["zero_field_mobility_cm2_per_v_s"] == pytest.approx(10 * SPEED * share * 1e-4, rel=0.01)
    assert "Scan over field strengths" in report.page.html()


def test_analyze_kind_field(tmp_path, capsys):
    folders = [made_up_run(tmp_path / str(k), strength) for k, strength in enumerate((0.1, 0.2))]
    result = analyze("field", [str(folder) for folder in folders], output=tmp_path / "analysis")
    assert len(result.record["runs"]) == 2
    assert (tmp_path / "analysis" / "field.csv").read_text().count("\n") == 5
    assert "→ 0" in capsys.readouterr().out


def test_a_simulation_reports_itself(tmp_path, capsys):
    model = with_head("schnet", "polarization")
    output = tmp_path / "md"
    md(model, rattled((2, 1, 1), seed=1), field=[0, 0, 0.1], steps=24, trajectory_interval=2, output=output)
    record = json.loads((output / "field_report.json").read_text())["runs"][0]
    assert record["response"]["sum_rule_residual_e_per_atom"] < 1e-5
    assert abs(record["energy"]["unaccounted_eV"]) < 1e-2
    assert (output / "field_report.html").is_file()
    printed = capsys.readouterr().out
    assert "drift along the field" in printed and "kT" in printed


def test_what_is_no_simulation_in_a_field_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no md\.json"):
        field_report(tmp_path)
    (tmp_path / "md.json").write_text("{}")
    with pytest.raises(DataError, match="without a field"):
        field_report(tmp_path)
    (tmp_path / "md.json").write_text('{"field": [0, 0, 0.1], "trajectory": null}')
    with pytest.raises(DataError, match="wrote no trajectory"):
        field_report(tmp_path)
