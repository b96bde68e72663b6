"""The field report on trajectories whose drift and response are known."""

import csv
import io
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from rich.console import Console

from gnnpot.apps.analyze import analyze
from gnnpot.apps.field_report import field_report
from gnnpot.apps.md import md
from gnnpot.errors import DataError, PhysicsWarning
from gnnpot.report.field import species_table
from gnnpot.report.terminal import rich_table
from tests.contract.conftest import rattled
from tests.contract.test_heads import with_head

SPEED = 0.8
"""Å/ps of Li against O in a field of 0.1 V/Å."""


def made_up_run(folder, strength=0.1, interval=0.1, n_extra=0, **settings):
    """Li that drifts along y against a frame of heavy O, with known Born charges and energies.

    ``n_extra`` frames come at the end, each a fifth of the interval after the one before.
    """
    rng = np.random.default_rng(0)
    folder.mkdir()
    velocity = SPEED * strength / 0.1 * (1.0 + 4.0 * strength**2)
    times = interval * np.append(np.arange(101), 100 + 0.2 * np.arange(1, 1 + n_extra))
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
        if k % 25 == 0:
            frame.set_array("born_effective_charges", born.reshape(4, 9))
        frames.append(frame)
    ase.io.write(folder / "trajectory.extxyz", frames)
    settings = {
        "field": [0.0, strength, 0.0], "field_is_constant": True, "temperature": 600.0,
        "trajectory": "trajectory.extxyz", "linear_response": None,
        "net_force_ev_per_ang": [0.0, 0.0, 0.0], "remove_net_force": None, **settings,
    }  # fmt: skip
    (folder / "md.json").write_text(json.dumps(settings))
    with (folder / "thermo.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_ps", "total_eV_per_atom", "conserved_eV_per_atom", "work_eV", "heat_eV"])
        writer.writerows([t, 0.025 * t, 1.0 + 1e-5 * t, 0.3 * t, 0.2 * t] for t in times)
    return folder


@pytest.mark.parametrize("wrap", [False, True])
def test_a_known_drift(tmp_path, wrap):
    """From the trajectory as it is, and from one that somebody wrapped, beside it."""
    path = made_up_run(tmp_path / "run")
    if wrap:
        frames = ase.io.read(path / "trajectory.extxyz", ":")
        for frame in frames:
            frame.wrap()
        assert np.ptp([frame.positions[0, 1] for frame in frames]) > 5.0
        path = path / "wrapped.extxyz"
        ase.io.write(path, frames)
    report = field_report(path, tmp_path / "report")
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


def test_our_own_trajectories_are_not_unwrapped_again(tmp_path):
    """Li moves by 8 Å from frame to frame in a cell of 6 Å: its nearest image would be a wrong one."""
    (run,) = field_report(made_up_run(tmp_path / "run", interval=10.0)).record["runs"]
    found = run["species"]["Li"]["drift_ang_per_ps"] - run["species"]["O"]["drift_ang_per_ps"]
    assert found == pytest.approx(SPEED * 1.04, abs=1e-3)


def test_a_last_frame_at_another_interval_is_left_out(tmp_path):
    """What does not lie on the grid of times has no lag; two such frames are no trajectory of one interval."""
    runs = [field_report(made_up_run(tmp_path / str(n), n_extra=n)).record["runs"][0] for n in (0, 1)]
    assert [run["n_frames"] for run in runs] == [101, 101]
    assert runs[1]["species"]["time_ps"] == pytest.approx(0.1 * np.arange(101))
    assert runs[1]["species"]["Li"]["msd_along_ang2"] == pytest.approx(runs[0]["species"]["Li"]["msd_along_ang2"])
    with pytest.raises(DataError, match="equal distances in time"):
        field_report(made_up_run(tmp_path / "two", n_extra=2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 650.0}, r"0 and 1 .*the temperature \(600 and 650 K\)"),
        ({"field": [0.0, 0.12, 0.16]}, "the axis of the field"),
    ],
)
def test_a_scan_is_of_one_temperature_and_one_axis(tmp_path, settings, said):
    folders = [made_up_run(tmp_path / "0", 0.1), made_up_run(tmp_path / "1", 0.2, **settings)]
    with pytest.raises(DataError, match=said):
        field_report(folders)


