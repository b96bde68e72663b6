"""The layout of a graph store on disk, known to its writer and its reader.

A store is a folder::

    store.json            what follows, and how it is shaped
    atom.offsets ...      int64, n_structures + 1: structure k owns the rows offsets[k] to offsets[k+1]
    positions.array ...   one raw C-ordered array per field, the rows of all structures behind each other

Index fields count from the first row of their own structure; a batch shifts them. ``edge_index`` lies as rows
(center, neighbor), turned on reading.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnnpot.errors import DataError

FORMAT_VERSION = 2
MANIFEST = "store.json"
RAGGED = ("atom", "edge", "pair")
"""Dimensions whose number of rows differs between structures."""

STORED_DTYPES = {
    "positions": "float64",
    "atomic_numbers": "uint8",
    "cell": "float64",
    "pbc": "bool",
    "charge": "float64",
    "edge_shifts": "int16",
    "energy": "float64",
    "forces": "float64",
    "stress": "float64",
    "born_effective_charges": "float64",
    "polarization": "float64",
}
"""Types on disk; index fields are int32, all others stay as they are given."""


@dataclass(frozen=True)
class StoredField:
    """One array of a store: its rows, what shifts its indices in a batch, its type and the shape of one row."""

    rows: str
    shift: str | None
    dtype: str
    row_shape: tuple[int, ...]

    def n_bytes(self, n_rows: int) -> int:
        """Size of ``n_rows`` rows on disk."""
        return n_rows * math.prod(self.row_shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Manifest:
    """Content of ``store.json``."""

    n_rows: dict[str, int]
    fields: dict[str, StoredField]

    @property
    def n_structures(self) -> int:
        """Number of graphs in the store."""
        return self.n_rows["structure"]

    @property
    def dimensions(self) -> list[str]:
        """Ragged dimensions that a stored field or a shift speaks of."""
        used = {field.rows for field in self.fields.values()} | {field.shift for field in self.fields.values()}
        return [dimension for dimension in RAGGED if dimension in used]

    def write(self, folder: Path) -> None:
        """Write ``store.json``."""
        content = {"format_version": FORMAT_VERSION, **asdict(self)}
        (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read ``store.json`` and check the size of every file it names.

        Raises:
            DataError: not a store, a store of a newer format, or one with missing or cut files.
        """
        content = _read_json(folder)
        version = content.get("format_version")
        if version != FORMAT_VERSION:
            raise DataError(
                f"{folder}: a graph store of format {version}, this gnnpot reads format {FORMAT_VERSION}; "
                "delete the folder, it is rebuilt from the data"
            )
        try:
            fields = {Path(name).name: _stored_field(value) for name, value in content["fields"].items()}
            manifest = cls({name: int(n) for name, n in content["n_rows"].items()}, fields)
            manifest._check_sizes(folder)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{folder / MANIFEST}: not the description of a graph store ({error!r})") from error
        return manifest

    def _check_sizes(self, folder: Path) -> None:
        expected = {array_path(folder, name): f.n_bytes(self.n_rows[f.rows]) for name, f in self.fields.items()}
        for dimension in self.dimensions:
            expected[offsets_path(folder, dimension)] = 8 * (self.n_structures + 1)
        for path, n_bytes in expected.items():
            found = path.stat().st_size if path.is_file() else None
            if found != n_bytes:
                state = "is missing" if found is None else f"has {found} bytes"
                raise DataError(
                    f"{path} {state}, {n_bytes} are expected: the graph store is cut or damaged; "
                    "delete its folder, it is rebuilt from the data"
                )


def array_path(folder: Path, name: str) -> Path:
    """File of one field."""
    return folder / f"{name}.array"


def offsets_path(folder: Path, dimension: str) -> Path:
    """File of the first rows of every structure in one ragged dimension."""
    return folder / f"{dimension}.offsets"


def _read_json(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: not a graph store, {MANIFEST} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not the description of a graph store")
    return content


def _stored_field(value: Mapping[str, Any]) -> StoredField:
    shape = tuple(int(n) for n in value["row_shape"])
    rows, shift, dtype = value["rows"], value["shift"], str(value["dtype"])
    for dimension in (rows, shift):
        if dimension not in (*RAGGED, "structure", None):
            raise ValueError(f"unknown dimension {dimension!r}")
    if np.dtype(dtype).kind not in "biuf" or min(shape, default=0) < 0:
        raise ValueError(f"not an array of numbers: {dtype!r}, {shape}")
    return StoredField(str(rows), shift, dtype, shape)
