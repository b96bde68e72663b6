"""Writing a graph store: graphs stream in, memory stays bounded, the folder appears when it is complete."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from gnnpot.data.graph import FIELDS, AtomicGraph
from gnnpot.data.store_format import RAGGED, STORED_DTYPES, Manifest, StoredField, array_path, offsets_path
from gnnpot.errors import DataError

IntArray = npt.NDArray[np.int64]
BUFFER = 1 << 20
"""Bytes held per open file before they are written."""


class StoreWriter:
    """Writes graphs into a new store; the folder appears at its place on `close`, whole or not at all.

    Raises:
        DataError: the folder exists already; a graph with other fields or row shapes than the first; a cell shift
            beyond 16 bits.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> from gnnpot.data.store import GraphStore
    >>> folder = Path(tempfile.mkdtemp()) / "silicon"
    >>> with StoreWriter(folder) as writer:
    ...     writer.append(graph_from_atoms(bulk("Si"), cutoff=3.0))
    >>> len(GraphStore.open(folder))
    1
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists():
            raise DataError(f"{self.folder} exists already; delete it, or write the graph store elsewhere")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._partial = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}.", dir=self.folder.parent))
        self._files: dict[str, BinaryIO] = {}
        self._fields: dict[str, StoredField] = {}
        self._n_rows = dict.fromkeys(("structure", *RAGGED), 0)

    def append(self, graph: AtomicGraph) -> None:
        """Add all structures of a graph (a batch is a graph) behind those already written."""
        tensors = {name: value for name, value in graph.fields().items() if name != "batch"}
        if not self._fields:
            self._start(tensors)
        if set(tensors) != set(self._fields):
            raise DataError(
                f"structure {self._n_rows['structure']} has the fields {sorted(tensors)}, "
                f"the graph store holds {sorted(self._fields)}: every graph of a store must have the same"
            )
        counts = counts_per_structure(graph)
        starts = {dimension: np.cumsum(n) - n for dimension, n in counts.items()}
        for name, field in self._fields.items():
            rows = tensors[name].detach().cpu().numpy()
            rows = rows.T if name == "edge_index" else rows
            if field.shift:
                rows = _local(rows, counts[field.rows], starts[field.shift])
            self._write_rows(name, rows)
        for dimension, n in counts.items():
            if dimension in self._files:
                self._files[dimension].write((self._n_rows[dimension] + np.cumsum(n)).astype(np.int64).tobytes())
            self._n_rows[dimension] += int(n.sum())
        self._n_rows["structure"] += graph.n_structures

    def close(self) -> None:
        """Write the description and move the store to its place.

        Raises:
            DataError: nothing was appended.
            OSError: another store took the place meanwhile, or the disk is full.
        """
        if not self._fields:
            self.discard()
            raise DataError(f"{self.folder}: no graph was given, a graph store cannot be empty")
        try:
            for file in self._files.values():
                file.close()
            Manifest(dict(self._n_rows), dict(self._fields)).write(self._partial)
            self._partial.replace(self.folder)
        except OSError:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _start(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, value in tensors.items():
            given = str(value.dtype).removeprefix("torch.")
            dtype = "int32" if FIELDS[name].shift else STORED_DTYPES.get(name, given)
            shape = (2,) if name == "edge_index" else tuple(value.shape[1:])
            self._fields[name] = StoredField(FIELDS[name].rows, FIELDS[name].shift, dtype, shape)
            self._files[f"{name}.array"] = array_path(self._partial, name).open("wb", BUFFER)
        for dimension in Manifest(self._n_rows, self._fields).dimensions:
            self._files[dimension] = offsets_path(self._partial, dimension).open("wb", BUFFER)
            self._files[dimension].write(np.zeros(1, dtype=np.int64).tobytes())

    def _write_rows(self, name: str, rows: npt.NDArray[Any]) -> None:
        field = self._fields[name]
        dtype = np.dtype(field.dtype)
        if rows.shape[1:] != field.row_shape:
            raise DataError(
                f"structure {self._n_rows['structure']}: rows of '{name}' have the shape {rows.shape[1:]}, "
                f"the graph store holds {field.row_shape}"
            )
        if dtype.kind in "iu" and len(rows):
            low, high = rows.min(), rows.max()
            if low < np.iinfo(dtype).min or high > np.iinfo(dtype).max:
                raise DataError(
                    f"structure {self._n_rows['structure']}: '{name}' runs from {low} to {high}, beyond {dtype}; "
                    "wrap the positions into the cell (ase: atoms.wrap())"
                )
        self._files[f"{name}.array"].write(np.ascontiguousarray(rows, dtype=dtype).data)


def counts_per_structure(graph: AtomicGraph) -> dict[str, IntArray]:
    """Rows of each structure in every ragged dimension.

    Raises:
        DataError: the rows of a structure do not stand together.
    """
    n = graph.n_structures
    structure_of: dict[str, torch.Tensor] = {"atom": graph.batch, "edge": graph.batch[graph.centers]}
    if graph.has("edge_of_pair"):
        structure_of["pair"] = structure_of["edge"][graph.edge_of_pair]
    counts = {}
    for dimension in RAGGED:
        owner = structure_of.get(dimension, torch.zeros(0, dtype=torch.int64))
        if n > 1 and bool((owner[1:] < owner[:-1]).any()):
            raise DataError(f"the {dimension} rows of this batch are not sorted by structure")
        counts[dimension] = torch.bincount(owner, minlength=n).numpy()
    return counts


def _local(rows: npt.NDArray[Any], counts: IntArray, starts: IntArray) -> npt.NDArray[Any]:
    """Indices counted from the first row of their own structure."""
    shift = np.repeat(starts, counts)
    return rows - shift.reshape(-1, *(1,) * (rows.ndim - 1))
