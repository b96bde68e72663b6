import gzip

import numpy as np
import pytest
from ase import Atoms

from gnnpot.data.labels import attach_labels, labels_of
from gnnpot.data.readers import read
from gnnpot.data.writers import write_extxyz
from gnnpot.errors import DataError

TENSOR = np.array([[0.1, 0.01, 0.02], [0.01, 0.2, 0.03], [0.02, 0.03, 0.3]])
SKEW = np.array([[1.01234567, 0.12345678, 0.2], [0.4, 2.00000001, -0.31415927], [0.5, -0.67654321, 3.0]])


def labeled(symbols="MgO", **info) -> Atoms:
    atoms = Atoms(symbols, positions=[[0.125, 0, 0], [2, 2, 2]], cell=[4, 4, 5], pbc=True, info=info)
    labels = {
        "energy": -1911.123456789,
        "forces": np.array([[0.5, -0.25, 0.125], [-0.5, 0.25, -0.125]]),
        "stress": TENSOR,
        "born_effective_charges": np.stack([SKEW, -SKEW]),
        "polarization": np.array([1.0, 2.0, 3.0]),
        "dielectric_tensor": SKEW,
    }
    attach_labels(atoms, labels)
    return atoms


def test_labels_survive_the_file(tmp_path):
    atoms = labeled(config_type="bulk", charge=1.0)
    path = write_extxyz(tmp_path / "out.xyz", [atoms, atoms])
    frames = read(path)
    assert len(frames) == 2
    for frame in frames:
        labels = labels_of(frame)
        for name, value in labels_of(atoms).items():
            np.testing.assert_allclose(labels[name], value, rtol=0, atol=1e-8, err_msg=name)
        assert frame.info["config_type"] == "bulk"
        assert frame.info["charge"] == 1.0
        np.testing.assert_allclose(frame.cell.array, atoms.cell.array)


def test_predictions_stand_beside_labels_and_are_not_taken_for_them(tmp_path):
    atoms = labeled()
    predicted = {
        "energy": -1900.0,
        "energies": np.array([-1000.0, -900.0]),
        "forces": np.full((2, 3), 0.25),
        "stress": 2 * TENSOR,
        "born_effective_charges": np.stack([2 * SKEW, -2 * SKEW]),
    }
    frame = read(write_extxyz(tmp_path / "out.extxyz", [atoms], [predicted]))[0]
    assert frame.info["predicted_energy"] == -1900.0
    assert labels_of(frame)["energy"] == pytest.approx(-1911.123456789)
    np.testing.assert_allclose(frame.arrays["predicted_forces"], 0.25)
    np.testing.assert_allclose(frame.arrays["predicted_energies"], [-1000, -900])
    np.testing.assert_allclose(frame.arrays["predicted_born_effective_charges"][0], 2 * SKEW.reshape(9))
    np.testing.assert_allclose(np.reshape(frame.info["predicted_stress"], (3, 3)), 2 * TENSOR)


def test_a_frame_without_labels_gets_only_predictions(tmp_path):
    frame = read(write_extxyz(tmp_path / "a.xyz", [Atoms("H", positions=[[0, 0, 0]])], [{"energy": -13.6}]))[0]
    assert labels_of(frame) == {}
    assert frame.info["predicted_energy"] == -13.6


def test_one_atom_frame_keeps_its_shapes(tmp_path):
    atoms = Atoms("Li", cell=[3, 3, 3], pbc=True)
    attach_labels(atoms, {"forces": np.array([[1.0, 2.0, 3.0]]), "energy": -1.0})
    frame = read(write_extxyz(tmp_path / "a.xyz", [atoms], [{"energies": np.array([-1.0])}]))[0]
    np.testing.assert_allclose(labels_of(frame)["forces"], [[1, 2, 3]])


def test_what_is_nan_is_not_written(tmp_path):
    path = write_extxyz(tmp_path / "a.xyz", [Atoms("H")], [{"energy": -1.0, "stress": np.full((3, 3), np.nan)}])
    assert "stress" not in path.read_text()


def test_compressed(tmp_path):
    path = write_extxyz(tmp_path / "new" / "a.xyz.gz", [labeled()])
    with gzip.open(path, "rt") as file:
        assert file.readline().strip() == "2"


def test_input_is_untouched(tmp_path):
    atoms = labeled()
    before = labels_of(atoms)
    write_extxyz(tmp_path / "a.xyz", [atoms], [{"energy": 0.0}])
    assert "predicted_energy" not in atoms.info
    assert labels_of(atoms).keys() == before.keys()


@pytest.mark.parametrize(
    ("predictions", "message"),
    [([{"energy": 0.0}], "1 predictions for more frames"), ([{}, {}, {}], "more predictions than the 2 frames")],
)
def test_as_many_predictions_as_frames(tmp_path, predictions, message):
    with pytest.raises(DataError, match=message):
        write_extxyz(tmp_path / "a.xyz", [labeled(), labeled()], predictions)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("old")
    with pytest.raises(DataError, match="predicted_forces of shape"):
        write_extxyz(path, [labeled(), labeled()], [{"energy": 0.0}, {"forces": np.zeros((5, 3))}])
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.xyz"]


def test_other_suffix_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a.cif' should end in one of .xyz"):
        write_extxyz(tmp_path / "a.cif", [labeled()])
