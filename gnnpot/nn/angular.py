"""Angles between the edges of an atom, at a cost linear in the number of edges.

A sum over the angles of an edge with all others of its center is a product of sums, by the addition theorem
P_l(cos θ_jik) = Σ_m Y_lm(r̂_ij) Y_lm(r̂_ik):

    moments      A_i,lmc = Σ_k φ_ik,lc Y_lm(r̂_ik)
    projections  J_ij,lc = Σ_m A_i,lmc Y_lm(r̂_ij) = Σ_k φ_ik,lc P_l(cos θ_jik)        (k = j among them)
    contractions D_ij,lm = Σ_c φ_ij,lc A_i,lmc

All three are derivatives of the one form Σ_ij φ_ij,lc A_i,lmc Y_lm(r̂_ij), linear in φ, A and Y, so that their own
derivatives are of the same three kinds.
"""

import functools
import math
from typing import Any, TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor, nn

from gnnpot.data.graph import gather, scatter_sum
from gnnpot.errors import ConfigError
from gnnpot.kernels import kernels_serve
from gnnpot.nn.convolution import geometry_is_wanted

HIGHEST_DEGREE = 3

_Polynomial: TypeAlias = dict[str, float]
_HARMONICS: tuple[tuple[_Polynomial, ...], ...] = (
    (
        {"xy": 3.0},
        {"yz": 3.0},
        {"zz": 1.0, "xx": -0.25, "yy": -0.25},
        {"xz": 3.0},
        {"xx": 0.75, "yy": -0.75},
    ),
    (
        {"xxy": 5.625, "yyy": -0.625},
        {"xyz": 15.0},
        {"yzz": 6.0, "xxy": -0.375, "yyy": -0.375},
        {"zzz": 1.0, "xxz": -2.25, "yyz": -2.25},
        {"xzz": 6.0, "xxx": -0.375, "xyy": -0.375},
        {"xxz": 3.75, "yyz": -3.75},
        {"xxx": 0.625, "xyy": -5.625},
    ),
)
"""Y_lm of degree 2 and 3, m from -l to l, as polynomials of the unit vector: squares of the coefficients, with their
signs, which no precision rounds."""


