"""Imports: numbers checked by hand, energies and functionals kept apart, and the same bytes after an interruption."""

import gzip
import hashlib
import json
import pickle
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from gnnpot.data import frame_writer
from gnnpot.data.frame_store import FrameStore
from gnnpot.data.frames import entries_of, labelled
from gnnpot.data.import_sources import FileSource, JsonSource
from gnnpot.data.importing import import_frames
from gnnpot.data.labels import attach_labels, labels_of
from gnnpot.data.splits import split_frames
from gnnpot.errors import ConfigError, DataError

from .records import FORCES, matpes_entry, mpf_entry, mptrj, mptrj_entry, structure

SECOND_STRESS = [[-0.01, -1 / 1602.176634, -2 / 1602.176634], [-1 / 1602.176634, 0.02, -3 / 1602.176634]]
"""First rows of records.KBAR in eV/Å³, tension positive: 16.02176634 kbar of compression are -0.01 eV/Å³."""


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def imported(
    tmp_path: Path, content: object, format: str, energy: str = "uncorrected", skip_broken: bool = False
) -> FrameStore:
    file = written(tmp_path / "data.json", content)
    return import_frames(JsonSource([file], format, energy), tmp_path / "store", skip_broken)


def bytes_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ---------------------------------------------------------------- numbers by hand


def test_mptrj_by_hand(tmp_path):
    store = imported(tmp_path, {"mp-1138": {"mp-1138-0-0": mptrj_entry(0), "mp-1138-0-1": mptrj_entry(1)}}, "mptrj")
    frame = store[1]
    labels = labels_of(frame)
    assert frame.get_chemical_symbols() == ["Li", "F"]
    np.testing.assert_allclose(frame.positions[1], [2.005, 2.005, 2.005])
    np.testing.assert_allclose(frame.cell.array, 4.01 * np.eye(3))
    assert labels["energy"] == -11.75
    assert labels["forces"].tolist() == FORCES
    np.testing.assert_allclose(labels["stress"][:2], SECOND_STRESS, rtol=1e-12)
    assert frame.arrays["magmoms"].tolist() == [0.5, -0.25]
    assert frame.info["energy_uncorrected"] == -11.75
    assert frame.info["energy_corrected"] == -12.5
    assert frame.info["bandgap"] == 8.5
    assert frame.info["charge"] == 0.0
    provenance = {key: frame.info[key] for key in ("material_id", "frame_id", "functional", "reduced_formula")}
    assert provenance == {
        "material_id": "mp-1138",
        "frame_id": "mp-1138-0-1",
        "functional": "unknown",
        "reduced_formula": "FLi",
    }
    assert frame.info["source_in_file"] == "MPtrj"


def test_corrected_energies_only_when_asked_for(tmp_path):
    store = imported(tmp_path, mptrj(1), "mptrj", energy="corrected")
    assert [labels_of(atoms)["energy"] for atoms in store] == [-12.25, -12.5, -12.75]
    assert entries_of(store, "energy_uncorrected") == [-11.5, -11.75, -12.0]
    assert store.contents.description["energy"] == "corrected"


def test_a_missing_energy_is_never_filled_by_the_other(tmp_path):
    content = {"mp-1": {"a": mptrj_entry(0, corrected_total_energy=None), "b": mptrj_entry(1)}}
    store = imported(tmp_path, content, "mptrj", energy="corrected")
    assert labelled(store)["energy"].tolist() == [False, True]
    assert labelled(store)["forces"].tolist() == [True, True]


def test_missing_labels_are_absent(tmp_path):
    content = {"mp-1": {"a": mptrj_entry(0, stress=None, magmom=None, bandgap=None), "b": mptrj_entry(1, force=None)}}
    store = imported(tmp_path, content, "mptrj")
    assert {name: mask.tolist() for name, mask in labelled(store, ("forces", "stress")).items()} == {
        "forces": [True, False],
        "stress": [False, True],
    }
    assert "magmoms" not in store[0].arrays
    assert "bandgap" not in store[0].info


def test_functionals_are_kept_apart(tmp_path):
    entries = [mptrj_entry(0), mptrj_entry(1, run_type="GGA_U"), mptrj_entry(2, calc_type="GGA Static")]
    store = imported(tmp_path, {"mp-1": dict(zip("abc", entries, strict=True))}, "mptrj")
    assert entries_of(store, "functional") == ["unknown", "GGA+U", "GGA"]
    assert store.contents.total("functionals") == {"GGA": 1, "GGA+U": 1, "unknown": 1}


