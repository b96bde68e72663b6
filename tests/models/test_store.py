"""Checkpoints: strict, readable, and unable to run code."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk

from gnnpot.data.graph import graph_from_atoms
from gnnpot.errors import CheckpointError
from gnnpot.models import store
from gnnpot.models.polarization import PolarizationHead
from gnnpot.models.properties import derive
from gnnpot.models.response import joined
from gnnpot.models.schnet import SchNet

RESOURCES = Path(__file__).parents[1] / "resources"


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SchNet(["Li", "O"], cutoff=4.0, n_features=8, n_radial=6, n_interactions=1)


@pytest.fixture
def folder(model, tmp_path):
    return store.save(model, tmp_path / "model", {"level_of_theory": "PBEsol"})


def edit_card(folder, **changes):
    file = folder / store.CARD
    card = yaml.safe_load(file.read_text())
    card.update(changes)
    file.write_text(yaml.safe_dump(card))


def sign_card(folder):
    """What somebody who means harm would do."""
    card = yaml.safe_load((folder / store.CARD).read_text())
    edit_card(folder, model_sha256=store._model_sha256(card))


def test_card_is_readable_and_complete(folder):
    card = yaml.safe_load((folder / store.CARD).read_text())
    assert card["format_version"] == 4
    assert card["elements"] == ["Li", "O"]
    assert card["reference_energies_ev"] == {"Li": 0.0, "O": 0.0}
    assert card["units"]["energy"] == "eV"
    assert card["level_of_theory"] == "PBEsol"
    assert card["model"]["cutoff"] == 4.0


def test_models_of_older_formats_stay_what_they_are(tmp_path):
    torch.manual_seed(0)
    backbone = SchNet(["Li", "O"], cutoff=4.0, n_features=8, n_radial=6, n_interactions=1, gaussian_width=1.0)
    head = PolarizationHead(backbone.elements, 8, 4.0, {"Li": 1, "O": -2}, n_channels=4, n_radial=6, l_max=1)
    model = joined(backbone, head)
    folder = store.save(model, tmp_path / "model")
    card = yaml.safe_load((folder / store.CARD).read_text())
    del card["model"]["head"]["l_max"], card["model"]["backbone"]["gaussian_width"]
    edit_card(folder, format_version=2, model=card["model"])
    sign_card(folder)
    graph = graph_from_atoms(bulk("OLi2", "fluorite", a=4.6), 4.0, dtype=torch.float32)
    wanted, found = (derive(m, graph, ["energy", "polarization"]) for m in (model.eval(), store.load(folder)))
    assert torch.equal(found["energy"], wanted["energy"])
    assert torch.equal(found["polarization"], wanted["polarization"])


def test_load_by_folder_run_directory_and_dtype(model, folder):
    for place in (folder, folder.parent, str(folder)):
        loaded = store.load(place)
        assert not loaded.training
        assert torch.equal(loaded.embedding.weight, model.embedding.weight)
    assert store.load(folder, dtype="float64").dtype == torch.float64
    assert store.load(folder).card["level_of_theory"] == "PBEsol"


def test_a_name_that_does_not_exist(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        store.load(tmp_path / "nothing")


def test_newer_format_says_update(folder):
    edit_card(folder, format_version=99, gnnpot_version="9.9")
    with pytest.raises(CheckpointError, match=r"format_version 99.*gnnpot 9\.9.*Update gnnpot"):
        store.load(folder)


def test_a_checkpoint_of_format_1_has_no_repulsion():
    """The repulsion came with format 2: an older model keeps its energies, also where atoms collide."""
    old = store.load(RESOURCES / "checkpoint_format_1")
    assert old.short_range is None
    water = Atoms("OH2", positions=[[0, 0, 0.12], [0, 0.5, -0.3], [0, -0.76, -0.48]])
    graph = graph_from_atoms(water, 3.0)
    assert float(derive(old, graph, ["energy"])["energy"]) == pytest.approx(-456.9438755239065, abs=1e-9)


@pytest.mark.parametrize("version", ["one", 0, None, -3])
def test_nonsense_format_version(folder, version):
    edit_card(folder, format_version=version)
    with pytest.raises(CheckpointError, match="format"):
        store.load(folder)


def test_tampered_weights_are_noticed(folder):
    file = folder / store.WEIGHTS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"sha256.*do not belong together"):
        store.load(folder)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x00" * 64])
def test_unreadable_weights(folder, content):
    (folder / store.WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="not readable as safetensors"):
        store.load(folder)


def test_missing_weights(folder):
    (folder / store.WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        store.load(folder)


def test_weights_of_another_model(folder, tmp_path):
    other = store.save(SchNet(["Li", "O"], n_features=16), tmp_path / "other")
    card = yaml.safe_load((other / store.CARD).read_text())
    edit_card(folder, weights_sha256=card["weights_sha256"])
    shutil.copy(other / store.WEIGHTS, folder / store.WEIGHTS)
    with pytest.raises(CheckpointError, match="do not make a model"):
        store.load(folder)


class Bomb:
    """A pickle that would run a command."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_hostile_pickle_as_weights_is_not_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / store.WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        store.load(folder)
    assert not Path("exploded").exists()


