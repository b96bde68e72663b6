"""``gnnpot finetune``: a trained model goes on with data of one's own, and what is saved is never worse than it."""

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase
import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from gnnpot.config import compose
from gnnpot.data.frames import atom_counts, entries_of, frame_names, joined
from gnnpot.data.store import GraphStore
from gnnpot.errors import ConfigError, DataWarning, DivergenceError
from gnnpot.keys import metric_name
from gnnpot.models.growth import untrained
from gnnpot.models.potential import Potential
from gnnpot.models.response import ResponsePotential, described
from gnnpot.models.store import read_card, save
from gnnpot.nn.adapters import merge_adapters
from gnnpot.report.finetuning import models_table, references_table
from gnnpot.report.html import write_report
from gnnpot.report.metrics import part_metrics
from gnnpot.report.terminal import rich_table, say
from gnnpot.training.assembly import Trained, budget_of, objective, train
from gnnpot.training.batches import batch_size_of
from gnnpot.training.comparison import Verdict, held_out_errors, judge, shared_terms, validation_loss
from gnnpot.training.dataset import SPLIT_FILE, Dataset, read_dataset
from gnnpot.training.evaluation import parity_of, trainable_properties
from gnnpot.training.fit import FitResult, plan
from gnnpot.training.folders import new_run_dir, no_empty_folder_left
from gnnpot.training.heads import FACTS_OF_BACKBONE, frozen_names, learn_buffers, look_at_response_labels
from gnnpot.training.inspection import inspect_data
from gnnpot.training.preparation import graphs_of, prepare_model, prepare_store, threads_for
from gnnpot.training.replay import (
    HELD_OUT_FILES,
    REPLAY_FILES,
    SHIPPED,
    at_references_of,
    old_frames,
    replay_refit,
    shipped_file,
)
from gnnpot.training.results import card_of, cost_of, errors_of_parts, origin_of, print_result, write_results
from gnnpot.training.resume import checkpoint_of, completed, resumed_config, save_config, telling_how_to_go_on
from gnnpot.training.settings import checked_settings
from gnnpot.training.starting import UNKNOWN, Start, elements_of, load_start, potential_to_tune
from gnnpot.training.threads import limited_threads
from gnnpot.training.tuning import Tuning, own_batch_size

VERB = "finetune"
STEPS_OF_ONE = 400.0
GROWTH = 0.35
"""Steps where the configuration sets no end: 400 n^0.35 for n training structures."""

CHEAP_SECONDS = 600.0
"""Length of a fine-tuning up to which the same model is trained from scratch too, unless told otherwise."""

SCRATCH = "scratch"


def finetune(config: Mapping[str, Any]) -> FitResult:
    """Go on with a trained model on other data, compare it with what it has to beat, and keep the best.

    The reference energies are fitted anew, then the weights are trained as by `fit`. Saved is the model of the lowest
    validation loss among the base with re-fitted references, the fine-tuned one, and the same model trained from
    scratch with as many steps. The run directory is that of `fit`; ``metrics.json`` holds the comparison under
    ``finetuning``, and ``scratch/`` the model from scratch.

    Args:
        config: the keys of ``configs/finetune.yaml``; those left out take their defaults.

    Raises:
        ConfigError: a key or value that does not fit, or a changed configuration on ``resume``.
        DataError: data that cannot be used, or of elements that the model cannot learn in addition.
        CheckpointError: no trained model there.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was learned is saved.
    """
    started = time.monotonic()
    is_main = getattr(rank_zero_only, "rank", 0) == 0
    console = Console(quiet=not is_main)
    settings, run_dir = _settle(dict(config), is_main)
    checkpoint = checkpoint_of(run_dir, budget_of(settings).max_epochs) if settings["resume"] else None
    with no_empty_folder_left(run_dir):
        task = _prepare(settings, run_dir, console, is_main)
    say(console, plan(task.settings, task.potential, run_dir, checkpoint))
    threads = limited_threads(threads_for(task.settings, task.dataset, task.store, task.potential))
    with threads, telling_how_to_go_on(console, VERB, run_dir):
        trained = _train(task, run_dir, checkpoint, console)
        if not trained.is_main_process:
            return FitResult(run_dir, run_dir / "model", {})
        scratch = _scratch(task, run_dir, console) if _wants_scratch(task.settings, trained) else None
        metrics = _conclude(task, trained, scratch, run_dir, started)
    _print(console, metrics, run_dir)
    return FitResult(run_dir, run_dir / "model", metrics)