def test_matpes_by_hand(tmp_path):
    file = tmp_path / "MatPES-R2SCAN.json.gz"
    entries = [matpes_entry("r2SCAN"), matpes_entry("PBE", matpes_id="matpes-2", provenance=None)]
    file.write_bytes(gzip.compress(json.dumps(entries).encode()))
    store = import_frames(JsonSource([file], "matpes"), tmp_path / "store")
    labels = labels_of(store[0])
    np.testing.assert_allclose(labels["stress"][:2], SECOND_STRESS, rtol=1e-12)
    assert labels["energy"] == -11.5
    assert entries_of(store, "functional") == ["r2SCAN", "GGA"]
    assert entries_of(store, "material_id") == ["mp-1138", None]
    assert entries_of(store, "frame_id") == ["matpes-20240214_999484_73", "matpes-2"]
    assert store[0].info["cohesive_energy_per_atom"] == -4.25
    with pytest.raises(ConfigError, match="MatPES holds uncorrected energies only"):
        JsonSource([file], "matpes", "corrected")


def test_mpf_by_hand(tmp_path):
    store = imported(tmp_path, {"mp-1138": mpf_entry(), "mp-2": mpf_entry(1)}, "mpf")
    assert entries_of(store, "material_id") == ["mp-1138", "mp-1138", "mp-2"]
    assert entries_of(store, "frame_id")[1] == "mp-1138-0-1"
    assert labels_of(store[1])["energy"] == -11.75
    np.testing.assert_allclose(labels_of(store[1])["stress"][:2], SECOND_STRESS, rtol=1e-12)


def test_several_files_become_one_store(tmp_path):
    files = [written(tmp_path / f"block_{k}.json", {f"mp-{k}": mpf_entry()}) for k in range(3)]
    store = import_frames(JsonSource(files, "mpf"), tmp_path / "store")
    assert entries_of(store, "material_id") == ["mp-0", "mp-0", "mp-1", "mp-1", "mp-2", "mp-2"]


def test_files_of_other_formats(tmp_path):
    frames = [bulk("Si"), bulk("Ge"), bulk("Si") * 2]
    for k, atoms in enumerate(frames):
        attach_labels(atoms, {"energy": -10.0 - k})
    frames[0].info |= {"mptrj_traj_id": "mp-149", "mptrj_snapshot_id": "mp-149-0-3", "source": "MPtrj"}
    frames[1].info |= {"alexandria_id": "agm01", "calc_type": "GGA+U Static"}
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    store = import_frames(FileSource(tmp_path / "a.xyz"), tmp_path / "store")
    assert entries_of(store, "material_id") == ["mp-149", "agm01", None]
    assert entries_of(store, "frame_id") == ["mp-149-0-3", None, None]
    assert entries_of(store, "functional") == ["unknown", "GGA+U", "unknown"]
    assert entries_of(store, "source_in_file") == ["MPtrj", None, None]
    assert entries_of(store, "reduced_formula") == ["Si", "Ge", "Si"]
    assert labels_of(store[2])["energy"] == -12.0


def test_the_real_mp_frames(gnnpot_data, tmp_path):
    store = import_frames(FileSource(gnnpot_data / "mp_efs" / "mptrj-random-1k.xyz.gz"), tmp_path / "store")
    assert len(store) == 800
    assert all(entries_of(store, "material_id"))
    assert all(mask.all() for mask in labelled(store, ("energy", "forces", "stress")).values())
    split = split_frames(store, group_by="reduced_formula")
    formulas = entries_of(store, "reduced_formula")
    sides = [{formulas[k] for k in part} for part in split.parts.values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


# ---------------------------------------------------------------- interruptions


class _StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop_at", [1, 4, 11, 19, 20])
def test_a_resumed_import_has_the_same_bytes(tmp_path, monkeypatch, stop_at):
    monkeypatch.setattr(frame_writer, "FRAMES_PER_SHARD", 7)
    content = mptrj(20)
    content["mp-3"]["mp-3-0-1"]["structure"] = None
    file = written(tmp_path / "MPtrj.json", content)
    import_frames(JsonSource([file], "mptrj"), tmp_path / "whole", skip_broken=True)

    def stop(done: int, n_frames: int) -> None:
        stop.calls += 1
        if stop.calls == stop_at:
            raise _StoppedError

    stop.calls = 0
    with pytest.raises(_StoppedError):
        import_frames(JsonSource([file], "mptrj"), tmp_path / "resumed", skip_broken=True, progress=stop)
    begun = (tmp_path / "resumed").exists()
    if begun:
        (tmp_path / "resumed" / ".partial-shard-00009").mkdir()
        (tmp_path / "resumed" / "shard-00009").mkdir()
        with pytest.raises(DataError, match="interrupted"):
            FrameStore(tmp_path / "resumed")
    assert begun == (stop_at > 2)
    resumed = import_frames(JsonSource([file], "mptrj"), tmp_path / "resumed", skip_broken=True)
    assert bytes_of(tmp_path / "resumed") == bytes_of(tmp_path / "whole")
    assert len(resumed) == 59
    assert resumed.contents.position["skipped"] == 1
    assert "mp-3" in resumed.contents.position["first_skipped"][0]


def test_several_files_are_resumed_too(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_writer, "FRAMES_PER_SHARD", 4)
    files = [written(tmp_path / f"{k}.json", mptrj(5)) for k in range(3)]
    import_frames(JsonSource(files, "mptrj"), tmp_path / "whole")

    def stop(done: int, n_frames: int) -> None:
        if n_frames > 20:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        import_frames(JsonSource(files, "mptrj"), tmp_path / "resumed", progress=stop)
    import_frames(JsonSource(files, "mptrj"), tmp_path / "resumed")
    assert bytes_of(tmp_path / "resumed") == bytes_of(tmp_path / "whole")


def test_frames_of_files_are_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_writer, "FRAMES_PER_SHARD", 3)
    ase.io.write(tmp_path / "a.xyz", [bulk("Si", a=5 + 0.1 * k) for k in range(10)], format="extxyz")
    import_frames(FileSource(tmp_path / "a.xyz"), tmp_path / "whole")

    def stop(done: int, n_frames: int) -> None:
        if n_frames == 8:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        import_frames(FileSource(tmp_path / "a.xyz"), tmp_path / "resumed", progress=stop)
    import_frames(FileSource(tmp_path / "a.xyz"), tmp_path / "resumed")
    assert bytes_of(tmp_path / "resumed") == bytes_of(tmp_path / "whole")


