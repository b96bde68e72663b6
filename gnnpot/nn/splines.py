"""Functions of one distance as quintic B-splines on equal intervals.

A network of the distance is evaluated on a few hundred knots instead of on every pair of atoms; a pair then takes six
of the coefficients with weights that depend on its distance alone. The spline is what the model *is*, in training as
in use: its value and its derivatives up to the fourth are continuous, and forces are its exact derivatives.
"""

from typing import Any

import torch
from torch import Tensor, nn

DEGREE = 5
N_WEIGHTS = DEGREE + 1
"""Coefficients that a distance takes part in."""

PIECES = (
    (1.0, -5.0, 10.0, -10.0, 5.0, -1.0),
    (26.0, -50.0, 20.0, 20.0, -20.0, 5.0),
    (66.0, 0.0, -60.0, 0.0, 30.0, -10.0),
    (26.0, 50.0, 20.0, -20.0, -20.0, 10.0),
    (1.0, 5.0, 10.0, 10.0, 5.0, -5.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
)
"""120 × the weight of the coefficients 0 to 5 in an interval, as polynomials of the place t in it, constant first."""

INTERVALS_PER_GAUSSIAN = 8
"""Intervals of a filter's spline between the centers of two Gaussians: filters then differ from the network's by less
than 1e-6 of their size, their slopes by less than 1e-5."""

QUASI_INTERPOLATION = (13.0 / 240.0, -7.0 / 15.0, 73.0 / 40.0, -7.0 / 15.0, 13.0 / 240.0)
"""Coefficient of a knot from the values at it and its neighbors; exact for polynomials of the fifth degree."""


class QuinticSpline(nn.Module):
    """Knots, coefficients and weights of splines S(r) = Σ_k w_k(r) c_{m+k} on [0, r_c], m the interval of r.

    Args:
        cutoff: r_c, Å.
        n_intervals: number of equal intervals from 0 to r_c.

    >>> spline = QuinticSpline(5.0, 100)
    >>> coefficients = spline.coefficients(torch.sin(spline.knots)[:, None])
    >>> first, weights = spline(torch.tensor([1.0]))
    >>> round(float((weights[0] * coefficients[first[0] : first[0] + 6, 0]).sum()), 5)
    0.84147
    """

    multiples: Tensor
    pieces: Tensor

    def __init__(self, cutoff: float, n_intervals: int) -> None:
        super().__init__()
        self.spacing = cutoff / n_intervals
        self.n_intervals = n_intervals
        reach = 2 + len(QUASI_INTERPOLATION) // 2
        orders = [torch.tensor(PIECES).T]
        for _ in range(DEGREE):
            derivative = orders[-1][1:] * torch.arange(1.0, DEGREE + 1)[:, None]
            orders.append(torch.cat([derivative, torch.zeros(1, N_WEIGHTS)]))
        # whole numbers, so that no change of precision rounds them
        self.register_buffer("multiples", torch.arange(-reach, n_intervals + reach + 1.0), persistent=False)
        self.register_buffer("pieces", torch.stack(orders), persistent=False)

    @property
    def knots(self) -> Tensor:
        """Distances at which `coefficients` wants the values, Å: from a little below 0 to a little beyond r_c."""
        return self.multiples * self.spacing

    def coefficients(self, values: Tensor) -> Tensor:
        """Coefficients ``(n_intervals + 5, n)`` of the splines through ``values`` at the ``knots``."""
        n = self.n_intervals + DEGREE
        out = QUASI_INTERPOLATION[0] * values[:n]
        for shift, factor in enumerate(QUASI_INTERPOLATION[1:], 1):
            out = torch.add(out, values[shift : shift + n], alpha=factor)
        return out

    def forward(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        """First coefficient ``(n_pairs,)`` and weights ``(n_pairs, 6)`` of every distance (Å).

        The weights are differentiable to any order. Beyond r_c the last polynomial goes on.
        """
        first = (distances.detach() / self.spacing).long().clamp(max=self.n_intervals - 1)
        return first, _Weights.apply(distances, first, self.spacing, self.pieces, 0)


class _Weights(torch.autograd.Function):
    """A derivative of the weights by the distance; its own derivative is the next."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, first: Tensor, spacing: float, pieces: Tensor, order: int) -> Tensor:
        ctx.save_for_backward(distances, first, pieces)
        ctx.spacing, ctx.order = spacing, order
        place = distances / spacing - first
        powers = [torch.ones_like(place), place]
        for _ in range(DEGREE - 1):
            powers.append(powers[-1] * place)
        scale = 1.0 / (120.0 * spacing**order)
        return torch.stack(powers, dim=1) @ (scale * pieces[order])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        distances, first, pieces = ctx.saved_tensors
        if ctx.order == DEGREE:
            return torch.zeros_like(distances), None, None, None, None
        slopes = _Weights.apply(distances, first, ctx.spacing, pieces, ctx.order + 1)
        return (gradients[0] * slopes).sum(dim=1), None, None, None, None
