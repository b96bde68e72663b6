"""``last.ckpt``: what a training resumes from, replaced as a whole at the end of epochs, at Ctrl-C and at SIGTERM."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch

from gnnpot.data.files import replacing
from gnnpot.errors import TrainingError
from gnnpot.training.agreement import over_processes
from gnnpot.training.course import Course

SAVING_SHARE = 0.02
"""Largest share of the time that is spent on saving: an epoch's end is skipped until the last save has paid off."""


class StopAfterInterruptError(Exception):
    """Raised inside the trainer at the end of a batch after Ctrl-C, once the training is saved."""


STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals of Ctrl-C, and of clusters when the time of a job is over."""


class TrainingInterrupted(KeyboardInterrupt):
    """A training that was stopped by Ctrl-C or SIGTERM and can be resumed; the message says how."""


class Interrupts(lightning.Callback):
    """Turn the first Ctrl-C or SIGTERM into a wish to stop at the end of the batch; the second acts as ever.

    It listens inside ``with``, on the main thread.
    """

    def __init__(self, course: Course) -> None:
        self.course = course
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.getsignal(signum) for signum in STOPPING}
        self._listen()
        return self

    def __exit__(self, *failure: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen again: Lightning has put a handler of its own, which saves nothing, in the place of SIGTERM's."""
        self._listen()

    def _listen(self) -> None:
        for signum in self._before:
            signal.signal(signum, self._note)

    def _note(self, signum: int, frame: Any) -> None:
        self.course.stop_wished = True
        signal.signal(signum, self._before[signum])


class Saving(lightning.Callback):
    """Save the state of the training; must be the last callback, so that it saves what the others have done.

    Args:
        path: the checkpoint.
        course: tells of Ctrl-C and SIGTERM.
        keep_best: writes the best model so far, for a person who wants to look at it before the end.
    """

    def __init__(self, path: Path, course: Course, keep_best: Callable[[], None]) -> None:
        self.path = path
        self.course = course
        self._keep_best = keep_best
        self._next_save = 0.0

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save unless the last save is too recent to have paid off; after Ctrl-C: save and leave."""
        is_due = time.monotonic() >= self._next_save or trainer.should_stop or self.course.interrupted
        due = torch.tensor(float(is_due), device=pl_module.device)
        if over_processes(due, "max")():
            self.save(trainer)
        if self.course.interrupted:
            raise StopAfterInterruptError

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After Ctrl-C: save and leave, but after an epoch's last batch only once it has been validated."""
        if self.course.interrupted and not trainer.is_last_batch:
            self.save(trainer)
            raise StopAfterInterruptError

    def save(self, trainer: lightning.Trainer) -> None:
        """Replace the checkpoint by the present state; if that fails, the old one stays.

        All processes take part; the first one writes.

        Raises:
            TrainingError: the disk is full or the folder cannot be written to.
        """
        started = time.monotonic()
        try:
            if not trainer.is_global_zero:
                trainer.save_checkpoint(self.path)
                return
            with replacing(self.path) as temporary:
                trainer.save_checkpoint(temporary)
            self._keep_best()
        except OSError as error:
            kept = "; the one before it is intact" if self.path.is_file() else ""
            raise TrainingError(
                f"{self.path} could not be written: {error}{kept}. Make room and go on with resume={self.path.parent}"
            ) from error
        now = time.monotonic()
        self._next_save = now + (now - started) / SAVING_SHARE
