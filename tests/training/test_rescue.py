"""A training that was thrown off its way: back to the best weights, with smaller steps."""

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gnnpot.report.rundir import read_log
from gnnpot.training import rescue
from gnnpot.training.fit import fit
from gnnpot.training.pace import Pace
from gnnpot.training.saving import TrainingInterrupted

Settings = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("no_report")
THROWN = 7
"""Epoch, from 0, whose first step finds weights that are no good."""


@pytest.fixture
def thrown(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Pace.on_train_batch_start

    def throw(self: Pace, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        before(self, trainer, module, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == (THROWN, 0):
            with torch.no_grad():
                for weight in module.potential.parameters():
                    weight.mul_(30.0)

    monkeypatch.setattr(Pace, "on_train_batch_start", throw)


def best_loss(run: Path) -> float:
    return min(read_log(run / "log.csv")["val_loss"][THROWN + 1 :])


def test_a_jump_is_taken_back(
    settings: Settings,
    tmp_path: Path,
    thrown: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = {"max_epochs": 40, "validate_every": 1, "progress": True}
    fit(settings("rescued", trainer=trainer))
    output = " ".join(capsys.readouterr().out.split())
    assert f"epoch {THROWN + 1}: all training errors jumped to" in output
    assert "with 0.3 of the learning rate" in output
    assert json.loads((tmp_path / "rescued" / "metrics.json").read_text())["timing"]["rescues"] == 1
    with monkeypatch.context() as patch:
        patch.setattr(rescue, "RUNAWAY", math.inf)
        fit(settings("lost", trainer=trainer))
    assert json.loads((tmp_path / "lost" / "metrics.json").read_text())["timing"]["rescues"] == 0
    rescued, lost = (read_log(tmp_path / name / "log.csv") for name in ("rescued", "lost"))
    assert list(rescued["train_loss"][: THROWN + 1]) == list(lost["train_loss"][: THROWN + 1])
    after = slice(THROWN + 1, None)
    for with_less, with_all in zip(rescued["learning_rate"][after], lost["learning_rate"][after], strict=True):
        assert with_less == pytest.approx(0.3 * with_all, rel=1e-9)
    assert best_loss(tmp_path / "rescued") < 0.5 * best_loss(tmp_path / "lost")


def test_a_rescued_training_goes_on_bitwise(
    settings: Settings, tmp_path: Path, thrown: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = {"max_epochs": THROWN + 6}
    fit(settings("straight", trainer=trainer))
    before = Pace.on_train_batch_start

    def stop(self: Pace, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        before(self, trainer, module, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == (THROWN + 2, 0):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Pace, "on_train_batch_start", stop)
        with pytest.raises(TrainingInterrupted):
            fit(settings("parted", trainer=trainer))
    fit({"resume": str(tmp_path / "parted")})
    logs = [read_log(tmp_path / name / "log.csv") for name in ("straight", "parted")]
    for column in ("train_loss", "val_loss", "learning_rate"):
        assert list(logs[0][column]) == list(logs[1][column]), column
    timing = json.loads((tmp_path / "parted" / "metrics.json").read_text())["timing"]
    assert timing["rescues"] == 1


def test_no_rescue_where_the_loss_comes_down(settings: Settings, tmp_path: Path) -> None:
    fit(settings("well", trainer={"max_epochs": 12}))
    assert json.loads((tmp_path / "well" / "metrics.json").read_text())["timing"]["rescues"] == 0
