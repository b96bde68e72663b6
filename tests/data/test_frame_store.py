"""Frame stores: what is written comes back, columns answer as frames do, splits are those of the frames."""

import json
import pickle

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule

from gnnpot.data import frame_writer
from gnnpot.data.compositions import reduced_formula
from gnnpot.data.frame_layout import FrameIndex
from gnnpot.data.frame_store import FrameStore
from gnnpot.data.frame_writer import FrameWriter, write_frames
from gnnpot.data.frames import (
    JoinedFrames,
    atom_counts,
    cell_formulas,
    entries_of,
    fingerprint,
    frame_names,
    joined,
    labelled,
    numbers_of,
    reduced_formulas,
    selected,
)
from gnnpot.data.groups import choose_group_key, group_names
from gnnpot.data.labels import attach_labels, frame_name, labels_of
from gnnpot.data.opening import open_frames
from gnnpot.data.readers import read
from gnnpot.data.splits import split_files, split_frames
from gnnpot.errors import ConfigError, DataError, DataWarning


def frames_of_all_kinds(n: int = 12) -> list[ase.Atoms]:
    """Crystals with all labels, a molecule with an energy, frames without labels, with charges and other entries."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(n):
        atoms = (
            molecule("H2O")
            if k % 4 == 3
            else bulk(("Si", "Ge", "NaCl")[k % 3], "rocksalt" if k % 3 == 2 else None, a=5.5)
        )
        atoms.rattle(0.1, seed=k)
        if k % 5 != 4:
            n_atoms = len(atoms)
            labels = {"energy": rng.normal(), "forces": rng.normal(size=(n_atoms, 3))}
            if atoms.pbc.all():
                half = 0.1 * rng.normal(size=(3, 3))
                labels |= {"stress": half + half.T, "born_effective_charges": rng.normal(size=(n_atoms, 3, 3))}
            attach_labels(atoms, labels)
        atoms.info |= {"material_id": f"mp-{k // 2}", "step": k, "tags": [1, 2], "source": "a.xyz", "frame": k}
        if k % 2:
            atoms.info |= {"charge": 1.0, "bandgap": 0.5 * k, "name": "é [b]"}
            atoms.arrays["magmoms"] = rng.normal(size=len(atoms))
        found.append(atoms)
    return found


@pytest.fixture
def frames() -> list[ase.Atoms]:
    return frames_of_all_kinds()


@pytest.fixture
def store(tmp_path, frames, monkeypatch) -> FrameStore:
    monkeypatch.setattr(frame_writer, "FRAMES_PER_SHARD", 5)
    return FrameStore(write_frames(tmp_path / "store", frames, {"title": "all kinds"}))


def test_frames_come_back(store, frames):
    assert len(store) == len(frames)
    assert len(store.contents.shards) == 3
    for k, (found, given) in enumerate(zip(store, frames, strict=True)):
        assert (found.numbers == given.numbers).all()
        assert (found.positions == given.positions).all()
        assert (found.cell.array == given.cell.array).all()
        assert (found.pbc == given.pbc).all()
        labels = labels_of(given)
        assert labels_of(found).keys() == labels.keys()
        for name, value in labels.items():
            np.testing.assert_array_equal(labels_of(found)[name], value)
        assert found.info["material_id"] == given.info["material_id"]
        for key in ("step", "name", "charge", "bandgap"):
            assert found.info.get(key) == given.info.get(key)
        assert found.info["tags"].tolist() == [1, 2]
        assert found.info["functional"] == "unknown"
        assert frame_name(found) == f"{store.folder}, frame {k}"
        np.testing.assert_array_equal(found.arrays.get("magmoms", []), given.arrays.get("magmoms", []))


def test_columns_answer_as_the_frames_do(store):
    frames = list(store)
    for collection in (store, store[2:9], JoinedFrames([store[:4], frames[4:]]), pickle.loads(pickle.dumps(store))):
        made = list(collection)
        assert atom_counts(collection).tolist() == [len(atoms) for atoms in made]
        for key in ("material_id", "step", "charge", "bandgap", "reduced_formula", "absent", "source", "frame"):
            assert entries_of(collection, key) == entries_of(made, key), key
        for name, mask in labelled(collection).items():
            assert mask.tolist() == [name in labels_of(atoms) for atoms in made]
        assert cell_formulas(collection) == cell_formulas(made)
        assert reduced_formulas(collection) == reduced_formulas(made)
        assert frame_names(collection) == frame_names(made)
        assert [numbers_of(collection, k).tolist() for k in range(len(made))] == [a.numbers.tolist() for a in made]


def test_selected_and_sliced_frames(store):
    chosen = selected(store, [7, 0, 7])
    assert [atoms.info["step"] for atoms in chosen] == [7, 0, 7]
    assert [atoms.info["step"] for atoms in store[-2:]] == [10, 11]
    assert store[-1].info["step"] == 11
    with pytest.raises(IndexError):
        store[12]
    assert isinstance(joined([[ase.Atoms("H")], [ase.Atoms("H")]]), list)


def test_a_charge_for_frames_that_state_none(store):
    with_charge = FrameStore(store.folder, charge=0)
    assert [atoms.info["charge"] for atoms in with_charge][:4] == [0.0, 1.0, 0.0, 1.0]
    assert entries_of(with_charge, "charge") == [atoms.info["charge"] for atoms in with_charge]
    assert with_charge.sha256 != store.sha256


def test_the_fingerprint_is_of_the_content(tmp_path, frames, store):
    again = FrameStore(write_frames(tmp_path / "elsewhere", frames, {"title": "another"}))
    assert fingerprint(again) == fingerprint(store)
    frames[3].positions[0, 0] += 1e-9
    assert fingerprint(FrameStore(write_frames(tmp_path / "moved", frames, {}))) != fingerprint(store)


def test_splits_of_a_store_are_those_of_its_frames(store):
    for kind, key in (
        ("random", None),
        ("grouped", "material_id"),
        ("grouped", "reduced_formula"),
        ("grouped", "step"),
    ):
        of_store, of_list = (split_frames(data, kind, (0.6, 0.2, 0.2), key, 3) for data in (store, list(store)))
        assert {n: p.tolist() for n, p in of_store.parts.items()} == {n: p.tolist() for n, p in of_list.parts.items()}
    split = split_files(store[:8], test=store[8:], fractions=(0.8, 0.2, 0.0), kind="random")
    assert split.test.tolist() == [8, 9, 10, 11]


def test_a_split_knows_its_store_again(store, tmp_path):
    split = split_frames(store, "random")
    split.save(tmp_path / "split.json")
    split.load(tmp_path / "split.json", FrameStore(store.folder))
    with pytest.raises(DataError, match="drawn from other data"):
        split.load(tmp_path / "split.json", store[:5])


# ---------------------------------------------------------------- groups


def made(material: str | None, formula: str) -> ase.Atoms:
    atoms = ase.Atoms(formula, positions=np.random.default_rng(0).normal(size=(len(ase.Atoms(formula)), 3)))
    if material is not None:
        atoms.info["material_id"] = material
    return atoms


def test_reduced_formulas_group_any_data():
    frames = [made(None, formula) for formula in ("Li2O", "Li4O2", "OLi2", "LiO", "Si", "Si2")]
    assert group_names(frames, "reduced_formula") == ["Li2O", "Li2O", "Li2O", "LiO", "Si", "Si"]


@pytest.mark.parametrize("formula", ["Li4Fe4P4O16", "H2O", "N2", "CH4", "C6H12O6", "GaN", "NaCl"])
def test_reduced_formula_against_pymatgen(formula):
    from pymatgen.core import Composition

    ours = Composition(reduced_formula(ase.Atoms(formula).numbers))
    assert ours.reduced_composition == Composition(formula).reduced_composition
    assert (
        ours == Composition(formula) / Composition(formula).get_reduced_composition_and_factor()[1] or formula == "N2"
    )


def test_frames_without_an_identifier_join_all_of_their_formula():
    frames = [made("mp-1", "Si"), made("mp-2", "Si2"), made(None, "Si4"), made("mp-3", "Ge"), made("mp-4", "Ge")]
    assert group_names(frames, "material") == ["Si", "Si", "Si", "mp-3", "mp-4"]


def test_materials_are_the_groups_of_choice(tmp_path):
    frames = [made(f"mp-{k // 3}", "Si") for k in range(60)]
    for k, atoms in enumerate(frames):
        atoms.info["trajectory"] = k // 5
    assert choose_group_key(frames)[0] == "material"
    split = split_frames(FrameStore(write_frames(tmp_path / "store", frames, {})), fractions=(0.6, 0.2, 0.2))
    sides = [{k // 3 for k in part.tolist()} for part in split.parts.values()]
    assert split.group_by == "material"
    assert all(sides)
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


# ---------------------------------------------------------------- opening and damage


def test_open_frames_of_stores_and_files_together(tmp_path, store):
    ase.io.write(tmp_path / "h.xyz", [ase.Atoms("H", info={"energy": -13.6})], format="extxyz")
    both = open_frames([store.folder, tmp_path / "h.xyz"], charge=0)
    assert isinstance(both, JoinedFrames)
    assert len(both) == 13
    assert both[12].get_potential_energy() == -13.6
    assert both[12].info["charge"] == both[0].info["charge"] == 0.0
    with pytest.raises(ConfigError, match="no effect on a frame store"):
        open_frames(store.folder, keys={"energy": "x"})


def test_read_makes_a_list_of_a_store(store):
    frames = read(store.folder)
    assert isinstance(frames, list)
    assert frame_name(frames[3]) == f"{store.folder}, frame 3"
    assert labels_of(frames[0])["energy"] == labels_of(store[0])["energy"]


def test_the_index_can_be_read_by_people_and_numpy(store):
    content = json.loads((store.folder / "frames.json").read_text())
    assert content["n_frames"] == 12
    assert content["labels"]["energy"] == 10
    assert content["units"]["stress"] == "eV/Å³"
    first = np.load(store.folder / "shard-00000" / "first_atom.npy")
    numbers = np.load(store.folder / "shard-00000" / "numbers.npy")
    assert numbers[first[2] : first[3]].tolist() == [11, 17]


def test_a_damaged_array_is_named(store):
    path = store.folder / "shard-00001" / "positions.npy"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"positions\.npy is damaged"):
        store[6]
    path.unlink()
    with pytest.raises(DataError, match=r"positions\.npy is missing"):
        FrameStore(store.folder)[6]


def test_what_is_no_store_and_a_newer_one(tmp_path, store):
    with pytest.raises(DataError, match="not a frame store"):
        FrameStore(tmp_path)
    path = store.folder / "frames.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(DataError, match="format 2, this gnnpot reads 1"):
        FrameStore(store.folder)


def test_other_columns_of_the_atoms_are_named(tmp_path):
    atoms = bulk("Si")
    atoms.arrays["spin_density"] = np.zeros(2)
    with pytest.warns(DataWarning, match="spin_density of the atoms are not kept"):
        write_frames(tmp_path / "store", [atoms], {})


def test_writing_refuses_what_is_there(tmp_path, store):
    with pytest.raises(DataError, match="holds a finished frame store of 12 frames"):
        write_frames(store.folder, [bulk("Si")], {})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="holds something else"):
        FrameWriter(tmp_path / "full", {})
    with pytest.raises(DataError, match="no frame to write"):
        write_frames(tmp_path / "none", [], {})
    assert not (tmp_path / "none").exists()


def test_a_failed_write_leaves_nothing(tmp_path):
    atoms = bulk("Si")
    atoms.info["stress"] = np.array([np.nan, 1, 1, 0, 0, 0])
    with pytest.raises(DataError, match="stress"):
        write_frames(tmp_path / "store", [bulk("Si"), atoms], {})
    assert not (tmp_path / "store").exists()


def test_an_unfinished_store_is_not_read(tmp_path):
    writer = FrameWriter(tmp_path / "store", {"title": "half"})
    writer.append(bulk("Si"))
    writer.commit({"frames": 1})
    with pytest.raises(DataError, match="was interrupted after 1 frames; the same command goes on"):
        FrameStore(tmp_path / "store")
    with pytest.raises(DataError, match='begun with title="half", now it is "other"'):
        FrameWriter(tmp_path / "store", {"title": "other"})
    assert FrameIndex.read(tmp_path / "store").n_frames == 1
