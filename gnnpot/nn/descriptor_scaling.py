"""Descriptors of order one for the networks, and the range that they were learned in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph

SMALLEST_SPREAD = 0.01
"""Standard deviations are at least this share of the element's largest one: a function that hardly varies in the
training set must not be blown up where it does vary."""

SMALLEST_POOLED_SPREAD = 1e-4
"""The same where all elements are taken together: there is no function that hardly varies, only small ones."""


class DescriptorScale(nn.Module):
    """(G - mean) / spread per element and function; buffers ``lowest`` and ``highest`` keep the training range.

    With ``pooled`` mean and spread are those of the atoms of all elements; the ranges are each element's own.
    """

    mean: Tensor
    spread: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, n_types: int, n_functions: int, pooled: bool = False) -> None:
        super().__init__()
        self.shape = (n_types, n_functions)
        self.pooled = pooled
        self.register_buffer("mean", torch.zeros(self.shape))
        self.register_buffer("spread", torch.ones(self.shape))
        self.register_buffer("lowest", torch.full(self.shape, -torch.inf))
        self.register_buffer("highest", torch.full(self.shape, torch.inf))
        self._counts: list[Tensor] | None = None

    def forward(self, descriptors: Tensor, types: Tensor) -> Tensor:
        """Scaled descriptors, same shape ``(n_atoms, n_functions)``."""
        if self._counts is not None:
            self._counts.append(self.extrapolations(descriptors.detach(), types))
        if self.shape[0] == 1:
            return (descriptors - self.mean) / self.spread
        return (descriptors - self.mean[types]) / self.spread[types]

    def of_isolated_atoms(self) -> Tensor:
        """Scaled descriptors of an atom without neighbors, of each element, ``(n_types, n_functions)``."""
        return -self.mean / self.spread

    @property
    def has_ranges(self) -> bool:
        """Whether a training set has been seen."""
        return bool(torch.isfinite(self.lowest).any())

    @contextmanager
    def counting(self) -> Iterator[list[Tensor]]:
        """While open, every call appends its `extrapolations` to the list; nothing where there are no ranges."""
        counts: list[Tensor] = []
        self._counts = counts if self.has_ranges else None
        try:
            yield counts
        finally:
            self._counts = None

    def extrapolations(self, descriptors: Tensor, types: Tensor) -> Tensor:
        """Number of descriptors of every atom that lie outside the training range, ``(n_atoms,)``.

        Values within a hundred thousandth of the range around it count as inside.
        """
        margin = 1e-5 * (self.highest - self.lowest).nan_to_num(posinf=0.0)
        below = descriptors < (self.lowest - margin)[types]
        above = descriptors > (self.highest + margin)[types]
        return (below | above).sum(dim=1)

    def statistics(self) -> "DescriptorStatistics":
        """Begin to collect the statistics of a training set."""
        return DescriptorStatistics(*self.shape)

    def set_from(self, statistics: "DescriptorStatistics") -> None:
        """Set mean, spread and range; elements that were not met keep theirs."""
        met = statistics.count > 1
        mean, spread = statistics.mean()[met], statistics.spread()[met]
        if self.pooled:
            everything = statistics.pooled()
            mean, spread = everything.mean(), everything.spread()
        largest = spread.amax(dim=1, keepdim=True)
        smallest = (SMALLEST_POOLED_SPREAD if self.pooled else SMALLEST_SPREAD) * largest
        spread = torch.where(largest > 0.0, torch.maximum(spread, smallest), torch.ones_like(spread))
        rows = slice(None) if self.pooled else met
        self.mean[rows] = mean.to(self.mean)
        self.spread[rows] = spread.to(self.spread)
        self.lowest[met] = statistics.lowest[met].to(self.lowest)
        self.highest[met] = statistics.highest[met].to(self.highest)

    def widen_by(self, statistics: "DescriptorStatistics") -> None:
        """Let the range take in a further training set; elements that were not met keep theirs."""
        met = statistics.count > 0
        self.lowest[met] = torch.minimum(self.lowest[met], statistics.lowest[met].to(self.lowest))
        self.highest[met] = torch.maximum(self.highest[met], statistics.highest[met].to(self.highest))


class DescriptorStatistics:
    """Sums over the atoms of a training set, per element and function, in float64; atoms alone do not count."""

    def __init__(self, n_types: int, n_functions: int) -> None:
        self.count = torch.zeros(n_types, dtype=torch.int64)
        self.total = torch.zeros(n_types, n_functions, dtype=torch.float64)
        self.square = torch.zeros_like(self.total)
        self.lowest = torch.full_like(self.total, torch.inf)
        self.highest = torch.full_like(self.total, -torch.inf)

    def mean(self) -> Tensor:
        """Mean of every function, ``(n_types, n_functions)``."""
        return self.total / self.count.clamp(min=1)[:, None]

    def spread(self) -> Tensor:
        """Standard deviation of every function, ``(n_types, n_functions)``; 0 for elements that were not met."""
        square = self.square / self.count.clamp(min=1)[:, None]
        return (square - self.mean() ** 2).clamp(min=0.0).sqrt()

    def pooled(self) -> "DescriptorStatistics":
        """The same of the atoms of all elements, as if of one."""
        found = DescriptorStatistics(1, self.total.shape[1])
        found.count += self.count.sum()
        found.total += self.total.sum(0)
        found.square += self.square.sum(0)
        return found

    def add(self, descriptors: Tensor, types: Tensor, graph: AtomicGraph) -> None:
        """Add the atoms of one graph, ``descriptors`` ``(n_atoms, n_functions)``."""
        has_neighbors = torch.bincount(graph.centers, minlength=graph.n_atoms) > 0
        for t in range(len(self.count)):
            rows = descriptors[has_neighbors & (types == t)].double().cpu()
            if len(rows):
                self.count[t] += len(rows)
                self.total[t] += rows.sum(0)
                self.square[t] += (rows**2).sum(0)
                self.lowest[t] = torch.minimum(self.lowest[t], rows.amin(0))
                self.highest[t] = torch.maximum(self.highest[t], rows.amax(0))
