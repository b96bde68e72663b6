"""What every kind of `analyze` takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gnnpot.apps.trajectories import Trajectory, load_trajectories
from gnnpot.models.potential import Potential
from gnnpot.report.formatting import significant
from gnnpot.report.page import Figure, Page, Table


@dataclass(frozen=True)
class Request:
    """The keys of ``configs/analyze.yaml`` that kinds read; what they mean stands at `gnnpot.apps.analyze.analyze`."""

    trajectory: str | Path | Sequence[str | Path]
    checkpoint: str | Path | Potential | None
    temperature: float | Sequence[float] | None
    interval: float | None
    skip: float
    species: Sequence[str] | None
    charges: Mapping[str, float] | None
    fit: Sequence[float] | None
    blocks: int
    born_every: int
    max_time: float | None
    window: str
    seed: int
    device: str

    def trajectories(self) -> list[Trajectory]:
        """The trajectories, by rising temperature."""
        return load_trajectories(self.trajectory, self.temperature, self.interval, self.skip)


@dataclass(frozen=True)
class Analysis:
    """What a kind found: its figures for programs and for people."""

    record: dict[str, Any]
    """Content of ``KIND.json``."""
    columns: dict[str, NDArray[Any]]
    """Columns of ``KIND.csv`` by their names, all of one length."""
    tables: tuple[Table, ...]
    """What the terminal shows."""
    sentences: tuple[str, ...]
    page: Page = field(repr=False)
    figures: dict[str, Figure] = field(repr=False)
    """By the names of their files."""


def with_error(value: float, error: float, digits: int = 3) -> str:
    """A value and its standard error.

    >>> with_error(1.234e-5, 2.0e-7)
    '1.23e-05 ± 2.0e-07'
    """
    return f"{significant(value, digits)} ± {significant(error, 2)}"


def facts_of(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory in plain values, for records."""
    return {
        "trajectory": trajectory.name,
        "n_frames": len(trajectory.frames),
        "n_atoms": len(trajectory.frames[0]),
        "interval_ps": trajectory.interval,
        "duration_ps": trajectory.duration,
        "temperature_K": trajectory.temperature,
        "temperature_from": trajectory.temperature_from,
        "volume_A3": trajectory.volume,
        "notes": list(trajectory.notes),
    }
