"""Where a training stands: time spent, best validation so far, state of the plateau schedule."""

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Course:
    """The changing numbers of a training, saved with it."""

    seconds_before: float = 0.0
    """Seconds spent before this process took over."""
    cpu_seconds_before: float = 0.0
    """Seconds of processor time, over all threads, spent before this process took over."""
    validation_seconds: float = 0.0
    """Duration of the longest validation so far: the time reserved for the last one."""
    best_loss: float = math.inf
    best_epoch: int = -1
    validations_since_best: int = 0
    validations_since_reduction: int = 0
    reduction: float = 1.0
    """Factor that the plateau schedule has put on the learning rate."""
    epochs_validated: int = 0
    """Number of epochs done at the last validation."""
    stop_wished: bool = field(default=False, compare=False)
    """Whether Ctrl-C or SIGTERM came to this process."""
    interrupted: bool = field(default=False, compare=False)
    """Whether one of the processes was asked to stop, as all of them know."""
    _started: float = field(default_factory=time.monotonic, compare=False)
    _cpu_started: float = field(default_factory=time.process_time, compare=False)

    def start(self) -> None:
        """Start the clock of this process."""
        self._started, self._cpu_started = time.monotonic(), time.process_time()

    def seconds(self) -> float:
        """Seconds spent on this training, over all processes that took part one after another."""
        return self.seconds_before + time.monotonic() - self._started

    def cpu_seconds(self) -> float:
        """Processor time that this process and those before it spent, over all their threads."""
        return self.cpu_seconds_before + time.process_time() - self._cpu_started

    def record_validation(self, loss: float, epoch: int, factor: float, patience: int) -> bool:
        """Take note of a validation loss; return whether it is the best so far.

        The plateau schedule multiplies its reduction by ``factor`` after ``patience`` validations without a best.
        """
        self.epochs_validated = epoch + 1
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            self.validations_since_best = self.validations_since_reduction = 0
            return True
        self.validations_since_best += 1
        self.validations_since_reduction += 1
        if self.validations_since_reduction >= patience:
            self.reduction *= factor
            self.validations_since_reduction = 0
        return False

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers for a checkpoint."""
        state = asdict(self)
        del state["_started"], state["_cpu_started"], state["stop_wished"], state["interrupted"]
        return {**state, "seconds_before": self.seconds(), "cpu_seconds_before": self.cpu_seconds()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the numbers of a checkpoint and start the clock."""
        for name, value in state.items():
            setattr(self, name, value)
        self.start()
