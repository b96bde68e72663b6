"""CPU kernels of `gnnpot.nn.angular`: loops over edges sorted by center; nothing over edges, harmonics and channels."""

from typing import Any, TypeAlias

import numpy.typing as npt

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]


@compiled()
def add_moments(channels: Array, harmonics: Array, centers: Array, out: Array) -> None:
    """Add channels[e, l] · harmonics[e, m] to out[center, m], l the degree of m."""
    n_degrees, n_channels = channels.shape[1], channels.shape[2]
    for e in range(centers.shape[0]):
        i = centers[e]
        for degree in range(n_degrees):
            for m in range(degree * degree, (degree + 1) * (degree + 1)):
                y = harmonics[e, m]
                for c in range(n_channels):
                    out[i, m, c] += y * channels[e, degree, c]


@compiled()
def write_projections(moments: Array, harmonics: Array, centers: Array, out: Array) -> None:
    """Write Σ_m moments[center, m] · harmonics[e, m] over the m of degree l to out[e, l]."""
    n_degrees, n_channels = out.shape[1], out.shape[2]
    for e in range(centers.shape[0]):
        i = centers[e]
        for degree in range(n_degrees):
            y = harmonics[e, degree * degree]
            for c in range(n_channels):
                out[e, degree, c] = y * moments[i, degree * degree, c]
            for m in range(degree * degree + 1, (degree + 1) * (degree + 1)):
                y = harmonics[e, m]
                for c in range(n_channels):
                    out[e, degree, c] += y * moments[i, m, c]


@compiled(sums=True)
def write_contractions(channels: Array, moments: Array, centers: Array, out: Array) -> None:
    """Write Σ_c channels[e, degree, c] · moments[center, m, c] to out[e, m], l the degree of m."""
    n_degrees, n_channels = channels.shape[1], channels.shape[2]
    for e in range(centers.shape[0]):
        i = centers[e]
        for degree in range(n_degrees):
            for m in range(degree * degree, (degree + 1) * (degree + 1)):
                total = channels[e, degree, 0] * moments[i, m, 0]
                for c in range(1, n_channels):
                    total += channels[e, degree, c] * moments[i, m, c]
                out[e, m] = total
