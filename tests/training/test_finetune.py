"""Fine-tuning: never worse than where it started, references of its own, resumable."""

import copy
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.errors import ConfigError, DataError, DataWarning, UnknownElementError
from gnnpot.models.prediction import predict
from gnnpot.models.store import load, read_card, save
from gnnpot.report.html import write_report
from gnnpot.report.rundir import read_log
from gnnpot.training.finetune import finetune
from gnnpot.training.fit import fit
from gnnpot.training.module import TrainingModule
from gnnpot.training.replay import at_references_of
from tests.training.conftest import SMALL_MODEL, copper
from tests.training.test_resume import assert_same_run

Tuned = Callable[..., dict[str, Any]]
SHIFT = 3.25
FAST = {"lr": 0.03}
LONG = {"max_epochs": 25, "validate_every": 5}
pytestmark = [
    pytest.mark.usefixtures("no_report"),
    pytest.mark.filterwarnings("ignore:.*(stand in the training part too|compositions of the training set)"),
]


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnnpot.training.finetune.write_report", lambda run_dir: None)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SchNet of copper, trained for a moment."""
    folder = tmp_path_factory.mktemp("base")
    write(folder / "old.extxyz", copper(24, seed=1), format="extxyz")
    config = {
        "model": SMALL_MODEL,
        "data": {
            "path": str(folder / "old.extxyz"),
            "split": {"kind": "random"},
            "cache": str(folder / "cache"),
            "level_of_theory": "EMT",
        },
        "trainer": {"max_epochs": 10, "progress": False},
        "run_dir": str(folder / "run"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gnnpot.training.fit.write_report", lambda run_dir: None)
        fit(config)
    return folder / "run"


@pytest.fixture(scope="module")
def shifted_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copper whose energies have another zero."""
    path = tmp_path_factory.mktemp("new") / "new.extxyz"
    write(path, shifted(copper(20, seed=2)), format="extxyz")
    return path


def shifted(frames: list[ase.Atoms], shift: float = SHIFT) -> list[ase.Atoms]:
    for atoms in frames:
        results = {**atoms.calc.results, "energy": atoms.calc.results["energy"] + shift * len(atoms)}
        atoms.calc = SinglePointCalculator(atoms, **results)
    return frames


@pytest.fixture
def tuned(base: Path, shifted_file: Path, tmp_path: Path) -> Tuned:
    """Configuration of a fine-tuning of three epochs without comparison."""

    def make(run: str = "run", **changes: Any) -> dict[str, Any]:
        from gnnpot.training.resume import merged

        config: dict[str, Any] = {
            "checkpoint": str(base),
            "data": {"path": str(shifted_file), "split": {"kind": "random"}, "cache": str(tmp_path / "cache")},
            "trainer": {"max_epochs": 3, "accelerator": "cpu", "progress": False, "validate_every": 1},
            "compare": {"scratch": False},
            "run_dir": str(tmp_path / run),
            "batch_size": 5,
        }
        return merged(config, changes)

    return make


def test_the_whole_way(tuned: Tuned, base: Path, tmp_path: Path) -> None:
    """All four models, on new and on old frames; the page tells of them."""
    write(tmp_path / "held.extxyz", copper(6, seed=5), format="extxyz")
    old = str(base.parent / "old.extxyz")
    changes = {
        "replay": {"path": old},
        "forgetting": {"path": str(tmp_path / "held.extxyz")},
        "compare": {"scratch": True},
    }
    result = finetune(tuned(trainer={"max_epochs": 8}, data={"level_of_theory": "EMT, shifted"}, **changes))
    account = result.metrics["finetuning"]
    models = account["models"]
    assert list(models) == ["base", "base_refitted", "finetuned", "scratch"]
    assert account["references"]["Cu"]["shift_ev"] == pytest.approx(SHIFT, abs=0.1)
    energy = "energy_mae_mev_per_atom"
    assert models["base"]["test"][energy] > 3000.0 > 10 * models["base_refitted"]["test"][energy]
    assert models["base"]["held_out"] == models["base_refitted"]["held_out"]
    forces = [models[name]["held_out"]["forces_mae_mev_per_ang"] for name in ("base", "finetuned")]
    assert account["forgetting_ratio"] == pytest.approx(forces[1] / forces[0])
    assert models["finetuned"]["validation_loss"] <= models["base_refitted"]["validation_loss"]
    assert models["finetuned"]["held_out"][energy] < 500.0
    lowest = min(("base_refitted", "finetuned", "scratch"), key=lambda name: models[name]["validation_loss"])
    assert account["kept"] == lowest
    assert read_card(result.model)["finetuning"]["checkpoint_level_of_theory"] == "EMT"
    assert json.loads((result.run_dir / "metrics.json").read_text()) == result.metrics
    log = read_log(result.run_dir / "log.csv")
    assert log["epoch"].tolist()[:2] == [0.0, 1.0]
    steps = read_log(result.run_dir / "scratch" / "log.csv")["step"]
    assert steps[-1] == log["step"][-1]
    write_report(result.run_dir)
    page = (result.run_dir / "report.html").read_text()
    for text in ("Forgetting ratio", "from scratch", "Reference energies", "3.2", account["verdict"][:20]):
        assert text in page


@pytest.fixture(autouse=True)
def levels_may_differ(request: pytest.FixtureRequest) -> Any:
    """Only the test of the warning looks at it."""
    import warnings

    with warnings.catch_warnings():
        if "level" not in request.node.name:
            warnings.filterwarnings("ignore", "the checkpoint .* was trained on", DataWarning)
        yield


def test_another_level_of_theory_is_named(tuned: Tuned) -> None:
    with pytest.warns(DataWarning, match="trained on 'EMT', the data are 'PBE'"):
        finetune(tuned(trainer={"max_epochs": 1}, data={"level_of_theory": "PBE"}))


def test_a_bad_fine_tuning_keeps_the_base_and_says_so(tuned: Tuned, base: Path) -> None:
    result = finetune(tuned(optimizer={"_target_": "torch.optim.Adam", "lr": 50.0}, trainer={"gradient_clip": None}))
    account = result.metrics["finetuning"]
    assert account["kept"] == "base_refitted"
    assert "did not come below the base" in account["verdict"]
    assert account["advice"]
    kept, before = load(result.model), load(base)
    for name, value in before.state_dict().items():
        if name not in ("energy_scale.reference_energies", "repulsion.outer_radii"):
            assert torch.equal(kept.state_dict()[name], value), name
    shift = kept.energy_scale.reference_energies - before.energy_scale.reference_energies
    assert float(shift[0]) == pytest.approx(SHIFT, abs=0.1)


def test_a_loss_that_is_no_number_keeps_the_base(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    step = TrainingModule.training_step

    def breaking(module: TrainingModule, batch: Any, batch_idx: int) -> None:
        if module.trainer.global_step == 2:
            with torch.no_grad():
                module.potential.embedding.weight.fill_(torch.nan)
        step(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", breaking)
    account = finetune(tuned(optimizer={"lr": 10.0})).metrics["finetuning"]
    assert account["kept"] == "base_refitted"
    assert "broke off: the loss became nan" in account["verdict"]


def test_frozen_weights_stay_to_the_bit(tuned: Tuned, base: Path) -> None:
    result = finetune(tuned(freeze=["embedding", "interactions.0.filter"], trainer=LONG, optimizer=FAST))
    before, after = load(base).state_dict(), load(result.model).state_dict()
    same = {name: torch.equal(after[name], value) for name, value in before.items()}
    assert same["embedding.weight"]
    assert all(same[name] for name in same if name.startswith("interactions.0.filter"))
    assert not same["readout.0.weight"]


def test_adapters_are_merged_into_an_ordinary_model(tuned: Tuned, base: Path) -> None:
    result = finetune(tuned(adapter_rank=2, trainer=LONG, optimizer=FAST))
    before, after = load(base), load(result.model)
    assert after.state_dict().keys() == before.state_dict().keys()
    assert result.metrics["finetuning"]["kept"] == "finetuned"
    changes = after.readout[0].weight - before.readout[0].weight
    assert int((torch.linalg.svdvals(changes.detach()) > 1e-6).sum()) == 2
    assert torch.equal(after.readout[0].bias, before.readout[0].bias)
    assert result.metrics["finetuning"]["trained_weights"] < before.n_parameters


def test_a_broken_fine_tuning_goes_on_bitwise(
    tuned: Tuned, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With adapters, rates by depth and replay."""
    changes = {"adapter_rank": 2, "layer_decay": 0.7, "replay": {"path": str(base.parent / "old.extxyz")}}
    step = TrainingModule.training_step
    steps = []

    def breaking(module: TrainingModule, batch: Any, batch_idx: int) -> None:
        steps.append(batch_idx)
        if len(steps) == 9:
            raise OSError("the power is gone")
        step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", breaking)
        with pytest.raises(OSError, match="the power is gone"):
            finetune(tuned("broken", **changes))
    with pytest.raises(ConfigError, match="gnnpot finetune resume="):
        fit({"resume": str(tmp_path / "broken")})
    finetune({"resume": str(tmp_path / "broken")})
    finetune(tuned("straight", **changes))
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


def test_replay_never_mixes_zeros(base: Path) -> None:
    """What the network has to give for an old frame is the same before and after the zero is moved."""
    old = read(str(base.parent / "old.extxyz"))
    model = load(base)
    moved_model = copy.deepcopy(model)
    moved_model.energy_scale.reference_energies.add_(1000.0)
    moved = at_references_of(moved_model, model, old, None)
    before, after = (
        [labels_of(a)["energy"] - p["energy"] for a, p in zip(frames, predict(m, frames), strict=True)]
        for m, frames in ((model, old), (moved_model, moved))
    )
    np.testing.assert_allclose(after, before, atol=1e-9)
    assert labels_of(moved[0])["energy"] == pytest.approx(labels_of(old[0])["energy"] + 1000.0 * len(old[0]))
    np.testing.assert_array_equal(labels_of(moved[3])["forces"], labels_of(old[3])["forces"])


def test_replay_of_another_zero_is_noticed_and_fitted(tuned: Tuned, tmp_path: Path) -> None:
    write(tmp_path / "odd.extxyz", shifted(copper(12, seed=1), -50.0), format="extxyz")
    replay = {"path": str(tmp_path / "odd.extxyz")}
    with pytest.warns(DataWarning, match=r"another zero .* replay.references=fit"):
        first = finetune(tuned("one", replay=replay))
    second = finetune(tuned("two", replay={**replay, "references": "fit"}))
    assert first.metrics["finetuning"]["replay"] == {"frames": 12, "fraction": 0.5}
    losses = [read_log(result.run_dir / "log.csv")["train_loss"][-1] for result in (first, second)]
    assert losses[1] < 0.1 * losses[0]


def test_replay_teaches_what_the_new_data_lack(tuned: Tuned, base: Path, tmp_path: Path) -> None:
    """Without labels of the stress in the new data, that of old frames is still learned."""
    frames = copper(12, seed=2)
    for atoms in frames:
        del atoms.calc.results["stress"]
    write(tmp_path / "bare.extxyz", frames, format="extxyz")
    data = {"path": str(tmp_path / "bare.extxyz")}
    result = finetune(tuned(data=data, replay={"path": str(base.parent / "old.extxyz")}))
    assert np.isfinite(read_log(result.run_dir / "log.csv")["train_stress_mae_gpa"][1:]).all()
    alone = finetune(tuned("alone", data=data))
    assert "train_stress_mae_gpa" not in read_log(alone.run_dir / "log.csv")


def test_old_frames_without_labels_are_refused_or_told(tuned: Tuned, tmp_path: Path) -> None:
    bare = [bulk("Cu", a=3.6 + 0.01 * k) for k in range(6)]
    write(tmp_path / "bare.extxyz", bare, format="extxyz")
    with pytest.raises(DataError, match=r"replay\.path=.*bare\.extxyz: none of the 6 frames has .*energy.*forces"):
        finetune(tuned(replay={"path": str(tmp_path / "bare.extxyz")}))
    for atoms in bare:
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0)
    write(tmp_path / "energies.extxyz", bare, format="extxyz")
    with pytest.warns(DataWarning, match=r"forgetting\.path=.*: none of the 6 frames has forces"):
        finetune(tuned(forgetting={"path": str(tmp_path / "energies.extxyz")}))
    write(tmp_path / "silver.extxyz", silver(2), format="extxyz")
    with pytest.raises(UnknownElementError, match=r"replay\.path=.*silver\.extxyz.*Ag"):
        finetune(tuned("other", replay={"path": str(tmp_path / "silver.extxyz")}))


def silver(n: int) -> list[ase.Atoms]:
    frames = []
    for seed in range(n):
        atoms = bulk("Cu", a=3.8, cubic=True)
        atoms.numbers[: 1 + seed % 2] = 47
        atoms.rattle(0.08, seed=seed)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def test_a_new_element(tuned: Tuned, base: Path, tmp_path: Path) -> None:
    write(tmp_path / "silver.extxyz", silver(12), format="extxyz")
    result = finetune(tuned(data={"path": str(tmp_path / "silver.extxyz")}, adapter_rank=2, optimizer=FAST))
    assert result.metrics["finetuning"]["new_elements"] == ["Ag"]
    before, after = load(base), load(result.model)
    assert after.elements == (29, 47)
    assert predict(after, silver(1), ["energy"])[0]["energy"] == pytest.approx(
        labels_of(silver(1)[0])["energy"], abs=5.0
    )
    assert not torch.equal(after.embedding.weight[1], before.embedding.weight[0])


def test_a_new_element_is_refused_by_symmetry_functions(tuned: Tuned, tmp_path: Path) -> None:
    from gnnpot.models.hdnnp import HDNNP

    write(tmp_path / "silver.extxyz", silver(12), format="extxyz")
    save(HDNNP(["Cu"], 3.2, n_radial=2, n_angular=1, hidden=[3]), tmp_path / "hdnnp")
    config = tuned(checkpoint=str(tmp_path / "hdnnp"), data={"path": str(tmp_path / "silver.extxyz")})
    with pytest.raises(UnknownElementError, match="Ag: this HDNNP knows Cu"):
        finetune(config)
    assert not (tmp_path / "run").exists()


def test_a_charge_is_learned_in_addition(tuned: Tuned, tmp_path: Path) -> None:
    frames = copper(16, seed=2)
    for k, atoms in enumerate(frames):
        atoms.info["charge"] = float(k % 2)
    write(tmp_path / "charged.extxyz", frames, format="extxyz")
    result = finetune(tuned(data={"path": str(tmp_path / "charged.extxyz")}, model={"charge": True}))
    assert load(result.model).takes_charge


def test_a_head_on_the_trained_model_and_a_model_with_a_head(tuned: Tuned, tmp_path: Path) -> None:
    frames = copper(16, seed=2)
    for atoms in frames:
        results = {**atoms.calc.results, "born_effective_charges": np.zeros((len(atoms), 3, 3))}
        atoms.calc = SinglePointCalculator(atoms, **results)
    from gnnpot.data.writers import write_extxyz

    path = write_extxyz(tmp_path / "born.extxyz", frames)
    head = {
        "_target_": "gnnpot.models.born_tensor.BornTensorHead",
        "elements": None,
        "n_inputs": None,
        "cutoff": None,
        "n_channels": 2,
        "n_radial": 4,
        "hidden": 4,
    }
    result = finetune(tuned(data={"path": str(path)}, head=head))
    account = result.metrics["finetuning"]
    assert (account["kept"], account["frozen"], account["new_head"]) == ("finetuned", ["backbone"], True)
    assert account["models"]["finetuned"]["validation_loss"] == account["models"]["base_refitted"]["validation_loss"]
    assert "1 times that of the base" in account["verdict"]
    assert "born_effective_charges" in load(result.model).outputs
    assert result.metrics["test"]["born_mae_e"] < 0.1
    along = finetune(tuned("along", data={"path": str(path)}, head=head, freeze=[]))
    assert along.metrics["finetuning"]["frozen"] == []
    learned = ["train_forces_mae_mev_per_ang" in read_log(run.run_dir / "log.csv") for run in (result, along)]
    assert learned == [False, True]
    again = finetune(tuned("again", checkpoint=str(result.model), data={"path": str(path)}, compare={"scratch": True}))
    scratch = load(tmp_path / "again" / "scratch" / "model")
    assert scratch.arguments()["head"] == load(again.model).arguments()["head"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": None}, "checkpoint=PATH"),
        ({"data": {"path": None}}, "data.path=FILE"),
        ({"replay": {"path": "shipped"}}, "comes without replay.extxyz"),
        ({"replay": {"references": "mine"}}, "base or fit"),
        ({"layer_decay": 0.0}, "layer_decay"),
        ({"compare": {"scratch": True}, "trainer": {"devices": 2}}, "one process"),
        ({"adapter_rank": 0}, "adapter_rank=0"),
        ({"freeze": ["embeding"]}, "no weight of that name"),
        ({"model": {"cutoff": 3.0}}, "model.cutoff"),
    ],
)
def test_what_does_not_fit_is_named(tuned: Tuned, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        finetune(tuned(**change))


def test_going_on_within_the_training_from_scratch(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while the comparison is trained, and again after it: the fine-tuning is not done again."""
    step, steps = TrainingModule.training_step, []

    def stopping(*task: Any) -> None:
        raise KeyboardInterrupt

    def interrupting(module: TrainingModule, batch: Any, batch_idx: int) -> None:
        steps.append(batch_idx)
        if len(steps) == 13:
            signal.raise_signal(signal.SIGINT)
        step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", interrupting)
        with pytest.raises(KeyboardInterrupt):
            finetune(tuned("stopped", compare={"scratch": True}))
    assert f"gnnpot finetune resume={tmp_path / 'stopped'}" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr("gnnpot.training.finetune._conclude", stopping)
        with pytest.raises(KeyboardInterrupt):
            finetune({"resume": str(tmp_path / "stopped")})
    assert f"interrupted; go on with\n  gnnpot finetune resume={tmp_path / 'stopped'}" in capsys.readouterr().out
    assert (tmp_path / "stopped" / "scratch" / "last.ckpt").is_file()
    stopped = finetune({"resume": str(tmp_path / "stopped")})
    straight = finetune(tuned("straight", compare={"scratch": True}))
    assert_same_run(tmp_path / "stopped", tmp_path / "straight")
    losses = [
        {name: errors["validation_loss"] for name, errors in result.metrics["finetuning"]["models"].items()}
        for result in (stopped, straight)
    ]
    assert losses[0] == losses[1]
