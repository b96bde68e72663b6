"""``gnnpot fit``: from data files to a tested model with its report."""

import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from gnnpot.data.files import replacing
from gnnpot.data.frames import entries_of, frame_names
from gnnpot.data.store import GraphStore
from gnnpot.errors import ConfigError
from gnnpot.models.potential import Potential
from gnnpot.models.store import save
from gnnpot.report.formatting import duration
from gnnpot.report.html import write_report
from gnnpot.report.metrics import part_metrics
from gnnpot.report.parity import save_parity
from gnnpot.report.tables import born_norms_line, config_type_table, element_table, metrics_table, summary_line
from gnnpot.report.terminal import rich_table, say
from gnnpot.training.assembly import Trained, budget_of, train
from gnnpot.training.batches import batch_size_of
from gnnpot.training.dataset import SPLIT_FILE, Dataset, read_dataset
from gnnpot.training.evaluation import parity_of, trainable_properties
from gnnpot.training.heads import (
    learn_buffers,
    trained_outputs,
    warn_of_missing_labels,
    with_model_of_checkpoint,
)
from gnnpot.training.inspection import frames_without_twins, inspect_data
from gnnpot.training.preparation import (
    graphs_of,
    prepare_model,
    prepare_store,
)
from gnnpot.training.provenance import peak_memory_mb, provenance
from gnnpot.training.resume import CONFIG_FILE, checkpoint_of, completed, resumed_config, save_config
from gnnpot.training.saving import TrainingInterrupted
from gnnpot.training.settings import checked_settings
from gnnpot.training.threads import limited_threads, worthwhile_threads


@dataclass(frozen=True)
class FitResult:
    """Where a training left its files, and its errors as in ``metrics.json``."""

    run_dir: Path
    model: Path
    metrics: dict[str, Any]


def fit(config: Mapping[str, Any]) -> FitResult:
    """Train a potential, test it, and write a report.

    Reads and checks the data, splits them, trains until the budget is spent, takes the best validated weights,
    and writes into the run directory: ``model/``, ``metrics.json``, ``predictions.npz``, ``report.html``,
    ``log.csv``, ``config.yaml``, ``split.json`` and ``last.ckpt``.

    Args:
        config: the keys of ``configs/fit.yaml``; those left out take their defaults, and a group may be named, as
            ``{"model": "hdnnp", "data": {"path": "mine.extxyz"}}``.

    Raises:
        ConfigError: a key or value that does not fit, or a changed configuration on ``resume``.
        DataError: data that cannot be used.
        TrainingError: a loss that is no number, or a full disk.
        KeyboardInterrupt: Ctrl-C; what was learned is saved.
    """
    started = time.monotonic()
    is_main = getattr(rank_zero_only, "rank", 0) == 0
    console = Console(quiet=not is_main)
    settings, run_dir = _settle(dict(config), is_main)
    checkpoint = checkpoint_of(run_dir, budget_of(settings).max_epochs) if settings["resume"] else None
    with _no_empty_folder_left(run_dir):
        dataset = read_dataset(settings, run_dir)
        if is_main:
            learned = trainable_properties(trained_outputs(settings, dataset))
            inspect_data(dataset, settings["loss"], console, learned)
            warn_of_missing_labels(settings, dataset)
        potential = prepare_model(settings, dataset)
        store = prepare_store(settings, dataset, potential)
        learn_buffers(potential, settings, graphs_of(store, dataset.parts["train"]))
        if is_main:
            save_config(settings, run_dir)
            dataset.split.save(run_dir / SPLIT_FILE)
    say(console, _plan(settings, potential, run_dir, checkpoint))
    quiet = Console(quiet=True)
    with limited_threads(_threads(settings, dataset, store)):
        try:
            shown = console if settings["trainer"]["progress"] else quiet
            trained = train(settings, dataset, store, potential, run_dir, checkpoint, shown)
        except TrainingInterrupted as interruption:
            say(console, str(interruption))
            raise
        if not trained.is_main_process:
            return FitResult(run_dir, run_dir / "model", {})
        metrics = _finish(settings, dataset, store, potential, run_dir, trained, started)
    _print_result(console, metrics, run_dir)
    return FitResult(run_dir, run_dir / "model", metrics)


def _settle(config: dict[str, Any], is_main: bool) -> tuple[dict[str, Any], Path]:
    """The whole configuration and the run directory, which exists afterwards."""
    settings = checked_settings(completed(config))
    if settings["resume"] is not None:
        run_dir = Path(settings["resume"]).expanduser()
        return resumed_config(settings, run_dir), run_dir
    settings = with_model_of_checkpoint(settings)
    run_dir = _new_run_dir(settings) if is_main else Path(settings["run_dir"] or "runs")
    return {**settings, "run_dir": str(run_dir)}, run_dir


