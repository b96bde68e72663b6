"""From frames to graphs, and the model that the data ask for."""

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from gnnpot.config import build
from gnnpot.data.charges import refuse_without_charge, unseen_charges
from gnnpot.data.frames import atom_counts, numbers_of, selected
from gnnpot.data.graph import AtomicGraph, graph_from_atoms
from gnnpot.data.labels import frame_name
from gnnpot.data.store import GraphStore, cached_store
from gnnpot.errors import ConfigError, DataWarning, GnnpotWarning, UnknownElementError, did_you_mean
from gnnpot.kinds import checked_kinds, hints_of
from gnnpot.models.potential import Potential
from gnnpot.models.store import load
from gnnpot.training.batches import Indices, batch_size_of
from gnnpot.training.cutoffs import cutoff_for, longest_cutoff
from gnnpot.training.datamodule import evaluation_batches
from gnnpot.training.dataset import MODELS, Dataset, model_class
from gnnpot.training.heads import add_head, freeze
from gnnpot.training.threads import worthwhile_threads

SAMPLED = 200
"""Training graphs that a model may look at before it is made."""

ESTIMATED = 5
"""Frames from which the size of precomputed arrays is estimated."""


def prepare_model(config: dict[str, Any], dataset: Dataset) -> Potential:
    """Make or load the model for the training frames; what the configuration leaves open (null) is filled in from them.

    Raises:
        UnknownElementError: validation or test frames, or the training's own, hold an element that the model lacks.
        DataError: a frame without a total charge or a volume, for a model that takes them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(config["seed"]))
        potential = _new_model(config, dataset) if config["checkpoint"] is None else load(config["checkpoint"])
        _refuse_unknown_elements(potential, dataset)
        look_at_charges(potential, dataset)
        if config.get("head") is not None:
            potential = add_head(config, dataset, potential)
    freeze(potential, config)
    return potential.to(precision_of(config)).train()


def _new_model(config: dict[str, Any], dataset: Dataset) -> Potential:
    train = dataset.parts["train"]
    found = model_class(config)
    parameters = inspect.signature(found).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    chosen = train[np.unique(np.linspace(0, len(train) - 1, min(len(train), SAMPLED)).astype(int))]
    frames = list(selected(dataset.frames, chosen))
    given = {key: value for key, value in config["model"].items() if key != "_target_"}
    if "cutoff" in given and given["cutoff"] is None:
        functions = given.get("functions")
        at_least = (found.n_neighbors, found.shortest_cutoff)
        given["cutoff"] = longest_cutoff(functions) if functions else cutoff_for(frames, *at_least)
    arguments = checked_kinds(defaults | given, hints_of(found), "model.")
    if arguments.get("elements") is None:
        arguments["elements"] = sorted({z for k in train.tolist() for z in numbers_of(dataset.frames, k).tolist()})
    graphs = [graph_from_atoms(atoms, float(arguments["cutoff"])) for atoms in frames]
    resolved = found.resolve(arguments, graphs, int(atom_counts(dataset.frames)[train].sum()))
    potential: Potential = build({"_target_": config["model"]["_target_"], **resolved}, MODELS)
    return potential


def _refuse_unknown_elements(potential: Potential, dataset: Dataset) -> None:
    for part, indices in dataset.parts.items():
        for k in indices.tolist():
            unknown = sorted(set(numbers_of(dataset.frames, k).tolist()) - set(potential.elements))
            if unknown:
                known = ", ".join(chemical_symbols[z] for z in potential.elements)
                raise UnknownElementError(
                    f"{frame_name(dataset.frames[k])} ({part}) holds {chemical_symbols[unknown[0]]}, but the model "
                    f"has {known}: no training frame holds it, model.elements leaves it out, or the checkpoint "
                    "never learned it. Put frames with it into the training part, or remove this one"
                )


def look_at_charges(potential: Potential, dataset: Dataset) -> None:
    """Refuse frames without a charge where the model takes it; warn of charges that it does not see."""
    if potential.takes_charge:
        refuse_without_charge(dataset.frames[k] for indices in dataset.parts.values() for k in indices.tolist())
        return
    unseen = unseen_charges(selected(dataset.frames, dataset.parts["train"]))
    if unseen is not None:
        warnings.warn(unseen, DataWarning, stacklevel=3)


def precision_of(config: dict[str, Any]) -> torch.dtype:
    """Precision of the network.

    >>> precision_of({"trainer": {"precision": "float64"}})
    torch.float64
    """
    types = {"float32": torch.float32, "float64": torch.float64}
    name = str(config["trainer"]["precision"])
    if name not in types:
        raise ConfigError(f"trainer.precision={name!r} is unknown; {did_you_mean(name, types)}")
    return types[name]


def prepare_store(
    config: dict[str, Any], dataset: Dataset, potential: Potential, progress: Callable[[int, int], None] | None = None
) -> GraphStore:
    """Graphs of all frames, from the cache where these data were seen before.

    What the model can compute ahead (descriptors) is stored with them, unless that takes more than
    ``data.cache_limit`` bytes: then it is computed in every step, and a warning says so.
    """
    data = config["data"]
    size, limit = _precomputed_bytes(dataset, potential), _cache_limit(data["cache_limit"])
    if size > limit:
        warnings.warn(
            f"what {type(potential).__name__} can compute ahead takes {size / 1e9:.1f} GB for these data, more than "
            f"data.cache_limit allows ({limit / 1e9:.1f} GB): it is computed in every step, which is slower. Raise the "
            "limit if the disk has the room, as data.cache_limit=20e9",
            GnnpotWarning,
            stacklevel=2,
        )
    if not 0 < size <= limit:
        return cached_store(dataset.frames, potential.cutoff, None, "", data["cache"], progress)
    signature = potential.precomputes_by
    return cached_store(dataset.frames, potential.cutoff, potential.precompute, signature, data["cache"], progress)


def _cache_limit(asked: float | None) -> float:
    """Bytes; null: half of the memory of this machine, where the stored numbers are read from after the first epoch."""
    if asked is not None:
        return float(asked)
    return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _precomputed_bytes(dataset: Dataset, potential: Potential) -> float:
    """Size of what the model computes ahead for all frames, from a few of them; 0 where it computes nothing."""
    chosen = np.unique(np.linspace(0, len(dataset.frames) - 1, min(len(dataset.frames), ESTIMATED)).astype(int))
    n_bytes, n_atoms = 0, 0
    for k in chosen:
        fields = potential.precompute(graph_from_atoms(dataset.frames[k], potential.cutoff))
        n_bytes += sum(value.numel() * value.element_size() for value in fields.values())
        n_atoms += len(dataset.frames[k])
    return n_bytes / n_atoms * int(atom_counts(dataset.frames).sum())


def graphs_of(store: GraphStore, indices: Indices, fields: Sequence[str] | None = None) -> Iterator[AtomicGraph]:
    """Graphs of some structures in double precision, a batch at a time, with all fields or some."""
    for batch in evaluation_batches(store.n_edges, indices):
        yield store.batch(batch, torch.float64, fields)


def threads_for(config: dict[str, Any], dataset: Dataset, store: GraphStore, potential: Potential) -> int:
    """Threads as asked for, or as a batch is worth.

    Raises:
        ConfigError: fewer than one.
    """
    asked = config["trainer"]["threads"]
    if asked is not None:
        if int(asked) < 1:
            raise ConfigError(f"trainer.threads={asked} must be at least 1, or null to choose by the size of a batch")
        return int(asked)
    train = dataset.parts["train"]
    n_structures = batch_size_of(config["batch_size"], store.n_atoms[train], potential.fewest_structures)
    return worthwhile_threads(float(store.n_edges[train].mean()) * n_structures, torch.get_num_threads())
