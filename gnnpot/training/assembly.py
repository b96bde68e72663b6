"""A training put together: the trainer with its callbacks, and what they leave behind."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console

from gnnpot.config import build
from gnnpot.data.store import GraphStore
from gnnpot.errors import DivergenceError, TrainingError
from gnnpot.keys import TRAINABLE
from gnnpot.models.potential import Potential
from gnnpot.models.store import save
from gnnpot.nn.adapters import merge_adapters
from gnnpot.training.averaging import Averaging, WeightAverage
from gnnpot.training.batches import Indices, batch_size_of
from gnnpot.training.course import Course
from gnnpot.training.datamodule import TrainingData
from gnnpot.training.dataset import Dataset, is_bundled, names_of
from gnnpot.training.evaluation import learnable_properties
from gnnpot.training.log import TrainingLog
from gnnpot.training.losses import LabelStatistics, LossTerm, LossUnits, loss_terms
from gnnpot.training.module import TrainingModule
from gnnpot.training.pace import Pace
from gnnpot.training.preparation import graphs_of, precision_of
from gnnpot.training.progress import ProgressDisplay
from gnnpot.training.quiet import without_notices
from gnnpot.training.rescue import Rescue
from gnnpot.training.resume import CHECKPOINT_FILE, read_checkpoint
from gnnpot.training.saving import Interrupts, Saving, StopAfterInterruptError, TrainingInterrupted
from gnnpot.training.schedule import Budget, schedule_of, seconds_of
from gnnpot.training.tuning import Tuning, batch_order, rated_groups
from gnnpot.training.validation import Validation

BUNDLED_SECONDS = 150.0
DEFAULT_SECONDS = 900.0
"""Budgets where the configuration sets none: for the bundled data, for the user's own."""

VALIDATION_COST = 0.35
"""Cost of validating an edge, over that of training on it."""

LABEL_FIELDS = (*TRAINABLE, "charge")
OPTIMIZERS = ("torch.optim", "gnnpot.training.soap")

VALIDATION_SHARE = 0.1
FEWEST_STEPS = 20
"""Steps between two validations, at least."""


@dataclass(frozen=True)
class Trained:
    """What a training gives: its course is over, the best weights are in the potential."""

    seconds: float
    cpu_seconds: float
    waited_seconds: float
    """For batches, of this process, since it started."""
    epochs: int
    steps: int
    best_epoch: int
    """1 for the first; 0 where a fine-tuning never came below its start."""
    rescues: int
    """How often the loss jumped, and the training went back to its best weights."""
    is_main_process: bool
    failure: str | None = None
    """Why a fine-tuning ended before its time: its loss became no number."""


def budget_of(config: dict[str, Any]) -> Budget:
    """Budget of a configuration; where it sets none, 2.5 minutes on bundled data and 15 on other."""
    trainer = config["trainer"]
    seconds = None if trainer["max_time"] is None else seconds_of(trainer["max_time"])
    if seconds is None and trainer["max_epochs"] is None:
        seconds = BUNDLED_SECONDS if is_bundled(config) else DEFAULT_SECONDS
    return Budget(trainer["max_epochs"], seconds)


def validation_interval(n_edges: Indices, train: Indices, val: Indices, n_batches: int) -> int:
    """Epochs between validations, so that they take at most about a tenth of the time.

    >>> validation_interval(np.full(100, 50), train=np.arange(90), val=np.arange(90, 100), n_batches=30)
    1
    """
    share = VALIDATION_COST * float(n_edges[val].sum()) / max(float(n_edges[train].sum()), 1.0)
    return max(1, int(np.ceil(max(share / VALIDATION_SHARE, FEWEST_STEPS / n_batches))))


