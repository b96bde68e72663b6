import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms

from gnnpot.apps.relax import relax
from gnnpot.apps.relax_many import relax_command, relax_many
from gnnpot.errors import ConfigError


def several(argon: Atoms) -> list[Atoms]:
    """Crystals of different sizes, one with fixed atoms, and a cluster."""
    frames = [argon[:4].copy(), argon.copy(), argon[8:20].copy(), argon[:7].copy()]
    frames[0].set_cell(argon.cell / 2, scale_atoms=False)
    frames[2].set_constraint(FixAtoms([0, 5]))
    frames[3].set_pbc(False)
    return frames


def test_every_structure_ends_where_it_would_alone(argon_potential, argon, tmp_path, monkeypatch):
    frames = several(argon)
    before = [atoms.positions.copy() for atoms in frames]
    monkeypatch.setattr("gnnpot.apps.batched_fire.EVALUATION_EDGES", 1500)
    found = relax_many(argon_potential, frames, fmax=1e-3, output=tmp_path / "many.extxyz")
    assert found.ok
    written = ase.io.read(tmp_path / "many.extxyz", index=":")
    for atoms, start, one, frame in zip(frames, before, found.structures, written, strict=True):
        np.testing.assert_array_equal(atoms.positions, start)
        alone = relax(argon_potential, atoms, fmax=1e-3, output=tmp_path / "alone.extxyz")
        assert alone.n_steps == one.n_steps
        np.testing.assert_allclose(one.atoms.positions, alone.atoms.positions, rtol=0, atol=1e-6)
        np.testing.assert_allclose(frame.positions, one.atoms.positions, rtol=0, atol=1e-7)
        assert frame.get_potential_energy() == pytest.approx(alone.atoms.get_potential_energy(), abs=1e-6)
    assert len({one.n_steps for one in found.structures}) > 1
    assert np.abs(found.structures[2].atoms.positions - before[2])[[0, 5]].max() == 0.0


def test_one_bad_structure_does_not_end_the_others(argon_potential, argon, tmp_path, capsys):
    bad = argon.copy()
    bad.positions[1] = bad.positions[0]
    found = relax_many(argon_potential, [bad, argon], fmax=0.01, output=tmp_path / "many.traj")
    assert [one.converged for one in found.structures] == [False, True]
    assert "on top of each other" in found.structures[0].problem
    assert "1 of 2 structures converged" in " ".join(capsys.readouterr().out.split())
    assert not found.ok


def test_too_few_steps_are_said(argon_potential, argon, tmp_path, capsys):
    found = relax_many(argon_potential, [argon, argon], fmax=1e-5, steps=2, output=tmp_path / "many.extxyz")
    assert [one.n_steps for one in found.structures] == [2, 2]
    assert not found.ok
    assert "more steps" in capsys.readouterr().out


def test_all_frames_of_a_file_by_the_command(argon_potential, argon, tmp_path):
    path = tmp_path / "frames.extxyz"
    ase.io.write(path, [argon[:4], argon[:8]])
    found = relax_command(argon_potential, f"{path}@:", fmax=0.05, output=tmp_path / "out.extxyz")
    assert [len(one.atoms) for one in found.structures] == [4, 8]
    assert (
        relax_command(
            argon_potential, path, fmax=0.05, output=tmp_path / "out.extxyz"
        ).atoms.get_global_number_of_atoms()
        == 8
    )
    with pytest.raises(ConfigError, match="one by one"):
        relax_command(argon_potential, f"{path}@:", cell=True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"output": "POSCAR"}, "holds one structure"), ({"fmax": 0.0}, "fmax=0"), ({"structures": []}, "no structures")],
)
def test_bad_settings_are_refused(argon_potential, argon, tmp_path, setting, message):
    given = {"structures": [argon], "output": tmp_path / "r.extxyz", **setting}
    with pytest.raises(ConfigError, match=message):
        relax_many(argon_potential, **given)
