import pytest
import torch

from gnnpot.training.threads import limited_threads, worthwhile_threads


@pytest.mark.parametrize(("n_edges", "available", "expected"), [(0, 4, 1), (19_999, 4, 1), (20_000, 4, 2), (1e9, 4, 4)])
def test_threads_grow_with_the_batch(n_edges: float, available: int, expected: int) -> None:
    assert worthwhile_threads(n_edges, available) == expected


def test_the_number_comes_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="inside"), limited_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError("inside")
    assert torch.get_num_threads() == before
