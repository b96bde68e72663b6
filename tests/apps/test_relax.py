import ase.io
import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from gnnpot.apps.relax import relax
from gnnpot.errors import ConfigError, DataError


def test_positions_relax_to_the_crystal(argon_potential, argon, tmp_path, capsys):
    result = relax(argon_potential, argon, fmax=1e-4, output=tmp_path / "relaxed.extxyz")
    assert result.ok
    assert result.after.max_force < 1e-4 < result.before.max_force
    assert result.after.energy_per_atom < result.before.energy_per_atom
    np.testing.assert_array_equal(result.atoms.cell.array, argon.cell.array)
    written = ase.io.read(tmp_path / "relaxed.extxyz")
    assert written.get_potential_energy() == pytest.approx(32 * result.after.energy_per_atom)
    printed = capsys.readouterr().out
    assert all(unit in printed for unit in ("eV/atom", "eV/Å", "GPa", "Å³"))


@pytest.mark.parametrize("optimizer", ["fire", "bfgs", "lbfgs"])
def test_cell_relaxes_to_zero_pressure(argon_potential, optimizer, tmp_path):
    argon = bulk("Ar", "fcc", a=5.6, cubic=True)
    argon.rattle(0.05, seed=1)
    result = relax(argon_potential, argon, cell=True, fmax=1e-4, optimizer=optimizer, output=tmp_path / "r.extxyz")
    assert result.converged
    assert abs(result.after.pressure) < 0.01
    assert result.after.max_shear < 0.01


def test_cell_under_pressure_agrees_with_ase(bare_lennard_jones, tmp_path):
    start = bulk("Ar", "fcc", a=5.3)
    theirs = start.copy()
    theirs.calc = AseLennardJones(epsilon=0.0103, sigma=3.4, rc=6.0, smooth=False)
    BFGS(FrechetCellFilter(theirs, scalar_pressure=2.0 / 160.2176634), logfile=None).run(fmax=1e-5)
    ours = relax(bare_lennard_jones, start, cell=True, pressure=2.0, fmax=1e-5, output=tmp_path / "r.extxyz")
    assert ours.after.pressure == pytest.approx(2.0, abs=1e-3)
    assert ours.after.volume == pytest.approx(theirs.get_volume(), rel=1e-4)


def test_too_few_steps_are_said(argon_potential, argon, tmp_path, capsys):
    result = relax(argon_potential, argon, fmax=1e-5, steps=2, output=tmp_path / "r.extxyz")
    assert not result.ok
    assert "not converged" in capsys.readouterr().out


def test_slab_keeps_its_cell_and_may_not_change_it(argon_potential, tmp_path):
    slab = fcc111("Ar", (2, 2, 3), a=5.3, vacuum=8.0)
    assert relax(argon_potential, slab, fmax=1e-3, output=tmp_path / "r.extxyz").converged
    with pytest.raises(ConfigError, match="periodic in three directions"):
        relax(argon_potential, slab, cell=True, output=tmp_path / "r.extxyz")


def test_direct_forces_relax_positions_only(swirling_forces, argon, tmp_path):
    result = relax(swirling_forces, argon, fmax=10.0, output=tmp_path / "r.extxyz")
    assert np.isnan(result.after.energy_per_atom)
    with pytest.raises(ConfigError, match="predicts forces only"):
        relax(swirling_forces, argon, cell=True, output=tmp_path / "r.extxyz")


def test_atoms_on_top_of_each_other_are_named(argon_potential, argon, tmp_path):
    argon.positions[1] = argon.positions[0] + [0.01, 0, 0]
    with pytest.raises(DataError, match="on top of each other"):
        relax(argon_potential, argon, output=tmp_path / "r.extxyz")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"optimizer": "fyre"}, "did you mean 'fire'"),
        ({"fmax": 0.0}, "fmax=0.0"),
        ({"steps": 0}, "steps=0"),
        ({"pressure": 1.0}, "cell=true"),
        ({"output": "relaxed.pdb"}, "extxyz"),
    ],
)
def test_bad_settings_are_refused_by_name(argon_potential, argon, tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        relax(argon_potential, argon, **{"output": tmp_path / "r.extxyz", **setting})