@dataclass(frozen=True)
class _Task:
    """All that a fine-tuning starts from: ``potential`` is trained, on ``store`` (own structures, then the replay)."""

    settings: dict[str, Any]
    dataset: Dataset
    start: Start
    potential: Potential
    training: Dataset
    store: GraphStore
    tuning: Tuning
    held_out: list[ase.Atoms]


def _settle(config: dict[str, Any], is_main: bool) -> tuple[dict[str, Any], Path]:
    """The whole configuration and the run directory, which exists afterwards."""
    settings = checked_settings(completed(config, VERB), VERB)
    if settings["resume"] is not None:
        run_dir = Path(settings["resume"]).expanduser()
        return resumed_config(settings, run_dir, VERB), run_dir
    if settings["checkpoint"] is None:
        raise ConfigError(
            "gnnpot finetune needs a trained model: type checkpoint=PATH_OR_NAME (gnnpot info pretrained)"
        )
    if set(settings["model"]) != {"charge"}:
        key = next(name for name in settings["model"] if name != "charge")
        raise ConfigError(f"model.{key}: the trained model brings its own; only model.charge=true can be added")
    if settings["data"]["path"] is None and settings["data"]["train_path"] is None:
        raise ConfigError(
            "gnnpot finetune needs data: type data.path=FILE, or data.train_path=FILE data.test_path=FILE"
        )
    if settings["compare"]["scratch"] and not _is_alone(settings):
        raise ConfigError(
            "compare.scratch=true trains in one process: take trainer.devices=1, or compare.scratch=false"
        )
    model = str(read_card(settings["checkpoint"])["model"].get("_target_", "")).rpartition(".")[2].lower()
    asked = settings["run_dir"]
    run_dir = new_run_dir(asked, VERB, f"finetune-{model}") if is_main else Path(asked or "runs")
    return {**settings, "run_dir": str(run_dir)}, run_dir


def _prepare(settings: dict[str, Any], run_dir: Path, console: Console, is_main: bool) -> _Task:
    dataset = read_dataset(settings, run_dir)
    start = load_start(settings, dataset)
    settings = _with_end(settings, dataset, start.base)
    potential = potential_to_tune(settings, dataset, start)
    if is_main:
        inspect_data(dataset, settings["loss"], console, trainable_properties(potential.outputs))
        look_at_response_labels(settings, dataset)
    replayed = old_frames(settings, "replay", REPLAY_FILES, start.base)
    moved = at_references_of(start.refitted, start.base, replayed, replay_refit(settings, start.base, replayed))
    training = replace(dataset, frames=joined([dataset.frames, moved]))
    share = float(settings["replay"]["fraction"]) if moved else 0.0
    numbers = np.arange(len(dataset.frames), len(training.frames), dtype=np.int64)
    tuning = Tuning(float(settings["layer_decay"]), numbers, share)
    if settings["forgetting"]["path"] is None and shipped_file(settings["checkpoint"], HELD_OUT_FILES) is not None:
        settings = {**settings, "forgetting": {**settings["forgetting"], "path": SHIPPED}}
    held_out = old_frames(settings, "forgetting", HELD_OUT_FILES, start.base)
    store = start.store if not moved else prepare_store(settings, training, potential)
    if is_main:
        save_config(settings, run_dir)
        dataset.split.save(run_dir / SPLIT_FILE)
        _print_start(console, start, settings, dataset.level_of_theory)
    return _Task(settings, dataset, start, potential, training, store, tuning, held_out)


def _with_end(settings: dict[str, Any], dataset: Dataset, base: Potential) -> dict[str, Any]:
    """The settings with a number of epochs, from the number of training structures, where they set no end."""
    if settings["trainer"]["max_epochs"] is not None or settings["trainer"]["max_time"] is not None:
        return settings
    n_train = len(dataset.parts["train"])
    steps = STEPS_OF_ONE * n_train**GROWTH
    epochs = math.ceil(steps / math.ceil(n_train / _own_batch_size(settings, dataset, base)))
    return {**settings, "trainer": {**settings["trainer"], "max_epochs": epochs}}


def _own_batch_size(settings: dict[str, Any], dataset: Dataset, base: Potential) -> int:
    """Structures of the data in a batch; the others are replayed."""
    sizes = atom_counts(dataset.frames)[dataset.parts["train"]]
    share = 0.0 if settings["replay"]["path"] is None else float(settings["replay"]["fraction"])
    return own_batch_size(batch_size_of(settings["batch_size"], sizes, base.fewest_structures), share)


