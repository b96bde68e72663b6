"""Sums of gates over blocks of rows and columns, the operation that a GNNFF layer spends its time in.

    S_p = Σ_q w_q σ(a_p + a_q) tanh(b_p + b_q),      q over the columns that meet row p

A wide layer that acts on a concatenation is a sum of small ones, W[x, y] = W_x x + W_y y, so that the gates
of all neighbors (rows: atoms, columns: their edges) and of all triplets (rows: edges i→j, columns: edges j→k)
are of this form. On the CPU fused kernels with analytic first and second derivatives evaluate it without writing
any array over pairs; elsewhere `gated_sum_by_pairs` does, in plain torch.
"""

import functools
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gnnpot.data.graph import gather, scatter_sum
from gnnpot.kernels import kernels_serve

LARGEST_EXPONENT = {torch.float32: 80.0, torch.float64: 690.0}
"""Products of exponentials stay finite below this; beyond it the plain path is taken."""


@dataclass(frozen=True)
class Blocks:
    """Which rows meet which columns.

    In block k all ``rows[row_starts[k]:row_starts[k+1]]`` meet all columns ``column_starts[k]:column_starts[k+1]``
    in ``keep`` ``(n_columns,)``, except (``skip_same``) the p-th row and the p-th column. The starts have
    ``n_blocks + 1`` entries; ``rows`` is a permutation of 0..n_rows-1.
    """

    row_starts: Tensor
    rows: Tensor
    column_starts: Tensor
    keep: Tensor
    skip_same: bool

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All (row, column) that meet, sorted by block and row.

        >>> starts = torch.tensor([0, 2])
        >>> blocks = Blocks(starts, torch.tensor([1, 0]), starts, torch.tensor([True, True]), skip_same=True)
        >>> [index.tolist() for index in blocks.pairs()]
        [[1, 0], [1, 0]]
        """
        n_columns = self.column_starts.diff()
        block = torch.repeat_interleave(self.row_starts.diff())
        slot = torch.repeat_interleave(n_columns[block])
        first_pair = n_columns[block].cumsum(0) - n_columns[block]
        position = torch.arange(len(slot), device=slot.device) - first_pair[slot]
        column = self.column_starts[block][slot] + position
        meet = self.keep[column]
        if self.skip_same:
            meet = meet & (slot - self.row_starts[block][slot] != position)
        return self.rows[slot[meet]], column[meet]


def gated_sum(row_inputs: Tensor, column_inputs: Tensor, weights: Tensor, blocks: Blocks) -> Tensor:
    """S_p = Σ_q w_q σ(a_p + a_q) tanh(b_p + b_q), with (a, b) the two halves of the inputs.

    Args:
        row_inputs: ``(n_rows, 2 n_features)``.
        column_inputs: ``(n_columns, 2 n_features)``.
        weights: ``(n_columns,)``.
        blocks: which rows meet which columns.

    Returns:
        ``(n_rows, n_features)``, differentiable twice.

    >>> starts = torch.tensor([0, 1])
    >>> blocks = Blocks(starts, torch.tensor([0]), torch.tensor([0, 2]), torch.tensor([True, True]), False)
    >>> gated_sum(torch.zeros(1, 2), torch.tensor([[0.0, 9.0], [0.0, 9.0]]), torch.ones(2), blocks).round(decimals=4)
    tensor([[1.]])
    """
    if not _kernels_apply(row_inputs, column_inputs):
        return gated_sum_by_pairs(row_inputs, column_inputs, weights, blocks)
    from gnnpot.nn.gated_sum_kernels import WIDTH

    n_features = row_inputs.shape[1] // 2
    missing = -n_features % WIDTH
    if missing:
        row_inputs, column_inputs = _padded(row_inputs, missing), _padded(column_inputs, missing)
    return _GatedSum.apply(row_inputs, column_inputs, weights, blocks)[:, :n_features]


def _padded(inputs: Tensor, missing: int) -> Tensor:
    halves = inputs.reshape(inputs.shape[0], 2, -1)
    return torch.nn.functional.pad(halves, (0, missing)).flatten(1)


def gated_sum_by_pairs(row_inputs: Tensor, column_inputs: Tensor, weights: Tensor, blocks: Blocks) -> Tensor:
    """`gated_sum` in plain torch: any device and derivative, memory for every pair."""
    rows, columns = blocks.pairs()
    a, b = (gather(row_inputs, rows) + gather(column_inputs, columns)).chunk(2, dim=1)
    gates = torch.sigmoid(a) * torch.tanh(b) * gather(weights, columns)[:, None]
    return scatter_sum(gates, rows, row_inputs.shape[0])


def gate(inputs: Tensor) -> Tensor:
    """σ(a) tanh(b) of the two halves of ``inputs`` ``(n, 2 n_features)``.

    >>> gate(torch.tensor([[0.0, 9.0]]))
    tensor([[0.5000]])
    """
    a, b = inputs.chunk(2, dim=1)
    return torch.sigmoid(a) * torch.tanh(b)


def _kernels_apply(row_inputs: Tensor, column_inputs: Tensor) -> bool:
    if not kernels_serve(row_inputs.device) or row_inputs.dtype not in LARGEST_EXPONENT:
        return False
    if row_inputs.numel() == 0 or column_inputs.numel() == 0:
        return False
    with torch.no_grad():
        largest = _largest_exponent(row_inputs) + _largest_exponent(column_inputs)
    return largest < LARGEST_EXPONENT[row_inputs.dtype]  # NaN: the plain path


def _largest_exponent(inputs: Tensor) -> float:
    a, b = inputs.chunk(2, dim=1)
    return sum(factor * max(float(x.max()), -float(x.min())) for factor, x in ((1.0, a), (2.0, b)))


def _factors(inputs: Tensor) -> Tensor:
    """(exp(-a), exp(-2 b)) of the two halves."""
    n_features = inputs.shape[1] // 2
    factors = inputs.neg()
    factors[:, n_features:] *= 2
    return factors.exp_()


class _GatedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, row_inputs: Tensor, column_inputs: Tensor, weights: Tensor, blocks: Blocks) -> Tensor:
        factors = _factors(row_inputs), _factors(column_inputs)
        ctx.save_for_backward(row_inputs, column_inputs, weights)
        ctx.blocks, ctx.factors = blocks, factors
        sums = row_inputs.new_empty(row_inputs.shape[0], row_inputs.shape[1] // 2)
        _run("sum_gates", blocks, (*factors, weights), (sums,))
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        outputs = _GatedSumGradients.apply(gradients[0], *ctx.saved_tensors, ctx.blocks, ctx.factors)
        return *outputs, None


class _GatedSumGradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        sum_gradients: Tensor,
        row_inputs: Tensor,
        column_inputs: Tensor,
        weights: Tensor,
        blocks: Blocks,
        factors: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(sum_gradients, weights)
        ctx.blocks, ctx.factors = blocks, factors
        outputs = (_room_like(row_inputs), _room_like(column_inputs), _room_like(weights))
        _run("sum_gate_gradients", blocks, (*factors, weights, sum_gradients), outputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *directions: Any) -> Any:
        sum_gradients, weights = ctx.saved_tensors
        outputs = (
            _room_like(sum_gradients),
            *(_room_like(factor) for factor in ctx.factors),
            _room_like(weights),
        )
        inputs = (*ctx.factors, weights, sum_gradients, *directions)
        _run("sum_gate_second_gradients", ctx.blocks, inputs, outputs)
        return *outputs, None, None


def _room_like(tensor: Tensor) -> Tensor:
    """Contiguous, whatever the strides of ``tensor``: the kernels write into it."""
    return torch.empty(tensor.shape, dtype=tensor.dtype)


def _run(kernel: str, blocks: Blocks, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
    """Run a kernel over all blocks, shared between as many threads as torch uses."""
    from gnnpot.nn import gated_sum_kernels

    function = getattr(gated_sum_kernels, kernel)
    topology = (*_arrays((blocks.row_starts, blocks.rows, blocks.column_starts, blocks.keep)), blocks.skip_same)
    share = functools.partial(function, topology, _arrays(inputs), _arrays(outputs))
    n_blocks = len(blocks.row_starts) - 1
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        share(0, n_blocks)
        return
    pool = _threads(os.getpid(), n_threads)
    bounds = _shares(blocks.column_starts.numpy(), n_threads)
    tasks = [pool.submit(share, first, last) for first, last in itertools.pairwise(bounds)]
    for task in tasks:
        task.result()


def _arrays(tensors: tuple[Tensor, ...]) -> tuple[npt.NDArray[Any], ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)


def _shares(column_starts: npt.NDArray[np.int64], n_threads: int) -> list[int]:
    """Bounds that cut the blocks into shares with about the same number of columns."""
    wanted = np.linspace(0, column_starts[-1], n_threads + 1)
    bounds = np.searchsorted(column_starts, wanted)
    bounds[0], bounds[-1] = 0, len(column_starts) - 1
    return [int(bound) for bound in np.maximum.accumulate(bounds)]


@functools.lru_cache(maxsize=2)
def _threads(process: int, n_threads: int) -> ThreadPoolExecutor:
    """Threads of this process (a forked one inherits none)."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix=f"gnnpot-{process}")
