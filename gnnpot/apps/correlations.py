"""Correlations in time by fast Fourier transforms, and transport coefficients with errors from blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gnnpot.errors import ConfigError, DataError

FloatArray = NDArray[np.float64]
FIT_SHARES = (0.1, 0.5)
"""Range of the straight line in a mean squared displacement, as shares of the length of a block."""
FEWEST_FRAMES = 20
"""In a block."""
AT_ONCE = 64
"""Series transformed together."""


@dataclass(frozen=True)
class Einstein:
    """Growth of a mean squared displacement: slope with an error from blocks."""

    lags: FloatArray
    """ps, to the end of the fit and half as far again."""
    squared: FloatArray
    """Mean squared displacement at the lags."""
    slope: float
    """Per ps, of the whole series in the range of the fit."""
    error: float
    """Standard error of the mean of the slopes of the blocks."""
    block_slopes: FloatArray
    fit: tuple[float, float]
    """ps."""
    exponent: float
    """d ln MSD / d ln t in the range of the fit: 1 where the motion is diffusive."""


def autocorrelation(series: FloatArray) -> FloatArray:
    """Mean of x(0)·x(t), each lag divided by the number of its pairs, ``(n_frames,)``.

    Args:
        series: ``(n_frames, n_components)``; the products of all components are added.

    >>> autocorrelation(np.array([[1.0], [-1.0], [1.0], [-1.0]])).round(12).tolist()
    [1.0, -1.0, 1.0, -1.0]
    """
    n = len(series)
    size = fft.next_fast_len(2 * n - 1, real=True)
    power = np.abs(fft.rfft(series, size, axis=0)) ** 2
    found = fft.irfft(power.sum(axis=1), size)[:n]
    return np.asarray(found / np.arange(n, 0, -1))


def mean_squared_displacement(positions: FloatArray) -> FloatArray:
    """<|r(t0 + t) - r(t0)|²> over all origins t0 and all series, ``(n_frames,)``.

    By S1 - 2 S2 with S2 from a Fourier transform (Calandrini et al., Collection SFN 12, 201 (2011)): n log n.

    Args:
        positions: ``(n_frames, n_series, 3)``, continuous.

    >>> steady = np.arange(6.0)[:, None, None] * np.array([1.0, 0.0, 0.0])
    >>> mean_squared_displacement(steady).round(12).tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0, 25.0]
    """
    n, n_series = positions.shape[:2]
    total = np.zeros(n)
    for start in range(0, n_series, AT_ONCE):
        part = positions[:, start : start + AT_ONCE].reshape(n, -1)
        part = part - part.mean(axis=0)
        squares = np.concatenate([[0.0], np.cumsum((part**2).sum(axis=1))])
        lag = np.arange(n)
        both = (squares[n - lag] + squares[n] - squares[lag]) / (n - lag)
        total += both - 2.0 * autocorrelation(part)
    return total / n_series


def einstein(positions: FloatArray, interval: float, n_blocks: int, fit: Sequence[float] | None = None) -> Einstein:
    """Slope of the mean squared displacement, with the standard error of blocks of the trajectory.

    Args:
        positions: ``(n_frames, n_series, 3)``, continuous.
        interval: ps between frames.
        n_blocks: number of consecutive parts from which the error comes, 2 or more.
        fit: ps, range of the straight line; by default 0.1 to 0.5 of a block.

    Raises:
        DataError: blocks of fewer than 20 frames.
        ConfigError: a range that does not fit into a block.
    """
    length = len(positions) // n_blocks
    if length < FEWEST_FRAMES:
        raise DataError(
            f"{len(positions)} frames in {n_blocks} blocks: an error needs blocks of {FEWEST_FRAMES} frames or more; "
            "give fewer blocks=, write frames more often (md trajectory_interval=), or simulate longer"
        )
    first, last = fit_range(interval * length, interval, fit)
    low, high = round(first / interval), round(last / interval)
    lags = interval * np.arange(length)
    blocks = [mean_squared_displacement(positions[k * length : (k + 1) * length]) for k in range(n_blocks)]
    chosen = slice(low, high + 1)
    slopes = np.array([float(np.polyfit(lags[chosen], block[chosen], 1)[0]) for block in blocks], dtype=np.float64)
    squared = mean_squared_displacement(positions)[:length]
    slope = float(np.polyfit(lags[chosen], squared[chosen], 1)[0])
    exponent = float(np.polyfit(np.log(lags[chosen]), np.log(np.maximum(squared[chosen], 1e-300)), 1)[0])
    shown = min(length, high + high // 2 + 1)
    error = float(slopes.std(ddof=1) / np.sqrt(n_blocks))
    return Einstein(
        np.asarray(lags[:shown], dtype=np.float64),
        squared[:shown],
        slope,
        error,
        slopes,
        (low * interval, high * interval),
        exponent,
    )


def fit_range(block: float, interval: float, fit: Sequence[float] | None) -> tuple[float, float]:
    """Range of the straight line in ps, within a block (ps) and at least three frames (``interval`` apart) long.

    >>> fit_range(10.0, 0.1, None)
    (1.0, 5.0)

    Raises:
        ConfigError: the given range is no range, or too long or too short.
    """
    if fit is None:
        return FIT_SHARES[0] * block, FIT_SHARES[1] * block
    values = [float(x) for x in fit]
    if len(values) != 2 or not interval <= values[0] < values[1] - 2 * interval or values[1] >= block:
        raise ConfigError(
            f"fit={list(fit)}: give two times in ps as fit=[{FIT_SHARES[0] * block:.3g},{FIT_SHARES[1] * block:.3g}], "
            f"from {interval:g} ps (two frames) to less than {block:.4g} ps (a block); fewer blocks= are longer"
        )
    return values[0], values[1]
