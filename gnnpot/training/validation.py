"""Validation: errors on the structures kept for it, the best weights by them, and early stopping."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import lightning
import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import to_device
from gnnpot.models.properties import derive
from gnnpot.training.agreement import over_processes
from gnnpot.training.averaging import WeightAverage
from gnnpot.training.course import Course
from gnnpot.training.log import TrainingLog
from gnnpot.training.losses import LossTerm, LossUnits, loss_sums, mean_errors, total_loss
from gnnpot.training.module import TrainingModule
from gnnpot.training.pace import Pace


def error_sums(
    potential: Potential, graphs: Iterable[AtomicGraph], terms: Sequence[LossTerm], units: LossUnits
) -> Tensor:
    """Sums of `loss_sums` over graphs, without gradients, ``(n_terms, 3)``."""
    properties = [term.property for term in terms]
    sums = torch.zeros(len(terms), 3, dtype=torch.float64, device=potential.device)
    for graph in graphs:
        placed = to_device(graph, potential.device)
        sums = sums + loss_sums(terms, derive(potential, placed, properties), placed, units).detach()
    return sums


class Validation(lightning.Callback):
    """Validate at the end of every ``every``-th epoch and at the end of the training; keep the best weights.

    Args:
        graphs: this process's validation graphs; the sums are taken over all processes.
        stop_after: validations without improvement after which the training stops (None: never).
        counts_start: whether the weights before the first step are a candidate for the best.
        report: called with every new row of the log.
    """

    def __init__(
        self,
        graphs: Callable[[], Iterable[AtomicGraph]],
        every: int,
        stop_after: int | None,
        pace: Pace,
        average: WeightAverage | None,
        log: TrainingLog,
        report: Callable[[dict[str, float | int]], None],
        counts_start: bool = False,
    ) -> None:
        self._graphs = graphs
        self.every = every
        self.stop_after = stop_after
        self.pace = pace
        self.average = average
        self.table = log
        self._report = report
        self.counts_start = counts_start
        self.best_weights: dict[str, Tensor] = {}
        self.last: dict[str, float | int] = {}
        """The newest row of the log."""

    @property
    def course(self) -> Course:
        """The numbers of this training."""
        return self.pace.course

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Where the start counts: validate it, as epoch 0 of the log."""
        module: Any = pl_module
        if not self.counts_start or self.best_weights:
            return
        row = self._measure(trainer, module, epochs=0)
        self._record(row, -1, module.potential)
        if trainer.is_global_zero:
            self.table.add(row)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validate if it is time, log, keep the best, stop early."""
        epoch = trainer.current_epoch
        is_last = trainer.should_stop or self.pace.progress(trainer, self.pace.n_batches) >= 1.0
        if (epoch + 1) % self.every and not is_last:
            return
        module: Any = pl_module
        started = time.monotonic()
        row = self._measure(trainer, module, epochs=epoch + 1)
        self._record(row, epoch, module.potential)
        self.last = row
        self.course.validation_seconds = self._longest(trainer, time.monotonic() - started)
        if trainer.is_global_zero:
            self.table.add(row)
            self._report(row)
        if self.stop_after is not None and self.course.validations_since_best >= self.stop_after:
            trainer.should_stop = True

    def _measure(self, trainer: lightning.Trainer, module: TrainingModule, epochs: int) -> dict[str, float | int]:
        train = module.take_epoch_sums().cpu()
        with self.average.applied() if self.average else nullcontext():
            sums = error_sums(module.potential, self._graphs(), module.terms, module.units)
            val = over_processes(sums, "sum")().cpu()
        row: dict[str, float | int] = {
            "epoch": epochs,
            "step": trainer.global_step,
            "seconds": round(self.course.seconds(), 3),
            "learning_rate": self.pace.learning_rate,
        }
        for part, part_sums in (("train", train), ("val", val)):
            if part_sums[:, 2].any():
                row[f"{part}_loss"] = float(total_loss(module.terms, part_sums, part_sums[:, 2]))
                row.update({f"{part}_{k}": v for k, v in mean_errors(module.terms, part_sums).items()})
        return row

    def _record(self, row: dict[str, float | int], epoch: int, potential: Potential) -> None:
        """Without validation labels the latest weights are the best."""
        schedule = self.pace.schedule
        loss = row.get("val_loss")
        if loss is None:
            self.course.best_epoch, self.course.epochs_validated = epoch, epoch + 1
            is_best = True
        else:
            is_best = self.course.record_validation(loss, epoch, schedule.factor, schedule.patience)
        if is_best:
            with self.average.applied() if self.average else nullcontext():
                self.best_weights = {k: v.detach().clone() for k, v in potential.state_dict().items()}

    def _longest(self, trainer: lightning.Trainer, seconds: float) -> float:
        longest = torch.tensor(max(seconds, self.course.validation_seconds), dtype=torch.float64)
        return float(over_processes(longest.to(trainer.strategy.root_device), "max")())

    def state_dict(self) -> dict[str, Any]:
        """Best weights and the numbers of the training."""
        return {"best_weights": self.best_weights, "course": self.course.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore best weights and numbers."""
        self.best_weights = state_dict["best_weights"]
        self.course.load_state_dict(state_dict["course"])
