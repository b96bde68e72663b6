"""The machine's rates, measured on the spot, and the operations that the works ask for."""

import functools
import time
from dataclasses import dataclass

import torch

EXP = 20
"""Floating-point operations of an exponential, a hyperbolic tangent, a softplus in vector registers, roughly."""


@dataclass(frozen=True)
class Machine:
    """Rates of one thread."""

    flops: float
    bandwidth: float
    """Bytes per second, read and written."""


@functools.cache
def measure_machine() -> Machine:
    """Best of several products of two matrices of 512 rows, and of copies of 32 MB."""
    torch.set_num_threads(1)
    left, right = torch.randn(512, 512), torch.randn(512, 512)
    out, block = torch.empty(512, 512), torch.ones(8_000_000)
    target = torch.empty_like(block)
    product = _best(lambda: torch.mm(left, right, out=out), 30)
    copy = _best(lambda: target.copy_(block), 30)
    return Machine(2.0 * 512**3 / product, 2.0 * 4.0 * len(block) / copy)


def _best(function, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def schnet_evaluation(n_atoms: int, n_pairs: int, n_features: int, n_interactions: int) -> tuple[float, float]:
    """Operations and bytes of energy and forces, filters as splines, each pair once.

    A pair: six coefficients to a filter and two sums in the forward pass; the same, a slope and a product with it in
    the reverse pass. An atom: 7.5 matrix products each way (three interactions), and activations.
    """
    per_pair = n_interactions * ((6 + 2) + (6 + 6 + 2 + 3)) * 2 * n_features
    products = 2 * (2 * n_interactions + 0.5 * n_interactions * (n_interactions - 1) / 2)
    per_atom = 2 * products * n_features**2 + n_interactions * 2 * EXP * n_features
    moved = n_pairs * (2 * n_interactions * 4 * 12 + 60) + n_atoms * n_interactions * n_features * 4 * 6
    return n_pairs * per_pair + n_atoms * per_atom, moved


def schnet_training(n_atoms: int, n_pairs: int, n_features: int, n_interactions: int) -> tuple[float, float]:
    """The same for a step on energy and forces: their derivatives by weights take about twice as much again."""
    flops, moved = schnet_evaluation(n_atoms, n_pairs, n_features, n_interactions)
    return 3.0 * flops, 3.0 * moved


def symmetry_functions(n_pairs_of_neighbors: int, n_functions: int, derivatives: bool) -> tuple[float, float]:
    """Geometry of a triplet, one exponential, four operations a function; four times that with derivatives."""
    flops = n_pairs_of_neighbors * (25 + EXP + 4 * n_functions)
    return flops * (4 if derivatives else 1), 0.0


def gnnff_forward(n_edges: int, n_triplets: int, sizes: dict) -> tuple[float, float]:
    """Gates of every neighbor and triplet, and five products per edge (the weights act before the gather)."""
    node, edge, layers = sizes["n_features"], sizes["n_edge_features"], sizes["n_interactions"]
    per_edge = 2 * (2 * node * edge + 2 * 2 * edge * edge + 2 * node * edge) + (2 * EXP + 3) * (node + edge)
    return layers * (n_edges * per_edge + n_triplets * edge * (2 * EXP + 3)), 0.0