def test_a_finished_import_is_opened_and_another_one_refused(tmp_path):
    first = imported(tmp_path, mptrj(2), "mptrj")
    before = bytes_of(first.folder)
    assert len(imported(tmp_path, mptrj(2), "mptrj")) == 6
    assert bytes_of(first.folder) == before
    with pytest.raises(DataError, match="holds a finished frame store of 6 frames"):
        imported(tmp_path, mptrj(3), "mptrj")
    with pytest.raises(DataError, match="holds a finished frame store"):
        imported(tmp_path, mptrj(2), "mptrj", energy="corrected")


# ---------------------------------------------------------------- what cannot be used


def test_a_truncated_file_keeps_whole_shards_and_goes_on_when_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_writer, "FRAMES_PER_SHARD", 7)
    whole = json.dumps(mptrj(20))
    file = tmp_path / "MPtrj.json"
    file.write_text(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"MPtrj\.json, record \d+, byte [\d,]+: the file is cut off"):
        import_frames(JsonSource([file], "mptrj"), tmp_path / "store")
    folders = {path.name for path in (tmp_path / "store").iterdir()}
    assert folders == {"frames.json", "shard-00000", "shard-00001", "shard-00002"}
    file.write_text(whole)
    with pytest.raises(DataError, match="was begun with files="):
        import_frames(JsonSource([file], "mptrj"), tmp_path / "store")


def test_an_error_before_the_first_shard_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match=r"record 0 \(mp-1\), frame 0: there is no 'structure'"):
        imported(tmp_path, {"mp-1": {"a": mptrj_entry(0, structure=None)}}, "mptrj")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"force": [[0, 0, 0]]}, r"frame 1: forces of shape \(1, 3\)"),
        ({"force": [[0, 0, 0], [0, 0]]}, "frame 1: a label is no number or no regular list"),
        ({"uncorrected_total_energy": "low"}, "frame 1: a label is no number"),
        ({"structure": {"lattice": {"matrix": [[1, 0, 0]] * 3}, "sites": []}}, "frame 1: not a pymatgen structure"),
        ({"structure": structure(0.0)}, "frame 1 is periodic along a, b, c, but its cell"),
    ],
)
def test_a_broken_frame_is_named(tmp_path, changes, message):
    content = {"mp-7": {"a": mptrj_entry(0), "b": mptrj_entry(1, **changes), "c": mptrj_entry(2)}}
    with pytest.raises(DataError, match=rf"record 0 \(mp-7\), {message}"):
        imported(tmp_path, content, "mptrj")
    assert entries_of(imported(tmp_path, content, "mptrj", skip_broken=True), "frame_id") == ["a", "c"]


def test_an_entry_that_is_no_entry_can_be_left_out(tmp_path):
    content = {"mp-7": {"a": mptrj_entry(0), "b": None}}
    with pytest.raises(DataError, match=r"\(mp-7\), frame 1: there is no 'structure'"):
        imported(tmp_path, content, "mptrj")
    assert len(imported(tmp_path, content, "mptrj", skip_broken=True)) == 1


def test_another_layout_is_named(tmp_path):
    with pytest.raises(DataError, match=r"expected \{frame id: \{structure.*is it the layout of format="):
        imported(tmp_path, [matpes_entry()["structure"]["sites"]], "mptrj")
    with pytest.raises(ConfigError, match="did you mean 'mptrj'"):
        JsonSource([tmp_path / "data.json"], "mptraj")


@pytest.mark.parametrize("name", ["block_0.p", "block_0.pkl", "block_0.json"])
def test_pickles_are_refused_and_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"mp-1": mpf_entry()}))
    with pytest.raises(DataError, match=r"is a pickle, and opening a pickle runs the code in it.*make JSON of it once"):
        JsonSource([tmp_path / name], "mpf")
    with pytest.raises(DataError, match="is a pickle"):
        FileSource(tmp_path / name)
