"""Sums over undirected pairs of atoms.

Two products close under differentiation, so that energies, forces and the training on forces all run through them:

    convolution  m_i = Σ_{pairs {i,j}} y_j ⊙ w_ij      (each pair adds to both of its atoms)
    pair product p_ij = u_i ⊙ v_j + u_j ⊙ v_i

∂/∂y of the convolution is a convolution, ∂/∂w a pair product, and both derivatives of a pair product are
convolutions. On a CPU each is one compiled loop over the pairs; elsewhere, gathers and sums of the library.
"""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def pair_convolution(values: Tensor, filters: Tensor, pair_atoms: Tensor) -> Tensor:
    """m_i = Σ_{pairs {i,j}} values_j ⊙ filters_ij, ``(n_atoms, n_features)``; differentiable to any order.

    Args:
        values: ``(n_atoms, n_features)``.
        filters: one row per undirected pair, ``(n_pairs, n_features)``.
        pair_atoms: ``(2, n_pairs)`` atoms of each pair; a pair of an atom with its own image counts for both ends.

    >>> values, filters = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0]])
    >>> pair_convolution(values, filters, torch.tensor([[0], [1]]))
    tensor([[20.],
            [10.]])
    """
    return _Convolution.apply(values, filters, pair_atoms)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, filters: Tensor, pair_atoms: Tensor) -> Tensor:
        ctx.save_for_backward(values, filters, pair_atoms)
        return _convolve(values, filters, pair_atoms)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, filters, pair_atoms = ctx.saved_tensors
        (gradient,) = gradients
        to_values = _Convolution.apply(gradient, filters, pair_atoms) if ctx.needs_input_grad[0] else None
        to_filters = _PairProduct.apply(gradient, values, pair_atoms) if ctx.needs_input_grad[1] else None
        return to_values, to_filters, None


class _PairProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, pair_atoms: Tensor) -> Tensor:
        ctx.save_for_backward(left, right, pair_atoms)
        return _multiply(left, right, pair_atoms)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, right, pair_atoms = ctx.saved_tensors
        (gradient,) = gradients
        to_left = _Convolution.apply(right, gradient, pair_atoms) if ctx.needs_input_grad[0] else None
        to_right = _Convolution.apply(left, gradient, pair_atoms) if ctx.needs_input_grad[1] else None
        return to_left, to_right, None


def _convolve(values: Tensor, filters: Tensor, pair_atoms: Tensor) -> Tensor:
    out = torch.zeros_like(values, memory_format=torch.contiguous_format)
    if values.device.type == "cpu":
        from gnnpot.nn.convolution_kernels import add_convolution

        add_convolution(_array(values), _array(filters), _array(pair_atoms), out.numpy())
        return out
    first, second = pair_atoms
    out.index_add_(0, first, values.index_select(0, second).mul_(filters))
    return out.index_add_(0, second, values.index_select(0, first).mul_(filters))


def _multiply(left: Tensor, right: Tensor, pair_atoms: Tensor) -> Tensor:
    if left.device.type == "cpu":
        from gnnpot.nn.convolution_kernels import write_pair_product

        out = left.new_empty((pair_atoms.shape[1], left.shape[1]))
        write_pair_product(_array(left), _array(right), _array(pair_atoms), out.numpy())
        return out
    first, second = pair_atoms
    out = left.index_select(0, first).mul_(right.index_select(0, second))
    return out.addcmul_(left.index_select(0, second), right.index_select(0, first))


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """View of a CPU tensor with contiguous rows, so that a kernel is compiled for one layout."""
    return tensor.detach().contiguous().numpy()