def _train(task: _Task, run_dir: Path, checkpoint: Path | None, console: Console) -> Trained:
    shown = console if task.settings["trainer"]["progress"] else Console(quiet=True)
    settings, potential = task.settings, task.potential
    return train(settings, task.training, task.store, potential, run_dir, checkpoint, shown, task.tuning)


@dataclass(frozen=True)
class _Scratch:
    """The model trained from scratch, on its own graphs; None where its training broke off."""

    potential: Potential | None
    store: GraphStore


def _wants_scratch(settings: dict[str, Any], trained: Trained) -> bool:
    asked = settings["compare"]["scratch"]
    return bool(asked) if asked is not None else trained.seconds < CHEAP_SECONDS and _is_alone(settings)


def _is_alone(settings: dict[str, Any]) -> bool:
    """Whether one process trains: a second training in a group of processes is not tried."""
    return settings["trainer"]["devices"] == 1 and settings["trainer"]["num_nodes"] == 1


def _scratch(task: _Task, run_dir: Path, console: Console) -> _Scratch:
    """Train the same model from scratch on the same split, with as many steps on as many structures."""
    folder = run_dir / SCRATCH
    folder.mkdir(exist_ok=True)
    settings, dataset = _scratch_settings(task), task.dataset
    potential = prepare_model(settings, dataset)
    store = prepare_store(settings, dataset, potential)
    learn_buffers(potential, settings, graphs_of(store, dataset.parts["train"]))
    say(console, f"for comparison, the same model from scratch with as many steps, in {folder}")
    shown = console if settings["trainer"]["progress"] else Console(quiet=True)
    checkpoint = checkpoint_of(folder, budget_of(settings).max_epochs)
    try:
        train(settings, dataset, store, potential, folder, checkpoint, shown)
    except DivergenceError as error:
        warnings.warn(f"the training from scratch broke off: {error}", DataWarning, stacklevel=2)
        return _Scratch(None, store)
    save(potential, folder / "model", {"level_of_theory": dataset.level_of_theory})
    return _Scratch(potential.eval(), store)


def _scratch_settings(task: _Task) -> dict[str, Any]:
    settings, base = task.settings, task.start.base
    backbone = base.backbone if isinstance(base, ResponsePotential) else base
    head = settings.get("head")
    if isinstance(base, ResponsePotential):
        head = described(base.head) | dict.fromkeys(FACTS_OF_BACKBONE)
    usual = compose("fit")["optimizer"]["schedule"]["warm_up"]
    schedule = {**settings["optimizer"]["schedule"], "warm_up": usual}
    return {
        **settings,
        "checkpoint": None,
        "freeze": None,
        "model": untrained(backbone, elements_of(task.dataset)),
        "head": head,
        "batch_size": _own_batch_size(settings, task.dataset, base),
        "optimizer": {**settings["optimizer"], "lr": None, "schedule": schedule},
    }


def _conclude(task: _Task, trained: Trained, scratch: _Scratch | None, run_dir: Path, started: float) -> dict[str, Any]:
    """Compare, keep the best, and write metrics, model and report."""
    potential, dataset, start = task.potential, task.dataset, task.start
    n_trained = potential.n_parameters
    merge_adapters(potential)
    potential.requires_grad_(True).eval()
    models = {"base": start.base, "base_refitted": start.refitted, "finetuned": potential}
    models = {name: model.to(potential.device) for name, model in models.items()}
    stores = dict.fromkeys(models, task.store)
    if scratch is not None and scratch.potential is not None:
        models[SCRATCH], stores[SCRATCH] = scratch.potential, scratch.store
    terms, units = objective(task.settings, dataset, task.store, potential)
    val = dataset.parts.get("val", np.zeros(0, dtype=np.int64))
    shared = shared_terms(terms, models.values())
    losses = {name: validation_loss(model, stores[name], val, shared, units) for name, model in models.items()}
    verdict = judge(losses, len(val), trained.failure, task.settings.get("head") is not None)
    kept = models[verdict.kept]
    parts, metrics = errors_of_parts(kept, dataset, stores[verdict.kept])
    errors = {name: _errors(task, model, stores[name], losses[name]) for name, model in models.items()}
    metrics["finetuning"] = _account(task, verdict, errors, n_trained)
    metrics["timing"] = cost_of(trained, time.monotonic() - started)
    metrics["provenance"] = origin_of(kept, dataset, int(task.settings["seed"]))
    write_results(run_dir, kept, parts, metrics, _card(task, verdict, metrics))
    if verdict.kept == SCRATCH:
        save(potential, run_dir / "finetuned", {"level_of_theory": dataset.level_of_theory})
    write_report(run_dir)
    return metrics


