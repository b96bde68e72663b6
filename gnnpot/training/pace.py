"""Learning rate by progress, and the end of a training that is limited in time."""

from collections.abc import Callable
from typing import Any

import lightning
import torch

from gnnpot.training.agreement import over_processes
from gnnpot.training.course import Course
from gnnpot.training.schedule import Budget, Schedule


class Pace(lightning.Callback):
    """Set the learning rate before every step; stop at the end of a batch once the budget is spent.

    All processes act on the same numbers: the longest time and any wish to stop among them.
    """

    def __init__(self, course: Course, budget: Budget, schedule: Schedule, n_batches: int) -> None:
        self.course = course
        self.budget = budget
        self.schedule = schedule
        self.n_batches = n_batches
        self.learning_rate = 0.0
        self._peaks: list[float] = []
        self._seconds = 0.0
        self._agreed: Callable[[], torch.Tensor] = self._signals

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the peak learning rates and start the clock."""
        self._peaks = [group.setdefault("peak_lr", group["lr"]) for group in trainer.optimizers[0].param_groups]
        self.course.start()
        self._seconds = self.course.seconds()

    def slow_down(self, optimizer: torch.optim.Optimizer, factor: float) -> None:
        """Multiply the peak learning rates by a factor; they are saved with the optimizer."""
        for group in optimizer.param_groups:
            group["peak_lr"] *= factor
        self._peaks = [group["peak_lr"] for group in optimizer.param_groups]

    def progress(self, trainer: lightning.Trainer, batch_idx: int) -> float:
        """Progress at the start of a batch of the running epoch."""
        epochs = trainer.current_epoch + batch_idx / self.n_batches
        return self.budget.progress(epochs, self._seconds, self.course.validation_seconds)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tell the coming step the progress and its learning rate (at least the final one, so that the first moves)."""
        module: Any = pl_module
        module.progress = self.progress(trainer, batch_idx)
        rate = self.schedule.relative_rate(module.progress, self.course.reduction)
        floor = self.schedule.final if self.schedule.warm_up else 0.0
        for group, peak in zip(trainer.optimizers[0].param_groups, self._peaks, strict=True):
            group["lr"] = peak * max(rate, floor)
        self.learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
        if trainer.world_size > 1:
            self._agreed = over_processes(self._signals().to(pl_module.device), "max")

    def _signals(self) -> torch.Tensor:
        """The seconds of this process, and whether it was asked to stop."""
        return torch.tensor([self.course.seconds(), float(self.course.stop_wished)], dtype=torch.float64)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Read the clock, of several processes what they agreed on meanwhile; stop when the time is over."""
        seconds, wished = (self._agreed() if trainer.world_size > 1 else self._signals()).tolist()
        self._seconds, self.course.interrupted = seconds, bool(wished)
        if self.budget.max_seconds is not None and self.progress(trainer, batch_idx + 1) >= 1.0:
            trainer.should_stop = True
