"""What becomes of a training that has run away: the best weights so far, and smaller steps."""

import math
from typing import Any

import lightning
from rich.console import Console

from gnnpot.report.formatting import significant
from gnnpot.report.terminal import say
from gnnpot.training.pace import Pace
from gnnpot.training.validation import Validation

RUNAWAY = 3.0
"""A training is lost where the mean error of every property on the training frames is more than this times the lowest
so far. In the trainings whose logs are kept in ``benchmarks/results`` it is 1.6 at most."""

SLOWER = 0.3
"""By which the learning rate is multiplied then."""

MOST = 5
"""Rescues of one training."""


class Rescue(lightning.Callback):
    """Go back to the best weights, and on with smaller steps, once all training errors have jumped.

    A learning rate that suits one material can be too high for frames of many elements: an unlucky step throws a
    network so far that its activations are flat, and it never learns again. The optimizer and the average of the
    weights start anew. Comes after the callback that validates, and before the one that saves.

    Args:
        validation: keeps the best weights, and the last errors.
        pace: keeps the learning rate.
        console: where a line says what happened.
    """

    def __init__(self, validation: Validation, pace: Pace, console: Console) -> None:
        self.validation = validation
        self.pace = pace
        self.n_rescues = 0
        self._lowest: dict[str, float] = {}
        self._console = console

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look at the errors of the epoch, where they were taken."""
        row = self.validation.last
        errors = {name: float(row[name]) for name in row if name.startswith("train_") and "_mae_" in name}
        if row.get("epoch") != trainer.current_epoch + 1 or not errors:
            return
        growth = min(error / self._lowest.get(name, math.inf) for name, error in errors.items())
        if growth > RUNAWAY and self.n_rescues < MOST and self.validation.best_weights:
            self._go_back(trainer, pl_module, growth)
        self._lowest = {name: min(error, self._lowest.get(name, math.inf)) for name, error in errors.items()}

    def _go_back(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, growth: float) -> None:
        module: Any = pl_module
        self.n_rescues += 1
        module.potential.load_state_dict(self.validation.best_weights)
        if self.validation.average is not None:
            self.validation.average.restart()
        optimizer = trainer.optimizers[0]
        optimizer.state.clear()
        self.pace.slow_down(optimizer, SLOWER)
        if trainer.is_global_zero:
            say(
                self._console,
                f"epoch {trainer.current_epoch + 1}: all training errors jumped to {significant(growth)} times their "
                f"lowest or more. Going on from the weights of epoch {self.validation.course.best_epoch + 1} with "
                f"{SLOWER:g} of the learning rate, a peak of {optimizer.param_groups[0]['peak_lr']:.3g} "
                "(optimizer.lr= begins with less)",
            )

    def state_dict(self) -> dict[str, Any]:
        """Rescues so far, and the lowest errors."""
        return {"n_rescues": self.n_rescues, "lowest": self._lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them over."""
        self.n_rescues, self._lowest = state_dict["n_rescues"], state_dict["lowest"]
