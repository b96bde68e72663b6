import csv
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.md import md
from gnnpot.apps.thermo import COLUMNS
from gnnpot.errors import ConfigError, DataError, PropertyNotAvailableError, SimulationError, UnknownElementError


@pytest.fixture
def crystal(argon):
    argon.positions[:] = bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2).positions
    return argon


def test_nve_conserves_energy_and_momentum(argon_potential, crystal, tmp_path, capsys):
    result = md(
        argon_potential, crystal, ensemble="nve", temperature=40, timestep=4, steps=500, output=tmp_path / "md",
        dtype="float64",
    )  # fmt: skip
    total = [sample.total_eV_per_atom for sample in result.samples]
    assert result.drift_of == "total energy"
    assert abs(result.drift) < 0.02
    assert np.ptp(total) < 2e-5
    np.testing.assert_allclose(result.atoms.get_momenta().sum(axis=0), 0.0, atol=1e-10)
    assert result.samples[0].temperature_K == pytest.approx(40.0)
    assert "meV/atom/ps" in capsys.readouterr().out


def test_a_run_too_short_for_a_drift_says_so_and_nothing_of_its_spread(argon_potential, crystal, tmp_path, capsys):
    md(argon_potential, crystal, steps=20, output=tmp_path / "md")
    printed = capsys.readouterr().out
    assert "too few samples for a drift;" in printed and "deviation" not in printed


def test_skin_changes_nothing_in_a_simulation(argon_potential, crystal, tmp_path):
    settings = {"ensemble": "npt", "temperature": 60, "timestep": 4, "steps": 60, "dtype": "float64", "pressure": 0.05}
    fresh = md(argon_potential, crystal, output=tmp_path / "fresh", skin=0.0, barostat_time=100, **settings)
    kept = md(argon_potential, crystal, output=tmp_path / "kept", skin=0.8, barostat_time=100, **settings)
    np.testing.assert_allclose(kept.atoms.positions, fresh.atoms.positions, atol=1e-9)
    np.testing.assert_allclose(kept.atoms.cell.array, fresh.atoms.cell.array, atol=1e-9)
    assert abs(fresh.atoms.get_volume() - crystal.get_volume()) > 1.0
    assert kept.n_neighbor_searches < 10 < fresh.n_neighbor_searches


@pytest.mark.parametrize(
    ("ensemble", "thermostat"), [("nvt", "bussi"), ("nvt", "langevin"), ("nvt", "nose_hoover"), ("npt", "bussi")]
)
def test_thermostats_keep_the_temperature(argon_potential, crystal, tmp_path, ensemble, thermostat):
    result = md(
        argon_potential, crystal, ensemble=ensemble, thermostat=thermostat, temperature=40, timestep=5, steps=400,
        thermostat_time=40, output=tmp_path, log_interval=5, trajectory=None, seed=1,
    )  # fmt: skip
    assert result.mean_temperature == pytest.approx(40, rel=0.12)
    assert (result.drift is None) == (thermostat == "langevin")
    if result.drift is not None:
        assert abs(result.drift) < 0.3


def test_anisotropic_npt_runs(argon_potential, crystal, tmp_path):
    result = md(argon_potential, crystal, ensemble="npt", isotropic=False, steps=20, temperature=40, output=tmp_path)
    assert len(result.samples) == 3


