"""Graphs on disk: built once per dataset, memory-mapped, read as batches.

Opening a store reads a short description and maps the arrays; what a batch does not ask for stays on disk, so
that a dataset may be larger than the memory.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import ase
import numpy as np
import numpy.typing as npt
import torch

from gnnpot._version import __version__
from gnnpot.data.bulk_rows import SMALLEST, BulkRows
from gnnpot.data.folder_cache import default_cache_dir, open_or_fill
from gnnpot.data.frames import fingerprint
from gnnpot.data.graph import AtomicGraph, graph_from_atoms
from gnnpot.data.store_format import FORMAT_VERSION, Manifest, StoredField, array_path, offsets_path
from gnnpot.data.store_writer import StoreWriter
from gnnpot.errors import DataError, did_you_mean
from gnnpot.keys import DOUBLE

IntArray = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

ALWAYS_READ = ("positions", "atomic_numbers", "cell", "pbc")
"""Fields of every batch; without them a graph has no size."""

ROWS_PER_SLICE = 16
"""Mean rows per structure above which copying slices beats gathering single rows."""


class GraphStore:
    """A folder of graphs; ``store.batch(indices)`` is one graph of the structures asked for.

    Raises:
        DataError: not a store, a damaged one, or one of a newer format.

    >>> import tempfile
    >>> from ase.build import bulk
    >>> store = cached_store([bulk("Si"), bulk("Ge")], cutoff=3.0, cache_dir=Path(tempfile.mkdtemp()))
    >>> store.batch([1, 0, 1]).atomic_numbers.tolist()
    [32, 32, 14, 14, 32, 32]
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._manifest = Manifest.read(self.folder)
        self._arrays = {name: self._map_field(name, field) for name, field in self._manifest.fields.items()}
        self._offsets = {dimension: self._map_offsets(dimension) for dimension in self._manifest.dimensions}
        bulky = {name: field for name, field in self._manifest.fields.items() if self._is_bulky(field)}
        self._bulk = {name: self._open_bulk(name, field) for name, field in bulky.items()}

    @classmethod
    def open(cls, folder: str | Path) -> "GraphStore":
        """Open the store in ``folder``."""
        return cls(folder)

    def __len__(self) -> int:
        return self._manifest.n_structures

    def __reduce__(self) -> tuple[type["GraphStore"], tuple[Path]]:
        return GraphStore, (self.folder,)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the stored fields."""
        return tuple(self._manifest.fields)

    @property
    def n_bytes(self) -> int:
        """Size of all arrays on disk."""
        n_rows = self._manifest.n_rows
        return sum(field.n_bytes(n_rows[field.rows]) for field in self._manifest.fields.values())

    @cached_property
    def n_atoms(self) -> IntArray:
        """Number of atoms of every structure, ``(n_structures,)``."""
        return np.diff(self._offsets["atom"])

    @cached_property
    def n_edges(self) -> IntArray:
        """Number of directed edges of every structure, ``(n_structures,)``."""
        return np.diff(self._offsets["edge"])

    def array(self, name: str) -> Array:
        """One stored field of all structures, read-only and mapped from disk: rows as in `FIELDS`.

        Index fields count from the first row of their own structure; ``edge_index`` is ``(n_edges, 2)``.
        """
        self._check_names([name])
        return self._arrays[name]

    def batch(
        self, indices: Sequence[int] | IntArray, dtype: torch.dtype = torch.float32, fields: Iterable[str] | None = None
    ) -> AtomicGraph:
        """One graph of the structures asked for, in this order; sorted indices read fastest.

        Args:
            indices: structures, may repeat.
            dtype: of the floating-point fields; the energy label stays float64.
            fields: names of the stored fields wanted, None for all. Positions, atomic numbers, cells and pbc
                are always read.
        """
        chosen = self._checked_indices(indices)
        names = set(self.fields) if fields is None else {*fields, *ALWAYS_READ}
        self._check_names(names)
        rows = _BatchRows(chosen, self._offsets)
        tensors = {name: self._read(name, rows, dtype) for name in self.fields if name in names}
        tensors["batch"] = torch.from_numpy(np.repeat(np.arange(len(chosen)), rows.counts["atom"]))
        return AtomicGraph(**tensors)

    def announce(self, indices: IntArray) -> None:
        """Tell the system that batches of these structures will be asked for soon."""
        rows = _BatchRows(np.asarray(indices), self._offsets)
        for name, bulk in self._bulk.items():
            dimension = self._manifest.fields[name].rows
            bulk.announce(rows.first[dimension], rows.last[dimension])

    def _read(self, name: str, rows: "_BatchRows", dtype: torch.dtype) -> torch.Tensor:
        field = self._manifest.fields[name]
        target = _batch_dtype(name, field, dtype)
        if name in self._bulk:
            found = self._bulk[name].read(rows.first[field.rows], rows.last[field.rows])
            values = found.astype(target, copy=False)
        else:
            values = rows.take(self._arrays[name], field.rows, target)
        if field.shift:
            shift = rows.shift(field.rows, field.shift)
            values += shift.reshape(-1, *(1,) * (values.ndim - 1))
        return torch.from_numpy(np.ascontiguousarray(values.T) if name == "edge_index" else values)

    def _checked_indices(self, indices: Sequence[int] | IntArray) -> IntArray:
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.ndim != 1 or len(chosen) == 0:
            raise DataError(f"a batch needs a list of at least one structure, not {indices!r}")
        if chosen.min() < 0 or chosen.max() >= len(self):
            raise DataError(
                f"structures {chosen.min()} to {chosen.max()} were asked for, {self.folder} holds 0 to {len(self) - 1}"
            )
        return chosen

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._manifest.fields:
                raise DataError(f"{self.folder} has no field '{name}': {did_you_mean(name, self.fields)}")

    def _map_field(self, name: str, field: StoredField) -> Array:
        shape = (self._manifest.n_rows[field.rows], *field.row_shape)
        return _mapped(array_path(self.folder, name), np.dtype(field.dtype), shape)

    def _is_bulky(self, field: StoredField) -> bool:
        """Whether the rows of a structure are many bytes, on a system that can read them at once."""
        size = field.n_bytes(self._manifest.n_rows[field.rows])
        return hasattr(os, "preadv") and size >= SMALLEST * max(len(self), 1)

    def _open_bulk(self, name: str, field: StoredField) -> BulkRows:
        return BulkRows(array_path(self.folder, name), np.dtype(field.dtype), field.row_shape)

    def _map_offsets(self, dimension: str) -> IntArray:
        path = offsets_path(self.folder, dimension)
        offsets = _mapped(path, np.dtype(np.int64), (len(self) + 1,))
        if offsets[0] != 0 or offsets[-1] != self._manifest.n_rows[dimension]:
            raise DataError(f"{path}: does not fit to the store; delete {self.folder}, it is rebuilt from the data")
        return offsets


class _BatchRows:
    """Which rows of every ragged dimension belong to a batch, and where each structure starts in it."""

    def __init__(self, indices: IntArray, offsets: dict[str, IntArray]) -> None:
        self.indices = indices
        self.consecutive = bool((indices[1:] == indices[:-1] + 1).all())
        self.first = {"structure": indices} | {name: offset[indices] for name, offset in offsets.items()}
        self.last = {"structure": indices + 1} | {name: offset[indices + 1] for name, offset in offsets.items()}
        self.counts = {name: self.last[name] - self.first[name] for name in self.first}
        self._gathers: dict[str, IntArray] = {}
        self._shifts: dict[tuple[str, str], IntArray] = {}

    def take(self, array: Array, dimension: str, dtype: np.dtype[Any]) -> Array:
        """Rows of the batch as a new array of another type."""
        first, last = self.first[dimension], self.last[dimension]
        if self.consecutive:
            return array[first[0] : last[-1]].astype(dtype)
        if self.counts[dimension].sum() > ROWS_PER_SLICE * len(first):
            slices = [array[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True)]
            return np.concatenate(slices, dtype=dtype, casting="unsafe")
        return array.take(self._gather(dimension), axis=0).astype(dtype, copy=False)

    def shift(self, dimension: str, shifted_by: str) -> IntArray:
        """What is added to the indices of each row: the first row of its structure in the batch."""
        key = (dimension, shifted_by)
        if key not in self._shifts:
            self._shifts[key] = np.repeat(_starts(self.counts[shifted_by]), self.counts[dimension])
        return self._shifts[key]

    def _gather(self, dimension: str) -> IntArray:
        if dimension == "structure":
            return self.indices
        if dimension not in self._gathers:
            counts = self.counts[dimension]
            steps = np.repeat(self.first[dimension] - _starts(counts), counts)
            self._gathers[dimension] = steps + np.arange(len(steps))
        return self._gathers[dimension]


def cached_store(
    frames: Sequence[ase.Atoms],
    cutoff: float,
    precompute: Callable[[AtomicGraph], Mapping[str, torch.Tensor]] | None = None,
    signature: str = "",
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GraphStore:
    """Graphs of ``frames`` with their labels, from the cache where these very data were seen before.

    The entry is named by a hash of the content of the frames, never of a file's name or date. Two runs may build
    the same entry at once, a damaged entry is built anew, and where the cache folder cannot be written the store
    is temporary and goes with this process (`GnnpotWarning`).

    Args:
        frames: structures with labels, in the order of the store.
        cutoff: of the neighbor list, Å.
        precompute: arrays worth storing with each graph (float64), by names of `FIELDS`.
        signature: what ``precompute`` depends on besides the graph; another signature is another entry.
        cache_dir: default ``$XDG_CACHE_HOME/gnnpot`` or ``~/.cache/gnnpot``.
        progress: called with (graphs done, all graphs).

    Raises:
        DataError: no frames, or a frame that is no graph (see `graph_from_atoms`).
    """
    if len(frames) == 0:
        raise DataError("no frames: a graph store cannot be empty")

    def fill(place: Path) -> None:
        with StoreWriter(place) as writer:
            for done, atoms in enumerate(frames, start=1):
                graph = graph_from_atoms(atoms, cutoff)
                writer.append(graph.replace(**precompute(graph)) if precompute else graph)
                if progress:
                    progress(done, len(frames))

    key = (FORMAT_VERSION, __version__, fingerprint(frames), float(cutoff), signature)
    name = "graphs-" + hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    return open_or_fill(Path(cache_dir or default_cache_dir()) / name, GraphStore.open, fill)


def _starts(counts: IntArray) -> IntArray:
    return np.cumsum(counts) - counts


def _batch_dtype(name: str, field: StoredField, dtype: torch.dtype) -> np.dtype[Any]:
    if field.shift or name == "atomic_numbers":
        return np.dtype(np.int64)
    stored = np.dtype(field.dtype)
    if name in DOUBLE or (stored.kind != "f" and name != "edge_shifts"):
        return stored
    return np.dtype(str(dtype).removeprefix("torch."))


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Read-only view of a raw file (of no file, where it would be empty)."""
    if 0 in shape:
        return np.zeros(shape, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))