def _errors(task: _Task, model: Potential, store: GraphStore, loss: float | None) -> dict[str, Any]:
    """Errors of one of the models on validation, test and held-out frames."""
    names, kinds = frame_names(task.dataset.frames), entries_of(task.dataset.frames, "config_type")
    found: dict[str, Any] = {} if loss is None else {"validation_loss": loss}
    for part in ("val", "test"):
        if part in task.dataset.parts:
            found[part] = part_metrics(parity_of(model, store, task.dataset.parts[part], names, kinds))
    held_out = held_out_errors(model, task.start.base, task.held_out)
    return found if held_out is None else {**found, "held_out": held_out}


def _account(task: _Task, verdict: Verdict, errors: dict[str, dict[str, Any]], n_trained: int) -> dict[str, Any]:
    """The section ``finetuning`` of ``metrics.json``."""
    settings, refit = task.settings, task.start.refit
    rate = settings["optimizer"]["lr"]
    account: dict[str, Any] = {
        "checkpoint": str(settings["checkpoint"]),
        "level_of_theory": {
            "checkpoint": task.start.base.card.get("level_of_theory", UNKNOWN),
            "data": task.dataset.level_of_theory,
        },
        "kept": verdict.kept,
        "new_head": settings.get("head") is not None,
        "verdict": verdict.text,
        "advice": list(verdict.advice),
        "models": errors,
        "trained_weights": n_trained,
        "learning_rate": task.potential.learning_rate if rate is None else rate,
        "layer_decay": task.tuning.layer_decay,
        "adapter_rank": settings["adapter_rank"],
        "frozen": list(frozen_names(settings)),
        "new_elements": list(task.start.new_elements),
        "replay": {"frames": len(task.tuning.replay), "fraction": task.tuning.replay_share},
    }
    if refit is not None:
        account["references"] = {
            shift.symbol: {
                "base_ev": shift.base,
                "refitted_ev": shift.refitted,
                "shift_ev": shift.shift,
                "is_determined": shift.is_determined,
            }
            for shift in refit.shifts
        }
        account["energy_rms_mev_per_atom"] = {"base": 1000.0 * refit.rms_before, "refitted": 1000.0 * refit.rms_after}
    forces = metric_name("forces", "mae")
    before, after = (errors[name].get("held_out", {}).get(forces) for name in ("base", "finetuned"))
    if before and after is not None:
        account["forgetting_ratio"] = after / before
    return account


def _card(task: _Task, verdict: Verdict, metrics: dict[str, Any]) -> dict[str, Any]:
    """What ``model.yaml`` says: that of a training, and what it was fine-tuned from."""
    old = task.start.base.card
    return {
        **card_of(task.settings, task.dataset, metrics),
        "finetuning": {
            "checkpoint": str(task.settings["checkpoint"]),
            "checkpoint_level_of_theory": old.get("level_of_theory", UNKNOWN),
            "checkpoint_trained_on": old.get("trained_on", UNKNOWN),
            "kept": verdict.kept,
            "verdict": verdict.text,
        },
    }


def _print_start(console: Console, start: Start, settings: dict[str, Any], of_data: str) -> None:
    """Level of theory, new elements, and the shift of every reference energy."""
    level = start.base.card.get("level_of_theory", UNKNOWN)
    say(console, f"fine-tuning {settings['checkpoint']} ({start.base.title})")
    say(console, f"level of theory: {level} of the checkpoint, {of_data} of the data (data.level_of_theory=NAME)")
    if frozen_names(settings):
        say(console, f"weights that stay: {', '.join(frozen_names(settings))} (freeze=[] lets all learn)")
    if start.new_elements:
        say(console, f"new elements, begun as copies of their nearest kin: {', '.join(start.new_elements)}")
    if start.refit is None:
        say(console, "no reference energies to fit: the model gives no energies, or no training structure has one")
        return
    rows = {s.symbol: (s.base, s.refitted, s.is_determined) for s in start.refit.shifts}
    console.print(rich_table(references_table(rows)))


def _print(console: Console, metrics: dict[str, Any], run_dir: Path) -> None:
    print_result(console, metrics, run_dir)
    account = metrics["finetuning"]
    console.print(rich_table(models_table(account)))
    if "forgetting_ratio" in account:
        say(
            console,
            f"forgetting ratio (force MAE on held-out frames, after / before): {account['forgetting_ratio']:.2f}",
        )
    for line in (account["verdict"], *account["advice"]):
        say(console, line)