def test_log_has_a_unit_in_every_column(argon_potential, crystal, tmp_path):
    md(argon_potential, crystal, temperature=40, steps=25, output=tmp_path, log_interval=10)
    with (tmp_path / "thermo.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert [int(line["step"]) for line in lines] == [0, 10, 20, 25]
    assert all(
        column == "step" or column.split("_")[-1] in {"ps", "K", "eV", "atom", "atoms", "GPa", "A3"}
        for column in COLUMNS
    )
    settings = json.loads((tmp_path / "md.json").read_text())
    assert settings["temperature"] == 40
    assert settings["n_atoms"] == 32


def test_pressure_is_that_of_ase_with_the_kinetic_part(argon_potential, crystal, tmp_path):
    result = md(argon_potential, crystal, temperature=40, steps=1, output=tmp_path, dtype="float64")
    last = result.atoms
    last.calc = Calculator(argon_potential, dtype="float64")
    expected = -last.get_stress(include_ideal_gas=True)[:3].mean() / units.GPa
    assert result.samples[-1].pressure_GPa == pytest.approx(expected)


@pytest.mark.parametrize("name", ["t.extxyz", "t.traj"])
def test_trajectory_holds_forces_energy_and_momenta(argon_potential, crystal, tmp_path, name):
    md(argon_potential, crystal, temperature=40, steps=20, trajectory=name, trajectory_interval=10, output=tmp_path)
    frames = ase.io.read(tmp_path / name, ":")
    assert len(frames) == 3
    assert frames[1].get_forces().shape == (32, 3)
    assert np.isfinite(frames[1].get_potential_energy())
    assert np.abs(frames[1].get_momenta()).max() > 0


def test_a_simulation_goes_on_from_its_last_frame(argon_potential, crystal, tmp_path):
    settings = {"ensemble": "nve", "timestep": 4, "temperature": 40, "dtype": "float64"}
    whole = md(argon_potential, crystal, steps=40, output=tmp_path / "whole", **settings)
    md(argon_potential, crystal, steps=20, output=tmp_path / "first", **settings)
    start = tmp_path / "first" / "last.extxyz"
    second = md(argon_potential, start, steps=20, velocities="keep", output=tmp_path / "second", **settings)
    np.testing.assert_allclose(second.atoms.positions, whole.atoms.positions, atol=1e-6)


def test_keeping_velocities_that_are_not_there_is_refused(argon_potential, crystal, tmp_path):
    with pytest.raises(DataError, match="velocities=keep"):
        md(argon_potential, crystal, velocities="keep", output=tmp_path)


def test_blow_up_stops_and_saves_the_frame(argon_potential, crystal, tmp_path):
    with pytest.raises(SimulationError, match=r"blown_up\.extxyz.*timestep"):
        md(argon_potential, crystal, ensemble="nve", temperature=3000, timestep=100, steps=500, output=tmp_path)
    assert len(ase.io.read(tmp_path / "blown_up.extxyz")) == 32
    assert (tmp_path / "thermo.csv").read_text().count("\n") >= 2


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_temperature": 30.0}, "max_temperature=30 K"),
        ({"max_force": 1e-6}, "max_force"),
        ({"min_distance": 4.0}, "4.0 Å"),
    ],
)
def test_every_limit_names_itself(argon_potential, argon, tmp_path, limit, message):
    with pytest.raises(SimulationError, match=message):
        md(argon_potential, argon, temperature=40, steps=5, output=tmp_path, **limit)


def test_a_start_that_cannot_be_computed_leaves_no_folder(argon_potential, crystal, tmp_path):
    with pytest.raises(UnknownElementError, match="this model knows Ar"):
        md(argon_potential, "Li2O", output=tmp_path / "md")
    crystal.positions[1] = crystal.positions[0] + [0.01, 0.0, 0.0]
    with pytest.raises(DataError, match="on top of each other"):
        md(argon_potential, crystal, output=tmp_path / "md")
    assert not (tmp_path / "md").exists()


def test_atoms_that_come_onto_each_other_stop_it(swirling_forces, tmp_path):
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.0]])
    pair.set_momenta([[0, 0, 0], [0, 0, -12.0]])
    settings = {"ensemble": "nve", "velocities": "keep", "min_distance": 0.0, "max_temperature": 1e9, "timestep": 0.5}
    with pytest.raises(SimulationError, match="on top of each other"):
        md(swirling_forces, pair, steps=100, output=tmp_path, **settings)
    assert (tmp_path / "blown_up.extxyz").exists()


def test_slab_has_no_pressure(argon_potential, tmp_path):
    slab = fcc111("Ar", (2, 2, 3), a=5.3, vacuum=8.0)
    result = md(argon_potential, slab, temperature=30, steps=5, output=tmp_path)
    assert np.isnan(result.samples[0].pressure_GPa)
    with pytest.raises(ConfigError, match="periodic in three directions"):
        md(argon_potential, slab, ensemble="npt", output=tmp_path / "npt")


