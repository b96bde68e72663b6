"""Where a fine-tuning starts: the trained model, made fit for the data, with its reference energies fitted to them."""

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import nn

from gnnpot.data.frames import numbers_of
from gnnpot.data.store import GraphStore
from gnnpot.errors import ConfigError, DataWarning
from gnnpot.models.growth import with_charge, with_elements
from gnnpot.models.potential import Potential
from gnnpot.models.response import ResponsePotential
from gnnpot.models.store import load
from gnnpot.nn.adapters import add_adapters
from gnnpot.training.dataset import Dataset
from gnnpot.training.heads import add_head, freeze, is_frozen
from gnnpot.training.preparation import graphs_of, look_at_charges, precision_of, prepare_store
from gnnpot.training.references import Refit, apply_references, fit_references

RATE_SHARE = 1.0 / 3.0
"""Peak of the learning rate over that of a training from scratch; adapters, which start at zero, take the whole."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Start:
    """The checkpoint in the precision of the training, as it is and with re-fitted references; graphs of the data.

    ``new_elements`` are symbols that the checkpoint did not know, ``refit`` is None where there are no energies.
    """

    base: Potential
    refitted: Potential
    store: GraphStore
    refit: Refit | None
    new_elements: tuple[str, ...]


def load_start(config: dict[str, Any], dataset: Dataset) -> Start:
    """Load the checkpoint and fit its reference energies to the training frames.

    Raises:
        UnknownElementError: an element that this kind of model cannot learn in addition.
        ConfigError: a charge or a head that it cannot take.
        DataError: a frame without a total charge, for a model that takes it.
    """
    loaded = load(config["checkpoint"]).to(precision_of(config))
    if config.get("head") is not None and isinstance(loaded, ResponsePotential):
        raise ConfigError(
            f"checkpoint={config['checkpoint']} has a response head already: leave head= out to go on with it, or give "
            "the potential that it was made from"
        )
    numbers = elements_of(dataset)
    base = with_elements(loaded, numbers)
    new_elements = tuple(chemical_symbols[z] for z in base.elements if z not in loaded.elements)
    is_charged = bool(config["model"]["charge"]) and not base.takes_charge
    base = with_charge(base) if is_charged else base
    look_at_charges(base, dataset)
    _compare_levels(config, loaded.card, dataset)
    store = prepare_store(config, dataset, base)
    train = dataset.parts["train"]
    if is_charged:
        for _ in base.watching_charges(graphs_of(store, train)):
            pass
    refitted = copy.deepcopy(base)
    refitted.adapt_to(graphs_of(store, train))
    refit = fit_references(refitted, graphs_of(store, train))
    if refit is not None:
        apply_references(refitted, refit)
    return Start(base.eval(), refitted.eval(), store, refit, new_elements)


def potential_to_tune(config: dict[str, Any], dataset: Dataset, start: Start) -> Potential:
    """A copy of the start with the head, the frozen weights and the adapters that are asked for, ready to train.

    Raises:
        ConfigError: names of weights that do not exist, or no weight is left to train.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(config["seed"]))
        potential = copy.deepcopy(start.refitted)
        if config.get("head") is not None:
            potential = add_head(config, dataset, potential).to(precision_of(config))
            graphs = graphs_of(start.store, dataset.parts["train"])
            if isinstance(potential, ResponsePotential):
                potential.learn_response_from(graphs)
        freeze(potential, config)
        if config["adapter_rank"] is None:
            trains_head_alone = isinstance(potential, ResponsePotential) and is_frozen(potential.backbone)
            potential.learning_rate *= 1.0 if trains_head_alone else RATE_SHARE
        else:
            _adapt(potential, int(config["adapter_rank"]), bool(start.new_elements))
    return potential.train()


def _adapt(potential: Potential, rank: int, has_new_elements: bool) -> None:
    """Adapters on all layers but those of a new head, which is trained whole; embeddings only of new elements."""
    backbone: nn.Module = potential.backbone if isinstance(potential, ResponsePotential) else potential
    add_adapters(backbone, rank)
    if has_new_elements:
        for part in backbone.modules():
            if isinstance(part, nn.Embedding):
                part.weight.requires_grad_(True)


def elements_of(dataset: Dataset) -> set[int]:
    """Atomic numbers of all frames that take part."""
    used = (k for indices in dataset.parts.values() for k in indices.tolist())
    return {int(z) for k in used for z in numbers_of(dataset.frames, k)}


def _compare_levels(config: dict[str, Any], card: dict[str, Any], dataset: Dataset) -> None:
    """Warn where the data are of another level of theory than the checkpoint."""
    old, new = str(card.get("level_of_theory") or UNKNOWN), dataset.level_of_theory
    if UNKNOWN not in (old, new) and old != new:
        warnings.warn(
            f"the checkpoint {config['checkpoint']} was trained on '{old}', the data are '{new}'. Reference energies "
            "are fitted anew, which takes up the shift of each element; forces of two levels differ besides, and the "
            "model moves to those of the data",
            DataWarning,
            stacklevel=3,
        )
