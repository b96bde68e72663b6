import json
import warnings

import pytest
from pymatgen.core import Lattice, Structure

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import FORMATS, read
from gnnpot.errors import ConfigError, DataError


def test_a_mixed_list_keeps_order_and_units(resources, tmp_path):
    entry = {"structure": Structure(Lattice.cubic(4), ["Li"], [[0, 0, 0]]).as_dict(), "energy": -1.0}
    (tmp_path / "a.json").write_text(json.dumps([entry]))
    files = [resources / "OUTCAR.two_steps", resources / "input.data", tmp_path / "a.json"]
    files.append(resources / "relax.two_steps.pwo")
    frames = read(files, units={"energy": "hartree", "length": "bohr"})
    assert [frame.info["frame"] for frame in frames] == [0, 1, 0, 1, 0, 0, 1]
    assert [frame.info["source"] for frame in frames[::2]] == [str(files[i]) for i in (0, 1, 2, 3)]
    assert labels_of(frames[0])["energy"] == -11.5
    assert labels_of(frames[2])["energy"] == pytest.approx(-76.25 * 27.211386245988)
    assert labels_of(frames[4])["energy"] == pytest.approx(-27.211386245988)


def test_progress_counts_frames(resources):
    seen: list[int] = []
    read([resources / "OUTCAR.two_steps", resources / "relax.two_steps.pwo"], progress=seen.append)
    assert seen == [1, 2, 3, 4]


def test_units_are_checked_before_anything_is_read(resources):
    with pytest.raises(ConfigError, match="energy=joule"):
        read(resources / "OUTCAR.two_steps", units={"energy": "joule"})


def test_a_file_of_blanks_is_empty(tmp_path):
    (tmp_path / "a.xyz").write_text("\n\n")
    with pytest.raises(DataError, match=r"a.xyz' is empty"):
        read(tmp_path / "a.xyz")


def test_every_format_has_a_sentence():
    assert all(kind.sentence for kind in FORMATS.values())


@pytest.mark.parametrize(
    ("name", "n_frames", "labels"),
    [
        ("dft_Li2O/Li2O.xyz", 270, {"energy", "forces", "stress"}),
        ("dft_MgO/MgO.xyz.gz", 183, {"energy", "forces", "stress"}),
        ("mlearn/Li_test.xyz", 29, {"energy", "forces", "stress"}),
        ("mlearn/Cu_train.xyz.gz", 262, {"energy", "forces", "stress"}),
        ("gan_charged/vn1-64atom-121.xyz.gz", 350, {"energy", "forces"}),
        ("phonon_ref/Si_111_rd.xyz", 1000, {"forces"}),
        ("water/H2O64_VASP_BEC_1frame.xyz", 1, {"energy", "forces", "stress", "born_effective_charges"}),
        ("water/liquid_water_APT_train.xyz.gz", 30, {"born_effective_charges"}),
    ],
)
def test_real_files(gnnpot_data, name, n_frames, labels):
    frames = read(gnnpot_data / name)
    assert len(frames) == n_frames
    assert set(labels_of(frames[0])) == labels


def test_real_charges_and_response(gnnpot_data):
    charged = read(gnnpot_data / "gan_charged" / "vn1-64atom-121.xyz.gz")
    assert {frame.info["charge"] for frame in charged} == {1.0}
    responses = [labels_of(frame) for frame in read(gnnpot_data / "dft_Li2O" / "Li2O.xyz")]
    with_born = [labels for labels in responses if "born_effective_charges" in labels]
    assert len(with_born) == 102
    assert all(labels["dielectric_tensor"].shape == (3, 3) for labels in with_born)


def test_every_extended_xyz_of_the_data_folder(gnnpot_data, tmp_path):
    """The first frames of every file, cut out of it."""
    from gnnpot.data.readers.sources import open_text

    for path in sorted(gnnpot_data.rglob("*.xyz*")):
        with open_text(path) as file:
            n_atoms = int(file.readline())
            head = [f"{n_atoms}\n", *(file.readline() for _ in range(n_atoms + 1))]
        (tmp_path / "head.xyz").write_text("".join(head))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert labels_of(read(tmp_path / "head.xyz")[0]), path
