"""Which structures form which batch: a pure function of seed and epoch, never of what ran before."""

import heapq
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from gnnpot.data.graph import AtomicGraph
from gnnpot.data.store import GraphStore
from gnnpot.errors import ConfigError
from gnnpot.models.prediction import to_device

Indices = np.ndarray[tuple[int], np.dtype[np.int64]]


ATOMS_PER_BATCH = 80
"""Size of a batch where the configuration leaves it to the data."""

ALIKE = 1.2
"""Largest over smallest number of edges up to which structures count as alike: their number alone is balanced."""

ANNOUNCED = 4
"""Batches beyond the two in memory that the system is told of, so that it reads them from the disk meanwhile."""

SHUFFLE = 0.3
"""By how much numbers of edges are taken wrongly, at random, for the order in which batches are filled; without it
the same structures would meet in every epoch."""


def batch_size_of(wanted: int | None, n_atoms: Indices, fewest: int) -> int:
    """Structures in a batch: as wanted, or by the mean number of atoms of the training structures, at least ``fewest``.

    >>> [batch_size_of(None, np.full(10, size), fewest=4) for size in (8, 64)]
    [10, 4]
    """
    if wanted is not None:
        return int(wanted)
    return max(fewest, round(ATOMS_PER_BATCH / float(np.mean(n_atoms))))


def are_alike(n_edges: Indices) -> bool:
    """Whether structures cost about the same, so that counting them is enough.

    >>> are_alike(np.array([100, 110])), are_alike(np.array([100, 400]))
    (True, False)
    """
    return len(n_edges) == 0 or bool(n_edges.max() <= ALIKE * n_edges.min())


def balanced(n_edges: Indices, n_shares: int, random: np.random.Generator | None = None) -> list[Indices]:
    """Numbers of the structures in each of some shares with about equally many edges, in ascending order.

    The largest structure left goes to the smallest share (R. L. Graham, SIAM J. Appl. Math. 17, 416 (1969)); with
    ``random`` the order is largest first only roughly, and different for every generator.

    >>> [share.tolist() for share in balanced(np.array([5, 1, 1, 1, 2]), 2)]
    [[0], [1, 2, 3, 4]]
    """
    keys = n_edges.astype(np.float64)
    if random is not None:
        keys *= np.exp(random.uniform(-SHUFFLE, SHUFFLE, len(keys)))
    shares: list[list[int]] = [[] for _ in range(n_shares)]
    heap = [(0, k) for k in range(n_shares)]
    for structure in np.argsort(-keys, kind="stable").tolist():
        filled, k = heap[0]
        shares[k].append(structure)
        heapq.heapreplace(heap, (filled + max(int(n_edges[structure]), 1), k))
    return [np.sort(np.array(share, dtype=np.int64)) for share in shares]


