"""Functions of one distance: cutoffs that switch neighbors off smoothly, and radial bases."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from gnnpot.errors import ConfigError, did_you_mean

EnvelopeName = Literal["polynomial", "cosine"]

LOWEST_EXPONENT = -40.0
"""Gaussians do not fall below exp of it, 4e-18. In single precision they would become denormal numbers 13 widths from
their center, with which processors take some fifty times as long: most of a training step of GNNFF."""


class PolynomialCutoff(nn.Module):
    """Envelope with continuous value, slope and curvature at r_c.

    f_c(r) = 1 - (p+1)(p+2)/2 xᵖ + p(p+2) xᵖ⁺¹ - p(p+1)/2 xᵖ⁺² with x = r/r_c, and 0 beyond r_c (Gasteiger et al.,
    ICLR 2020); p = 3: 1 - 10 x³ + 15 x⁴ - 6 x⁵. A larger exponent p stays near 1 up to a larger distance.

    >>> PolynomialCutoff(5.0)(torch.tensor([0.0, 2.5, 5.0, 7.0]))
    tensor([1.0000, 0.5000, 0.0000, 0.0000])
    """

    def __init__(self, cutoff: float, exponent: int = 3) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.exponent = exponent

    def forward(self, distances: Tensor) -> Tensor:
        """f_c of every distance (Å), same shape."""
        p = self.exponent
        x = (distances / self.cutoff).clamp(max=1.0)
        return 1.0 - x**p * (0.5 * (p + 1) * (p + 2) + x * (0.5 * p * (p + 1) * x - p * (p + 2)))


class CosineCutoff(nn.Module):
    """Envelope of Behler and SchNet: f_c(r) = (cos(π r/r_c) + 1)/2; its curvature jumps at r_c.

    >>> CosineCutoff(5.0)(torch.tensor([0.0, 2.5, 5.0, 7.0])).round(decimals=4)
    tensor([1.0000, 0.5000, 0.0000, 0.0000])
    """

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, distances: Tensor) -> Tensor:
        """f_c of every distance (Å), same shape."""
        x = (distances / self.cutoff).clamp(max=1.0)
        return 0.5 * (torch.cos(math.pi * x) + 1.0)


ENVELOPES: dict[str, type[PolynomialCutoff] | type[CosineCutoff]] = {
    "polynomial": PolynomialCutoff,
    "cosine": CosineCutoff,
}


def build_envelope(name: str, cutoff: float) -> PolynomialCutoff | CosineCutoff:
    """Envelope by the name it has in a configuration.

    Raises:
        ConfigError: the name is not ``polynomial`` or ``cosine``.
    """
    if name not in ENVELOPES:
        raise ConfigError(f"envelope={name!r} is unknown; {did_you_mean(str(name), ENVELOPES)}")
    return ENVELOPES[name](cutoff)


class GaussianBasis(nn.Module):
    """Equally spaced Gaussians: e_k(r) = exp(-(r - μ_k)²/(2 s²)), μ_k from ``start`` to r_c.

    Schütt et al., J. Chem. Phys. 148, 241722 (2018), whose s is 2.2 spacings.

    Args:
        n_radial: number of Gaussians.
        cutoff: r_c, Å.
        start: μ_1, Å.
        width: s in units of the spacing. Wide ones overlap: a distance at which no training structure has a pair is
            then still known from its surroundings.

    >>> GaussianBasis(n_radial=4, cutoff=3.0)(torch.zeros(2)).shape
    torch.Size([2, 4])
    """

    centers: Tensor

    def __init__(self, n_radial: int, cutoff: float, start: float = 0.0, width: float = 1.0) -> None:
        super().__init__()
        if n_radial < 2:
            raise ConfigError(f"n_radial={n_radial}: at least 2 radial functions are needed")
        if not width > 0.0:
            raise ConfigError(f"gaussian_width={width}: the Gaussians need a width above 0, in units of their spacing")
        centers = torch.linspace(start, cutoff, n_radial, dtype=torch.float64)
        self.coefficient = -0.5 / (width * float(centers[1] - centers[0])) ** 2
        self.register_buffer("centers", centers.to(torch.get_default_dtype()), persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        """Basis of every distance (Å), ``(..., n_radial)``."""
        exponents = self.coefficient * (distances[..., None] - self.centers) ** 2
        return torch.exp(exponents.clamp(min=LOWEST_EXPONENT))
