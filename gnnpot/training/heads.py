"""Response heads in a training: on a model that is trained along, or on one that was trained before."""

import fnmatch
import inspect
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from gnnpot.config import build, check_class, compose, flatten
from gnnpot.data.frames import entries_of, frame_names, labelled, numbers_of, selected
from gnnpot.data.graph import AtomicGraph, cast, graph_from_atoms
from gnnpot.errors import ConfigError, DataError, DataWarning
from gnnpot.keys import RESPONSE, TRAINABLE
from gnnpot.kinds import checked_kinds, hints_of
from gnnpot.models.heads import FAR_ENOUGH, ResponseHead
from gnnpot.models.polarization import MEANING_OF_SHIFT, SMALLEST_SHIFT, PolarizationHead
from gnnpot.models.potential import Potential
from gnnpot.models.response import MODELS, ResponsePotential, joined
from gnnpot.models.store import read_card
from gnnpot.training.dataset import Dataset, model_class

FACTS_OF_BACKBONE = ("elements", "n_inputs")
"""Arguments of a head that follow from the model which carries it."""
FROZEN = ("backbone",)
"""Weights that stay where a trained model gets a head and neither ``freeze`` nor adapters are asked for."""


def head_class(config: dict[str, Any]) -> type[ResponseHead] | None:
    """Class of the head that a configuration asks for; None without one.

    Raises:
        ConfigError: not a head of gnnpot.
    """
    if config.get("head") is None:
        return None
    found = check_class(str(config["head"].get("_target_", "")), MODELS)
    if not issubclass(found, ResponseHead):
        raise ConfigError(f"head._target_={config['head'].get('_target_')!r} is not a response head")
    return found


