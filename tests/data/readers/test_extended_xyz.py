import gzip

import numpy as np
import pytest

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.errors import DataError, DataWarning

FRAME = """2
Lattice="4 0 0 0 4 0 0.5 0 4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-11.5 {more} pbc="T T T"
Mg 0.0 0.0 0.0 0.5 -0.25 0.125
O  2.0 2.0 2.0 -0.5 0.25 -0.125
"""


def file_of(tmp_path, text, name="a.xyz"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_labels_info_and_numbers(tmp_path):
    path = file_of(tmp_path, FRAME.format(more='config_type=bulk charge=1 source="paper" frame=9') * 3)
    frames = read(path)
    assert [frame.info["frame"] for frame in frames] == [0, 1, 2]
    frame = frames[2]
    assert frame.info["source"] == str(path)
    assert (frame.info["source_in_file"], frame.info["frame_in_file"]) == ("paper", 9)
    assert (frame.info["config_type"], frame.info["charge"]) == ("bulk", 1.0)
    assert labels_of(frame)["energy"] == -11.5
    np.testing.assert_array_equal(labels_of(frame)["forces"][1], [-0.5, 0.25, -0.125])


@pytest.mark.parametrize("order", [None, "vasp"])
def test_nine_numbers_of_stress_need_no_order(tmp_path, order):
    path = file_of(tmp_path, FRAME.format(more='stress="1e-3 6e-3 5e-3 6e-3 2e-3 4e-3 5e-3 4e-3 3e-3"'))
    units = {"stress_order": order} if order else None
    expected = [[0.001, 0.006, 0.005], [0.006, 0.002, 0.004], [0.005, 0.004, 0.003]]
    np.testing.assert_array_equal(labels_of(read(path, units=units)[0])["stress"], expected)


def test_six_numbers_of_stress(tmp_path):
    path = file_of(tmp_path, FRAME.format(more='stress="1e-3 2e-3 3e-3 4e-3 5e-3 6e-3"'))
    assert labels_of(read(path)[0])["stress"][1, 2] == 0.004
    assert labels_of(read(path, units={"stress_order": "vasp"})[0])["stress"][1, 2] == 0.005


def test_virial_is_minus_volume_times_stress(tmp_path):
    path = file_of(tmp_path, FRAME.format(more='virial="6.4 0 0 0 -3.2 0 0 0 1.6"'))
    np.testing.assert_allclose(np.diag(labels_of(read(path)[0])["stress"]), [-0.1, 0.05, -0.025])


def test_virial_follows_the_energy_unit_and_not_the_stress_unit(tmp_path):
    path = file_of(tmp_path, FRAME.format(more='virial="6.4 0 0 0 -3.2 0 0 0 1.6"'))
    frame = read(path, units={"energy": "meV", "stress": "kbar", "forces": "eV/angstrom"})[0]
    np.testing.assert_allclose(np.diag(labels_of(frame)["stress"]), [-1e-4, 0.5e-4, -0.25e-4])


def test_kbar_with_the_sign_of_vasp(tmp_path):
    path = file_of(tmp_path, FRAME.format(more='stress="16.02176634 0 0 0 0 0 0 0 0"'))
    with pytest.warns(DataWarning, match=r"exceed 16 eV/Å³ = 2567 GPa.*data.units=\{stress: kbar, stress_sign: vasp\}"):
        read(path)
    frame = read(path, units={"stress": "kbar", "stress_sign": "vasp"})[0]
    assert labels_of(frame)["stress"][0, 0] == pytest.approx(-0.01)


def test_compressed(tmp_path):
    path = tmp_path / "a.xyz.gz"
    with gzip.open(path, "wt") as file:
        file.write(FRAME.format(more="") * 2)
    assert len(read(path)) == 2


def test_compression_cut_off(tmp_path):
    path = tmp_path / "a.xyz.gz"
    rows = "".join(FRAME.format(more=f"x={number}") for number in range(300))
    path.write_bytes(gzip.compress(rows.encode())[:-200])
    with pytest.raises(DataError, match="cut off or damaged inside its compression"):
        read(path)


def test_a_cut_frame_is_named(tmp_path):
    text = FRAME.format(more="") * 3
    path = file_of(tmp_path, text[: text.rindex("O ")])
    with pytest.raises(DataError, match=r"frame 2 is cut off: it announces 2 atoms in line 9 and ends after 1"):
        read(path)


def test_a_cut_line_is_named(tmp_path):
    text = FRAME.format(more="") * 2
    path = file_of(tmp_path, text[: text.rindex("-0.5") + 3])
    with pytest.raises(DataError, match=r"a.xyz, frame 1 cannot be read"):
        read(path)


def test_a_last_line_without_end_is_reported(tmp_path):
    path = file_of(tmp_path, (FRAME.format(more="") * 2)[:-2])
    with pytest.warns(DataWarning, match=r"a.xyz, frame 1: the last line has no end.*cut there"):
        assert len(read(path)) == 2


def test_blank_lines_do_not_end_the_file(tmp_path):
    assert len(read(file_of(tmp_path, FRAME.format(more="") + "\n\n" + FRAME.format(more="") + "\n"))) == 2


def test_no_xyz_at_all(tmp_path):
    with pytest.raises(DataError, match="frame 0, line 1: expected the number of atoms, found 'hello'"):
        read(file_of(tmp_path, "hello\n"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Mg 0.0", "Mq 0.0", "frame 0: unknown element symbol 'Mq'"),
        ("forces:R:3", "forces:R:2:x:R:1", r"forces of shape \(2, 2\), but 2 atoms need \(2, 3\)"),
        ("0.125\nO", "nan\nO", "frame 0: forces of atom 0 is nan; drop the frame"),
        ("energy=-11.5", "energy=inf", "energy is inf"),
        ('Lattice="4 0 0 0 4 0 0.5 0 4"', 'Lattice="4 0 0 8 0 0 0.5 0 4"', "has no volume there"),
        ('Lattice="4 0 0 0 4 0 0.5 0 4"', "", "periodic along a, b, c, but its cell"),
        ("Mg 0.0", "Mg nan", "the position of atom 0 is"),
        ("energy=-11.5", 'energy=-11.5 charge="1 2"', "charge must be one number"),
        ("Mg 0.0", "X 0.0", "atom 0 is no element"),
    ],
)
def test_bad_frames(tmp_path, old, new, message):
    with pytest.raises(DataError, match=message):
        read(file_of(tmp_path, FRAME.format(more="").replace(old, new)))


def test_nan_energy_is_missing(tmp_path):
    frame = read(file_of(tmp_path, FRAME.format(more="").replace("energy=-11.5", "energy=nan")))[0]
    assert set(labels_of(frame)) == {"forces"}


def test_stress_of_a_slab_is_left_out_and_reported(tmp_path):
    text = FRAME.format(more='stress="1 0 0 0 1 0 0 0 1"').replace('"T T T"', '"T T F"')
    with pytest.warns(DataWarning, match="stress of 1 frames is not read"):
        frame = read(file_of(tmp_path, text))[0]
    assert "stress" not in labels_of(frame)


def test_plain_xyz_is_a_molecule_without_labels(tmp_path):
    frame = read(file_of(tmp_path, "2\nwater radical\nO 0 0 0\nH 0 0 0.97\n"))[0]
    assert labels_of(frame) == {}
    assert not frame.pbc.any()
