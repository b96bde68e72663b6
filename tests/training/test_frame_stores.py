"""Trainings on frame stores: the same as on the file that they were made of, to the last bit."""

import numpy as np
import pytest

from gnnpot.data.frame_store import FrameStore
from gnnpot.data.frame_writer import write_frames
from gnnpot.data.frames import Frames
from gnnpot.data.readers import read
from gnnpot.errors import GnnpotWarning
from gnnpot.training import results
from gnnpot.training.dataset import read_dataset
from gnnpot.training.fit import fit

from .conftest import SMALL_MODEL

pytestmark = pytest.mark.filterwarnings("ignore::gnnpot.errors.DataWarning")


def settings(data: dict, folder) -> dict:
    return {
        "model": dict(SMALL_MODEL),
        "data": {"cache": str(folder / "cache"), "split": {"kind": "random"}, **data},
        "trainer": {"max_epochs": 2, "max_time": None, "precision": "float64", "progress": False},
        "run_dir": str(folder / "run"),
    }


def test_a_store_trains_as_its_file_does(tmp_path, copper_file):
    store = write_frames(tmp_path / "copper", read(copper_file), {})
    runs = {}
    for name, path in (("file", copper_file), ("store", store)):
        (tmp_path / name).mkdir()
        runs[name] = fit(settings({"path": str(path)}, tmp_path / name))
    parts = [{part: result.metrics[part] for part in ("train", "val", "test")} for result in runs.values()]
    assert parts[0] == parts[1]
    weights = [np.fromfile(result.model / "model.safetensors", dtype=np.uint8) for result in runs.values()]
    assert (weights[0] == weights[1]).all()


def test_of_many_training_frames_some_are_compared(tmp_path, copper_file, monkeypatch):
    monkeypatch.setattr(results, "MOST_TRAINED", 7)
    with pytest.warns(GnnpotWarning, match="errors are those of 7 of the 21 training structures"):
        metrics = fit(settings({"path": str(copper_file)}, tmp_path)).metrics
    assert [metrics[part]["counts"]["n_structures"] for part in ("train", "val", "test")] == [7, 3, 6]


def test_frames_of_a_store_stay_on_disk(tmp_path, copper_file, monkeypatch):
    frames = read(copper_file)
    stores = [write_frames(tmp_path / name, part, {}) for name, part in (("a", frames[:20]), ("b", frames[20:]))]
    made = []
    original = FrameStore.frame
    monkeypatch.setattr(FrameStore, "frame", lambda self, k: made.append(k) or original(self, k))
    split = {"kind": None, "fractions": [0.7, 0.1, 0.2], "group_by": None, "seed": 0}
    data = {"path": None, "train_path": str(stores[0]), "val_path": None, "test_path": str(stores[1]), "format": None}
    data |= {"units": None, "keys": None, "charge": None, "level_of_theory": None}
    dataset = read_dataset({"data": data | {"split": split}, "resume": None}, tmp_path)
    assert isinstance(dataset.frames, Frames)
    assert len(dataset.frames) == 30
    assert dataset.parts["test"].tolist() == list(range(20, 30))
    assert not made
