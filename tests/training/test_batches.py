from pathlib import Path

import numpy as np
import pytest
import torch

from gnnpot.data.store import GraphStore, cached_store
from gnnpot.errors import ConfigError
from gnnpot.training.batches import BatchOrder, TrainingBatches, share_of

from .conftest import copper


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    return cached_store(copper(11), 3.2, cache_dir=Path(tmp_path_factory.mktemp("cache")))


def test_an_epoch_holds_every_structure_once_in_batches_of_like_size() -> None:
    batches = BatchOrder(np.arange(10, 33), batch_size=5, seed=3).batches(epoch=7)
    assert sorted(np.concatenate(batches).tolist()) == list(range(10, 33))
    assert {len(batch) for batch in batches} == {4, 5}


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def epoch(seed: int, number: int) -> list[list[int]]:
        return [b.tolist() for b in BatchOrder(np.arange(9), 4, seed).batches(number)]

    order = BatchOrder(np.arange(9), 4, seed=1)
    order.batches(0)
    assert [b.tolist() for b in order.batches(5)] == epoch(1, 5)
    assert epoch(1, 5) != epoch(1, 6)
    assert epoch(1, 5) != epoch(2, 5)


def test_processes_share_the_same_batches(store: GraphStore) -> None:
    parts = [list(TrainingBatches(store, BatchOrder(np.arange(11), 4, 0), torch.float64, r, 2)) for r in range(2)]
    whole = list(TrainingBatches(store, BatchOrder(np.arange(11), 4, 0), torch.float64))
    for first, second, both in zip(*parts, whole, strict=True):
        assert first.indices.tolist() == second.indices.tolist() == both.indices.tolist()
        assert first.graph.n_structures + second.graph.n_structures == both.graph.n_structures
        assert float(first.graph.energy.sum() + second.graph.energy.sum()) == pytest.approx(
            float(both.graph.energy.sum())
        )


def test_a_process_without_structures_computes_along_with_weight_zero(store: GraphStore) -> None:
    batches = list(TrainingBatches(store, BatchOrder(np.arange(3), 1, 0), torch.float64, rank=1, n_processes=2))
    assert [batch.weight for batch in batches] == [0.0, 0.0, 0.0]
    assert [batch.graph.n_structures for batch in batches] == [1, 1, 1]


def test_an_interrupted_epoch_goes_on_at_the_next_batch(store: GraphStore) -> None:
    whole = [b.indices.tolist() for b in TrainingBatches(store, BatchOrder(np.arange(11), 3, 5), torch.float32)]
    first = TrainingBatches(store, BatchOrder(np.arange(11), 3, 5), torch.float32)
    begun = iter(first)
    seen = [next(begun).indices.tolist(), next(begun).indices.tolist()]
    second = TrainingBatches(store, BatchOrder(np.arange(11), 3, 5), torch.float32)
    second.load_state_dict(first.state_dict())
    assert seen + [b.indices.tolist() for b in second] == whole
    assert [b.indices.tolist() for b in second] == whole


def test_a_complete_epoch_leaves_nothing_to_go_on_with(store: GraphStore) -> None:
    batches = TrainingBatches(store, BatchOrder(np.arange(11), 3, 5), torch.float32)
    whole = [b.indices.tolist() for b in batches]
    batches.load_state_dict(batches.state_dict())
    assert [b.indices.tolist() for b in batches] == whole


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="batch_size=0"):
        BatchOrder(np.arange(3), 0, 0)


MIXED = np.random.default_rng(0).integers(20, 4000, 200)
"""Edges of very different structures."""


def test_batches_of_different_structures_have_equally_many_edges() -> None:
    order = BatchOrder(np.arange(100, 300), batch_size=8, seed=1, n_edges=MIXED)
    batches = order.batches(epoch=3)
    assert len(batches) == order.n_batches == 25
    assert sorted(np.concatenate(batches).tolist()) == list(range(100, 300))
    edges = [int(MIXED[batch - 100].sum()) for batch in batches]
    assert max(edges) < 1.05 * np.mean(edges)
    assert min(edges) > 0.9 * np.mean(edges)
    assert edges[0] == max(edges)


def test_batches_of_different_structures_depend_on_seed_and_epoch_alone_and_change() -> None:
    def sets(epoch: int) -> list[list[int]]:
        return [b.tolist() for b in BatchOrder(np.arange(200), 4, 1, MIXED).batches(epoch)]

    assert sets(5) == sets(5)
    pairs = [{(a, b) for batch in sets(epoch) for a in batch for b in batch if a < b} for epoch in (5, 6)]
    assert len(pairs[0] & pairs[1]) < 0.2 * len(pairs[0])


def test_alike_structures_are_batched_by_number_alone() -> None:
    alike = BatchOrder(np.arange(9), 4, 1, np.array([100, 110] * 4 + [105]))
    plain = BatchOrder(np.arange(9), 4, 1)
    assert [b.tolist() for b in alike.batches(2)] == [b.tolist() for b in plain.batches(2)]


def test_one_structure_larger_than_a_batch_is_alone() -> None:
    sizes = np.array([10_000, *([100] * 20)])
    batches = BatchOrder(np.arange(21), 7, 0, sizes).batches(0)
    assert batches[0].tolist() == [0]
    assert sorted(len(batch) for batch in batches[1:]) == [10, 10]


def test_processes_share_edges() -> None:
    shares = [share_of(np.arange(50, 58), MIXED[:8], rank, 2) for rank in range(2)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(50, 58))
    edges = [MIXED[share - 50].sum() for share in shares]
    assert max(edges) < 1.1 * min(edges)
    assert share_of(np.arange(1), np.array([4]), rank=1, n_processes=2).tolist() == []


def test_a_reader_that_fails_stops_the_training_and_time_is_counted(store: GraphStore) -> None:
    batches = TrainingBatches(store, BatchOrder(np.arange(11), 3, 5), torch.float32)
    assert len(list(batches)) == len(batches)
    assert batches.waited_seconds > 0.0
    broken = TrainingBatches(store, BatchOrder(np.array([0, 99]), 1, 5), torch.float32)
    with pytest.raises(IndexError):
        list(broken)
