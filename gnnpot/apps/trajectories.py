"""Trajectories as arrays: continuous positions, velocities, times, and Born charges along them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from gnnpot.apps.calculator import prepared
from gnnpot.apps.datasets import frames_from
from gnnpot.apps.evaluate import predictions_of
from gnnpot.data.labels import labels_of
from gnnpot.errors import ConfigError, DataError
from gnnpot.models.potential import Potential

FloatArray = NDArray[np.float64]
FEWEST = 4
BATCH = 8


@dataclass(frozen=True)
class Trajectory:
    """Frames of one simulation at equal distances in time."""

    name: str
    frames: list[Atoms] = field(repr=False)
    positions: FloatArray = field(repr=False)
    """``(n_frames, n_atoms, 3)``, Å, continuous, the center of mass at rest."""
    interval: float
    """ps between frames."""
    temperature: float
    """K."""
    temperature_from: str
    volume: float
    """Å³, mean."""
    notes: tuple[str, ...]
    """What was done to the frames, in sentences."""

    @property
    def symbols(self) -> NDArray[np.str_]:
        """Chemical symbols of the atoms, ``(n_atoms,)``."""
        return np.array(self.frames[0].get_chemical_symbols())

    @property
    def duration(self) -> float:
        """ps."""
        return self.interval * (len(self.frames) - 1)

    def velocities(self) -> tuple[FloatArray, str]:
        """Velocities ``(n_frames, n_atoms, 3)`` in Å/ps, and where they came from.

        From the momenta of the frames, else from central differences of the positions.
        """
        if all(frame.has("momenta") for frame in self.frames):
            found = np.array([frame.get_velocities() for frame in self.frames]) * units.fs * 1000.0
            masses = self.frames[0].get_masses()
            return found - np.einsum("tia,i->ta", found, masses)[:, None] / masses.sum(), "momenta of the frames"
        return np.gradient(self.positions, self.interval, axis=0), "differences of the positions"


def load_trajectory(path: str | Path, temperature: float | None, interval: float | None, skip: float) -> Trajectory:
    """Read a trajectory, and ``md.json`` beside it if there is one.

    Args:
        path: extended XYZ, ASE's ``.traj``, or any file of frames that `gnnpot.read` reads.
        temperature: K, or None for that of ``md.json``, or of the velocities.
        interval: fs between frames, or None for that of the frames (``time_ps``) or of ``md.json``.
        skip: share of the frames left out at the start.

    Raises:
        DataError: an unreadable file, other atoms on the way, too few frames.
        ConfigError: no interval or no temperature is known.
    """
    if not 0.0 <= skip < 1.0:
        raise ConfigError(f"skip={skip}: give the share left out at the start, from 0 to less than 1")
    frames = frames_from(str(path))
    settings = _settings_beside(Path(path))
    spacing, frames = at_equal_intervals(str(path), frames, settings, interval)
    frames = frames[int(skip * len(frames)) :]
    _refuse_unlike(str(path), frames)
    positions, notes = _continuous(frames, bool(settings))
    masses = frames[0].get_masses()
    center = np.einsum("tia,i->ta", positions, masses) / masses.sum()
    positions = positions - (center - center[0])[:, None]
    kelvin, source = _temperature(str(path), frames, settings, temperature)
    volume = float(np.mean([abs(frame.get_volume()) if frame.cell.rank == 3 else np.nan for frame in frames]))
    return Trajectory(str(path), frames, positions, spacing, kelvin, source, volume, notes)


def load_trajectories(
    paths: str | Path | Sequence[str | Path],
    temperature: float | Sequence[float] | None,
    interval: float | None,
    skip: float,
) -> list[Trajectory]:
    """One or several trajectories, by rising temperature.

    Raises:
        ConfigError: another number of temperatures than of trajectories.
    """
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    if not listed:
        raise ConfigError("trajectory=[]: give a file, or a list of files")
    several = list(temperature) if isinstance(temperature, Sequence) else [temperature] * len(listed)
    if len(several) != len(listed):
        raise ConfigError(f"temperature: {len(several)} of them for {len(listed)} trajectories; give one for each")
    found = [load_trajectory(path, t, interval, skip) for path, t in zip(listed, several, strict=True)]
    return sorted(found, key=lambda trajectory: trajectory.temperature)


def born_charges(
    trajectory: Trajectory, checkpoint: str | Path | Potential | None, every: int, device: str
) -> tuple[FloatArray, str] | None:
    """Born charges of every frame, ``(n_frames, n_atoms, 3, 3)`` in e, field first, and where they came from.

    Predicted by a model for every n-th frame, else those that frames are labeled with; linear in time between them.
    None where there is neither.

    Raises:
        PropertyNotAvailableError: a model without a response head.
    """
    if every < 1:
        raise ConfigError(f"born_every={every}: give 1 or more")
    n = len(trajectory.frames)
    if checkpoint is not None:
        known = np.unique([*range(0, n, every), n - 1])
        potential = prepared(checkpoint, device, "float32")
        chosen = [trajectory.frames[k] for k in known]
        predicted = predictions_of(potential, chosen, ["born_effective_charges"], BATCH)
        charges = np.array([p["born_effective_charges"] for p in predicted])
        source = f"predicted by {potential.title}"
    else:
        labels = [labels_of(frame).get("born_effective_charges") for frame in trajectory.frames]
        known = np.array([k for k, label in enumerate(labels) if label is not None])
        if len(known) == 0:
            return None
        charges, source = np.array([labels[k] for k in known]), "labels of the frames"
    if len(known) < n:
        source += f" ({len(known)} of {n} frames, linear between them)"
    return _between(charges, known, n), source


def _between(values: FloatArray, known: NDArray[np.int64], n: int) -> FloatArray:
    """Values of all ``n`` frames from those of the known ones, linear between them, constant beyond."""
    right = np.clip(np.searchsorted(known, np.arange(n)), 0, len(known) - 1)
    left = np.maximum(right - 1, 0)
    span = np.maximum(known[right] - known[left], 1)
    share = np.clip((np.arange(n) - known[left]) / span, 0.0, 1.0).reshape(-1, *(1,) * (values.ndim - 1))
    return np.asarray(values[left] * (1 - share) + values[right] * share)


def _settings_beside(path: Path) -> dict[str, Any]:
    file = path.with_name("md.json")
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise DataError(f"{file} is no JSON: {error}") from None
    return settings if settings.get("trajectory") == path.name else {}


def at_equal_intervals(
    name: str, frames: list[Atoms], settings: dict[str, Any], interval: float | None
) -> tuple[float, list[Atoms]]:
    """ps between frames, and the frames that are so far apart: the last of a simulation may come early.

    Args:
        name: of the file, for messages.
        frames: of one simulation.
        settings: of ``md.json``; empty without one.
        interval: fs between frames, or None for that of the frames or of ``settings``.

    Raises:
        ConfigError: the interval is known from nowhere, or not positive.
        DataError: the frames lie at unequal intervals.
    """
    if interval is not None:
        if not interval > 0:
            raise ConfigError(f"interval={interval} fs: give the time between frames, above 0")
        return interval / 1000.0, frames
    times = [frame.info.get("time_ps") for frame in frames]
    if len(frames) > 2 and all(isinstance(time, int | float | np.number) for time in times):
        steps = np.diff(np.array(times, dtype=np.float64))
        if not np.allclose(steps[:-1], steps[0], rtol=1e-4) or steps[0] <= 0:
            raise DataError(f"{name}: the frames are not at equal distances in time (time_ps); give interval= in fs")
        return float(steps[0]), frames if np.isclose(steps[-1], steps[0], rtol=1e-4) else frames[:-1]
    if settings:
        early = settings["steps"] % settings["trajectory_interval"] != 0
        spacing = settings["timestep"] * settings["trajectory_interval"] / 1000.0
        return spacing, frames[:-1] if early else frames
    raise ConfigError(f"{name} does not tell the time between its frames: give interval= in fs")


def _refuse_unlike(name: str, frames: list[Atoms]) -> None:
    if len(frames) < FEWEST:
        raise DataError(f"{name}: {len(frames)} frames are left after skip; an analysis needs {FEWEST} or more")
    for frame in frames:
        if not np.array_equal(frame.numbers, frames[0].numbers):
            raise DataError(f"{name}: the atoms change on the way; this is no trajectory of one system")


def _continuous(frames: list[Atoms], is_ours: bool) -> tuple[FloatArray, tuple[str, ...]]:
    """Positions without jumps by lattice vectors, in a mean cell where the cell changes, and what was done."""
    notes = []
    cells = np.array([frame.cell.array for frame in frames])
    pbc = frames[0].pbc
    raw = np.array([frame.positions for frame in frames])
    if not pbc.any():
        return raw, ()
    scaled = np.array([frame.cell.scaled_positions(frame.positions) for frame in frames])
    steps = np.diff(scaled, axis=0)
    jumps = np.where(pbc, np.round(steps), 0.0)
    if jumps.any() and not is_ours:
        scaled[1:] -= np.cumsum(jumps, axis=0)
        notes.append(
            f"Atoms had been put back into the cell {int(np.abs(jumps).sum())} times; they were followed to the "
            "nearest image from frame to frame."
        )
        largest = float(np.abs(np.diff(scaled, axis=0)[:, :, pbc]).max())
        if largest > 0.4:
            notes.append(
                f"An atom moves by {largest:.2f} of the cell between frames: its nearest image may be the wrong one."
            )
    if np.allclose(cells, cells[0], atol=1e-9):
        return scaled @ cells[0], tuple(notes)
    notes.append("The cell changes: displacements are taken in lattice coordinates of the mean cell.")
    return scaled @ cells.mean(axis=0), tuple(notes)


def _temperature(name: str, frames: list[Atoms], settings: dict[str, Any], given: float | None) -> tuple[float, str]:
    if given is not None:
        if not given > 0:
            raise ConfigError(f"temperature={given} K: give a temperature above 0")
        return float(given), "given"
    if settings.get("mean_temperature_K"):
        return float(settings["mean_temperature_K"]), "mean of md.json"
    if all(frame.has("momenta") for frame in frames):
        n_free = max(3 * len(frames[0]) - 3, 1)
        kinetic = np.mean([frame.get_kinetic_energy() for frame in frames])
        return float(2.0 * kinetic / (n_free * units.kB)), "mean kinetic energy"
    raise ConfigError(f"{name} does not tell the temperature: give temperature= in K")
