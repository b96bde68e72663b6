"""Continuous-filter convolutions over undirected pairs of atoms, filters given as splines of the distance.

    messages     m_i = Σ_{pairs {i,j}} v_j ⊙ S_ij         (each pair adds to both of its atoms)
    projections  q_pk = Σ_f (u_i ⊙ v_j + u_j ⊙ v_i)_f c_{m+k,f}
    table        t_m+k = Σ_p w_pk (u_i ⊙ v_j + u_j ⊙ v_i)

with S_ij = Σ_k w_pk c_{m+k}, m = ``first[p]`` (see `gnnpot.nn.splines`). All three are derivatives of the one form
Σ_p S_ij · (u_i ⊙ v_j + u_j ⊙ v_i), linear in u, v, w and c, so that their own derivatives are of the same three kinds:
energies, forces and the training on forces all run through them. On a CPU each is one compiled loop over the pairs,
and the combinations that forces and their training need are fused; elsewhere, gathers and sums of the library.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor

from gnnpot.kernels import kernels_serve
from gnnpot.nn.splines import N_WEIGHTS

_of_table: ContextVar[bool] = ContextVar("of_table", default=True)
_of_weights: ContextVar[bool] = ContextVar("of_weights", default=True)


class Pairs(NamedTuple):
    """Where the pairs of a convolution are."""

    atoms: Tensor
    """The two atoms of each, ``(2, n_pairs)``; a pair of an atom with its own image counts for both ends."""
    first: Tensor
    """First row of the table that each uses, ``(n_pairs,)``."""


@contextmanager
def only_geometry() -> Iterator[None]:
    """Within: derivatives by positions and features, none by filters (torch does not tell what is asked for)."""
    token = _of_table.set(False)
    try:
        yield
    finally:
        _of_table.reset(token)


@contextmanager
def only_parameters() -> Iterator[None]:
    """Within: derivatives by features and filters, none by positions."""
    token = _of_weights.set(False)
    try:
        yield
    finally:
        _of_weights.reset(token)


def geometry_is_wanted() -> bool:
    """Whether derivatives by positions are asked for: not within `only_parameters`."""
    return _of_weights.get()


def convolve(values: Tensor, table: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
    """Messages m_i ``(n_atoms, n_features)``; differentiable to any order.

    Args:
        values: v ``(n_atoms, n_features)``.
        table: spline coefficients c ``(n_coefficients, n_features)``.
        weights: w ``(n_pairs, 6)``.
        pairs: the pairs.

    >>> pairs = Pairs(torch.tensor([[0], [1]]), torch.tensor([0]))
    >>> convolve(torch.tensor([[1.0], [2.0]]), torch.ones(6, 1), torch.full((1, 6), 2.0), pairs)
    tensor([[24.],
            [12.]])
    """
    if kernels_serve(values.device):
        return _Messages.apply(values, table, weights, *pairs)
    return convolve_plainly(values, table, weights, pairs)


def convolve_plainly(values: Tensor, table: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
    """`convolve` by gathers and sums of the library, on any device."""
    rows = pairs.first[:, None] + torch.arange(N_WEIGHTS, device=pairs.first.device)
    filters = (weights[:, :, None] * table[rows]).sum(dim=1)
    first, second = pairs.atoms
    out = torch.zeros_like(values).index_add(0, first, values.index_select(0, second) * filters)
    return out.index_add(0, second, values.index_select(0, first) * filters)


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, table: Tensor, weights: Tensor, atoms: Tensor, first: Tensor) -> Tensor:
        from gnnpot.nn.convolution_kernels import add_messages

        ctx.save_for_backward(values, table, weights, atoms, first)
        out = torch.zeros_like(values, memory_format=torch.contiguous_format)
        add_messages(*_arrays(values, table, weights, first, atoms, out))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, table, weights, *pairs = ctx.saved_tensors
        (gradient,) = gradients
        to_table = None
        if ctx.needs_input_grad[1] and _of_table.get():
            to_table = _TableSum.apply(gradient, values, weights, table.shape[0], *pairs)
        if ctx.needs_input_grad[2] and _of_weights.get():
            to_values, to_weights = _Gradients.apply(gradient, values, table, weights, *pairs)
            return to_values, to_table, to_weights, None, None
        return _Messages.apply(gradient, table, weights, *pairs), to_table, None, None, None


class _Gradients(torch.autograd.Function):
    """Messages of the gradient, and projections of gradient and values."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, values: Tensor, table: Tensor, weights: Tensor, atoms: Tensor, first: Tensor
    ) -> tuple[Tensor, Tensor]:
        from gnnpot.nn.convolution_kernels import add_gradients

        ctx.save_for_backward(gradient, values, table, weights, atoms, first)
        to_values = torch.zeros_like(values, memory_format=torch.contiguous_format)
        to_weights = torch.empty_like(weights, memory_format=torch.contiguous_format)
        add_gradients(*_arrays(gradient, values, table, weights, first, atoms, to_values, to_weights))
        return to_values, to_weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rule = _differentiable_second_gradients if torch.is_grad_enabled() else _fused_second_gradients
        return (*rule(ctx.saved_tensors, *gradients), None, None)


