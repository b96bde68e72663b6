"""CPU kernels of `gnnpot.nn.convolution`: one pass over the pairs, no array of gathered rows ever written."""

from typing import Any, TypeAlias

import numpy.typing as npt

from gnnpot.nn.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def add_convolution(values: Array, filters: Array, pair_atoms: Array, out: Array) -> None:
    """Add values[j] · filters[p] to out[i] and values[i] · filters[p] to out[j] for every pair p = {i, j}."""
    n_pairs, n_features = filters.shape
    for p in range(n_pairs):
        i, j = pair_atoms[0, p], pair_atoms[1, p]
        for f in range(n_features):
            out[i, f] += values[j, f] * filters[p, f]
        for f in range(n_features):
            out[j, f] += values[i, f] * filters[p, f]


@compiled()
def write_pair_product(left: Array, right: Array, pair_atoms: Array, out: Array) -> None:
    """Write left[i] · right[j] + left[j] · right[i] to out[p] for every pair p = {i, j}."""
    n_pairs, n_features = out.shape
    for p in range(n_pairs):
        i, j = pair_atoms[0, p], pair_atoms[1, p]
        for f in range(n_features):
            out[p, f] = left[i, f] * right[j, f] + left[j, f] * right[i, f]
