import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ase.io import write
from safetensors.torch import load_file

import gnnpot
from gnnpot.config import compose
from gnnpot.errors import ConfigError, DataError, GnnpotWarning, TrainingError, UnknownElementError
from gnnpot.models.schnet import SchNet
from gnnpot.report.html import write_report
from gnnpot.report.rundir import read_log
from gnnpot.training.fit import FitResult, fit, plan

from .conftest import copper, relabelled

Settings = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture(scope="module")
def finished(copper_file: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    from .conftest import SMALL_MODEL

    folder = tmp_path_factory.mktemp("finished")
    return fit(
        {
            "model": SMALL_MODEL,
            "data": {"path": str(copper_file), "split": {"kind": "random"}, "cache": str(folder / "cache")},
            "trainer": {"max_epochs": 30, "accelerator": "cpu", "progress": False},
            "run_dir": str(folder / "run"),
            "batch_size": 5,
        }
    )


def weights(run_dir: Path | str) -> dict[str, torch.Tensor]:
    return load_file(Path(run_dir) / "model" / "model.safetensors")


def assert_same_weights(first: Path | str, second: Path | str) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_a_run_leaves_all_its_files(finished: FitResult) -> None:
    write_report(finished.run_dir)
    expected = {
        "config.yaml", "last.ckpt", "log.csv", "metrics.json", "model", "predictions.npz", "report.html", "split.json",
    }  # fmt: skip
    assert {path.name for path in finished.run_dir.iterdir()} == expected


def test_metrics_are_named_with_their_units(finished: FitResult) -> None:
    metrics = json.loads((finished.run_dir / "metrics.json").read_text())
    assert metrics == finished.metrics
    for part in ("train", "val", "test"):
        for name in ("energy_mae_mev_per_atom", "forces_rmse_mev_per_ang", "stress_mae_gpa"):
            assert metrics[part][name] > 0.0
    assert set(metrics["test"]["per_config_type"]) == {"one", "four"}
    assert metrics["timing"]["epochs"] == 30
    assert metrics["provenance"]["gnnpot"] == gnnpot.__version__


def test_it_learns(finished: FitResult) -> None:
    log = read_log(finished.run_dir / "log.csv")
    errors = log["val_forces_mae_mev_per_ang"]
    assert errors.min() < 0.8 * errors[0]
    assert log["learning_rate"][-1] < 0.05 * log["learning_rate"].max()


def test_the_kept_weights_are_the_best_validated(finished: FitResult) -> None:
    log = read_log(finished.run_dir / "log.csv")
    best = int(np.argmin(log["val_loss"]))
    assert finished.metrics["timing"]["best_epoch"] == int(log["epoch"][best])
    logged = log["val_forces_mae_mev_per_ang"][best]
    assert finished.metrics["val"]["forces_mae_mev_per_ang"] == pytest.approx(logged, rel=1e-4)


def test_the_model_predicts_what_the_run_says(finished: FitResult, copper_file: Path) -> None:
    model = gnnpot.load(finished.run_dir)
    frames = gnnpot.read(copper_file)
    test = json.loads((finished.run_dir / "split.json").read_text())["test"]
    found = gnnpot.predict(model, [frames[k] for k in test])
    errors = [p["energy"] - frames[k].get_potential_energy() for p, k in zip(found, test, strict=True)]
    mae = np.mean([abs(e) / len(frames[k]) for e, k in zip(errors, test, strict=True)]) * 1000
    assert finished.metrics["test"]["energy_mae_mev_per_atom"] == pytest.approx(mae, rel=1e-5)


def test_the_card_tells_where_the_model_comes_from(finished: FitResult) -> None:
    card = yaml.safe_load((finished.model / "model.yaml").read_text())
    split = json.loads((finished.run_dir / "split.json").read_text())
    assert card["trained_on"]["sha256"] == split["data_sha256"]
    assert card["trained_on"]["split"]["train"] == len(split["train"])
    assert card["metrics"]["test"]["energy_mae_mev_per_atom"] == finished.metrics["test"]["energy_mae_mev_per_atom"]
    assert card["reference_energies_ev"].keys() == {"Cu"}
    assert "status" not in card


def test_same_seed_same_weights(settings: Settings) -> None:
    first, second = fit(settings("a")), fit(settings("b"))
    assert_same_weights(first.run_dir, second.run_dir)
    other = fit(settings("c", seed=1))
    assert not torch.equal(weights(first.run_dir)["energy_scale.scale"] * 0, torch.ones(()))
    assert any(not torch.equal(a, weights(other.run_dir)[n]) for n, a in weights(first.run_dir).items())


def test_no_global_state_is_left_behind(settings: Settings) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    filters, dtype = list(warnings.filters), torch.get_default_dtype()
    fit(settings())
    assert torch.equal(torch.rand(1), expected)
    assert warnings.filters == filters
    assert torch.get_default_dtype() == dtype


def test_double_precision(settings: Settings) -> None:
    result = fit(settings(trainer={"precision": "float64"}))
    assert gnnpot.load(result.run_dir).dtype == torch.float64


def test_a_time_budget_anneals_validates_and_keeps_to_its_time(settings: Settings) -> None:
    result = fit(settings(trainer={"max_epochs": None, "max_time": "00:00:00:02"}))
    log = read_log(result.run_dir / "log.csv")
    assert log["seconds"][-1] == pytest.approx(2.0, abs=0.4)
    assert log["learning_rate"][-1] < 0.1 * log["learning_rate"].max()
    assert log["step"][-1] == result.metrics["timing"]["steps"]


def test_a_rare_validation_still_comes_at_the_end(settings: Settings) -> None:
    result = fit(settings(trainer={"max_epochs": 3, "validate_every": 2}))
    assert read_log(result.run_dir / "log.csv")["epoch"].tolist() == [2.0, 3.0]


def test_early_stopping_stops(settings: Settings) -> None:
    result = fit(settings(trainer={"max_epochs": 200, "early_stopping": 2}, optimizer={"lr": 1e-12}))
    assert result.metrics["timing"]["epochs"] < 20


def test_the_plateau_reduces_the_rate(settings: Settings) -> None:
    schedule = {"kind": "plateau", "patience": 1, "warm_up": 0.0}
    result = fit(settings(trainer={"max_epochs": 6, "ema": None}, optimizer={"lr": 1e-12, "schedule": schedule}))
    rates = read_log(result.run_dir / "log.csv")["learning_rate"]
    assert rates[3] <= 0.5 * rates[0]


def test_without_validation_the_last_weights_are_kept(settings: Settings) -> None:
    result = fit(settings(data={"split": {"kind": "random", "fractions": [0.8, 0.0, 0.2]}}))
    assert result.metrics["timing"]["best_epoch"] == 3
    assert "val" not in result.metrics


@pytest.mark.parametrize("names", [("energy",), ("forces",), ("energy", "stress")])
def test_partial_targets(settings: Settings, tmp_path: Path, names: tuple[str, ...]) -> None:
    path = relabelled(tmp_path / "partial.extxyz", 20, lambda k: names)
    loss = {name: {"weight": float(name in names)} for name in ("energy", "forces", "stress")}
    metrics = fit(settings(data={"path": str(path)}, loss=loss)).metrics["test"]
    assert {name.split("_")[0] for name in metrics if "_mae_" in name} == set(names)


def test_mixed_labels_are_masked(settings: Settings, tmp_path: Path) -> None:
    path = relabelled(tmp_path / "mixed.extxyz", 20, lambda k: ("energy",) if k % 3 == 1 else ("energy", "forces"))
    result = fit(settings(data={"path": str(path)}))
    assert all(torch.isfinite(value).all() for value in weights(result.run_dir).values())


def test_data_without_labels_are_refused(settings: Settings, tmp_path: Path) -> None:
    path = relabelled(tmp_path / "bare.extxyz", 20, lambda k: ())
    with pytest.raises(DataError, match=r"(?s)none of the 14 training frames.*data\.keys"):
        fit(settings(data={"path": str(path)}))
    assert not (tmp_path / "run").exists()


def test_separate_files(settings: Settings, tmp_path: Path) -> None:
    for name, n in (("train", 12), ("test", 5)):
        write(tmp_path / f"{name}.extxyz", copper(n, seed=n), format="extxyz")
    data = {"train_path": str(tmp_path / "train.extxyz"), "test_path": str(tmp_path / "test.extxyz")}
    result = fit(settings(data={**data, "path": "Li2O"}))
    assert result.metrics["test"]["counts"]["n_structures"] == 5
    assert result.metrics["train"]["counts"]["n_structures"] + result.metrics["val"]["counts"]["n_structures"] == 12


def test_a_test_file_alone_is_refused(settings: Settings, copper_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.train_path"):
        fit(settings(data={"test_path": str(copper_file)}))


def test_an_element_of_the_test_file_alone_is_refused_by_frame(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "train.extxyz", copper(12), format="extxyz")
    foreign = copper(2, seed=5)
    foreign[1].symbols[0] = "Au"
    write(tmp_path / "test.extxyz", foreign, format="extxyz")
    data = {"train_path": str(tmp_path / "train.extxyz"), "test_path": str(tmp_path / "test.extxyz")}
    with pytest.raises(UnknownElementError, match=r"test\.extxyz, frame 1.*Au"):
        fit(settings(data=data))


def test_a_loss_that_is_no_number_names_the_frames(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from gnnpot.models.schnet import SchNet

    outputs = SchNet.atomic_outputs

    def broken(self: SchNet, graph: Any) -> torch.Tensor:
        return outputs(self, graph) * (float("nan") if self.training else 1.0)

    monkeypatch.setattr(SchNet, "atomic_outputs", broken)
    with pytest.raises(TrainingError, match=r"loss became nan in epoch 1.*copper\.extxyz, frame \d+; "):
        fit(settings())


def test_a_full_disk_keeps_the_old_checkpoint(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import lightning

    from gnnpot.training import saving

    monkeypatch.setattr(saving, "SAVING_SHARE", 1e9)
    real = lightning.Trainer.save_checkpoint

    def fails_later(self: lightning.Trainer, path: Any, *args: Any, **kwargs: Any) -> None:
        if self.current_epoch == 2:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(self, path, *args, **kwargs)

    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", fails_later)
    config = settings()
    with pytest.raises(TrainingError, match=r"No space left on device.*intact"):
        fit(config)
    monkeypatch.undo()
    assert not list(Path(config["run_dir"]).glob(".*"))
    resumed = fit({"resume": config["run_dir"]})
    straight = fit(settings("straight"))
    assert_same_weights(resumed.run_dir, straight.run_dir)


def test_a_run_is_not_overwritten(settings: Settings) -> None:
    fit(settings())
    with pytest.raises(ConfigError, match="resume="):
        fit(settings())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainer": {"precision": "float16"}}, "float16"),
        ({"trainer": {"ema": 1.5}}, "ema=1.5"),
        ({"trainer": {"max_epochs": "three"}}, "trainer.max_epochs=three: give a whole number or null"),
        ({"trainer": {"max_epochs": 2.5}}, "trainer.max_epochs=2.5: give a whole number"),
        ({"trainer": {"early_stopping": 0}}, "trainer.early_stopping=0"),
        ({"trainer": {"progress": "maybe"}}, "trainer.progress=maybe: give true or false"),
        ({"batch_size": "big"}, "batch_size=big: give a whole number"),
        ({"seed": None}, "seed=null: give a whole number"),
        ({"loss": {"forces": {"weight": "much"}}}, "loss.forces.weight=much: give a number"),
        ({"optimizer": {"lr": "fast"}}, "optimizer.lr=fast: give a number or null"),
        ({"optimizer": {"lr": -1.0}}, "SOAP cannot be made"),
        ({"model": {"n_features": "wide"}}, "n_features=wide: give a whole number"),
        ({"model": {"elements": "Cu"}}, "elements=Cu: give a list"),
        ({"head": {"_target_": "gnnpot.models.schnet.SchNet"}}, "not a response head"),
        ({"checkpoint": "runs/x"}, "head=polarization"),
        ({"freeze": ["embeding"]}, "embedding"),
        ({"trainre": {"max_epochs": 3}}, "did you mean 'trainer"),
        ({"trainer": {"max_epoch": 3}}, "max_epochs"),
        ({"optimizer": {"_target_": "os.system", "lr": 1.0}}, "not allowed"),
        ({"model": {"_target_": "torch.nn.Linear"}}, "not allowed"),
    ],
)
def test_wrong_settings_are_named(settings: Settings, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(settings(**change))


def test_descriptors_that_do_not_fit_are_computed_in_every_step(settings: Settings) -> None:
    model = {"_target_": "gnnpot.models.hdnnp.HDNNP", "cutoff": 3.2}
    alike = {"model": model, "optimizer": {"_target_": "torch.optim.Adam"}}
    kept = fit(settings("kept", **alike))
    with pytest.warns(GnnpotWarning, match=r"data\.cache_limit allows \(0\.0 GB\)"):
        computed = fit(settings("computed", **alike, data={"cache_limit": 10}))
    errors = [r.metrics["test"]["forces_mae_mev_per_ang"] for r in (kept, computed)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-2)


def test_two_runs_of_the_same_second_have_folders_of_their_own(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Stopped:
        @staticmethod
        def now() -> Any:
            from datetime import datetime

            return datetime(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr("gnnpot.training.folders.datetime", Stopped)
    folders = [fit({**settings(), "run_dir": None}).run_dir for _ in range(2)]
    assert [str(folder) for folder in folders] == ["runs/20260102-030405-schnet", "runs/20260102-030405-schnet-2"]


def test_many_elements_are_counted_before_a_training() -> None:
    settings = compose("fit", ["trainer.max_epochs=3"])
    few, many = (plan(settings, SchNet(elements), Path("runs/x"), None) for elements in (["Li", "O"], range(1, 31)))
    assert few.startswith("SchNet for Li, O, ")
    assert many.startswith("SchNet for 30 elements, ")
    assert many.endswith("training for 3 epochs in runs/x")
