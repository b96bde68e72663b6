"""Shipped checkpoints: small, complete, loaded by their names without a network; and how one is made of a run."""

import gzip
import importlib.util
import json
import re
import socket
from pathlib import Path
from types import ModuleType

import ase
import numpy as np
import pytest
import torch
import yaml
from ase.build import bulk
from ase.io import write

import gnnpot
from gnnpot.apps.info import info
from gnnpot.data.labels import labels_of
from gnnpot.errors import CheckpointError
from gnnpot.models import store
from gnnpot.models.schnet import SchNet
from gnnpot.report.model_card import card_markdown
from gnnpot.report.parity import parity_data, save_parity

ROOT = Path(gnnpot.__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "pretraining" / "publish.py"
NEEDED = ("licence", "good_for", "not_for", "held_out", "data", "split_by", "functional", "reproduce", "metrics")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **options: object) -> None:
        raise AssertionError("a shipped model asked for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def flaws_of(folder: Path) -> list[str]:
    """What a shipped checkpoint must not be."""
    card = yaml.safe_load((folder / store.CARD).read_text())
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    text = (folder / "README.md").read_text() if (folder / "README.md").is_file() else ""
    values = json.dumps(card)
    found = [f"there is no {key} in the card" for key in NEEDED if not card.get(key)]
    found += [f"it takes {size} bytes"] if size > store.LARGEST_SHIPPED else []
    found += ["README.md is not what the card says"] if text != card_markdown(card) else []
    return found + [
        f"a path of a machine: {place}" for place in re.findall(r'["\s=\[,](/(?!path/to/)\w[^"\s,]*)', values)
    ]


@pytest.mark.parametrize("name", store.pretrained_names())
def test_shipped_checkpoints(name: str, no_network: None) -> None:
    assert flaws_of(store.resolve(name)) == []
    loaded = gnnpot.load(name)
    assert np.isfinite(gnnpot.predict(loaded, [bulk("NaCl", "rocksalt", a=5.6)], ["forces"])[0]["forces"]).all()


@pytest.fixture(scope="module")
def publisher() -> ModuleType:
    """The program that makes a checkpoint of a run."""
    if not SCRIPT.is_file():
        pytest.skip("not a checkout")
    spec = importlib.util.spec_from_file_location("publish", SCRIPT)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def crystals(n: int, source: str, seed: int) -> list[ase.Atoms]:
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("NaCl", "rocksalt", a=5.6)
        forces = random.normal(size=(2, 3))
        atoms.info.update(config_type=source, energy=random.normal(), stress=np.eye(3).ravel())
        atoms.arrays["forces"] = forces
        frames.append(atoms)
    return frames


@pytest.fixture
def pretraining(tmp_path: Path) -> Path:
    """Folder of a pretraining, as pretrain.sh leaves it, with a tiny model."""
    frames = {"train": crystals(6, "mptrj", 0), "val": crystals(2, "mptrj", 1), "test": crystals(3, "alexandria", 2)}
    for name, found in {**frames, "stress": crystals(1, "mptrj-highest-stress", 3)}.items():
        write(tmp_path / f"mp_{name}.xyz", found, format="extxyz", write_results=False)
    for name in ("teacher_small", "teacher_mptrj", "teacher_unused"):
        labelled = crystals(4, "chgnet", 4)
        for number, atoms in enumerate(labelled):
            atoms.info["variant"] = number
        write(tmp_path / f"{name}.xyz", labelled, format="extxyz", write_results=False)
    test = frames["test"]
    labels = [labels_of(atoms) for atoms in test]
    for run in ("mp-tiny", "mp-tiny-teacher", "mp-tiny-teacher-2", "mp-tiny-alone"):
        folder = tmp_path / "runs" / run
        trained_on = {"name": "/tmp/x", "split": {"train": 20}}
        card = {"level_of_theory": "PBE", "trained_on": trained_on, "metrics": {"test": {}}, "loss": {}}
        torch.manual_seed(0)
        model = SchNet(["Na", "Cl"], cutoff=4.0, n_features=8, n_radial=6, n_interactions=1)
        card |= {"timing": {}, "provenance": {"n_parameters": model.n_parameters}}
        card["metrics"] = {"test": {"forces_mae_mev_per_ang": 91.0}}
        store.save(model, folder / "model", card)
        files = ["teacher_small.xyz", "mp_train_forces.xyz", "teacher_mptrj.xyz"]
        data = {"path": None, "train_path": files} if run.endswith("-2") else {"path": files, "train_path": None}
        config = {"trainer": {"max_time": "00:01:20:00"}, "data": data}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        kinds = [atoms.info["config_type"] for atoms in test]
        parts = {"test": parity_data(labels, labels, [a.numbers for a in test], kinds)}
        save_parity(folder / "predictions.npz", parts)
    return tmp_path


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in the place of the shipped checkpoints."""
    (tmp_path / "pretrained").mkdir()
    monkeypatch.setattr(store, "pretrained_dir", lambda: tmp_path / "pretrained")
    return tmp_path / "pretrained"


def test_a_run_becomes_a_shipped_checkpoint(
    publisher: ModuleType, pretraining: Path, shipped: Path, no_network: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = publisher.publish(pretraining, "mp-tiny", shipped, n_replayed=4)
    assert flaws_of(folder) == []
    assert gnnpot.load("mp-tiny").elements == (11, 17)
    card = store.read_card("mp-tiny")
    assert card["data"]["mptrj"]["train"] == {"frames": 6, "atoms": 12, "materials": 1}
    assert list(card["held_out"]["per_source"]) == ["alexandria", "all", "mptrj-highest-stress"]
    without = card["held_out"]["without_teacher"]
    assert (without["minutes_with"], without["minutes"]) == (240, 80)
    assert without["per_source"]["all"]["forces_mae_mev_per_ang"] == 0.0
    assert card["teacher"]["frames"] == 8
    assert card["teacher"]["rounds"] == [{"minutes": 80, "structures": 20}] * 2
    sizes = 'TEACHER_CRYSTALS="mptrj=4 small=4" TEACHER_MINUTES="80 80" MINUTES=80'
    assert f"{sizes} benchmarks/pretraining/pretrain.sh mp-tiny" in card["reproduce"]
    for name, n in (("replay", 4), ("held_out", 3)):
        assert gzip.decompress((folder / f"{name}.extxyz.gz").read_bytes()).decode().count("Lattice") == n
    info("pretrained")
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("mp-tiny", "SchNet", "Na, Cl", "91.0", "shipped"))
    (folder / "README.md").write_text("other figures")
    assert flaws_of(folder) == ["README.md is not what the card says"]


def test_the_run_without_a_teacher_may_be_the_better_one(
    publisher: ModuleType, pretraining: Path, shipped: Path
) -> None:
    folder = publisher.publish(pretraining, "mp-tiny", shipped, alone=True)
    assert flaws_of(folder) == []
    card = store.read_card("mp-tiny")
    assert "teacher" not in card and "without_teacher" not in card["held_out"]
    assert "TEACHER=none TEACHER_MINUTES=0 MINUTES=80 benchmarks/pretraining/pretrain.sh mp-tiny" in card["reproduce"]


def test_what_is_too_large_is_not_shipped(
    publisher: ModuleType, pretraining: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publisher.publish(pretraining, "mp-tiny", shipped)
    monkeypatch.setattr(store, "LARGEST_SHIPPED", 1000)
    assert any("bytes" in flaw for flaw in flaws_of(folder))
    monkeypatch.setattr(publisher, "LARGEST_SHIPPED", 1000)
    with pytest.raises(SystemExit, match=r"more than 5: fewer frames .*--url"):
        publisher.publish(pretraining, "mp-tiny", shipped)
    assert not folder.exists()


def test_weights_may_lie_elsewhere(publisher: ModuleType, pretraining: Path, shipped: Path) -> None:
    folder = publisher.publish(pretraining, "mp-tiny", shipped, url="http://127.0.0.1:9/mp-tiny.safetensors")
    weights = shipped / "mp-tiny.safetensors"
    assert store.read_card("mp-tiny")["weights_bytes"] == weights.stat().st_size
    assert not (folder / store.WEIGHTS).exists()
    assert flaws_of(folder) == []
    weights.rename(folder / store.WEIGHTS)
    assert gnnpot.load("mp-tiny").elements == (11, 17)


def test_a_name_that_is_not_shipped(shipped: Path) -> None:
    with pytest.raises(CheckpointError, match="none is shipped with this version"):
        gnnpot.load("mp-schnet-of-nowhere")
