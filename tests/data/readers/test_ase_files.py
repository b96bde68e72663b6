import gzip
import pickle
import shutil

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from gnnpot.data.labels import labels_of, voigt_vector
from gnnpot.data.readers import read
from gnnpot.errors import ConfigError, DataError


@pytest.fixture
def frames() -> list[Atoms]:
    made = []
    for seed in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
        made.append(atoms)
    return made


@pytest.mark.parametrize("name", ["a.traj", "a.db", "a.json", "a.extxyz"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_labels_survive_ase_formats(tmp_path, frames, name, is_compressed):
    path = tmp_path / name
    write(path, frames)
    if is_compressed:
        with gzip.open(tmp_path / f"{name}.gz", "wb") as file:
            file.write(path.read_bytes())
        path = tmp_path / f"{name}.gz"
    read_frames = read(path)
    assert len(read_frames) == 3
    for one, other in zip(read_frames, frames, strict=True):
        labels = labels_of(one)
        assert labels["energy"] == pytest.approx(other.calc.results["energy"])
        np.testing.assert_allclose(labels["forces"], other.calc.results["forces"], atol=1e-7)
        np.testing.assert_allclose(voigt_vector(labels["stress"]), other.calc.results["stress"], atol=1e-7)
        assert one.info["source"] == str(path)


def test_structures_without_labels(tmp_path):
    for name in ("POSCAR", "a.cif"):
        write(tmp_path / name, bulk("NaCl", "rocksalt", a=5.6))
        frame = read(tmp_path / name)[0]
        assert labels_of(frame) == {}
        assert len(frame) == 2


def test_key_value_pairs_and_data_of_a_database(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(bulk("Cu"), {"config_type": "fcc"}, data={"REF_forces": np.zeros((1, 3)), "REF_energy": -3.5})
    frame = read(tmp_path / "a.db")[0]
    assert frame.info["config_type"] == "fcc"
    assert labels_of(frame)["energy"] == -3.5
    assert labels_of(frame)["forces"].shape == (1, 3)


def test_units_of_a_schnetpack_database(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        data = {"energy": np.array([-10.0]), "forces": np.ones((1, 3)), "stress": np.ones((1, 3, 3))}
        database.write(bulk("Cu"), data=data)
        database.metadata = {
            "_property_unit_dict": {"energy": "kcal/mol", "forces": "kcal/mol/Ang", "stress": "eV/Ang^3"},
            "_distance_unit": "Ang",
        }
    labels = labels_of(read(tmp_path / "a.db", units={"stress": "MPa"})[0])
    assert labels["energy"] == pytest.approx(-0.433641042)
    np.testing.assert_allclose(labels["forces"], 0.0433641042, rtol=1e-8)
    np.testing.assert_allclose(labels["stress"], 1e-3 / 160.2176634)


def test_unknown_units_of_a_database(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(bulk("Cu"), data={"energy": np.array([-10.0])})
        database.metadata = {"_property_unit_dict": {"energy": "foe"}}
    with pytest.raises(ConfigError, match="energy=foe"):
        read(tmp_path / "a.db")


def test_a_format_can_be_named(tmp_path, frames):
    write(tmp_path / "a.traj", frames)
    shutil.move(tmp_path / "a.traj", tmp_path / "run1")
    assert len(read(tmp_path / "run1", format="traj")) == 3


def test_xyz_and_json_mean_all_that_has_these_suffixes(tmp_path, frames):
    write(tmp_path / "a", frames, format="extxyz")
    assert "energy" in labels_of(read(tmp_path / "a", format="xyz")[0])
    write(tmp_path / "b.json", frames)
    shutil.move(tmp_path / "b.json", tmp_path / "b")
    assert "energy" in labels_of(read(tmp_path / "b", format="json")[0])


def test_unknown_format_name(tmp_path, frames):
    write(tmp_path / "a.traj", frames)
    with pytest.raises(DataError, match="no file format 'extxy': did you mean 'extxyz'"):
        read(tmp_path / "a.traj", format="extxy")


def test_unrecognized_file_lists_what_is_supported(tmp_path):
    (tmp_path / "notes.txt").write_text("Nothing to see here.\n")
    with pytest.raises(DataError, match=r"format of '.*notes.txt' is not recognized. Read are: extended XYZ.*n2p2"):
        read(tmp_path / "notes.txt")


def test_pickles_are_refused(tmp_path):
    (tmp_path / "a.trj").write_bytes(b"PickleTrajectory" + pickle.dumps({}))
    with pytest.raises(DataError, match="can run code"):
        read(tmp_path / "a.trj", format="trj")
    with pytest.raises(DataError, match="not recognized"):
        read(tmp_path / "a.trj")


def test_damaged_files_name_the_frame(tmp_path, frames):
    write(tmp_path / "a.traj", frames)
    content = (tmp_path / "a.traj").read_bytes()
    (tmp_path / "a.traj").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a.traj, frame 0 cannot be read as traj"):
        read(tmp_path / "a.traj")
    (tmp_path / "a.dat").write_bytes(bytes(range(256)) * 100)
    with pytest.raises(DataError, match=r"a.dat, frame 0 cannot be read as") as refused:
        read(tmp_path / "a.dat")
    assert len(str(refused.value)) < 500
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\x00" + bytes(100))
    with pytest.raises(DataError, match=r"a.db cannot be read as an ASE database"):
        read(tmp_path / "a.db")
