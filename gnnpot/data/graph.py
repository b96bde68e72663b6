"""The one graph that flows from reader to model to calculator, and the geometry read from it.

A batch *is* a graph: the atoms of many structures behind each other, ``batch[i]`` telling the structure of atom i.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ase
import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from gnnpot.data.labels import frame_name, labels_of
from gnnpot.data.neighbors import neighbor_list
from gnnpot.errors import DataError
from gnnpot.keys import DOUBLE, PROPERTIES, TRAINABLE

Dimension = Literal["structure", "atom", "edge", "pair"]

SHORTEST_DISTANCE = 0.05
"""Å; two atoms closer than this stand on top of each other, which is never meant."""


@dataclass(frozen=True)
class Field:
    """How one tensor of a graph is concatenated: along which rows, and by what its indices are shifted."""

    rows: Dimension
    shift: Dimension | None = None


FIELDS: dict[str, Field] = {
    "positions": Field("atom"),
    "atomic_numbers": Field("atom"),
    "batch": Field("atom", shift="structure"),
    "cell": Field("structure"),
    "pbc": Field("structure"),
    "charge": Field("structure"),
    "edge_index": Field("edge", shift="atom"),
    "edge_shifts": Field("edge"),
    "energy": Field("structure"),
    "forces": Field("atom"),
    "stress": Field("structure"),
    "born_effective_charges": Field("atom"),
    "polarization": Field("structure"),
    "pair_of_edge": Field("edge", shift="pair"),
    "edge_of_pair": Field("pair", shift="edge"),
    "descriptors": Field("atom"),
    "descriptor_gradients": Field("edge"),
}
"""Every tensor that a graph may hold. ``edge_index`` alone has its rows on the last axis."""


class AtomicGraph:
    """Atoms, the edges between them, and their labels, of one structure or of a batch.

    Tensors
        positions ``(n_atoms, 3)`` Å, atomic_numbers ``(n_atoms,)``, batch ``(n_atoms,)``;
        cell ``(n_structures, 3, 3)`` Å, pbc ``(n_structures, 3)``, charge ``(n_structures,)`` e (NaN: not given);
        edge_index ``(2, n_edges)`` (centers, neighbors), sorted by center, edge_shifts ``(n_edges, 3)`` the
        cell images S of r_ij = r_j - r_i + S·cell;
        labels energy ``(n_structures,)`` eV float64, forces ``(n_atoms, 3)`` eV/Å, stress ``(n_structures, 3, 3)``
        eV/Å³, born_effective_charges ``(n_atoms, 3, 3)`` e, polarization ``(n_structures, 3)`` e·Å, NaN where a frame
        has none. More fields may be precomputed: see `FIELDS`.

    Raises:
        TypeError: a field that `FIELDS` does not name.
    """

    positions: Tensor
    atomic_numbers: Tensor
    batch: Tensor
    cell: Tensor
    pbc: Tensor
    charge: Tensor
    edge_index: Tensor
    edge_shifts: Tensor
    energy: Tensor
    forces: Tensor
    stress: Tensor
    born_effective_charges: Tensor
    polarization: Tensor
    pair_of_edge: Tensor
    edge_of_pair: Tensor
    descriptors: Tensor
    descriptor_gradients: Tensor

    def __init__(self, **fields: Tensor) -> None:
        unknown = fields.keys() - FIELDS.keys()
        if unknown:
            raise TypeError(f"a graph has no field {sorted(unknown)[0]!r}; known: {', '.join(FIELDS)}")
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={list(value.shape)}" for name, value in self.fields().items())
        return f"AtomicGraph({shapes})"

    def fields(self) -> dict[str, Tensor]:
        """The tensors present, by name."""
        return dict(self.__dict__)

    @property
    def n_atoms(self) -> int:
        """Number of atoms in all structures together."""
        return self.positions.shape[0]

    @property
    def n_structures(self) -> int:
        """Number of structures in this graph."""
        return self.cell.shape[0]

    @property
    def n_edges(self) -> int:
        """Number of directed edges in all structures together."""
        return self.edge_index.shape[1]

    @property
    def centers(self) -> Tensor:
        """Atom i of every edge."""
        return self.edge_index[0]

    @property
    def neighbors(self) -> Tensor:
        """Atom j of every edge."""
        return self.edge_index[1]

    def has(self, name: str) -> bool:
        """Whether a (precomputed) field is present.

        >>> from ase.build import molecule
        >>> graph_from_atoms(molecule("H2O"), cutoff=2.0).has("edge_of_pair")
        False
        """
        return name in self.__dict__

    def count(self, dimension: Dimension) -> int:
        """Number of rows of one ragged dimension (0 pairs where they are not precomputed)."""
        if dimension == "pair":
            return self.edge_of_pair.shape[0] if self.has("edge_of_pair") else 0
        return {"structure": self.n_structures, "atom": self.n_atoms, "edge": self.n_edges}[dimension]

    def replace(self, **fields: Tensor) -> "AtomicGraph":
        """Return a graph that shares all tensors but the given ones; this graph stays as it is."""
        return AtomicGraph(**{**self.__dict__, **fields})

    def to_pyg(self) -> Any:
        """The same tensors as a `torch_geometric.data.Data`, for code that lives there.

        Its ``edge_index[0]`` stays the center; PyTorch Geometric's own layers take row 0 for the sender.

        Raises:
            ImportError: torch-geometric is not installed (``pip install torch-geometric``).
        """
        from torch_geometric.data import Data

        return Data(num_nodes=self.n_atoms, **self.fields())


def graph_from_atoms(atoms: ase.Atoms, cutoff: float, dtype: torch.dtype = torch.float64) -> AtomicGraph:
    """Build the graph of one structure with its labels.

    Raises:
        DataError: atoms on top of each other, a periodic direction without a lattice vector, or positions that
            are not finite; the message names file, frame and atoms.

    >>> from ase.build import bulk
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=3.0)
    >>> graph.n_atoms, graph.n_edges
    (2, 8)
    """
    cell = np.asarray(atoms.cell.array, dtype=np.float64)
    _check_geometry(atoms, cell)
    edge_index, shifts = neighbor_list(atoms.positions, cell, atoms.pbc, cutoff)
    _check_distances(atoms, cell, edge_index, shifts)
    labels = labels_of(atoms)
    charge = atoms.info.get("charge")
    fields = {
        "positions": torch.tensor(atoms.positions, dtype=dtype),
        "atomic_numbers": torch.tensor(atoms.numbers, dtype=torch.int64),
        "batch": torch.zeros(len(atoms), dtype=torch.int64),
        "cell": torch.tensor(cell, dtype=dtype)[None],
        "pbc": torch.tensor(np.asarray(atoms.pbc))[None],
        "charge": torch.tensor([float("nan") if charge is None else float(charge)], dtype=dtype),
        "edge_index": torch.from_numpy(edge_index),
        "edge_shifts": torch.from_numpy(shifts).to(dtype),
    }
    return AtomicGraph(**fields, **_label_tensors(labels, len(atoms), dtype))


def _label_tensors(labels: dict[str, Any], n_atoms: int, dtype: torch.dtype) -> dict[str, Tensor]:
    tensors = {}
    for name in TRAINABLE:
        shape = (n_atoms if PROPERTIES[name].level == "atom" else 1, *PROPERTIES[name].shape)
        values = np.full(shape, np.nan) if name not in labels else np.asarray(labels[name])
        kind = torch.float64 if name in DOUBLE else dtype
        tensors[name] = torch.tensor(values.reshape(shape), dtype=kind)
    return tensors


def _check_geometry(atoms: ase.Atoms, cell: np.ndarray) -> None:
    if not np.isfinite(atoms.positions).all() or not np.isfinite(cell).all():
        raise DataError(f"{frame_name(atoms)}: positions or cell are not finite numbers; remove this frame")
    periodic = cell[np.asarray(atoms.pbc)]
    if len(periodic) and np.sqrt(max(np.linalg.det(periodic @ periodic.T), 0.0)) < 1e-6:
        raise DataError(
            f"{frame_name(atoms)}: pbc is {atoms.pbc.tolist()}, but the lattice vectors of the periodic directions "
            f"span no length, area or volume: cell {cell.tolist()}. Give the cell, or set pbc to F F F"
        )


def _check_distances(atoms: ase.Atoms, cell: np.ndarray, edge_index: np.ndarray, shifts: np.ndarray) -> None:
    from gnnpot.data.neighbor_kernels import closest_edge

    edge, distance = closest_edge(np.asarray(atoms.positions, dtype=np.float64), cell, edge_index, shifts)
    if distance < SHORTEST_DISTANCE:
        i, j = (int(k) for k in edge_index[:, edge])
        names = [f"{chemical_symbols[atoms.numbers[k]]} (atom {k})" for k in (i, j)]
        raise DataError(
            f"{frame_name(atoms)}: {names[0]} and {names[1]} stand {distance:.3f} Å apart, on top of each "
            "other; remove one of them or the frame"
        )


def cast(graph: AtomicGraph, dtype: torch.dtype) -> AtomicGraph:
    """Return the graph with its floating-point tensors in ``dtype``; the labels of `DOUBLE` stay float64."""
    fields = {}
    for name, value in graph.fields().items():
        if value.is_floating_point() and name not in DOUBLE:
            fields[name] = value.to(dtype)
    return graph.replace(**fields)


def collate(graphs: Sequence[AtomicGraph]) -> AtomicGraph:
    """Concatenate graphs into one; all must hold the same fields.

    >>> from ase.build import bulk
    >>> two = collate([graph_from_atoms(bulk("Si"), 3.0), graph_from_atoms(bulk("Ge"), 3.0)])
    >>> two.n_structures, two.batch.tolist()
    (2, [0, 0, 1, 1])
    """
    if len(graphs) == 1:
        return graphs[0]
    fields = {}
    for name in graphs[0].fields():
        field = FIELDS[name]
        values = [getattr(graph, name) for graph in graphs]
        if field.shift:
            values = [value + start for value, start in zip(values, _starts(graphs, field.shift), strict=True)]
        fields[name] = torch.cat(values, dim=-1 if name == "edge_index" else 0)
    return AtomicGraph(**fields)


def _starts(graphs: Sequence[AtomicGraph], dimension: Dimension) -> list[int]:
    counts = [graph.count(dimension) for graph in graphs]
    return [sum(counts[:k]) for k in range(len(counts))]


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows of ``values`` at ``index``: ``values[index[k]]`` for every k; its gradient is `scatter_sum`."""
    return values.index_select(0, index)


