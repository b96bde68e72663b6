"""Training and validation structures of one process, out of the store of graphs."""

from collections.abc import Iterator, Sequence

import lightning
import numpy as np
import torch

from gnnpot.data.graph import AtomicGraph
from gnnpot.data.store import GraphStore
from gnnpot.models.prediction import EVALUATION_EDGES
from gnnpot.training.batches import BatchOrder, Indices, TrainingBatch, TrainingBatches

KEPT_EDGES = 3_000_000
"""Edges of validation graphs that are kept in memory instead of being put together again each time."""


def evaluation_batches(n_edges: Indices, indices: Indices) -> list[Indices]:
    """Cut structures into consecutive batches of at most `EVALUATION_EDGES` edges, or of one structure.

    Args:
        n_edges: edges of every structure of the store.
        indices: the structures to evaluate.

    >>> [batch.tolist() for batch in evaluation_batches(np.full(5, 25_000), np.array([4, 1, 2]))]
    [[4, 1], [2]]
    """
    batches: list[list[int]] = []
    room = 0
    for index in indices.tolist():
        size = max(int(n_edges[index]), 1)
        if size > room or not batches:
            batches.append([])
            room = EVALUATION_EDGES
        batches[-1].append(index)
        room -= size
    return [np.array(batch, dtype=np.int64) for batch in batches]


class TrainingData(lightning.LightningDataModule):
    """Batches for the trainer, and graphs for validation.

    Args:
        store: graphs of all structures.
        order: batches of the training structures.
        val: store indices for validation.
        dtype: precision of the network.
    """

    def __init__(self, store: GraphStore, order: BatchOrder, val: Indices, dtype: torch.dtype) -> None:
        super().__init__()
        self.store = store
        self.order = order
        self.val = val
        self.dtype = dtype
        self._kept: list[AtomicGraph] = []
        self._batches: TrainingBatches | None = None

    def train_dataloader(self) -> TrainingBatches:
        """This process's part of every batch."""
        rank, n_processes = self._place()
        self._batches = TrainingBatches(self.store, self.order, self.dtype, rank, n_processes)
        return self._batches

    @property
    def waited_seconds(self) -> float:
        """How long this process has waited for batches."""
        return self._batches.waited_seconds if self._batches else 0.0

    def transfer_batch_to_device(
        self, batch: TrainingBatch, device: torch.device, dataloader_idx: int
    ) -> TrainingBatch:
        """Move a batch."""
        return batch.to(device)

    def validation_graphs(self) -> Iterator[AtomicGraph] | Sequence[AtomicGraph]:
        """This process's part of the validation structures, in large batches."""
        if self._kept:
            return self._kept
        rank, n_processes = self._place()
        own = self.val[rank::n_processes]
        batches = evaluation_batches(self.store.n_edges, own)
        graphs = (self.store.batch(indices, self.dtype) for indices in batches)
        if len(own) and int(self.store.n_edges[own].sum()) > KEPT_EDGES:
            return graphs
        self._kept = list(graphs)
        return self._kept

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
