"""ASE databases and every other file that ASE reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype, ioformats

from gnnpot.data.readers.sources import decompressed, first_bytes
from gnnpot.errors import DataError, did_you_mean

SQLITE_MAGIC = b"SQLite format 3"

REFUSED_FORMATS = frozenset({"trj", "bundletrajectory"})
"""Formats of ASE that unpickle, and so could run code."""


def read_database(path: Path) -> Iterator[Atoms]:
    """Rows of an ASE database (SQLite or JSON), key-value pairs and data beside the results."""
    with decompressed(path) as file:
        try:
            for row in _connected(file).select():
                atoms = row.toatoms()
                atoms.info.update(row.key_value_pairs)
                atoms.info.update({name: _without_leading_one(value) for name, value in row.data.items()})
                yield atoms
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{path} cannot be read as an ASE database: {error}") from error


def database_units(path: Path) -> dict[str, str]:
    """Units that SchNetPack writes into the metadata of a database, and ASE's order of the stress."""
    with decompressed(path) as file:
        try:
            metadata = _connected(file).metadata
        except Exception as error:
            raise DataError(f"{path} cannot be read as an ASE database: {error}") from error
    units = {"stress_order": "ase"}
    properties = metadata.get("_property_unit_dict", {})
    for name in ("energy", "forces", "stress"):
        if properties.get(name):
            units[name] = str(properties[name]).replace("Ang", "angstrom").replace("/angstrom/", "/")
    if metadata.get("_distance_unit"):
        units["length"] = str(metadata["_distance_unit"])
    return units


def read_with_ase(path: Path, format_name: str) -> Iterator[Atoms]:
    """All frames of a file in one of ASE's formats.

    ASE's readers raise whatever their parsers raise, so that every exception becomes a :class:`DataError` here.
    """
    frame = 0
    with decompressed(path) as file:
        try:
            for atoms in iread(str(file), index=":", format=format_name, do_not_split_by_at_sign=True):
                yield atoms
                frame += 1
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{path}, frame {frame} cannot be read as {format_name}: {_short(error)}") from error


def ase_format(path: Path) -> str | None:
    """ASE's name for the format of a file, None if it knows none."""
    with decompressed(path) as file:
        try:
            name = filetype(str(file), guess=False)
        except (UnknownFileTypeError, OSError, ValueError):
            return None
    return None if name is None or name in REFUSED_FORMATS else str(name)


def checked_ase_format(name: str, own_formats: tuple[str, ...]) -> str:
    """``name`` if ASE reads it; otherwise a :class:`DataError` that names the nearest known format."""
    if name in REFUSED_FORMATS:
        raise DataError(f"format '{name}' is refused: its files can run code when they are loaded")
    if name not in ioformats or not ioformats[name].can_read:
        known = (*own_formats, *(known for known, what in ioformats.items() if what.can_read))
        raise DataError(f"there is no file format '{name}': {did_you_mean(name, known)}")
    return name


def _short(error: Exception) -> str:
    """Kind and text of an error, which for a file that is no text could hold the whole file."""
    return f"{type(error).__name__}: {error}"[:200]


def _connected(path: Path) -> Any:
    kind = "db" if first_bytes(path, 16).startswith(SQLITE_MAGIC) else "json"
    return ase.db.connect(str(path), type=kind, use_lock_file=False)


def _without_leading_one(value: Any) -> Any:
    """SchNetPack stores per-structure tensors with a first axis of length 1."""
    if isinstance(value, np.ndarray) and value.ndim == 3 and value.shape[0] == 1:
        return value[0]
    return value
