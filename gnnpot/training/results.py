"""What a training leaves behind once it is over: errors on every part of the data, the model with its card."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from gnnpot.data.files import replacing
from gnnpot.data.frames import entries_of, frame_names
from gnnpot.data.store import GraphStore
from gnnpot.errors import GnnpotWarning
from gnnpot.models.potential import Potential
from gnnpot.models.store import save
from gnnpot.report.metrics import part_metrics
from gnnpot.report.parity import ParityData, save_parity
from gnnpot.report.tables import born_norms_line, config_type_table, element_table, metrics_table, summary_line
from gnnpot.report.terminal import rich_table, say
from gnnpot.training.assembly import Trained
from gnnpot.training.batches import Indices
from gnnpot.training.dataset import Dataset
from gnnpot.training.evaluation import parity_of
from gnnpot.training.inspection import frames_without_twins
from gnnpot.training.provenance import peak_memory_mb, provenance

MOST_TRAINED = 20_000
"""Training structures whose predictions are compared and kept."""


def errors_of_parts(
    potential: Potential, dataset: Dataset, store: GraphStore
) -> tuple[dict[str, ParityData], dict[str, Any]]:
    """Labels beside predictions, and errors, of every part of the data; those of the test part come first.

    Of more than `MOST_TRAINED` training structures so many are compared, evenly chosen, and a warning says so: their
    predictions would take more memory than the training itself.
    """
    potential.eval()
    names, kinds = frame_names(dataset.frames), entries_of(dataset.frames, "config_type")
    compared = {**dataset.parts, "train": _compared(dataset.parts["train"])}
    parts = {part: parity_of(potential, store, indices, names, kinds) for part, indices in compared.items()}
    metrics: dict[str, Any] = {part: part_metrics(parts[part]) for part in ("test", "val", "train") if part in parts}
    alone = frames_without_twins(dataset)
    if alone is not None:
        metrics["test_without_twins"] = part_metrics(parts["test"].of_structures(alone))
    return parts, metrics


def _compared(train: Indices) -> Indices:
    """Training structures whose errors are told."""
    if len(train) <= MOST_TRAINED:
        return train
    warnings.warn(
        f"the training errors are those of {MOST_TRAINED:,} of the {len(train):,} training structures, evenly chosen",
        GnnpotWarning,
        stacklevel=3,
    )
    return train[np.linspace(0, len(train) - 1, MOST_TRAINED).astype(np.int64)]


def cost_of(trained: Trained, total_seconds: float) -> dict[str, Any]:
    """Time, steps and memory, as ``timing`` in ``metrics.json``."""
    return {
        "training_s": round(trained.seconds, 2),
        "training_cpu_s": round(trained.cpu_seconds, 2),
        "waiting_for_data_s": round(trained.waited_seconds, 2),
        "total_s": round(total_seconds, 2),
        "epochs": trained.epochs,
        "steps": trained.steps,
        "best_epoch": trained.best_epoch,
        "rescues": trained.rescues,
        "peak_memory_mb": peak_memory_mb(),
    }


def origin_of(potential: Potential, dataset: Dataset, seed: int) -> dict[str, Any]:
    """Model, data, versions and machine, as ``provenance`` in ``metrics.json``."""
    return {
        "model": potential.title,
        "n_parameters": potential.n_parameters,
        **provenance(dataset.split.data_sha256, seed),
    }


def write_results(
    run_dir: Path,
    potential: Potential,
    parts: Mapping[str, ParityData],
    metrics: Mapping[str, Any],
    card: dict[str, Any],
) -> None:
    """Write ``predictions.npz``, ``metrics.json`` and ``model/`` into a run directory."""
    save_parity(run_dir / "predictions.npz", parts)
    with replacing(run_dir / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    save(potential, run_dir / "model", card)


def card_of(settings: dict[str, Any], dataset: Dataset, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What ``model.yaml`` says besides the model itself."""
    errors = {
        part: {name: value for name, value in metrics[part].items() if isinstance(value, float)}
        for part in dataset.parts
    }
    split = {"kind": dataset.split.kind, "seed": dataset.split.seed}
    sizes = {part: len(indices) for part, indices in dataset.parts.items()}
    return {
        "level_of_theory": dataset.level_of_theory,
        "trained_on": {
            "name": dataset.name,
            "sha256": dataset.split.data_sha256,
            "split": {**split, **sizes},
        },
        "metrics": errors,
        "loss": settings["loss"],
        "timing": metrics["timing"],
        "provenance": metrics["provenance"],
    }


def print_result(console: Console, metrics: Mapping[str, Any], run_dir: Path) -> None:
    """Tables of the errors, a line that sums them up, and where the files are."""
    for table in (metrics_table(metrics), element_table(metrics), config_type_table(metrics)):
        if table.rows:
            console.print(rich_table(table))
    say(console, summary_line(metrics))
    norms = born_norms_line(metrics)
    if norms is not None:
        say(console, norms)
    say(console, f"report: {run_dir / 'report.html'}   model: {run_dir / 'model'}")
