"""The frames of a training: read, split, and the class of the model that they are for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase

from gnnpot.config import check_class
from gnnpot.data.bundled import bundled_path
from gnnpot.data.frames import joined
from gnnpot.data.labels import frame_name
from gnnpot.data.opening import open_frames
from gnnpot.data.splits import Split, split_files, split_frames
from gnnpot.errors import ConfigError
from gnnpot.models.potential import Potential
from gnnpot.training.batches import Indices

BUNDLED = {
    "Li2O": "PBEsol, Quantum ESPRESSO 6.7, ultrasoft pslibrary pseudopotentials, 45/360 Ry",
    "MgO": "LDA, Quantum ESPRESSO 6.7, Mg.pz-n-vbc, O.pz-rrkjus, 35/210 Ry",
}
"""Data sets in the package, by the name that ``data.path`` takes, with their level of theory."""

PARTS = ("train", "val", "test")
SPLIT_FILE = "split.json"

MODELS = ("gnnpot.models",)


@dataclass(frozen=True)
class Dataset:
    """All frames of a training and how they are split."""

    frames: Sequence[ase.Atoms]
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
        frames = joined([frames_of[part] for part in PARTS])
    split_file = run_dir / SPLIT_FILE
    if config["resume"] and split_file.is_file():
        split = Split.load(split_file, frames)
    else:
        split = _draw(data["split"], frames, frames_of)
    title = name if isinstance(name, str) else ", ".join(str(path) for path in name)
    return Dataset(frames, split, title, data["level_of_theory"] or BUNDLED.get(title, "unknown"))


def _draw(settings: dict[str, Any], frames: Sequence[ase.Atoms], frames_of: dict[str, Sequence[ase.Atoms]]) -> Split:
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


def _read(data: dict[str, Any], path: Any) -> Sequence[ase.Atoms]:
    if path is None:
        return []
    if isinstance(path, str):
        path = bundled_path(path) or path
    return open_frames(path, data["format"], data["units"], data["keys"], data["charge"])


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


def names_of(frames: Sequence[ase.Atoms], indices: Indices, most: int = 8) -> str:
    """Names of frames for a message, the first few where there are many."""
    names = [frame_name(frames[k]) for k in indices[:most]]
    more = f" and {len(indices) - most} more" if len(indices) > most else ""
    return "; ".join(names) + more
