"""vaspout.h5 beside the OUTCAR of the same calculation, and beside phonopy's reader."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
from phonopy.interface.vasp import get_born_vaspout, read_vaspout_calculation

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.errors import DataError, DataWarning

GPA = 160.21766208


@pytest.fixture
def outcar(resources):
    return read(resources / "OUTCAR.two_steps")


@pytest.fixture
def vaspout(outcar, tmp_path):
    return written(tmp_path / "vaspout.h5", outcar)


def written(path: Path, frames: list, scale: float = 2.0, free_energy: str = "free energy    TOTEN   ") -> Path:
    """The frames as VASP writes them: a table for each quantity, Born charges force first."""
    labels = [labels_of(atoms) for atoms in frames]
    with h5py.File(path, "w") as file:
        poscar = {
            "scale": scale,
            "lattice_vectors": frames[-1].cell.array / scale,
            "position_ions": frames[-1].get_scaled_positions(wrap=False),
            "ion_types": np.array(["Mg", "O "], dtype="S2"),
            "number_ion_types": [1, 1],
            "direct_coordinates": 1,
        }
        for group in ("input/poscar", "results/positions"):
            for name, value in poscar.items():
                file[f"{group}/{name}"] = value
        steps = {
            "scale": scale,
            "lattice_vectors": [atoms.cell.array / scale for atoms in frames],
            "position_ions": [atoms.get_scaled_positions(wrap=False) for atoms in frames],
            "energies_tags": np.array([free_energy, "energy without entropy ", "energy(sigma->0)       "], dtype="S23"),
            "energies": [[x["energy"], 7.0, a.info["energy_sigma0"]] for x, a in zip(labels, frames, strict=True)],
            "forces": [x["forces"] for x in labels],
            "stress": [-10 * GPA * x["stress"] for x in labels],
            "electronic_step_converged": np.zeros((len(frames), 1)),
        }
        for name, value in steps.items():
            file[f"intermediate/ion_dynamics/{name}"] = value
        born = labels[-1]["born_effective_charges"]
        file["results/linear_response/born_charges"] = born.transpose(0, 2, 1)
        file["results/linear_response/electron_dielectric_tensor"] = labels[-1]["dielectric_tensor"]
    return path


def test_the_same_as_the_outcar(vaspout, outcar):
    frames = read(vaspout)
    assert len(frames) == 2
    for atoms, expected in zip(frames, outcar, strict=True):
        assert list(atoms.symbols) == list(expected.symbols)
        np.testing.assert_allclose(atoms.cell.array, expected.cell.array, atol=1e-12)
        np.testing.assert_allclose(atoms.positions, expected.positions, atol=1e-12)
        assert atoms.info["energy_sigma0"] == expected.info["energy_sigma0"]
        found, wanted = labels_of(atoms), labels_of(expected)
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-8, err_msg=name)


def test_phonopy_reads_the_same(vaspout):
    """Its orientation of Born charges, its stress and its structure; its energy is that of sigma -> 0."""
    last = read(vaspout)[-1]
    labels = labels_of(last)
    born, dielectric, _ = get_born_vaspout(vaspout, is_symmetry=False)
    np.testing.assert_allclose(labels["born_effective_charges"], born, atol=1e-12)
    assert np.abs(born - born.transpose(0, 2, 1)).max() > 0.05
    np.testing.assert_allclose(labels["dielectric_tensor"], dielectric, atol=1e-12)
    cell, energy, forces, stress = read_vaspout_calculation(vaspout)
    np.testing.assert_allclose(last.cell.array, cell.cell, atol=1e-12)
    assert last.info["energy_sigma0"] == energy
    np.testing.assert_allclose(labels["forces"], forces)
    np.testing.assert_allclose(labels["stress"], -stress / GPA, rtol=1e-7)


def test_recognized_by_content_and_compressed(vaspout, tmp_path):
    path = tmp_path / "result.gz"
    with gzip.open(path, "wb") as file:
        file.write(vaspout.read_bytes())
    assert len(read(path)) == 2


def test_molecular_dynamics_names_its_energy_differently(outcar, tmp_path):
    frames = read(written(tmp_path / "md.h5", outcar, free_energy="ion-electron   TOTEN   "))
    assert [labels_of(atoms)["energy"] for atoms in frames] == [-11.5, -11.75]
    with pytest.raises(DataError, match="has no free energy among its energies \\(weight"):
        read(written(tmp_path / "other.h5", outcar, free_energy="weight"))


def test_a_step_that_was_not_written_is_left_out(vaspout):
    with h5py.File(vaspout, "r+") as file:
        for name in ("energies", "forces"):
            file[f"intermediate/ion_dynamics/{name}"][1] = 0.0
        del file["results/linear_response"]
    with pytest.warns(DataWarning, match="has no end: the run was stopped"):
        assert [labels_of(atoms)["energy"] for atoms in read(vaspout)] == [-11.5]
    with h5py.File(vaspout, "r+") as file:
        for name in ("energies", "forces"):
            file[f"intermediate/ion_dynamics/{name}"][0] = 0.0
    with pytest.raises(DataError, match="ends before its first ionic step"):
        read(vaspout)


def test_a_scale_that_is_a_volume_is_refused(vaspout):
    with h5py.File(vaspout, "r+") as file:
        file["intermediate/ion_dynamics/scale"][()] = -70.0
    with pytest.raises(DataError, match="scales its lattice by -70, a volume"):
        read(vaspout)


def test_what_cannot_be_trusted_is_said(vaspout):
    with h5py.File(vaspout, "r+") as file:
        file["intermediate/ion_dynamics/electronic_step_converged"][1] = 1.0
        file["input/incar/IBRION"] = 8
    with (
        pytest.warns(DataWarning, match="electrons of 1 ionic steps are not converged \\(first: frame 1"),
        pytest.warns(DataWarning, match="is of IBRION=8"),
    ):
        read(vaspout)


def test_another_hdf5_file_and_a_cut_one(vaspout, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1.0
    with pytest.raises(DataError, match=r"other.h5 is no vaspout.h5"):
        read(tmp_path / "other.h5")
    (tmp_path / "cut.h5").write_bytes(vaspout.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"cut.h5 is damaged or cut off"):
        read(tmp_path / "cut.h5")
