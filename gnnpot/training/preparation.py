"""From files to graphs: reading, checking, splitting, and the model that the data ask for."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.data import chemical_symbols

from gnnpot.config import build, check_class
from gnnpot.data.bundled import bundled_path
from gnnpot.data.graph import AtomicGraph, graph_from_atoms
from gnnpot.data.labels import frame_name
from gnnpot.data.readers import read
from gnnpot.data.splits import Split, split_files, split_frames
from gnnpot.data.store import GraphStore, cached_store
from gnnpot.errors import ConfigError, GnnpotWarning, UnknownElementError, did_you_mean
from gnnpot.kinds import checked_kinds, hints_of
from gnnpot.models.potential import Potential
from gnnpot.training.batches import Indices
from gnnpot.training.datamodule import evaluation_batches

BUNDLED = {
    "Li2O": "PBEsol, Quantum ESPRESSO 6.7, ultrasoft pslibrary pseudopotentials, 45/360 Ry",
    "MgO": "LDA, Quantum ESPRESSO 6.7, Mg.pz-n-vbc, O.pz-rrkjus, 35/210 Ry",
}
"""Data sets in the package, by the name that ``data.path`` takes, with their level of theory."""

PARTS = ("train", "val", "test")
SPLIT_FILE = "split.json"

SAMPLED = 200
"""Training graphs that a model may look at before it is made."""

ESTIMATED = 5
"""Frames from which the size of precomputed arrays is estimated."""

MODELS = ("gnnpot.models",)


@dataclass(frozen=True)
class Dataset:
    """All frames of a training and how they are split."""

    frames: list[ase.Atoms]
    split: Split
    name: str
    level_of_theory: str

    @property
    def parts(self) -> dict[str, Indices]:
        """Frame numbers of the parts that are not empty."""
        return {name: indices for name, indices in self.split.parts.items() if len(indices)}


def read_dataset(config: dict[str, Any], run_dir: Path) -> Dataset:
    """Read and split the data; on resume the split is that of the run.

    Raises:
        ConfigError: paths that contradict each other.
        DataError: files that cannot be used, or that changed since the run was started.
    """
    data = config["data"]
    name = data["train_path"] or data["path"]
    frames_of = {part: _read(data, data[f"{part}_path"]) for part in PARTS}
    if not frames_of["train"]:
        if frames_of["val"] or frames_of["test"]:
            raise ConfigError("data.val_path and data.test_path go with data.train_path (data.path is cut by itself)")
        frames = _read(data, data["path"])
    else:
        frames = [atoms for part in PARTS for atoms in frames_of[part]]
    split_file = run_dir / SPLIT_FILE
    if config["resume"] and split_file.is_file():
        split = Split.load(split_file, frames)
    else:
        split = _draw(data["split"], frames, frames_of)
    title = name if isinstance(name, str) else ", ".join(str(path) for path in name)
    return Dataset(frames, split, title, data["level_of_theory"] or BUNDLED.get(title, "unknown"))


def _draw(settings: dict[str, Any], frames: list[ase.Atoms], frames_of: dict[str, list[ase.Atoms]]) -> Split:
    if not frames_of["train"]:
        return split_frames(
            frames, settings["kind"], settings["fractions"], settings["group_by"], int(settings["seed"])
        )
    return split_files(
        frames_of["train"],
        frames_of["val"],
        frames_of["test"],
        fractions=settings["fractions"],
        kind=settings["kind"],
        group_by=settings["group_by"],
        seed=int(settings["seed"]),
    )


def _read(data: dict[str, Any], path: Any) -> list[ase.Atoms]:
    if path is None:
        return []
    if isinstance(path, str):
        path = bundled_path(path) or path
    return read(path, data["format"], data["units"], data["keys"])


def is_bundled(config: dict[str, Any]) -> bool:
    """Whether the data of a configuration are those in the package."""
    data = config["data"]
    return isinstance(data["path"], str) and not data["train_path"] and bundled_path(data["path"]) is not None


def model_class(config: dict[str, Any]) -> type[Potential]:
    """Class of the model that a configuration asks for.

    Raises:
        ConfigError: there is none, or it is not a potential of gnnpot.
    """
    found = check_class(config["model"].get("_target_", ""), MODELS)
    if not issubclass(found, Potential):
        raise ConfigError(f"model._target_={config['model']['_target_']!r} is not a potential")
    return found


def prepare_model(config: dict[str, Any], dataset: Dataset) -> Potential:
    """Make the model for the training frames, with what the configuration leaves open (null) filled in from them.

    Raises:
        UnknownElementError: validation or test frames, or the training's own, hold an element that the model lacks.
    """
    train = dataset.parts["train"]
    found = model_class(config)
    parameters = inspect.signature(found).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    given = {key: value for key, value in config["model"].items() if key != "_target_"}
    arguments = checked_kinds(defaults | given, hints_of(found), "model.")
    if arguments.get("elements") is None:
        numbers = np.unique(np.concatenate([dataset.frames[k].numbers for k in train]))
        arguments["elements"] = numbers.tolist()
    chosen = train[np.unique(np.linspace(0, len(train) - 1, min(len(train), SAMPLED)).astype(int))]
    graphs = [graph_from_atoms(dataset.frames[k], float(arguments["cutoff"])) for k in chosen]
    resolved = found.resolve(arguments, graphs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(config["seed"]))
        potential: Potential = build({"_target_": config["model"]["_target_"], **resolved}, MODELS)
    _refuse_unknown_elements(potential, dataset)
    return potential.to(precision_of(config))


def _refuse_unknown_elements(potential: Potential, dataset: Dataset) -> None:
    for part, indices in dataset.parts.items():
        for k in indices:
            unknown = sorted(set(dataset.frames[k].numbers.tolist()) - set(potential.elements))
            if unknown:
                known = ", ".join(chemical_symbols[z] for z in potential.elements)
                raise UnknownElementError(
                    f"{frame_name(dataset.frames[k])} ({part}) holds {chemical_symbols[unknown[0]]}, but the model "
                    f"has {known}: no training frame holds it, or model.elements leaves it out. Put frames with "
                    "it into the training part, or remove this one"
                )


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
    size = _precomputed_bytes(dataset, potential)
    if size > float(data["cache_limit"]):
        warnings.warn(
            f"what {type(potential).__name__} can compute ahead takes {size / 1e9:.1f} GB for these data, more than "
            f"data.cache_limit={data['cache_limit']}: it is computed in every step, which is slower. Raise the limit "
            "if the disk has the room",
            GnnpotWarning,
            stacklevel=2,
        )
    if not 0 < size <= float(data["cache_limit"]):
        return cached_store(dataset.frames, potential.cutoff, None, "", data["cache"], progress)
    signature = repr((type(potential).__name__, potential.arguments()))
    return cached_store(dataset.frames, potential.cutoff, potential.precompute, signature, data["cache"], progress)


def _precomputed_bytes(dataset: Dataset, potential: Potential) -> float:
    """Size of what the model computes ahead for all frames, from a few of them; 0 where it computes nothing."""
    chosen = np.unique(np.linspace(0, len(dataset.frames) - 1, min(len(dataset.frames), ESTIMATED)).astype(int))
    n_bytes, n_atoms = 0, 0
    for k in chosen:
        fields = potential.precompute(graph_from_atoms(dataset.frames[k], potential.cutoff))
        n_bytes += sum(value.numel() * value.element_size() for value in fields.values())
        n_atoms += len(dataset.frames[k])
    return n_bytes / n_atoms * sum(len(atoms) for atoms in dataset.frames)


def graphs_of(store: GraphStore, indices: Indices, fields: Sequence[str] | None = None) -> Iterator[AtomicGraph]:
    """Graphs of some structures in double precision, a batch at a time, with all fields or some."""
    for batch in evaluation_batches(store.n_edges, indices):
        yield store.batch(batch, torch.float64, fields)


def names_of(frames: Sequence[ase.Atoms], indices: Indices, most: int = 8) -> str:
    """Names of frames for a message, the first few where there are many."""
    names = [frame_name(frames[k]) for k in indices[:most]]
    more = f" and {len(indices) - most} more" if len(indices) > most else ""
    return "; ".join(names) + more
