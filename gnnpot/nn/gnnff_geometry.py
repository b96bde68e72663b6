"""What the layers of GNNFF need of a graph: envelopes, harmonics, who meets whom, and the parts they work in."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, scatter_sum
from gnnpot.data.triplets import undirected_pairs
from gnnpot.nn.gated_sum import Blocks
from gnnpot.nn.parts import Part, Rows, rows_per_part


@dataclass(frozen=True)
class Pairs:
    """The undirected pair and the reverse of every edge, and both atoms ``(2, n_pairs)`` of every pair."""

    of_edge: Tensor
    reverse: Tensor
    atoms: Tensor


@dataclass(frozen=True)
class Centers(Part):
    """Consecutive centers with their edges, or all of them.

    Rows: ``atom``, ``edge``, and of every edge ``center``, ``neighbor``, ``pair`` and ``reverse``. Where triplets
    i→j→k are summed up for middle atoms j, ``row`` are the edges i→j, and ``row_center`` their atoms i.
    """

    local_centers: Tensor
    """The center of every edge, counted from the first of the part."""
    n_atoms: int
    neighbors: Blocks
    """Atoms, and the edges to their neighbors."""
    triplets: Blocks
    """Edges i→j, and the edges j→k that follow."""


@dataclass(frozen=True)
class Surroundings:
    """f_c(r_ij) at both cutoffs ``(n_edges,)``, Y_lm(r̂_ij), the pairs, and parts of the centers and of the pairs."""

    envelope: Tensor
    triplet_envelope: Tensor
    harmonics: Tensor | None
    pairs: Pairs
    centers: list[Centers]
    pair_parts: list[Part]


def pair_fields(graph: AtomicGraph) -> dict[str, Tensor]:
    """The undirected pairs of a graph, from which the triplets follow at no cost, for ``Potential.precompute``."""
    pair_of_edge, edge_of_pair = undirected_pairs(graph)
    return {"pair_of_edge": pair_of_edge, "edge_of_pair": edge_of_pair}


def pairs_of(graph: AtomicGraph) -> Pairs:
    """Pairs and reverse edges."""
    fields = graph if graph.has("edge_of_pair") else graph.replace(**pair_fields(graph))
    of_edge, edge_of_pair = fields.pair_of_edge, fields.edge_of_pair
    edges = torch.arange(graph.n_edges, device=of_edge.device)
    both = scatter_sum(edges, of_edge, len(edge_of_pair))
    return Pairs(of_edge, both[of_edge] - edges, graph.edge_index[:, edge_of_pair])


def parts_of_pairs(pairs: Pairs, bytes_per_pair: int) -> list[Part]:
    """The pairs in parts: rows ``pair``, and their atoms ``first`` and ``second``."""
    first, second = pairs.atoms
    n_pairs = len(first)
    step = rows_per_part(n_pairs, bytes_per_pair, first.device)
    if step == n_pairs:
        return [Part({"pair": slice(None), "first": first, "second": second})]
    slices = [slice(start, min(start + step, n_pairs)) for start in range(0, n_pairs, step)]
    return [Part({"pair": rows, "first": first[rows], "second": second[rows]}) for rows in slices]


def parts_of_centers(
    graph: AtomicGraph, pairs: Pairs, within: Tensor, close: Tensor, bytes_per_edge: int
) -> list[Centers]:
    """The centers in parts of about equally many edges.

    Args:
        graph: with edges sorted by center.
        pairs: of the graph.
        within: edges that count for their center ``(n_edges,)``.
        close: edges that take part in triplets ``(n_edges,)``.
        bytes_per_edge: what a layer writes on its way.
    """
    starts = _first_edges(graph)
    step = rows_per_part(graph.n_edges, bytes_per_edge, starts.device)
    if step == graph.n_edges:
        return [_all_centers(graph, pairs, within, close, starts)]
    wanted = torch.arange(step, graph.n_edges, step, device=starts.device)
    inner = torch.searchsorted(starts, wanted).unique().tolist()
    bounds = [0, *(atom for atom in inner if atom < graph.n_atoms), graph.n_atoms]
    firsts = starts[bounds].tolist()
    parts = []
    for k in range(len(bounds) - 1):
        atoms, edges = slice(bounds[k], bounds[k + 1]), slice(firsts[k], firsts[k + 1])
        parts.append(_some_centers(graph, pairs, within, close, starts, atoms, edges))
    return parts


def _all_centers(graph: AtomicGraph, pairs: Pairs, within: Tensor, close: Tensor, starts: Tensor) -> Centers:
    atoms = torch.arange(graph.n_atoms + 1, device=starts.device)
    rows: dict[str, Rows] = {
        "atom": slice(None),
        "edge": slice(None),
        "center": graph.centers,
        "neighbor": graph.neighbors,
        "pair": pairs.of_edge,
        "reverse": pairs.reverse,
        "row": slice(None),
        "row_center": graph.centers,
    }
    return Centers(
        rows,
        graph.centers,
        graph.n_atoms,
        neighbors=Blocks(atoms, atoms[:-1], starts, within, skip_same=False),
        triplets=Blocks(starts, pairs.reverse, starts, close, skip_same=True),
    )


def _some_centers(
    graph: AtomicGraph, pairs: Pairs, within: Tensor, close: Tensor, starts: Tensor, atoms: slice, edges: slice
) -> Centers:
    centers, neighbors, reverse = graph.centers[edges], graph.neighbors[edges], pairs.reverse[edges]
    local_starts = starts[atoms.start : atoms.stop + 1] - edges.start
    n_atoms = atoms.stop - atoms.start
    numbers = torch.arange(max(n_atoms + 1, len(centers)), device=starts.device)
    rows: dict[str, Rows] = {
        "atom": atoms,
        "edge": edges,
        "center": centers,
        "neighbor": neighbors,
        "pair": pairs.of_edge[edges],
        "reverse": reverse,
        "row": reverse,
        "row_center": neighbors,
    }
    return Centers(
        rows,
        centers - atoms.start,
        n_atoms,
        neighbors=Blocks(numbers[: n_atoms + 1], numbers[:n_atoms], local_starts, within[edges], skip_same=False),
        triplets=Blocks(local_starts, numbers[: len(centers)], local_starts, close[edges], skip_same=True),
    )


def _first_edges(graph: AtomicGraph) -> Tensor:
    """Number of the first edge of every atom, and behind them the number of edges, ``(n_atoms + 1,)``."""
    atoms = torch.arange(graph.n_atoms + 1, device=graph.edge_index.device)
    return torch.searchsorted(graph.centers.contiguous(), atoms)