def scatter_sum(values: Tensor, index: Tensor, n_rows: int) -> Tensor:
    """Sum the rows of ``values`` that share an index: ``out[n] = Σ_k values[k] [index[k] = n]``.

    >>> scatter_sum(torch.ones(3), torch.tensor([0, 2, 2]), n_rows=4)
    tensor([1., 0., 2., 0.])
    """
    out = torch.zeros((n_rows, *values.shape[1:]), dtype=values.dtype, device=values.device)
    return out.index_add(0, index, values)


def edge_vectors(graph: AtomicGraph) -> Tensor:
    """r_ij = r_j - r_i + S·cell of every edge, ``(n_edges, 3)``, Å."""
    return edge_vectors_of(graph, graph.edge_index, graph.edge_shifts)


def edge_vectors_of(graph: AtomicGraph, edge_index: Tensor, edge_shifts: Tensor) -> Tensor:
    """r_ij of some edges of a graph, ``(len(edge_shifts), 3)``, Å."""
    centers, neighbors = edge_index
    vectors = gather(graph.positions, neighbors) - gather(graph.positions, centers)
    if graph.n_structures == 1:
        return vectors + edge_shifts @ graph.cell[0]
    cells = gather(graph.cell, gather(graph.batch, centers))
    return vectors + torch.einsum("ea,eab->eb", edge_shifts, cells)


def at_centers(atom_values: Tensor, graph: AtomicGraph) -> Tensor:
    """Value of the center of every edge, ``(n_edges, ...)``."""
    return gather(atom_values, graph.centers)


def at_neighbors(atom_values: Tensor, graph: AtomicGraph) -> Tensor:
    """Value of the neighbor of every edge, ``(n_edges, ...)``."""
    return gather(atom_values, graph.neighbors)


def sum_over_neighbors(edge_values: Tensor, graph: AtomicGraph) -> Tensor:
    """Σ_{j ∈ N(i)} of edge values, ``(n_atoms, ...)``."""
    return scatter_sum(edge_values, graph.centers, graph.n_atoms)


def sum_per_structure(atom_values: Tensor, graph: AtomicGraph) -> Tensor:
    """Σ_i of atom values over the atoms of each structure, ``(n_structures, ...)``."""
    if graph.n_structures == 1:
        return atom_values.sum(dim=0, keepdim=True)
    return scatter_sum(atom_values, graph.batch, graph.n_structures)
