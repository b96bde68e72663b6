import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from gnnpot.training.course import Course
from gnnpot.training.pace import Pace
from gnnpot.training.progress import ProgressDisplay, errors_text
from gnnpot.training.schedule import Budget, Schedule

ROW: dict[str, float | int] = {
    "epoch": 5, "step": 50, "seconds": 1.0, "val_energy_mae_mev_per_atom": 3.21, "val_forces_mae_mev_per_ang": 45.6,
}  # fmt: skip


def display(terminal: bool) -> tuple[ProgressDisplay, io.StringIO, Any]:
    text = io.StringIO()
    schedule = Schedule("cosine", 0.1, 0.01, 0.5, 5)
    pace = Pace(Course(), Budget(max_epochs=10, max_seconds=None), schedule, n_batches=10)
    shown = ProgressDisplay(pace, Console(file=text, force_terminal=terminal, width=100))
    return shown, text, SimpleNamespace(current_epoch=0, is_global_zero=True)


def test_plain_lines_without_a_terminal() -> None:
    shown, text, trainer = display(terminal=False)
    shown.on_train_start(trainer, None)  # type: ignore[arg-type]
    shown.show(ROW)
    assert " 50 %  epoch 5, " in text.getvalue()
    assert "left; validation energy 3.21 meV/atom, forces 45.6 meV/Å" in text.getvalue()


def test_lines_are_not_written_at_every_validation() -> None:
    shown, text, trainer = display(terminal=False)
    shown.pace.budget = Budget(max_epochs=10_000, max_seconds=None)
    shown.on_train_start(trainer, None)  # type: ignore[arg-type]
    for epoch in range(1, 10_001):
        shown.show({**ROW, "epoch": epoch})
    assert 15 <= text.getvalue().count("\n") <= 25
    assert "100 %  epoch 10000" in text.getvalue()


def test_the_bar_shows_epoch_time_left_and_errors_and_goes_away() -> None:
    shown, text, trainer = display(terminal=True)
    shown.on_train_start(trainer, None)  # type: ignore[arg-type]
    shown.show(ROW)
    shown.on_train_batch_end(trainer, None, None, None, batch_idx=4)  # type: ignore[arg-type]
    shown.close()
    shown.close()
    for part in ("epoch 1", "left", "energy 3.21 meV/atom", "5%"):
        assert part in text.getvalue()


def test_time_left_follows_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, _, _ = display(terminal=False)
    shown._first = (0.2, 100.0)
    monkeypatch.setattr("gnnpot.training.progress.time.monotonic", lambda: 130.0)
    assert shown.time_left(0.5) == "50.0 s left"
    assert shown.time_left(0.2) == "time left unknown"


def test_absent_errors_are_not_shown() -> None:
    assert errors_text({"val_stress_mae_gpa": 0.5}) == "stress 0.500 GPa"
    assert errors_text({}) == ""