class BatchOrder:
    """Batches of a training epoch.

    The structures are shuffled by a generator made from (seed, epoch) and cut into ceil(n / batch_size) batches
    whose sizes differ by at most one. Structures of different sizes are dealt out to as many batches with about
    equally many edges; the one with the most comes first, so that memory is short at once or never. Several processes
    share each of these batches.

    Args:
        indices: the structures of the store that are trained on.
        batch_size: mean number of structures in a batch.
        seed: of the shuffling.
        n_edges: of each of these structures; null: they are alike.

    >>> order = BatchOrder(np.arange(5), batch_size=2, seed=1)
    >>> [len(batch) for batch in order.batches(epoch=0)]
    [2, 2, 1]
    """

    def __init__(self, indices: Indices, batch_size: int, seed: int, n_edges: Indices | None = None) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} must be at least 1")
        self.indices = indices
        self.n_batches = max(1, -(-len(indices) // batch_size))
        self.seed = seed
        self.epoch = 0
        self.n_edges = None if n_edges is None or are_alike(n_edges) else n_edges

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (the trainer calls this at the start of each)."""
        self.epoch = epoch

    def batches(self, epoch: int) -> list[Indices]:
        """Store indices of every batch of an epoch, over all processes."""
        random = np.random.default_rng([self.seed, epoch])
        if self.n_edges is None:
            order = random.permutation(len(self.indices))
            return [np.sort(batch) for batch in np.array_split(self.indices[order], self.n_batches)]
        shares = balanced(self.n_edges, self.n_batches, random)
        shares = [shares[k] for k in random.permutation(self.n_batches)]
        largest = int(np.argmax([self.n_edges[share].sum() for share in shares]))
        shares[0], shares[largest] = shares[largest], shares[0]
        return [np.sort(self.indices[share]) for share in shares]


def share_of(indices: Indices, n_edges: Indices, rank: int, n_processes: int) -> Indices:
    """A process's part of a batch: every n-th structure, or of different ones about equally many edges.

    Args:
        indices: structures of the batch.
        n_edges: of each of them.
        rank: number of the process.
        n_processes: number of processes.

    >>> [share_of(np.arange(4), np.array([9, 3, 3, 3]), rank, 2).tolist() for rank in range(2)]
    [[0], [1, 2, 3]]
    """
    if n_processes == 1 or are_alike(n_edges):
        return indices[rank::n_processes]
    return indices[balanced(n_edges, n_processes)[rank]]


@dataclass(frozen=True)
class TrainingBatch:
    """One process's part of a batch.

    ``indices`` are the structures of the whole batch, ``own`` those of the graph. ``weight`` is 0 where a process has
    nothing to do in a batch smaller than the number of processes: it then computes along on one structure, so that all
    of them step together.
    """

    graph: AtomicGraph
    indices: Indices
    own: Indices
    weight: float

    def to(self, device: torch.device) -> "TrainingBatch":
        """The same batch on a device."""
        if self.graph.positions.device == device:
            return self
        return TrainingBatch(to_device(self.graph, device), self.indices, self.own, self.weight)


class TrainingBatches:
    """What the trainer iterates over: one epoch of batches, from where it stands.

    While a batch is trained on, a thread reads the next one from the store; ``waited_seconds`` is how long the trainer
    has waited for batches nevertheless.

    ``state_dict`` and ``load_state_dict`` let a training that was interrupted within an epoch go on at the next
    batch.
    """

    def __init__(
        self, store: GraphStore, order: BatchOrder, dtype: torch.dtype, rank: int = 0, n_processes: int = 1
    ) -> None:
        self.store = store
        self.sampler = order
        self.dtype = dtype
        self.rank = rank
        self.n_processes = n_processes
        self.waited_seconds = 0.0
        self._given = 0
        self._start = 0

    def __len__(self) -> int:
        return self.sampler.n_batches

    def __iter__(self) -> Iterator[TrainingBatch]:
        batches = self.sampler.batches(self.sampler.epoch)
        start, self._start, announced = self._start, 0, 0
        with ThreadPoolExecutor(1, thread_name_prefix="gnnpot-batches") as reader:
            ahead: deque[Future[TrainingBatch]] = deque()
            for k in range(start, len(batches)):
                ahead.extend(reader.submit(self._read, indices) for indices in batches[k + len(ahead) : k + 2])
                reader.submit(self._announce, batches[max(announced, k + 2) : k + 2 + ANNOUNCED])
                announced = k + 2 + ANNOUNCED
                asked = time.perf_counter()
                batch = ahead.popleft().result()
                self.waited_seconds += time.perf_counter() - asked
                self._given = k + 1
                yield batch

    def _announce(self, batches: list[Indices]) -> None:
        """Have the disk at work on batches to come."""
        for indices in batches:
            self.store.announce(self._own(indices))

    def _read(self, indices: Indices) -> TrainingBatch:
        """This process's part of a batch."""
        own = self._own(indices)
        chosen = own if len(own) else indices[:1]
        return TrainingBatch(self.store.batch(chosen, self.dtype), indices, chosen, float(len(own) > 0))

    def _own(self, indices: Indices) -> Indices:
        return share_of(indices, self.store.n_edges[indices], self.rank, self.n_processes)

    def state_dict(self) -> dict[str, int]:
        """Number of batches of the running epoch that were given out."""
        return {"given": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next epoch behind the batches that were given out, or anew where it was complete."""
        self._start = state["given"] % len(self)
