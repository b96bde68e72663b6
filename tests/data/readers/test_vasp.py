import bz2
import gzip
import lzma
import shutil

import numpy as np
import pytest

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.errors import DataError, DataWarning

EV_PER_CUBIC_ANGSTROM_PER_KBAR = 1 / 1602.176634
BORN = np.array([[1.90, 0.12, 0.13], [0.21, 1.95, 0.23], [0.31, 0.32, 2.00]])


@pytest.fixture(params=["OUTCAR.two_steps", "vasprun.two_steps.xml"])
def vasp_file(request, resources):
    return resources / request.param


def test_energy_is_the_free_energy_and_the_other_is_kept(vasp_file):
    frames = read(vasp_file)
    assert [labels_of(frame)["energy"] for frame in frames] == [-11.5, -11.75]
    assert [frame.info["energy_sigma0"] for frame in frames] == pytest.approx([-11.49, -11.74])
    assert frames[0].get_potential_energy(force_consistent=True) == -11.5


def test_forces_cell_and_origin(vasp_file):
    frames = read(vasp_file)
    np.testing.assert_allclose(labels_of(frames[0])["forces"], [[0.5, -0.25, 0.125], [-0.5, 0.25, -0.125]])
    np.testing.assert_allclose(frames[0].cell.array, [[4, 0, 0], [0, 4.1, 0], [0.5, 0, 4.2]])
    np.testing.assert_allclose(frames[0].positions[0], [0.1, 0, 0])
    assert frames[1].info["source"] == str(vasp_file)
    assert [frame.info["frame"] for frame in frames] == [0, 1]
    assert frames[0].symbols.get_chemical_formula() == "MgO"


def test_stress_has_ase_sign_and_order(vasp_file):
    # The files hold, in kbar and VASP's sign, xx 10, yy 20, zz 30, xy 40, yz 50, zx 60.
    expected = -np.array([[10, 40, 60], [40, 20, 50], [60, 50, 30]]) * EV_PER_CUBIC_ANGSTROM_PER_KBAR
    frames = read(vasp_file)
    np.testing.assert_allclose(labels_of(frames[1])["stress"], expected, rtol=1e-6)
    # 16.02176634 kbar of compression are -0.01 eV/Å³.
    assert labels_of(frames[0])["stress"][0, 0] == pytest.approx(-0.01, rel=1e-6)
    assert labels_of(frames[0])["stress"][1, 1] == pytest.approx(0.02, rel=1e-6)


def test_born_charges_are_field_first_and_belong_to_their_step(vasp_file):
    first, second = (labels_of(frame) for frame in read(vasp_file))
    assert "born_effective_charges" not in first
    np.testing.assert_allclose(second["born_effective_charges"], [BORN, -BORN])
    np.testing.assert_allclose(second["dielectric_tensor"][0], [3.1, 0.01, 0.02])


@pytest.mark.parametrize("ibrion", [7, 8])
def test_displacement_first_born_charges_are_transposed(vasp_file, tmp_path, ibrion):
    text = vasp_file.read_text()
    text = text.replace("IBRION =     -1", f"IBRION =      {ibrion}")
    path = tmp_path / vasp_file.name
    path.write_text(text.replace('name="IBRION">    -1', f'name="IBRION">     {ibrion}'))
    np.testing.assert_allclose(labels_of(read(path)[1])["born_effective_charges"][0], BORN.T)


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_compressed_under_any_name(vasp_file, tmp_path, suffix, opener):
    path = tmp_path / f"{vasp_file.name}.hot{suffix}"
    with opener(path, "wb") as file:
        file.write(vasp_file.read_bytes())
    assert len(read(path)) == 2


def test_content_is_recognized_without_the_name(vasp_file, tmp_path):
    path = tmp_path / "result"
    shutil.copy(vasp_file, path)
    assert len(read(path)) == 2


def test_a_stopped_outcar_gives_its_complete_steps(resources, tmp_path):
    text = (resources / "OUTCAR.two_steps").read_text()
    path = tmp_path / "OUTCAR"
    path.write_text(text[: text.index(" POSITION", text.index(" POSITION") + 10)])
    with pytest.warns(DataWarning, match="OUTCAR has no end: the run was stopped or the file is cut"):
        assert len(read(path)) == 1


