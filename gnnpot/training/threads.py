"""Threads of a training on a processor: as many as its batches are worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

EDGES_PER_THREAD = 20_000
"""Edges in a batch below which a second thread waits more than it works."""


def worthwhile_threads(n_edges: float, available: int) -> int:
    """Threads for batches of so many edges: 1 for small ones, where waiting for each other costs more than it gains.

    >>> worthwhile_threads(3_000, available=8), worthwhile_threads(50_000, available=8)
    (1, 3)
    """
    return max(1, min(available, int(n_edges // EDGES_PER_THREAD) + 1))


@contextmanager
def limited_threads(n_threads: int) -> Iterator[None]:
    """Let PyTorch use so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
