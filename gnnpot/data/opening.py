"""Frames for a training: files are read, frame stores are opened and stay on disk."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import ase

from gnnpot.data.charges import fill_charges
from gnnpot.data.frame_layout import is_frame_store
from gnnpot.data.frame_store import FrameStore
from gnnpot.data.frames import joined
from gnnpot.data.readers import read
from gnnpot.data.readers.sources import PathLike
from gnnpot.errors import ConfigError


def open_frames(
    paths: PathLike | Sequence[PathLike],
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    charge: float | None = None,
) -> Sequence[ase.Atoms]:
    """Frames of files and frame stores, in the order given; those of a store are made when they are asked for.

    Args:
        paths: a file, a pattern, a frame store, or a list of them.
        format: of the files, as in `gnnpot.data.readers.read`.
        units: of the files.
        keys: names of the labels in the files.
        charge: total charge in e of frames that state none.

    Raises:
        ConfigError: units or names for frame stores alone, whose labels have theirs.
        DataError: a file or store that cannot be read.
    """
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    stores = [is_frame_store(Path(path).expanduser()) for path in listed]
    if not any(stores):
        frames = read(listed, format, units, keys)
        fill_charges(frames, charge)
        return frames
    if all(stores) and (units or keys):
        raise ConfigError(
            f"data.{'units' if units else 'keys'} has no effect on a frame store, whose labels are in eV and Å under "
            "their own names; other energies are chosen at its import (energy=corrected)"
        )
    parts: list[Sequence[ase.Atoms]] = []
    for path, is_store in zip(listed, stores, strict=True):
        if is_store:
            parts.append(FrameStore(Path(path).expanduser(), charge))
        else:
            frames = read(path, format, units, keys)
            fill_charges(frames, charge)
            parts.append(frames)
    return joined(parts)