def test_an_outcar_cut_in_its_header_is_an_error(resources, tmp_path):
    path = tmp_path / "OUTCAR"
    path.write_text((resources / "OUTCAR.two_steps").read_text()[:200])
    with pytest.raises(DataError, match=r"OUTCAR, frame 0 is broken or cut off.*Incomplete"):
        read(path)


def test_a_damaged_force_names_the_frame(resources, tmp_path):
    path = tmp_path / "OUTCAR"
    path.write_text((resources / "OUTCAR.two_steps").read_text().replace("0.100000      0.200000", "*****  0.2", 1))
    with pytest.raises(DataError, match="OUTCAR, frame 1 is broken"):
        read(path)


def test_a_cut_vasprun_gives_its_complete_steps(resources, tmp_path):
    text = (resources / "vasprun.two_steps.xml").read_text()
    path = tmp_path / "vasprun.xml"
    path.write_text(text[: text.rindex('<varray name="forces">') + 60])
    with pytest.warns(DataWarning, match="vasprun.xml has no end"):
        frames = read(path)
    assert [labels_of(frame)["energy"] for frame in frames] == [-11.5]


def test_a_vasprun_cut_before_its_first_step_is_an_error(resources, tmp_path):
    text = (resources / "vasprun.two_steps.xml").read_text()
    path = tmp_path / "vasprun.xml"
    path.write_text(text[: text.index("<calculation>") + 30])
    with pytest.raises(DataError, match="ends before its first ionic step"):
        read(path)
    path.write_text(text[:300])
    with pytest.raises(DataError, match=r"vasprun.xml is cut off or no vasprun.xml"):
        read(path)


def test_unconverged_electrons_are_reported(resources, tmp_path):
    outcar = tmp_path / "OUTCAR"
    outcar.write_text((resources / "OUTCAR.two_steps").read_text().replace("EDIFF is reached", "hard stop", 1))
    with pytest.warns(DataWarning, match=r"electrons of 1 ionic steps are not converged \(first: frame 0\)"):
        read(outcar)
    vasprun = tmp_path / "vasprun.xml"
    vasprun.write_text((resources / "vasprun.two_steps.xml").read_text().replace('"NELM">    60', '"NELM">    2'))
    with pytest.warns(DataWarning, match="electrons of 2 ionic steps"):
        read(vasprun)


def test_units_and_keys_have_no_effect_and_say_so(vasp_file):
    with pytest.warns(DataWarning, match="has no effect: VASP .* states its units itself"):
        frames = read(vasp_file, units={"energy": "hartree"})
    assert labels_of(frames[0])["energy"] == -11.5
    with pytest.warns(DataWarning, match="data.keys has no effect"):
        read(vasp_file, keys={"energy": "E0"})


def test_real_outcar(gnnpot_data):
    frame = read(gnnpot_data / "raw_formats" / "OUTCAR.ZrO2_lepsilon.gz")[0]
    labels = labels_of(frame)
    assert frame.get_chemical_formula() == "O64Zr32"
    assert labels["energy"] == pytest.approx(-933.41952185)
    np.testing.assert_allclose(labels["forces"][0], [-1.298290, -0.695928, -0.920797])
    # "in kB  27.55188  8.67329  -25.90752  5.24128  -1.95344  -8.42602": xx yy zz xy yz zx, compression positive.
    kbar = labels["stress"] / EV_PER_CUBIC_ANGSTROM_PER_KBAR
    expected = [[-27.55188, -5.24128, 8.42602], [-5.24128, -8.67329, 1.95344], [8.42602, 1.95344, 25.90752]]
    np.testing.assert_allclose(kbar, expected, atol=1e-4)
    np.testing.assert_allclose(labels["born_effective_charges"][0][0], [5.06725, -0.16877, -0.59406])
    assert np.abs(labels["born_effective_charges"].mean(axis=0)).max() < 0.01
    np.testing.assert_allclose(labels["dielectric_tensor"][0], [5.726729, 0.009879, -0.026173])
