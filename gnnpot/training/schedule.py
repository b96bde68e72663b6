"""How long a training lasts, and how its learning rate comes down: both are functions of the progress.

The progress is a number from 0 to 1, the larger of the share of the epochs and the share of the time that is
used up, so that a training anneals to its end whether it is limited in epochs or in time.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from gnnpot.errors import ConfigError, did_you_mean

ScheduleKind = Literal["cosine", "plateau", "constant"]
SCHEDULE_KINDS = ("cosine", "plateau", "constant")
ANNEALED_SHARE = 0.2
"""Last part of the training in which the plateau schedule comes down all the same."""


def seconds_of(duration: object) -> float:
    """Seconds in a duration "DD:HH:MM:SS".

    >>> seconds_of("00:00:02:30")
    150.0

    Raises:
        ConfigError: anything else; a bare ``00:10:00:00`` in YAML is a number in base 60, so it is quoted.
    """
    if not isinstance(duration, str) or not re.fullmatch(r"\d+:\d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?", duration.strip()):
        raise ConfigError(
            f"trainer.max_time={duration!r} is no duration: write days, hours, minutes and seconds in quotes, "
            'as "00:00:15:00" for 15 minutes'
        )
    days, hours, minutes, seconds = duration.strip().split(":")
    total = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)
    if total <= 0.0:
        raise ConfigError(f"trainer.max_time={duration!r} leaves no time to train")
    return total


@dataclass(frozen=True)
class Budget:
    """What a training may spend: epochs, seconds, or both (what runs out first ends it)."""

    max_epochs: int | None
    max_seconds: float | None

    def __post_init__(self) -> None:
        if self.max_epochs is None and self.max_seconds is None:
            raise ConfigError("no end is set: give trainer.max_epochs, trainer.max_time, or both")
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ConfigError(f"trainer.max_epochs={self.max_epochs} must be at least 1")

    def progress(self, epochs: float, seconds: float, reserved_seconds: float = 0.0) -> float:
        """Share of the training that is done: max(epochs/max_epochs, seconds/max_seconds), at most 1.

        Args:
            epochs: epochs done, with the share of the running one.
            seconds: seconds spent.
            reserved_seconds: part of the time kept for what follows the last step (its validation).

        >>> Budget(max_epochs=10, max_seconds=100.0).progress(epochs=2.0, seconds=50.0)
        0.5
        """
        shares = [0.0]
        if self.max_epochs is not None:
            shares.append(epochs / self.max_epochs)
        if self.max_seconds is not None:
            shares.append(seconds / max(self.max_seconds - reserved_seconds, 0.5 * self.max_seconds))
        return min(max(shares), 1.0)


@dataclass(frozen=True)
class Schedule:
    """Learning rate relative to its peak, as a function of the progress p.

    Warm-up: linear from 0 to 1 over ``warm_up``. Then, with q the progress since,

    - cosine: f + (1 - f)(1 + cos πq)/2, down to ``final`` f;
    - plateau: the product of the reductions so far (each by ``factor``, after ``patience`` validations without
      improvement), and in the last fifth of the training the cosine on top of it;
    - constant: 1.
    """

    kind: ScheduleKind
    warm_up: float
    final: float
    factor: float
    patience: int

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULE_KINDS:
            hint = did_you_mean(self.kind, SCHEDULE_KINDS)
            raise ConfigError(f"optimizer.schedule.kind={self.kind!r} is unknown; {hint}")
        for name, value in (("warm_up", self.warm_up), ("final", self.final), ("factor", self.factor)):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"optimizer.schedule.{name}={value} is a share and lies between 0 and 1")
        if self.patience < 1:
            raise ConfigError(f"optimizer.schedule.patience={self.patience} must be at least 1 validation")

    def relative_rate(self, progress: float, reduction: float = 1.0) -> float:
        """Learning rate over its peak at a progress in [0, 1]; ``reduction`` is that of the plateau so far.

        >>> schedule = Schedule("cosine", warm_up=0.1, final=0.01, factor=0.5, patience=10)
        >>> [round(schedule.relative_rate(p), 3) for p in (0.05, 0.1, 0.55, 1.0)]
        [0.5, 1.0, 0.505, 0.01]
        """
        if progress < self.warm_up:
            return progress / self.warm_up
        if self.kind == "constant":
            return 1.0
        if self.kind == "cosine":
            return self._cosine(progress, start=self.warm_up)
        return reduction * self._cosine(progress, start=max(1.0 - ANNEALED_SHARE, self.warm_up))

    def _cosine(self, progress: float, start: float) -> float:
        done = min(max((progress - start) / max(1.0 - start, 1e-12), 0.0), 1.0)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * done))


def schedule_of(config: dict[str, Any]) -> Schedule:
    """Schedule from the configuration ``optimizer.schedule``."""
    return Schedule(
        kind=config["kind"],
        warm_up=float(config["warm_up"]),
        final=float(config["final"]),
        factor=float(config["factor"]),
        patience=int(config["patience"]),
    )
