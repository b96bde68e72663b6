"""Edges of one pair of atoms, and pairs of edges of one atom.

An atom may be its own neighbor through an image, so that "the same atom" says nothing: the way back along an edge is
its reverse *edge*, and triplets are pairs of edges, never of atom indices.
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


def edge_pairs(graph: AtomicGraph, keep: Tensor) -> Tensor:
    """All unordered pairs of edges (ij, ik) with one center, each once, ``(n_pairs, 2)``, sorted by center."""
    kept = keep.nonzero()[:, 0]
    centers = graph.centers[kept]
    degree = torch.bincount(centers, minlength=graph.n_atoms)
    end = degree.cumsum(0)[centers]
    first = torch.arange(len(kept), device=kept.device)
    behind = end - first - 1
    pair_first = torch.repeat_interleave(behind)
    offset = torch.arange(len(pair_first), device=kept.device) - (behind.cumsum(0) - behind)[pair_first]
    return torch.stack([kept[pair_first], kept[pair_first + 1 + offset]], dim=1)
