"""Triplets of atoms as pairs of edges.

An atom may be its own neighbor through an image, so that "the same atom" says nothing: triplets exclude the
reverse *edge*, and unordered pairs run over pairs of edges, never over atom indices.
"""

import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph


def reverse_edges(graph: AtomicGraph) -> Tensor:
    """Edge (j, i, -S) of every edge (i, j, S), ``(n_edges,)``.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> graph = graph_from_atoms(bulk("Cu"), cutoff=3.0)
    >>> reverse = reverse_edges(graph)
    >>> bool((graph.edge_shifts[reverse] == -graph.edge_shifts).all())
    True
    """
    shifts = graph.edge_shifts.round().to(torch.int64)
    reach = int(shifts.abs().max()) if shifts.numel() else 0
    forward = _edge_keys(graph.centers, graph.neighbors, shifts, graph.n_atoms, reach)
    backward = _edge_keys(graph.neighbors, graph.centers, -shifts, graph.n_atoms, reach)
    ordered, order = forward.sort()
    return order[torch.searchsorted(ordered, backward)]


def _edge_keys(first: Tensor, second: Tensor, shifts: Tensor, n_atoms: int, reach: int) -> Tensor:
    base = 2 * reach + 1
    image = ((shifts[:, 0] + reach) * base + shifts[:, 1] + reach) * base + shifts[:, 2] + reach
    return (first * n_atoms + second) * base**3 + image


def undirected_pairs(graph: AtomicGraph) -> tuple[Tensor, Tensor]:
    """Each pair {i→j, j→i} once: ``pair_of_edge`` ``(n_edges,)`` and ``edge_of_pair`` ``(n_edges / 2,)``.

    What depends on the distance alone (a filter, a radial basis) is the same for both edges of a pair.
    """
    reverse = reverse_edges(graph)
    edges = torch.arange(graph.n_edges, device=reverse.device)
    edge_of_pair = edges[edges < reverse]
    pair_of_edge = torch.empty_like(reverse)
    numbers = torch.arange(len(edge_of_pair), device=reverse.device)
    pair_of_edge[edge_of_pair] = numbers
    pair_of_edge[reverse[edge_of_pair]] = numbers
    return pair_of_edge, edge_of_pair


def edge_chains(graph: AtomicGraph, keep: Tensor) -> Tensor:
    """All chains i→j→k as pairs (edge ij, edge jk), ``(n_triplets, 2)``, sorted by the first edge.

    Both edges are in ``keep`` ``(n_edges,)``; jk is never the reverse edge of ij (k = i in the same image).
    """
    kept = keep.nonzero()[:, 0]
    first, second = _join(graph.neighbors[kept], graph.centers[kept], graph.n_atoms)
    first, second = kept[first], kept[second]
    chain = second != reverse_edges(graph)[first]
    return torch.stack([first[chain], second[chain]], dim=1)


def edge_pairs(graph: AtomicGraph, keep: Tensor) -> Tensor:
    """All unordered pairs of edges (ij, ik) with one center, each once, ``(n_pairs, 2)``, sorted by center."""
    kept = keep.nonzero()[:, 0]
    first, second = _join(graph.centers[kept], graph.centers[kept], graph.n_atoms)
    once = first < second
    return torch.stack([kept[first[once]], kept[second[once]]], dim=1)


def _join(wanted: Tensor, sorted_keys: Tensor, n_keys: int) -> tuple[Tensor, Tensor]:
    """All (a, b) with ``wanted[a] == sorted_keys[b]``."""
    degree = torch.bincount(sorted_keys, minlength=n_keys)
    start = degree.cumsum(0) - degree
    matches = degree[wanted]
    first = torch.repeat_interleave(matches)
    offset = torch.arange(len(first), device=first.device) - (matches.cumsum(0) - matches)[first]
    return first, start[wanted][first] + offset