def test_a_scan_is_of_one_composition_in_cells_of_any_size(tmp_path):
    folders = [made_up_run(tmp_path / "0", 0.1), made_up_run(tmp_path / "1", 0.2)]
    path = folders[1] / "trajectory.extxyz"
    frames = ase.io.read(path, ":")
    ase.io.write(path, [frame.repeat((1, 1, 2)) for frame in frames])
    assert field_report(folders).record["scan"]["Li"]["field_v_per_ang"] == [0.1, 0.2]
    ase.io.write(path, [frame[:3] for frame in frames])
    with pytest.raises(DataError, match=r"the composition \(Li2O2 and Li2O1\)"):
        field_report(folders)
    against = made_up_run(tmp_path / "2", 0.2, field=[0.0, -0.2, 0.0])
    assert field_report([folders[0], against]).record["scan"]["Li"]["field_v_per_ang"] == [0.1, 0.2]


def test_the_net_force_of_a_charged_cell_is_on_the_page(tmp_path):
    model, atoms = with_head("schnet", "polarization"), rattled((2, 1, 1), seed=2)
    settings = {"steps": 6, "trajectory_interval": 2, "remove_net_force": True}
    wave = {"amplitude": [0.0, 0.06, 0.08], "frequency": 1.0}
    md(model, atoms, field=wave, output=tmp_path / "neutral", **settings)
    assert "Net force" not in (tmp_path / "neutral" / "field_report.html").read_text()
    atoms.info["charge"] = -2.0
    with pytest.warns(PhysicsWarning, match="the ions carry"):
        md(model, atoms, field=wave, output=tmp_path / "charged", **settings)
    (run,) = json.loads((tmp_path / "charged" / "field_report.json").read_text())["runs"]
    assert run["net_force_ev_per_ang"] == pytest.approx([0.0, -0.12, -0.16])
    page = " ".join((tmp_path / "charged" / "field_report.html").read_text().split())
    assert "Net force Q E" in page and "0.200" in page and "largest value in time" in page and "by mass" in page


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
    field_report([folders[0]], tmp_path / "one")
    assert "→ 0" not in (tmp_path / "one" / "field_report.html").read_text()
    analyze(
        "field",
        [str(folders[0]), str(made_up_run(tmp_path / "wave", field_is_constant=False))],
        output=tmp_path / "waves",
    )
    printed = capsys.readouterr().out
    assert "→ 0" not in printed and "two strengths or more" in printed


def test_temperature_mobility_and_account_are_called_what_they_are(tmp_path):
    """Half the first temperature is left in nve, no enthalpy stands behind a tensor head, Å²/(V ps) are 10⁻⁴ cm²/Vs."""
    report = field_report(made_up_run(tmp_path / "0", 0.1, mean_temperature_K=310.4))
    assert report.record["runs"][0]["mean_temperature_K"] == 310.4
    page = report.page.html()
    assert "at 310 K" in page and "600" not in page.split("</h1>")[1].split("drift")[0]
    assert "K + U less work plus heat" in page and "enthalpy" not in page
    (row, _) = species_table(report.record["runs"][0]).rows
    drift, mobility = (float(cell.split(" ")[0]) for cell in row[2:4])
    assert mobility == pytest.approx(drift / 0.1, rel=0.01)
    record = report.record["runs"][0]["species"]["Li"]
    assert record["apparent_mobility_cm2_per_v_s"] == pytest.approx(1e-4 * record["drift_ang_per_ps"] / 0.1)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_into_a_terminal(tmp_path, width):
    stream = io.StringIO()
    Console(file=stream, width=width).print(
        rich_table(species_table(field_report(made_up_run(tmp_path / "0")).record["runs"][0]))
    )
    printed = stream.getvalue()
    assert "element" in printed and "across" in printed and "…" not in printed


def test_a_simulation_reports_itself(tmp_path, capsys):
    model = with_head("schnet", "polarization")
    output = tmp_path / "md"
    md(model, rattled((2, 1, 1), seed=1), field=[0, 0, 0.1], steps=25, trajectory_interval=2, output=output)
    assert ase.io.read(output / "trajectory.extxyz", -1).info["time_ps"] == pytest.approx(0.025)
    record = json.loads((output / "field_report.json").read_text())["runs"][0]
    assert record["n_frames"] == 13
    assert record["duration_ps"] == pytest.approx(0.024)
    assert record["species"]["Li"]["lag_ps"] == pytest.approx(0.002 * np.arange(1, 7))
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