def _new_run_dir(settings: dict[str, Any]) -> Path:
    """Make the folder that is asked for, or one of its own for this moment and model."""
    if settings["run_dir"] is not None:
        run_dir = Path(settings["run_dir"]).expanduser()
        if (run_dir / CONFIG_FILE).exists():
            raise ConfigError(
                f"run_dir={run_dir} holds a run already: choose another folder, delete it, or go on with "
                f"`gnnpot fit resume={run_dir}`"
            )
        run_dir.mkdir(parents=True, exist_ok=True)
        return run_dir
    model = str(settings["model"].get("_target_", "")).rpartition(".")[2].lower()
    name = f"{datetime.now().strftime('%Y%m%d-%H%M%S')}-{model}"
    for attempt in itertools.count(1):
        run_dir = Path("runs") / (name if attempt == 1 else f"{name}-{attempt}")
        with contextlib.suppress(FileExistsError):
            run_dir.mkdir(parents=True)
            break
    return run_dir


@contextlib.contextmanager
def _no_empty_folder_left(run_dir: Path) -> Iterator[None]:
    """Take the run directory away again if an error comes before anything stands in it."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            run_dir.rmdir()
        raise


def _threads(settings: dict[str, Any], dataset: Dataset, store: GraphStore) -> int:
    """Threads as asked for, or as a batch is worth."""
    asked = settings["trainer"]["threads"]
    if asked is not None:
        if int(asked) < 1:
            raise ConfigError(f"trainer.threads={asked} must be at least 1, or null to choose by the size of a batch")
        return int(asked)
    train = dataset.parts["train"]
    n_structures = batch_size_of(settings["batch_size"], store.n_atoms[train])
    return worthwhile_threads(float(store.n_edges[train].mean()) * n_structures, torch.get_num_threads())


def _plan(settings: dict[str, Any], potential: Potential, run_dir: Path, checkpoint: Path | None) -> str:
    budget = budget_of(settings)
    ends = [f"{budget.max_epochs} epoch{'s' if budget.max_epochs > 1 else ''}"] if budget.max_epochs else []
    ends += [duration(budget.max_seconds)] if budget.max_seconds else []
    elements = ", ".join(chemical_symbols[z] for z in potential.elements)
    lines = [
        f"{potential.title} for {elements}, {potential.n_parameters:,} parameters, cutoff {potential.cutoff:g} Å",
        f"training for {' or '.join(ends)} in {run_dir}",
    ]
    if checkpoint is not None:
        lines.append(f"going on from {checkpoint}")
    return "\n".join(lines)


def _finish(
    settings: dict[str, Any],
    dataset: Dataset,
    store: GraphStore,
    potential: Potential,
    run_dir: Path,
    trained: Trained,
    started: float,
) -> dict[str, Any]:
    """Evaluate all parts, and write metrics, predictions, model and report."""
    potential.eval()
    names = frame_names(dataset.frames)
    kinds = entries_of(dataset.frames, "config_type")
    parts = {part: parity_of(potential, store, indices, names, kinds) for part, indices in dataset.parts.items()}
    metrics: dict[str, Any] = {part: part_metrics(parts[part]) for part in ("test", "val", "train") if part in parts}
    alone = frames_without_twins(dataset)
    if alone is not None:
        metrics["test_without_twins"] = part_metrics(parts["test"].of_structures(alone))
    metrics["timing"] = {
        "training_s": round(trained.seconds, 2),
        "training_cpu_s": round(trained.cpu_seconds, 2),
        "waiting_for_data_s": round(trained.waited_seconds, 2),
        "total_s": round(time.monotonic() - started, 2),
        "epochs": trained.epochs,
        "steps": trained.steps,
        "best_epoch": trained.best_epoch,
        "peak_memory_mb": peak_memory_mb(),
    }
    metrics["provenance"] = {
        "model": potential.title,
        "n_parameters": potential.n_parameters,
        **provenance(dataset.split.data_sha256, int(settings["seed"])),
    }
    save_parity(run_dir / "predictions.npz", parts)
    with replacing(run_dir / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    save(potential, run_dir / "model", _card(settings, dataset, metrics))
    write_report(run_dir)
    return metrics


def _card(settings: dict[str, Any], dataset: Dataset, metrics: dict[str, Any]) -> dict[str, Any]:
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


def _print_result(console: Console, metrics: dict[str, Any], run_dir: Path) -> None:
    for table in (metrics_table(metrics), element_table(metrics), config_type_table(metrics)):
        if table.rows:
            console.print(rich_table(table))
    say(console, summary_line(metrics))
    norms = born_norms_line(metrics)
    if norms is not None:
        say(console, norms)
    say(console, f"report: {run_dir / 'report.html'}   model: {run_dir / 'model'}")
