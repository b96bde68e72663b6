"""Which structures form which batch: a pure function of seed and epoch, never of what ran before."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from gnnpot.data.graph import AtomicGraph
from gnnpot.data.store import GraphStore
from gnnpot.errors import ConfigError
from gnnpot.models.prediction import to_device

Indices = np.ndarray[tuple[int], np.dtype[np.int64]]


ATOMS_PER_BATCH = 80
FEWEST_STRUCTURES = 4
"""Size of a batch where the configuration leaves it to the data."""


def batch_size_of(wanted: int | None, n_atoms: Indices) -> int:
    """Structures in a batch: as wanted, or by the mean number of atoms of the training structures.

    >>> batch_size_of(None, n_atoms=np.full(10, 8)), batch_size_of(None, n_atoms=np.full(10, 64))
    (10, 4)
    """
    if wanted is not None:
        return int(wanted)
    return max(FEWEST_STRUCTURES, round(ATOMS_PER_BATCH / float(np.mean(n_atoms))))


class BatchOrder:
    """Batches of a training epoch.

    The structures are shuffled by a generator made from (seed, epoch) and cut into ceil(n / batch_size) batches
    whose sizes differ by at most one. Each of several processes takes its slice of every one of these batches.

    >>> order = BatchOrder(np.arange(5), batch_size=2, seed=1)
    >>> [len(batch) for batch in order.batches(epoch=0)]
    [2, 2, 1]
    """

    def __init__(self, indices: Indices, batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} must be at least 1")
        self.indices = indices
        self.n_batches = max(1, -(-len(indices) // batch_size))
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (the trainer calls this at the start of each)."""
        self.epoch = epoch

    def batches(self, epoch: int) -> list[Indices]:
        """Store indices of every batch of an epoch, over all processes."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.indices))
        return [np.sort(batch) for batch in np.array_split(self.indices[order], self.n_batches)]


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
        self._given = 0
        self._start = 0

    def __len__(self) -> int:
        return self.sampler.n_batches

    def __iter__(self) -> Iterator[TrainingBatch]:
        batches = self.sampler.batches(self.sampler.epoch)
        start, self._start = self._start, 0
        for k, indices in enumerate(batches[start:], start=start):
            self._given = k + 1
            own = indices[self.rank :: self.n_processes]
            chosen = own if len(own) else indices[:1]
            yield TrainingBatch(self.store.batch(chosen, self.dtype), indices, chosen, float(len(own) > 0))

    def state_dict(self) -> dict[str, int]:
        """Number of batches of the running epoch that were given out."""
        return {"given": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next epoch behind the batches that were given out, or anew where it was complete."""
        self._start = state["given"] % len(self)