HOSTILE = [
    "!!python/object/apply:os.mkdir [exploded]",
    "format_version: 1\nmodel: {_target_: os.mkdir, path: exploded}",
    "format_version: 1\nmodel: {_target_: gnnpot.config.importlib.import_module, name: this}",
    "format_version: 1\nmodel: {_target_: gnnpot.models.store.shutil.rmtree, path: exploded}",
    "format_version: 1\nmodel: {_target_: gnnpot.models.store.Path}",
    "format_version: 1\nmodel: {_target_: gnnpot.models.store.save, potential: 1, folder: exploded}",
    "format_version: 1\nmodel: {_target_: gnnpot.models.schnet.Interaction, n_features: 1, n_radial: 2}",
    "format_version: 1\nmodel: {_target_: subprocess.Popen, args: [mkdir, exploded]}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_yaml_is_not_run(folder, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    weights_sha = yaml.safe_load((folder / store.CARD).read_text())["weights_sha256"]
    (folder / store.CARD).write_text(f"{text}\nweights_sha256: {weights_sha}\n")
    if not text.startswith("!!"):
        sign_card(folder)
    with pytest.raises(CheckpointError, match=r"not a readable model card|_target_"):
        store.load(folder)
    assert not Path("exploded").exists()


def test_unknown_argument_names_the_nearest(folder):
    card = yaml.safe_load((folder / store.CARD).read_text())
    card["model"]["n_feature"] = card["model"].pop("n_features")
    edit_card(folder, model=card["model"])
    sign_card(folder)
    with pytest.raises(CheckpointError, match="did you mean 'n_features'"):
        store.load(folder)


@pytest.mark.parametrize("change", [{"cutoff": 7.0}, {"cutoff": None}, {"elements": [3, 9]}, {"n_features": 16}])
def test_a_changed_model_is_noticed(folder, change):
    card = yaml.safe_load((folder / store.CARD).read_text())
    model = {key: value for key, value in {**card["model"], **change}.items() if value is not None}
    edit_card(folder, model=model)
    with pytest.raises(CheckpointError, match=r"model\.yaml: the section model or dtype was changed.*copy"):
        store.load(folder)


@pytest.mark.parametrize("name", ["model_sha256", "weights_sha256"])
def test_a_card_without_its_hashes_is_refused(folder, name):
    card = yaml.safe_load((folder / store.CARD).read_text())
    del card[name]
    (folder / store.CARD).write_text(yaml.safe_dump(card))
    with pytest.raises(CheckpointError, match=f"{name} is missing.*copy the checkpoint again"):
        store.load(folder)


def test_a_changed_precision_is_noticed_and_a_note_is_not(folder):
    edit_card(folder, level_of_theory="PBE, and a note of the user")
    assert store.load(folder).card["level_of_theory"].startswith("PBE,")
    edit_card(folder, dtype="float64")
    with pytest.raises(CheckpointError, match="was changed"):
        store.load(folder)


def test_full_disk_leaves_the_old_checkpoint(model, folder, monkeypatch):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match="No space left"):
        store.save(SchNet(["Li", "O"], n_features=16), folder)
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model"]


def test_saving_over_an_older_checkpoint(folder):
    store.save(SchNet(["Si"], n_features=4, n_radial=3), folder)
    assert store.load(folder).elements == (14,)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model"]