class SphericalHarmonics(nn.Module):
    """Real Y_lm of unit vectors, l = 0 to ``l_max``, so normalized that Σ_m Y_lm(a) Y_lm(b) = P_l(a·b).

    Raises:
        ConfigError: ``l_max`` is not among 0 to 3.

    >>> SphericalHarmonics(2)(torch.tensor([[0.0, 0.0, 1.0]])).tolist()
    [[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]]
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        if l_max not in range(HIGHEST_DEGREE + 1):
            raise ConfigError(f"model.l_max={l_max}: give a degree of spherical harmonics from 0 to {HIGHEST_DEGREE}")
        self.l_max = l_max
        for degree, rows in enumerate(_HARMONICS[: max(l_max - 1, 0)], 2):
            names = sorted({name for row in rows for name in row})
            matrix = torch.tensor([[row.get(name, 0.0) for row in rows] for name in names])
            indices = torch.tensor([["xyz".index(letter) for letter in name] for name in names]).T
            self.register_buffer(f"squares_{degree}", matrix, persistent=False)
            self.register_buffer(f"indices_{degree}", indices.contiguous(), persistent=False)

    def forward(self, directions: Tensor) -> Tensor:
        """Y ``(n, (l_max + 1)²)`` of unit vectors ``(n, 3)``; columns sorted by l, then by m."""
        parts = [torch.ones_like(directions[:, :1])]
        if self.l_max > 0:
            parts.append(directions[:, [1, 2, 0]])
        for degree in range(2, self.l_max + 1):
            factors = [directions[:, column] for column in self.get_buffer(f"indices_{degree}")]
            monomials = functools.reduce(torch.mul, factors)
            squares = self.get_buffer(f"squares_{degree}")
            parts.append(monomials @ (squares.sign() * squares.abs().sqrt()))
        return torch.cat(parts, dim=1)


def moments(channels: Tensor, harmonics: Tensor, centers: Tensor, n_atoms: int) -> Tensor:
    """A_i,lmc, ``(n_atoms, (l_max + 1)², n_channels)``; differentiable to any order.

    Args:
        channels: φ ``(n_edges, l_max + 1, n_channels)``.
        harmonics: Y ``(n_edges, (l_max + 1)²)``.
        centers: the atom i of every edge, ``(n_edges,)``.
        n_atoms: number of atoms.
    """
    return _Moments.apply(channels, harmonics, centers, n_atoms)


def projections(atom_moments: Tensor, harmonics: Tensor, centers: Tensor) -> Tensor:
    """J_ij,lc, ``(n_edges, l_max + 1, n_channels)``, from moments A; differentiable to any order."""
    return _Projections.apply(atom_moments, harmonics, centers)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, channels: Tensor, harmonics: Tensor, centers: Tensor, n_atoms: int) -> Tensor:
        ctx.save_for_backward(channels, harmonics, centers)
        if not kernels_serve(channels.device):
            return scatter_sum(channels[:, _degrees(harmonics)] * harmonics[:, :, None], centers, n_atoms)
        from gnnpot.nn.angular_kernels import add_moments

        out = channels.new_zeros(n_atoms, harmonics.shape[1], channels.shape[2])
        add_moments(*_arrays(channels, harmonics, centers, out))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        channels, harmonics, centers = ctx.saved_tensors
        to_harmonics = None
        if ctx.needs_input_grad[1] and geometry_is_wanted():
            to_harmonics = _Contractions.apply(channels, gradients[0], centers)
        return _Projections.apply(gradients[0], harmonics, centers), to_harmonics, None, None


class _Projections(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, atom_moments: Tensor, harmonics: Tensor, centers: Tensor) -> Tensor:
        ctx.save_for_backward(atom_moments, harmonics, centers)
        n_degrees = math.isqrt(harmonics.shape[1])
        out = atom_moments.new_zeros(len(centers), n_degrees, atom_moments.shape[2])
        if not kernels_serve(atom_moments.device):
            products = gather(atom_moments, centers) * harmonics[:, :, None]
            return out.index_add_(1, _degrees(harmonics), products)
        from gnnpot.nn.angular_kernels import write_projections

        write_projections(*_arrays(atom_moments, harmonics, centers, out))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        atom_moments, harmonics, centers = ctx.saved_tensors
        to_harmonics = None
        if ctx.needs_input_grad[1] and geometry_is_wanted():
            to_harmonics = _Contractions.apply(gradients[0], atom_moments, centers)
        to_moments = _Moments.apply(gradients[0], harmonics, centers, len(atom_moments))
        return to_moments, to_harmonics, None


class _Contractions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, channels: Tensor, atom_moments: Tensor, centers: Tensor) -> Tensor:
        ctx.save_for_backward(channels, atom_moments, centers)
        out = channels.new_empty(len(centers), atom_moments.shape[1])
        if not kernels_serve(channels.device):
            return (channels[:, _degrees(out)] * gather(atom_moments, centers)).sum(dim=2)
        from gnnpot.nn.angular_kernels import write_contractions

        write_contractions(*_arrays(channels, atom_moments, centers, out))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        channels, atom_moments, centers = ctx.saved_tensors
        to_channels = _Projections.apply(atom_moments, gradients[0], centers)
        return to_channels, _Moments.apply(channels, gradients[0], centers, len(atom_moments)), None


def _degrees(harmonics: Tensor) -> Tensor:
    """The degree l of every column of Y."""
    l_max = math.isqrt(harmonics.shape[1]) - 1
    return torch.repeat_interleave(
        torch.arange(l_max + 1, device=harmonics.device),
        torch.arange(1, 2 * l_max + 2, 2, device=harmonics.device),
    )


def _arrays(*tensors: Tensor) -> tuple[npt.NDArray[Any], ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)