def test_molecule_does_not_turn(argon_potential, tmp_path):
    cluster = bulk("Ar", "fcc", a=5.3, cubic=True).repeat((2, 1, 1))
    cluster.pbc = False
    result = md(argon_potential, cluster, ensemble="nve", temperature=20, steps=20, output=tmp_path, dtype="float64")
    np.testing.assert_allclose(result.atoms.get_angular_momentum(), 0.0, atol=1e-9)
    assert result.samples[0].temperature_K == pytest.approx(20.0)


def test_fixed_atoms_stay(argon_potential, crystal, tmp_path):
    crystal.set_constraint(FixAtoms([0, 1]))
    result = md(argon_potential, crystal, temperature=40, steps=10, output=tmp_path)
    np.testing.assert_array_equal(result.atoms.positions[:2], crystal.positions[:2])
    with pytest.raises(ConfigError, match="fixed atoms"):
        md(argon_potential, crystal, ensemble="npt", output=tmp_path / "npt")


def test_direct_forces_run_and_report_the_kinetic_energy(swirling_forces, crystal, tmp_path):
    result = md(swirling_forces, crystal, ensemble="nve", temperature=40, steps=100, output=tmp_path)
    assert "kinetic energy" in result.drift_of
    assert np.isnan(result.samples[-1].potential_eV)
    assert result.drift is not None


def test_repeat_multiplies_atoms_and_charge(argon_potential, tmp_path):
    cell = bulk("Ar", a=5.3)
    cell.info["charge"] = 1.0
    result = md(argon_potential, cell, repeat=[3, 3, 2], temperature=40, steps=2, output=tmp_path)
    assert len(result.atoms) == 18
    assert result.atoms.info["charge"] == 18.0


def test_earlier_simulation_is_not_overwritten_unasked(argon_potential, crystal, tmp_path):
    md(argon_potential, crystal, temperature=40, steps=2, output=tmp_path)
    with pytest.raises(ConfigError, match="overwrite=true"):
        md(argon_potential, crystal, temperature=40, steps=2, output=tmp_path)
    md(argon_potential, crystal, temperature=40, steps=2, output=tmp_path, overwrite=True)
    assert len(ase.io.read(tmp_path / "trajectory.extxyz", ":")) == 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ensemble": "nvp"}, "did you mean 'nvt'"),
        ({"thermostat": "busi"}, "did you mean 'bussi'"),
        ({"timestep": 0.0}, "timestep=0.0 fs"),
        ({"temperature": -1.0}, "temperature=-1.0 K"),
        ({"pressure": 1.0}, "ensemble=npt"),
        ({"steps": 0}, "steps=0"),
        ({"trajectory": "t.pdb"}, "extxyz"),
        ({"velocities": "old"}, "new or keep"),
        ({"repeat": [1, 2]}, "repeat"),
        ({"max_force": 0.0}, "max_force"),
    ],
)
def test_bad_settings_are_refused_by_name(argon_potential, crystal, tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        md(argon_potential, crystal, output=tmp_path / "md", **setting)
    assert not (tmp_path / "md").exists()


def test_field_is_refused_for_now(argon_potential, crystal, tmp_path):
    with pytest.raises(PropertyNotAvailableError, match="response head"):
        md(argon_potential, crystal, field=[0, 0, 0.1], output=tmp_path)


def test_missing_structure_file_is_named(argon_potential, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.cif"):
        md(argon_potential, "nowhere.cif", output=tmp_path)


def test_one_atom_is_refused(argon_potential, tmp_path):
    with pytest.raises(ConfigError, match="repeat=2"):
        md(argon_potential, bulk("Ar", a=5.3), output=tmp_path)


def test_interrupt_leaves_a_frame_to_go_on_from(argon_potential, crystal, tmp_path, monkeypatch, capsys):
    def interrupt(self, step):
        raise KeyboardInterrupt

    monkeypatch.setattr("gnnpot.apps.md._Run._sample", interrupt)
    with pytest.raises(KeyboardInterrupt):
        md(argon_potential, crystal, temperature=40, steps=5, output=tmp_path)
    assert ase.io.read(tmp_path / "last.extxyz").has("momenta")
    assert "velocities=keep" in capsys.readouterr().out
