"""The fused kernels against plain torch, and their derivatives against finite differences."""

import pytest
import torch

from gnnpot.nn.gated_sum import Blocks, gated_sum, gated_sum_by_pairs
from gnnpot.nn.gated_sum_kernels import WIDTH


def example(n_features, skip_same, dtype=torch.float64):
    torch.manual_seed(0)
    starts = torch.tensor([0, 3, 3, 7])
    keep = torch.tensor([True, False, True, True, True, False, True])
    blocks = Blocks(starts, torch.randperm(7), starts, keep, skip_same)
    inputs = [torch.randn(7, 2 * n_features, dtype=dtype, requires_grad=True) for _ in range(2)]
    weights = torch.rand(7, dtype=dtype, requires_grad=True)
    return (*inputs, weights), blocks


def naive(rows, columns, weights, blocks):
    n_features = rows.shape[1] // 2
    sums = torch.zeros(rows.shape[0], n_features, dtype=rows.dtype)
    for k in range(len(blocks.row_starts) - 1):
        own_rows = blocks.rows[blocks.row_starts[k] : blocks.row_starts[k + 1]].tolist()
        for p, row in enumerate(own_rows):
            for q, column in enumerate(range(blocks.column_starts[k], blocks.column_starts[k + 1])):
                if blocks.keep[column] and not (blocks.skip_same and p == q):
                    a, b = (rows[row] + columns[column]).split(n_features)
                    sums[row] += weights[column] * torch.sigmoid(a) * torch.tanh(b)
    return sums


@pytest.mark.parametrize("skip_same", [True, False])
@pytest.mark.parametrize("n_features", [2, WIDTH, WIDTH + 1])
def test_equals_the_loop(n_features, skip_same):
    inputs, blocks = example(n_features, skip_same)
    expected = naive(*inputs, blocks).detach()
    torch.testing.assert_close(gated_sum(*inputs, blocks).detach(), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gated_sum_by_pairs(*inputs, blocks).detach(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("skip_same", [True, False])
@pytest.mark.parametrize("n_features", [2, WIDTH])
def test_both_derivatives(n_features, skip_same):
    inputs, blocks = example(n_features, skip_same)
    assert torch.autograd.gradcheck(lambda *x: gated_sum(*x, blocks), inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *x: gated_sum(*x, blocks), inputs, fast_mode=True)


def second_derivatives(function, inputs, blocks):
    gradients = torch.autograd.grad((function(*inputs, blocks) ** 2).sum(), inputs, create_graph=True)
    return torch.autograd.grad(sum((g**2).sum() for g in gradients), inputs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
def test_second_derivatives_equal_those_of_the_plain_path(dtype, tolerance):
    inputs, blocks = example(WIDTH, skip_same=True, dtype=dtype)
    found, expected = (second_derivatives(f, inputs, blocks) for f in (gated_sum, gated_sum_by_pairs))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))


def test_third_derivatives_are_refused():
    inputs, blocks = example(WIDTH, skip_same=True)
    (first,) = torch.autograd.grad(gated_sum(*inputs, blocks).sum(), inputs[0], create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        (second**2).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_inputs_stay_exact(dtype):
    inputs, blocks = example(WIDTH, skip_same=False, dtype=dtype)
    scaled = [300.0 * x.detach() for x in inputs[:2]]
    found = gated_sum(*scaled, inputs[2].detach(), blocks)
    torch.testing.assert_close(found, naive(*scaled, inputs[2].detach(), blocks))


def test_threads_change_nothing():
    inputs, blocks = example(WIDTH, skip_same=True, dtype=torch.float32)
    one = second_derivatives(gated_sum, inputs, blocks)
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if n_threads == 1 else 1)
        other = second_derivatives(gated_sum, inputs, blocks)
    finally:
        torch.set_num_threads(n_threads)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_no_rows():
    starts = torch.zeros(1, dtype=torch.int64)
    blocks = Blocks(starts, starts[:0], starts, starts[:0].bool(), skip_same=True)
    empty = torch.zeros(0, 8, requires_grad=True)
    result = gated_sum(empty, empty, torch.zeros(0), blocks)
    assert result.shape == (0, 4)
    result.sum().backward()
    assert empty.grad is not None


def test_inputs_of_any_memory_layout():
    inputs, blocks = example(WIDTH, skip_same=True)
    strided = [x.detach().t().contiguous().t().requires_grad_() for x in inputs[:2]]
    found = second_derivatives(gated_sum, [*strided, inputs[2]], blocks)
    for a, b in zip(found, second_derivatives(gated_sum, inputs, blocks), strict=True):
        torch.testing.assert_close(a, b)
