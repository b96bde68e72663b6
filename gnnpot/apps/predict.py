"""Predictions for files, written beside their labels: `predict_file`."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from rich.console import Console

from gnnpot.apps.calculator import prepared
from gnnpot.apps.datasets import Data, frames_from
from gnnpot.apps.evaluate import predictions_of
from gnnpot.data.labels import frame_name
from gnnpot.data.writers import extxyz_path, write_extxyz
from gnnpot.errors import DataWarning, PropertyNotAvailableError, did_you_mean
from gnnpot.keys import PROPERTIES
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import Prediction, default_properties
from gnnpot.report.terminal import say


@dataclass(frozen=True)
class PredictResult:
    """Frames, what the model says of each, and the file with both."""

    frames: list[Atoms]
    predictions: list[Prediction]
    output: Path


def predict_file(
    checkpoint: str | Path | Potential,
    data: Data,
    output: str | Path = "predictions.extxyz",
    properties: Sequence[str] | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> PredictResult:
    """Predict every structure of files, and write extended XYZ with the model's labels beside those of the files.

    The columns of the model begin with ``predicted_``: ``predicted_energy`` eV, ``predicted_energies`` eV per atom,
    ``predicted_forces`` eV/Å, ``predicted_stress`` eV/Å³ (9 numbers, tension positive; absent where a structure is
    not periodic in three directions).

    Args:
        checkpoint: path or name of a trained model, or a potential.
        data: ``{path, format, units, keys, charge}``, or the path or paths alone.
        output: ``.xyz`` or ``.extxyz``, compressed if ``.gz`` follows.
        properties: what to predict; by default all that the model gives.
        batch_size: structures evaluated together; null: as many as have some ten thousand edges.
        device: where the model runs.
        dtype: ``float32`` or ``float64``.

    Raises:
        PropertyNotAvailableError: a property was asked for that the model does not give, or the stress of structures
            of which none has a volume.
    """
    potential = prepared(checkpoint, device, dtype)
    given = default_properties(potential)
    wanted = tuple(properties) if properties is not None else given
    for name in wanted:
        if name not in given:
            hint = did_you_mean(name, given)
            raise PropertyNotAvailableError(f"properties: {type(potential).__name__} gives no {name!r}; {hint}")
    target = extxyz_path(output)
    frames = frames_from(data)
    if properties is not None and "stress" in wanted:
        _look_for_volumes(frames)
    predictions = predictions_of(potential, frames, wanted, batch_size)
    path = write_extxyz(target, frames, predictions)
    columns = ", ".join(filter(None, (_column(name, predictions) for name in wanted)))
    text = f"{len(frames)} structure{'s' if len(frames) != 1 else ''} with {columns} written to {path}"
    say(Console(), text)
    return PredictResult(frames, predictions, path)


def _look_for_volumes(frames: Sequence[Atoms]) -> None:
    """Say which structures have no stress; refuse where none has one."""
    flat = [frame for frame in frames if not frame.pbc.all()]
    if not flat:
        return
    text = (
        f"properties: {len(flat)} of {len(frames)} structures have no stress, because they are not periodic in three "
        f"directions and so have no volume; the first: {frame_name(flat[0])}"
    )
    if len(flat) == len(frames):
        raise PropertyNotAvailableError(f'{text}. Leave stress out, or give them a cell and pbc="T T T"')
    warnings.warn(text, DataWarning, stacklevel=3)


def _column(name: str, predictions: Sequence[Prediction]) -> str:
    """A column with its unit, and the number of structures that have it unless all do; empty where none does."""
    n = sum(not np.isnan(prediction[name]).all() for prediction in predictions)
    unit = PROPERTIES[name].unit if name in PROPERTIES else "eV"
    share = "" if n == len(predictions) else f", {n} of {len(predictions)} structures"
    return f"predicted_{name} ({unit}{share})" if n else ""