def with_model_of_checkpoint(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the model of ``checkpoint`` in the place of ``model``.

    Raises:
        ConfigError: a checkpoint without a head to put on it, with a model beside it, or one that has a head.
        CheckpointError: no checkpoint there.
    """
    path = config["checkpoint"]
    if path is None:
        return config
    if config.get("head") is None:
        raise ConfigError(
            f"checkpoint={path} gets a response head: add head=polarization or head=born_tensor. To go on with a "
            "training, give its run directory as resume="
        )
    if flatten(config["model"]) != flatten(compose("fit")["model"]):
        raise ConfigError(f"checkpoint={path} brings its own model: leave model= and its keys out")
    model = read_card(path)["model"]
    if str(model.get("_target_")) == f"{ResponsePotential.__module__}.{ResponsePotential.__qualname__}":
        raise ConfigError(f"checkpoint={path} has a response head already: give the potential that it was made from")
    return {**config, "model": model}


def trained_outputs(config: dict[str, Any], dataset: Dataset) -> frozenset[str]:
    """Outputs that learn: those of the head, and of the model unless it is frozen or has no labels."""
    head = head_class(config)
    of_model = model_class(config).outputs
    if head is None:
        return of_model
    frozen = frozen_names(config) == FROZEN
    return head.outputs | (frozenset() if frozen or not _has_energies(config, dataset) else of_model)


def add_head(config: dict[str, Any], dataset: Dataset, backbone: Potential) -> ResponsePotential:
    """A model of the backbone and the head that the configuration asks for, made for the training frames.

    Raises:
        ConfigError: an argument that the head does not have.
    """
    found = head_class(config)
    if found is None:
        raise ConfigError("head=null: there is no head to add")
    train = selected(dataset.frames, dataset.parts["train"])
    parameters = inspect.signature(found).parameters.values()
    arguments = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    given = {key: value for key, value in config["head"].items() if key != "_target_"}
    _refuse_facts_of_backbone(given)
    arguments = checked_kinds(arguments | given, hints_of(found), "head.")
    graph = cast(graph_from_atoms(train[0], backbone.cutoff), backbone.dtype)
    with torch.no_grad():
        n_inputs = backbone.features(graph).shape[1]
    arguments |= {"elements": list(backbone.elements), "n_inputs": n_inputs, "cutoff": _cutoff(given, backbone)}
    cells = (numbers_of(train, k).tolist() for k in range(len(train)))
    formulas = {frozenset(Counter(chemical_symbols[z] for z in numbers).items()) for numbers in cells}
    resolved = found.resolve(arguments, [dict(formula) for formula in sorted(formulas, key=sorted)])
    head = build({"_target_": config["head"]["_target_"], **resolved}, MODELS)
    if isinstance(head, PolarizationHead):
        _warn_of_shifted_charges(head, train)
    has_energy = config["checkpoint"] is not None or _has_energies(config, dataset)
    return joined(backbone, head, has_energy)


def _refuse_facts_of_backbone(given: dict[str, Any]) -> None:
    for name in FACTS_OF_BACKBONE:
        if given.get(name) is not None:
            raise ConfigError(f"head.{name}={given[name]} is that of the model which carries the head: leave it null")


def _cutoff(given: dict[str, Any], backbone: Potential) -> float:
    """Of the head, Å: as asked, or as far as is enough; the backbone knows no pairs beyond its own."""
    if given.get("cutoff") is None:
        return min(FAR_ENOUGH, backbone.cutoff)
    cutoff = float(given["cutoff"])
    if not 0.0 < cutoff <= backbone.cutoff:
        raise ConfigError(
            f"head.cutoff={cutoff:g}: the model that carries the head knows neighbors up to {backbone.cutoff:g} Å. "
            "Give a positive number up to that, or null"
        )
    return cutoff


def _warn_of_shifted_charges(head: PolarizationHead, frames: Sequence[Atoms]) -> None:
    """Say where the oxidation numbers do not add up to the charge of the cell (`DataWarning`)."""
    charges = [float(charge or 0.0) for charge in entries_of(frames, "charge")]
    shifts = np.array([head.ionic_charges.shift(numbers_of(frames, k), charge) for k, charge in enumerate(charges)])
    shifted = np.abs(shifts) > SMALLEST_SHIFT
    if shifted.any():
        first = int(np.argmax(shifted))
        warnings.warn(
            f"head.charges={head.charges}: in {int(shifted.sum())} of {len(frames)} training frames the oxidation "
            f"numbers do not add up to the charge of the cell, and every ion gets the rest in equal parts, "
            f"{shifts[first]:+.4g} e in {frame_names(frames)[first]}: {MEANING_OF_SHIFT}",
            DataWarning,
            stacklevel=3,
        )


def frozen_names(config: dict[str, Any]) -> Sequence[str]:
    """Patterns of the weights that stay: those of ``freeze``, or what goes without saying."""
    if config["freeze"] is not None:
        patterns: Sequence[str] = config["freeze"]
        return patterns
    trains_head_alone = config["checkpoint"] is not None and config.get("head") is not None
    return FROZEN if trains_head_alone and config.get("adapter_rank") is None else ()


def freeze(potential: Potential, config: dict[str, Any]) -> None:
    """Hold the weights that ``freeze`` names: whole names, beginnings of them up to a dot, or patterns with ``*``.

    Raises:
        ConfigError: a name that no weight has, or no weight is left to train.
    """
    patterns = frozen_names(config)
    if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigError(f"freeze={patterns}: give a list of names, as freeze=[backbone]")
    names = [name for name, _ in potential.named_parameters()]
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            tops = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ConfigError(f"freeze={pattern}: no weight of that name; there are {', '.join(tops)}")
    for name, parameter in potential.named_parameters():
        if any(_matches(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in potential.parameters()):
        raise ConfigError(f"freeze={list(patterns)} leaves no weight to train")


def is_frozen(module: torch.nn.Module) -> bool:
    """Whether no weight of a module is trained."""
    return not any(parameter.requires_grad for parameter in module.parameters())


def learn_buffers(potential: Potential, config: dict[str, Any], graphs: Iterable[AtomicGraph]) -> None:
    """Fill what follows from the training data; a model that was trained before keeps what it has."""
    if config["checkpoint"] is not None and isinstance(potential, ResponsePotential):
        potential.learn_response_from(graphs)
    else:
        potential.learn_from(graphs)


def look_at_response_labels(config: dict[str, Any], dataset: Dataset) -> None:
    """Refuse a head that has nothing to learn from; say where its model gives Born charges alone (`DataWarning`).

    Raises:
        DataError: no training frame has Born charges or a polarization.
    """
    if head_class(config) is None:
        return
    train = selected(dataset.frames, dataset.parts["train"])
    if not any(mask.any() for mask in labelled(train, RESPONSE).values()):
        raise DataError(
            f"none of the {len(train)} training frames carries Born charges or a polarization, from which a head "
            "learns: name their column, as data.keys={born_effective_charges: NAME}, or leave head= out"
        )
    if config["checkpoint"] is None and not _has_energies(config, dataset):
        warnings.warn(
            "no training frame carries energies, forces or a stress with a weight in the loss: the model will give its "
            "electric response alone",
            DataWarning,
            stacklevel=2,
        )


def _has_energies(config: dict[str, Any], dataset: Dataset) -> bool:
    """Whether any training frame has a label, with a weight, from which energies or forces are learned."""
    names = [n for n in TRAINABLE if n not in RESPONSE and n in config["loss"] and config["loss"][n]["weight"] > 0.0]
    return any(mask.any() for mask in labelled(selected(dataset.frames, dataset.parts["train"]), names).values())


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(pattern + ".") or fnmatch.fnmatchcase(name, pattern)
