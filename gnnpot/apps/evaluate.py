"""Errors of a model on labeled data: `evaluate`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from ase import Atoms
from rich.console import Console

from gnnpot._version import __version__
from gnnpot.apps.calculator import prepared
from gnnpot.apps.datasets import Data, frames_from
from gnnpot.apps.progress import StepProgress
from gnnpot.data.files import replacing
from gnnpot.data.hashing import data_sha256
from gnnpot.data.labels import Labels, frame_name, labels_of
from gnnpot.errors import DataError, PropertyNotAvailableError, did_you_mean
from gnnpot.models.extrapolation import extrapolation_line, extrapolation_summary
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import EXTRAPOLATIONS, Prediction, default_properties, on_branch_of_labels, predict
from gnnpot.report.metrics import error_metrics
from gnnpot.report.tables import (
    born_norms_line,
    config_type_table,
    coverage_table,
    element_table,
    metrics_table,
    summary_line,
)
from gnnpot.report.terminal import rich_table, say


@dataclass(frozen=True)
class EvaluateResult:
    """Errors, and what they were taken from."""

    metrics: dict[str, Any]
    """As ``metrics.json``: ``{"test": errors, "timing": ..., "provenance": ...}``."""
    frames: list[Atoms]
    predictions: list[Prediction]


def evaluate(
    checkpoint: str | Path | Potential,
    data: Data,
    properties: Sequence[str] | None = None,
    output: str | Path | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> EvaluateResult:
    """Compare a model with the labels of files, and print the errors by property, element and ``config_type``.

    Args:
        checkpoint: path or name of a trained model, or a potential.
        data: ``{path, format, units, keys, charge}``, or the path or paths alone.
        properties: labels to compare; by default all that both the model and the files have.
        output: JSON file for the errors, of the form of ``metrics.json``.
        batch_size: structures evaluated together; null: as many as have some ten thousand edges.
        device: where the model runs.
        dtype: ``float32`` or ``float64``.

    Raises:
        DataError: the files hold no label that the model gives.
        PropertyNotAvailableError: a property was asked for that the model does not give.
    """
    potential = prepared(checkpoint, device, dtype)
    frames = frames_from(data)
    labels = [_comparable(labels_of(frame), frame) for frame in frames]
    compared = _compared(potential, labels, properties)
    started = perf_counter()
    counted = (EXTRAPOLATIONS,) if potential.has_ranges else ()
    predictions = predictions_of(potential, frames, (*compared, *counted), batch_size)
    seconds = perf_counter() - started
    cells, pbc = (torch.tensor(np.array([getattr(frame, name)[:] for frame in frames])) for name in ("cell", "pbc"))
    errors = error_metrics(
        [{name: label[name] for name in compared if name in label} for label in labels],
        on_branch_of_labels(predictions, labels, cells, pbc),
        [frame.numbers for frame in frames],
        [frame.info.get("config_type") for frame in frames],
    )
    provenance = {
        "gnnpot_version": __version__,
        "checkpoint": type(checkpoint).__name__ if isinstance(checkpoint, Potential) else str(checkpoint),
        "data_sha256": data_sha256(frames),
        "dtype": dtype,
    }
    metrics = {"test": errors, "timing": {"prediction_s": seconds}, "provenance": provenance}
    if potential.has_ranges:
        metrics["extrapolation"] = extrapolation_summary([p.pop(EXTRAPOLATIONS) for p in predictions])
    _print(metrics, [frame_name(frame) for frame in frames])
    if output is not None:
        write_json(Path(output), metrics)
    return EvaluateResult(metrics, frames, predictions)


def _comparable(labels: Labels, frame: Atoms) -> Labels:
    """The labels, less the polarization of a charged cell, which depends on the origin."""
    return {name: x for name, x in labels.items() if name != "polarization" or not frame.info.get("charge")}


def predictions_of(
    potential: Potential, frames: Sequence[Atoms], properties: Sequence[str], batch_size: int | None
) -> list[Prediction]:
    """`gnnpot.models.prediction.predict` with a progress bar."""
    with StepProgress("predicting", len(frames), noun="structures") as progress:

        def show(done: int) -> None:
            if progress.wants_figures(done):
                progress.update(done, "")

        return predict(potential, frames, properties, batch_size, progress=show)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _compared(potential: Potential, labels: Sequence[Labels], properties: Sequence[str] | None) -> tuple[str, ...]:
    given = default_properties(potential)
    labeled = {name for label in labels for name in label}
    for name in properties or ():
        if name not in given:
            hint = did_you_mean(name, given)
            raise PropertyNotAvailableError(f"properties: {type(potential).__name__} gives no {name!r}; {hint}")
    compared = tuple(name for name in (properties or given) if name in labeled)
    if not compared:
        raise DataError(
            f"nothing to compare: the model gives {', '.join(properties or given)}, and the files are labeled with "
            f"{', '.join(sorted(labeled)) or 'nothing'}. Give labels of other names as data.keys='{{energy: NAME}}'; "
            "without labels, use gnnpot predict"
        )
    return compared


def _print(metrics: dict[str, Any], names: Sequence[str]) -> None:
    console = Console()
    console.print(rich_table(coverage_table({"test": metrics["test"]["counts"]})))
    tables = [metrics_table(metrics), element_table(metrics), config_type_table(metrics)]
    for table in tables:
        if table.rows:
            console.print(rich_table(table))
    say(console, summary_line(metrics))
    if "extrapolation" in metrics:
        say(console, extrapolation_line(metrics["extrapolation"], names))
    norms = born_norms_line(metrics)
    if norms is not None:
        say(console, norms)
