import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from gnnpot.errors import ConfigError, DataError, TrainingError
from gnnpot.report.rundir import read_log
from gnnpot.training import saving
from gnnpot.training.fit import fit
from gnnpot.training.resume import checkpoint_of, merged, read_checkpoint, resumed_config
from gnnpot.training.saving import TrainingInterrupted

Settings = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("no_report")

SCRIPT = """
import sys, yaml
from gnnpot.training import fit
fit.write_report = lambda run_dir: None
fit.fit(yaml.safe_load(open(sys.argv[1])))
"""


def assert_same_run(first: Path | str, second: Path | str) -> None:
    """Bitwise equal weights, and equal logs but for the time."""
    one, other = (load_file(Path(run) / "model" / "model.safetensors") for run in (first, second))
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    logs = [read_log(Path(run) / "log.csv") for run in (first, second)]
    for column in logs[0]:
        if column != "seconds":
            assert [repr(x) for x in logs[0][column]] == [repr(x) for x in logs[1][column]], column


def start(config: dict[str, Any], tmp_path: Path) -> subprocess.Popen[bytes]:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-c", SCRIPT, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for_rows(log: Path, n: int) -> None:
    for _ in range(1200):
        if log.is_file() and log.read_text().count("\n") > n:
            return
        time.sleep(0.05)
    raise TimeoutError(log)


def test_a_killed_training_goes_on_bitwise(settings: Settings, tmp_path: Path) -> None:
    trainer = {"max_epochs": 60}
    process = start(settings("killed", trainer=trainer), tmp_path)
    wait_for_rows(tmp_path / "killed" / "log.csv", 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 0 <= read_checkpoint(tmp_path / "killed" / "last.ckpt")["epoch"] < 59
    fit({"resume": str(tmp_path / "killed")})
    fit(settings("straight", trainer=trainer))
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(settings: Settings, tmp_path: Path, signum: signal.Signals) -> None:
    trainer = {"max_epochs": 60}
    process = start(settings("stopped", trainer=trainer), tmp_path)
    wait_for_rows(tmp_path / "stopped" / "log.csv", 3)
    process.send_signal(signum)
    output = process.communicate()[0].decode()
    assert process.returncode != 0
    assert f"gnnpot fit resume={tmp_path / 'stopped'}" in output.replace("\n", "")
    assert (tmp_path / "stopped" / "model" / "model.safetensors").is_file()
    fit({"resume": str(tmp_path / "stopped")})
    fit(settings("straight", trainer=trainer))
    assert_same_run(tmp_path / "stopped", tmp_path / "straight")


@pytest.mark.parametrize("step", [7, 10], ids=["within an epoch", "at its last batch"])
def test_ctrl_c_goes_on_at_the_next_batch(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    watch = saving.Saving.on_train_batch_end

    def stop_once(self: saving.Saving, trainer: Any, *args: Any) -> None:
        self.course.interrupted = trainer.global_step == step
        watch(self, trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(saving.Saving, "on_train_batch_end", stop_once)
        with pytest.raises(TrainingInterrupted, match=f"after {step} steps"):
            fit(settings("stopped"))
    assert read_checkpoint(tmp_path / "stopped" / "last.ckpt")["global_step"] == step
    fit({"resume": str(tmp_path / "stopped")})
    fit(settings("straight"))
    assert_same_run(tmp_path / "stopped", tmp_path / "straight")


def test_a_training_can_be_lengthened(settings: Settings, tmp_path: Path) -> None:
    fit(settings())
    result = fit({"resume": str(tmp_path / "run"), "trainer": {"max_epochs": 5}})
    assert result.metrics["timing"]["epochs"] == 5
    assert read_log(tmp_path / "run" / "log.csv")["epoch"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_fewer_epochs_than_are_done_are_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 4}, tmp_path / "last.ckpt")
    assert checkpoint_of(tmp_path, 4) == checkpoint_of(tmp_path, None) == tmp_path / "last.ckpt"
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs=3, but 4 epochs are done; give a larger number"):
        checkpoint_of(tmp_path, 3)


def test_a_training_ended_by_time_can_be_given_more(settings: Settings, tmp_path: Path) -> None:
    first = fit(settings(trainer={"max_epochs": None, "max_time": "00:00:00:01"}))
    second = fit({"resume": str(tmp_path / "run"), "trainer": {"max_time": "00:00:00:02"}})
    assert second.metrics["timing"]["steps"] > first.metrics["timing"]["steps"]
    seconds = read_log(tmp_path / "run" / "log.csv")["seconds"]
    assert seconds[-1] == pytest.approx(2.0, abs=0.4)


def test_a_finished_training_is_tested_again_unchanged(settings: Settings, tmp_path: Path) -> None:
    first = fit(settings())
    again = fit({"resume": str(tmp_path / "run")})
    assert again.metrics["test"] == first.metrics["test"]


def test_a_change_that_matters_is_refused_with_a_diff(settings: Settings, tmp_path: Path) -> None:
    fit(settings())
    with pytest.raises(ConfigError) as caught:
        fit({"resume": str(tmp_path / "run"), "seed": 5, "optimizer": {"lr": 0.1}, "model": {"cutoff": 4.0}})
    message = str(caught.value)
    assert "seed: 0 in the run, 5 now" in message
    assert "optimizer.lr: null in the run, 0.1 now" in message
    assert "model.cutoff: 3.2 in the run, 4.0 now" in message


def test_repeating_the_same_keys_is_no_change(settings: Settings, tmp_path: Path) -> None:
    config = settings()
    fit(config)
    kept = resumed_config(merged(config, {"resume": config["run_dir"]}), Path(config["run_dir"]))
    assert kept["batch_size"] == 5
    assert kept["model"]["n_features"] == 8


def test_changed_data_are_refused(settings: Settings, tmp_path: Path) -> None:
    from ase.io import write

    from .conftest import copper

    path = tmp_path / "mine.extxyz"
    write(path, copper(12), format="extxyz")
    fit(settings(data={"path": str(path)}))
    write(path, copper(12, seed=9), format="extxyz")
    with pytest.raises(DataError, match="other data"):
        fit({"resume": str(tmp_path / "run")})


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training here"):
        fit({"resume": str(tmp_path)})


def test_a_damaged_checkpoint_is_named(settings: Settings, tmp_path: Path) -> None:
    fit(settings())
    (tmp_path / "run" / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match=r"last\.ckpt cannot be read"):
        fit({"resume": str(tmp_path / "run")})


def test_the_checkpoint_holds_plain_data_only(settings: Settings, tmp_path: Path) -> None:
    fit(settings())
    torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
