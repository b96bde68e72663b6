import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from gnnpot.apps.structures import load_structure, snapshot, write_structure
from gnnpot.data.labels import frame_name
from gnnpot.errors import ConfigError, DataError


def test_last_frame_chosen_frame_and_bundled_name(tmp_path):
    path = tmp_path / "three.extxyz"
    ase.io.write(path, [Atoms("H"), Atoms("He"), Atoms("Li")])
    assert str(load_structure(path).symbols) == "Li"
    assert str(load_structure(f"{path}@0").symbols) == "H"
    assert str(load_structure(f"{path}@-2").symbols) == "He"
    assert load_structure("Li2O").info["frame"] != load_structure("Li2O@0").info["frame"] == 0
    assert len(load_structure("Li2O")) == 12
    with pytest.raises(DataError, match="no frame 7"):
        load_structure(f"{path}@7")


def test_messages_name_the_frame_that_was_read(tmp_path):
    path = tmp_path / "three.extxyz"
    ase.io.write(path, [Atoms("H", info={"source": "older.xyz", "frame": 9}) for _ in range(3)])
    assert frame_name(load_structure(f"{path}@1")) == f"{path}, frame 1"
    assert frame_name(load_structure(path)) == f"{path}, the last frame"


def test_at_in_a_file_name_is_left_alone(tmp_path):
    ase.io.write(tmp_path / "run@3", Atoms("He"), format="extxyz")
    assert str(load_structure(tmp_path / "run@3").symbols) == "He"


def test_unreadable_file_is_named(tmp_path):
    (tmp_path / "broken.cif").write_text("not a crystal")
    with pytest.raises(DataError, match=r"broken\.cif"):
        load_structure(tmp_path / "broken.cif")


def test_given_atoms_stay_as_they_are():
    atoms = bulk("Si")
    load_structure(atoms, 2)
    assert len(atoms) == 2


def test_repeating_along_no_cell_vector_is_refused():
    with pytest.raises(ConfigError, match="no cell vector"):
        load_structure(molecule("H2O"), 2)
    assert len(load_structure(molecule("H2O"), 1)) == 3


def test_snapshot_drops_what_files_cannot_hold(recwarn, tmp_path):
    slab = fcc111("Al", (1, 1, 2), vacuum=5.0)
    frame = snapshot(slab)
    assert "adsorbate_info" not in frame.info
    assert "adsorbate_info" in slab.info
    write_structure(tmp_path / "new" / "slab.extxyz", frame)
    np.testing.assert_allclose(ase.io.read(tmp_path / "new" / "slab.extxyz").positions, slab.positions, atol=1e-8)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["a.extxyz", "a.xyz", "a.traj", "a.cif", "a.vasp", "POSCAR"])
def test_every_format_is_written_whole(name, tmp_path):
    write_structure(tmp_path / name, bulk("Si"))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(load_structure(tmp_path / name)) == 2