def train(
    config: dict[str, Any],
    dataset: Dataset,
    store: GraphStore,
    potential: Potential,
    run_dir: Path,
    checkpoint: Path | None,
    console: Console,
    tuning: Tuning | None = None,
) -> Trained:
    """Run the training to its end; the potential then holds the best validated weights, on the device of training.

    A fine-tuning (with ``tuning``) starts from weights that count as a candidate for the best.

    Raises:
        TrainingInterrupted: Ctrl-C or SIGTERM; the training is saved.
        DivergenceError: the loss is no number, in a training from scratch.
        TrainingError: the validation loss never was one, or the checkpoint cannot be written.
    """
    terms, units = objective(config, dataset, store, potential, None if tuning is None else tuning.replay)
    clip = config["trainer"]["gradient_clip"]
    module = TrainingModule(
        potential,
        terms,
        units,
        int(config["seed"]),
        None if clip is None else float(clip),
        partial(_optimizer, config["optimizer"], potential, 1.0 if tuning is None else tuning.layer_decay),
        partial(names_of, dataset.frames),
    )
    val = dataset.parts.get("val", np.zeros(0, dtype=np.int64))
    training = dataset.parts["train"]
    size = batch_size_of(config["batch_size"], store.n_atoms[training], potential.fewest_structures)
    order = batch_order(training, size, int(config["seed"]), store.n_edges, tuning)
    data = TrainingData(store, order, val, precision_of(config))
    course = Course()
    pace = Pace(course, budget_of(config), schedule_of(config["optimizer"]["schedule"]), order.n_batches)
    log = TrainingLog(run_dir / "log.csv", [term.property for term in terms])
    display = ProgressDisplay(pace, console)
    validation = _validation(config, dataset, store, pace, potential, data, log, display.show, tuning is not None)
    rescue = Rescue(validation, pace, console)
    saving = Saving(run_dir / CHECKPOINT_FILE, course, partial(_keep_best, validation, potential, run_dir))
    averaging = [Averaging(validation.average)] if validation.average else []
    interrupts = Interrupts(course)
    trainer = _trainer(config, pace.budget, [interrupts, pace, *averaging, validation, rescue, saving, display])
    if trainer.is_global_zero:
        log.truncate(0 if checkpoint is None else int(read_checkpoint(checkpoint)["epoch"]) + 1)
    failure = None
    with without_notices(), interrupts:
        try:
            _run(trainer, module, data, checkpoint)
        except DivergenceError as error:
            if tuning is None:
                raise
            failure = str(error)
    if not validation.best_weights:
        raise TrainingError("the validation loss was never a number: look at the validation frames and optimizer.lr")
    potential.load_state_dict(validation.best_weights)
    potential.to(trainer.strategy.root_device)
    return Trained(
        seconds=course.seconds(),
        cpu_seconds=course.cpu_seconds(),
        waited_seconds=data.waited_seconds,
        epochs=course.epochs_validated,
        steps=trainer.global_step,
        best_epoch=course.best_epoch + 1,
        rescues=rescue.n_rescues,
        is_main_process=trainer.is_global_zero,
        failure=failure,
    )


def _run(trainer: lightning.Trainer, module: TrainingModule, data: TrainingData, checkpoint: Path | None) -> None:
    try:
        trainer.fit(
            module, datamodule=data, ckpt_path=None if checkpoint is None else str(checkpoint), weights_only=True
        )
    except StopAfterInterruptError:
        raise TrainingInterrupted(f"interrupted after {trainer.global_step} steps and saved") from None


def objective(
    config: dict[str, Any],
    dataset: Dataset,
    store: GraphStore,
    potential: Potential,
    replay: Indices | None = None,
) -> tuple[tuple[LossTerm, ...], LossUnits]:
    """Terms of the loss that model and labels allow and that a trainable weight touches, and their units.

    Labels are those of the training structures, and of replayed ones where the others lack a kind.
    """
    statistics = LabelStatistics.of(graphs_of(store, dataset.parts["train"], LABEL_FIELDS))
    if replay is not None and len(replay):
        statistics = statistics.completed_by(LabelStatistics.of(graphs_of(store, replay, LABEL_FIELDS)))
    available = [name for name in learnable_properties(potential) if statistics.counts[name]]
    return loss_terms(config["loss"], available), statistics.units


def _optimizer(
    config: dict[str, Any], potential: Potential, layer_decay: float, parameters: list[torch.nn.Parameter]
) -> torch.optim.Optimizer:
    arguments = {key: value for key, value in config.items() if key != "schedule"}
    if arguments.get("lr") is None:
        arguments["lr"] = potential.learning_rate
    groups = rated_groups(potential, parameters, float(arguments["lr"]), layer_decay)
    optimizer: torch.optim.Optimizer = build(arguments, OPTIMIZERS, params=groups)
    return optimizer


def _validation(
    config: dict[str, Any],
    dataset: Dataset,
    store: GraphStore,
    pace: Pace,
    potential: Potential,
    data: TrainingData,
    log: TrainingLog,
    show: Callable[[dict[str, float | int]], None],
    counts_start: bool,
) -> Validation:
    settings = config["trainer"]
    decay = settings["ema"]
    average = WeightAverage(potential, float(decay)) if decay is not None else None
    every = settings["validate_every"]
    if every is None:
        every = validation_interval(store.n_edges, dataset.parts["train"], data.val, pace.n_batches)
    patience = settings["early_stopping"]
    stop_after = None if patience is None else int(patience)
    return Validation(data.validation_graphs, int(every), stop_after, pace, average, log, show, counts_start)


def _keep_best(validation: Validation, potential: Potential, run_dir: Path) -> None:
    """Write the best model so far, with a card that says that the training is not over."""
    if validation.best_weights:
        best: Potential = copy.deepcopy(potential)
        best.load_state_dict(validation.best_weights)
        merge_adapters(best)
        save(best, run_dir / "model", {"status": f"training not finished, epoch {validation.course.best_epoch + 1}"})


def _strategy(settings: dict[str, Any]) -> str | DDPStrategy:
    """Lightning's strategy of this name; several processes do not send each other buffers, which no step changes."""
    if settings["strategy"] != "ddp":
        return str(settings["strategy"])
    return DDPStrategy(broadcast_buffers=False)


def _trainer(config: dict[str, Any], budget: Budget, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    settings = config["trainer"]
    accelerator = settings["accelerator"]
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    with without_notices():
        return lightning.Trainer(
            accelerator=accelerator,
            devices=settings["devices"],
            num_nodes=settings["num_nodes"],
            strategy=_strategy(settings),
            max_epochs=-1 if budget.max_epochs is None else budget.max_epochs,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            inference_mode=False,
            use_distributed_sampler=False,
        )
