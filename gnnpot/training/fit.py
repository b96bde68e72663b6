"""``gnnpot fit``: from data files to a tested model with its report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from gnnpot.models.potential import Potential
from gnnpot.report.formatting import duration
from gnnpot.report.html import write_report
from gnnpot.report.terminal import say
from gnnpot.training.assembly import budget_of, train
from gnnpot.training.dataset import SPLIT_FILE, read_dataset
from gnnpot.training.evaluation import trainable_properties
from gnnpot.training.folders import new_run_dir, no_empty_folder_left
from gnnpot.training.heads import (
    learn_buffers,
    look_at_response_labels,
    trained_outputs,
    with_model_of_checkpoint,
)
from gnnpot.training.inspection import inspect_data
from gnnpot.training.preparation import graphs_of, prepare_model, prepare_store, threads_for
from gnnpot.training.progress import graph_progress
from gnnpot.training.results import card_of, cost_of, errors_of_parts, origin_of, print_result, write_results
from gnnpot.training.resume import checkpoint_of, completed, resumed_config, save_config, telling_how_to_go_on
from gnnpot.training.settings import checked_settings
from gnnpot.training.threads import limited_threads

MOST_NAMED = 10
"""Elements that are named before a training; of more, their number is."""


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
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was learned is saved.
    """
    started = time.monotonic()
    is_main = getattr(rank_zero_only, "rank", 0) == 0
    console = Console(quiet=not is_main)
    settings, run_dir = _settle(dict(config), is_main)
    checkpoint = checkpoint_of(run_dir, budget_of(settings).max_epochs) if settings["resume"] else None
    with no_empty_folder_left(run_dir):
        dataset = read_dataset(settings, run_dir)
        if is_main:
            learned = trainable_properties(trained_outputs(settings, dataset))
            inspect_data(dataset, settings["loss"], console, learned)
            look_at_response_labels(settings, dataset)
        potential = prepare_model(settings, dataset)
        store = prepare_store(settings, dataset, potential, graph_progress(console))
        learn_buffers(potential, settings, graphs_of(store, dataset.parts["train"]))
        if is_main:
            save_config(settings, run_dir)
            dataset.split.save(run_dir / SPLIT_FILE)
    say(console, plan(settings, potential, run_dir, checkpoint))
    quiet = Console(quiet=True)
    threads = limited_threads(threads_for(settings, dataset, store, potential))
    with threads, telling_how_to_go_on(console, "fit", run_dir):
        shown = console if settings["trainer"]["progress"] else quiet
        trained = train(settings, dataset, store, potential, run_dir, checkpoint, shown)
        if not trained.is_main_process:
            return FitResult(run_dir, run_dir / "model", {})
        parts, metrics = errors_of_parts(potential, dataset, store)
        metrics["timing"] = cost_of(trained, time.monotonic() - started)
        metrics["provenance"] = origin_of(potential, dataset, int(settings["seed"]))
        write_results(run_dir, potential, parts, metrics, card_of(settings, dataset, metrics))
        write_report(run_dir)
    print_result(console, metrics, run_dir)
    return FitResult(run_dir, run_dir / "model", metrics)


def _settle(config: dict[str, Any], is_main: bool) -> tuple[dict[str, Any], Path]:
    """The whole configuration and the run directory, which exists afterwards."""
    settings = checked_settings(completed(config))
    if settings["resume"] is not None:
        run_dir = Path(settings["resume"]).expanduser()
        return resumed_config(settings, run_dir), run_dir
    settings = with_model_of_checkpoint(settings)
    model = str(settings["model"].get("_target_", "")).rpartition(".")[2].lower()
    run_dir = new_run_dir(settings["run_dir"], "fit", model) if is_main else Path(settings["run_dir"] or "runs")
    return {**settings, "run_dir": str(run_dir)}, run_dir


def plan(settings: dict[str, Any], potential: Potential, run_dir: Path, checkpoint: Path | None) -> str:
    """What is about to be trained, for how long, and where, in sentences."""
    budget = budget_of(settings)
    ends = [f"{budget.max_epochs} epoch{'s' if budget.max_epochs > 1 else ''}"] if budget.max_epochs else []
    ends += [duration(budget.max_seconds)] if budget.max_seconds else []
    elements = ", ".join(chemical_symbols[z] for z in potential.elements)
    if len(potential.elements) > MOST_NAMED:
        elements = f"{len(potential.elements)} elements"
    lines = [
        f"{potential.title} for {elements}, {potential.n_parameters:,} parameters, cutoff {potential.cutoff:g} Å",
        f"training for {' or '.join(ends)} in {run_dir}",
    ]
    if checkpoint is not None:
        lines.append(f"going on from {checkpoint}")
    return "\n".join(lines)
