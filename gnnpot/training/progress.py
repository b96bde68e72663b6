"""What a person sees while a training runs: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from gnnpot.keys import PROPERTIES, TRAINABLE, metric_name
from gnnpot.report.formatting import duration, significant
from gnnpot.report.terminal import say
from gnnpot.training.pace import Pace

REFRESH_SECONDS = 0.5
SLOW_SECONDS = 10.0
LINES = 20
"""Plain lines that a training writes from start to end, about."""


def errors_text(row: dict[str, float | int], part: str = "val") -> str:
    """Errors of one part in a row of the log, with units.

    >>> errors_text({"val_forces_mae_mev_per_ang": 12.3})
    'forces 12.3 meV/Å'
    """
    texts = []
    for name in TRAINABLE:
        value = row.get(f"{part}_{metric_name(name, 'mae')}")
        if value is not None:
            texts.append(f"{name} {significant(value)} {PROPERTIES[name].report_unit}")
    return ", ".join(texts)


def graph_progress(console: Console) -> Callable[[int, int], None]:
    """Called with (graphs done, all graphs), says at every tenth how far they are, once they take ten seconds."""
    started, shown = time.monotonic(), 0

    def show(done: int, n_graphs: int) -> None:
        nonlocal shown
        seconds, tenth = time.monotonic() - started, 10 * done // n_graphs
        if tenth > shown and seconds > SLOW_SECONDS:
            left = duration(seconds * (n_graphs - done) / done)
            say(console, f"graphs: {done:,} of {n_graphs:,}, {left} left")
            shown = tenth

    return show


class ProgressDisplay(lightning.Callback):
    """Epoch, time left and live validation errors (mean absolute)."""

    def __init__(self, pace: Pace, console: Console | None = None) -> None:
        self.pace = pace
        self._console = console or Console(file=sys.stdout)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._errors = ""
        self._epoch = 0
        self._next = 0.0
        self._next_line = 0.0
        self._first = (0.0, 0.0)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar."""
        progress = self.pace.progress(trainer, 0)
        self._first = (progress, time.monotonic())
        self._next_line = progress
        if not trainer.is_global_zero or not self._console.is_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn())
        self._bar = Progress(*columns, console=self._console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task("training", total=1.0)
        self._bar.start()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar, now and then."""
        now = time.monotonic()
        if self._bar is None or now < self._next:
            return
        self._next = now + REFRESH_SECONDS
        progress = self.pace.progress(trainer, batch_idx + 1)
        text = f"epoch {trainer.current_epoch + 1}, {self.time_left(progress)}"
        text += f", validation {self._errors}" if self._errors else ""
        self._bar.update(self._task, completed=progress, description=text)
        self._bar.refresh()

    def show(self, row: dict[str, float | int]) -> None:
        """Take in a row of the log; without a terminal, write some of them as lines."""
        self._errors = errors_text(row)
        if self._bar is not None:
            return
        progress = self.pace.budget.progress(
            float(row["epoch"]), float(row["seconds"]), self.pace.course.validation_seconds
        )
        if progress < self._next_line and progress < 1.0:
            return
        self._next_line = progress + 1.0 / LINES
        errors = f"; validation {self._errors}" if self._errors else ""
        line = f"{100 * progress:3.0f} %  epoch {row['epoch']}, {self.time_left(progress)}{errors}"
        say(self._console, line)

    def time_left(self, progress: float) -> str:
        """Time left by the progress since this process started."""
        start, started = self._first
        done = progress - start
        if done <= 0.0:
            return "time left unknown"
        return f"{duration((time.monotonic() - started) * (1.0 - progress) / done)} left"

    def close(self) -> None:
        """Close the bar; safe to call twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar."""
        self.close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the message stands on a line of its own."""
        self.close()