SecondGradients: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""Derivatives by gradient, values, table and weights of `_Gradients`."""


def _differentiable_second_gradients(
    saved: tuple[Tensor, ...], of_values: Tensor, of_weights: Tensor
) -> SecondGradients:
    """Out of parts that can be differentiated again."""
    gradient, values, table, weights, *pairs = saved
    n = table.shape[0]
    return (
        _Messages.apply(of_values, table, weights, *pairs) + _Messages.apply(values, table, of_weights, *pairs),
        _Messages.apply(gradient, table, of_weights, *pairs),
        _TableSum.apply(gradient, of_values, weights, n, *pairs)
        + _TableSum.apply(gradient, values, of_weights, n, *pairs),
        _Projections.apply(gradient, of_values, table, *pairs),
    )


def _fused_second_gradients(saved: tuple[Tensor, ...], of_values: Tensor, of_weights: Tensor) -> SecondGradients:
    """The same in one loop, where nothing is differentiated again: a step of a training on forces."""
    from gnnpot.nn.convolution_kernels import add_second_gradients, write_projections

    gradient, values, table, weights, atoms, first = saved
    to_gradient, to_values, to_table = (
        torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (gradient, values, table)
    )
    add_second_gradients(
        *_arrays(gradient, values, of_values, of_weights, table, weights, first, atoms),
        *_arrays(to_gradient, to_values, to_table),
    )
    to_weights = None
    if _of_weights.get():
        to_weights = torch.empty_like(weights, memory_format=torch.contiguous_format)
        write_projections(*_arrays(gradient, of_values, table, first, atoms, to_weights))
    return to_gradient, to_values, to_table, to_weights


class _Projections(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, table: Tensor, atoms: Tensor, first: Tensor) -> Tensor:
        from gnnpot.nn.convolution_kernels import write_projections

        ctx.save_for_backward(left, right, table, atoms, first)
        out = left.new_empty((first.shape[0], N_WEIGHTS))
        write_projections(*_arrays(left, right, table, first, atoms, out))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        left, right, table, *pairs = ctx.saved_tensors
        (weights,) = gradients
        to_left = _Messages.apply(right, table, weights, *pairs)
        to_right = _Messages.apply(left, table, weights, *pairs)
        return to_left, to_right, _TableSum.apply(left, right, weights, table.shape[0], *pairs), None, None


class _TableSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, left: Tensor, right: Tensor, weights: Tensor, n_rows: int, atoms: Tensor, first: Tensor
    ) -> Tensor:
        from gnnpot.nn.convolution_kernels import add_to_table

        ctx.save_for_backward(left, right, weights, atoms, first)
        out = left.new_zeros((n_rows, left.shape[1]))
        add_to_table(*_arrays(left, right, weights, first, atoms, out))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        left, right, weights, *pairs = ctx.saved_tensors
        (table,) = gradients
        to_left = _Messages.apply(right, table, weights, *pairs)
        to_right = _Messages.apply(left, table, weights, *pairs)
        return to_left, to_right, _Projections.apply(left, right, table, *pairs), None, None, None


def _arrays(*tensors: Tensor) -> tuple[npt.NDArray[Any], ...]:
    """Views of CPU tensors with contiguous rows, so that a kernel is compiled for one layout."""
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)
