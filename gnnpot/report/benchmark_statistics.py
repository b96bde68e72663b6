"""Statistics of a comparison: per-frame error sums, mean and standard error over seeds, the paired bootstrap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnpot.keys import PROPERTIES
from gnnpot.report.parity import ParityData

FloatArray = NDArray[np.float64]

N_RESAMPLES = 2000
LEVEL = 0.95
STATISTICS = ("mae", "rmse")


@dataclass(frozen=True)
class FrameErrors:
    """Errors of one property, summed within each frame, in the units of reports.

    The MAE is Σ_f absolute_f / Σ_f n_f, the RMSE is (Σ_f square_f / Σ_f n_f)^½; arrays are (n_frames,).
    """

    absolute: FloatArray
    square: FloatArray
    n: FloatArray

    def value(self, statistic: str, weights: FloatArray | None = None) -> FloatArray:
        """MAE or RMSE, with frames weighted by ``weights`` (n_resamples, n_frames); without, a single one."""
        counts = np.ones((1, len(self.n))) if weights is None else weights
        sums = counts @ (self.absolute if statistic == "mae" else self.square)
        mean = sums / np.maximum(counts @ self.n, 1e-300)
        return mean if statistic == "mae" else np.sqrt(mean)


def frame_errors(data: ParityData) -> dict[str, FrameErrors]:
    """Sums of the errors of each property within each frame."""
    found = {}
    for name in data.properties:
        p = PROPERTIES[name]
        errors = data.errors(name).reshape(len(data.errors(name)), -1) * p.report_factor
        known = np.isfinite(errors)
        filled = np.where(known, errors, 0.0)
        rows = data.structure_of_atom if p.level == "atom" else np.arange(len(data.n_atoms))

        def per_frame(values: FloatArray, rows: NDArray[np.int64] = rows) -> FloatArray:
            return np.bincount(rows, values.sum(axis=1), len(data.n_atoms)).astype(np.float64)

        found[name] = FrameErrors(
            per_frame(np.abs(filled)), per_frame(np.square(filled)), per_frame(known.astype(float))
        )
    return found


@dataclass(frozen=True)
class Difference:
    """Error of model b less that of model a, and the interval in which it lies with 95 %."""

    value: float
    low: float
    high: float
    n_units: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval does not hold zero."""
        return self.low > 0.0 or self.high < 0.0


def paired_bootstrap(
    a: Sequence[FrameErrors],
    b: Sequence[FrameErrors],
    statistic: str,
    units: Sequence[int] | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Difference of the errors of two models on the same frames, with its 95 % interval.

    Frames are drawn with replacement, the same ones for both models (Efron and Tibshirani 1993, chapter 13.3: the
    percentile interval). Errors of several seeds are averaged within each draw, so that the interval speaks of the
    choice of test frames and not of the seeds.

    Args:
        a: frame errors of the first model, one entry for each seed.
        b: of the second.
        statistic: ``mae`` or ``rmse``.
        units: frames with the same number are drawn together, as those of one trajectory; None: each by itself.
        n_resamples: draws.
        seed: of the draws.

    >>> a = FrameErrors(np.array([1.0, 2.0]), np.array([1.0, 4.0]), np.ones(2))
    >>> b = FrameErrors(np.array([2.0, 3.0]), np.array([4.0, 9.0]), np.ones(2))
    >>> difference = paired_bootstrap([a], [b], "mae")
    >>> difference.value, difference.low, difference.high, difference.is_clear
    (1.0, 1.0, 1.0, True)
    """
    n_frames = len(a[0].n)
    members = np.arange(n_frames) if units is None else np.unique(np.asarray(units), return_inverse=True)[1]
    n_units = int(members.max()) + 1
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=n_resamples)
    weights = draws[:, members].astype(np.float64)
    labelled = weights @ a[0].n > 0
    differences = _mean_over_seeds(b, statistic, weights) - _mean_over_seeds(a, statistic, weights)
    low, high = np.quantile(differences[labelled], [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    value = _mean_over_seeds(b, statistic) - _mean_over_seeds(a, statistic)
    return Difference(float(value[0]), float(low), float(high), n_units)


def _mean_over_seeds(runs: Sequence[FrameErrors], statistic: str, weights: FloatArray | None = None) -> FloatArray:
    return np.mean([run.value(statistic, weights) for run in runs], axis=0)


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and its standard error s/√n with s² = Σ(x - x̄)²/(n - 1); None for a single value.

    >>> mean_and_error([1.0, 3.0]), mean_and_error([2.0])
    ((2.0, 1.0), (2.0, None))
    """
    array = np.asarray(values, dtype=np.float64)
    error = float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else None
    return float(array.mean()), error


def plain_frame_errors(errors: Mapping[str, FrameErrors]) -> dict[str, Any]:
    """Frame errors as they stand in ``benchmark.json``, to seven digits."""

    def plain(values: FloatArray) -> list[float]:
        return [float(f"{value:.7g}") for value in values]

    return {
        name: {"absolute": plain(e.absolute), "square": plain(e.square), "n": [int(n) for n in e.n]}
        for name, e in errors.items()
    }


def read_frame_errors(content: Mapping[str, Any]) -> dict[str, FrameErrors]:
    """Frame errors from ``benchmark.json``.

    >>> errors = {"energy": FrameErrors(np.array([1.5]), np.array([2.25]), np.ones(1))}
    >>> read_frame_errors(plain_frame_errors(errors))["energy"].absolute.tolist()
    [1.5]
    """
    return {
        name: FrameErrors(*(np.asarray(entry[key], dtype=np.float64) for key in ("absolute", "square", "n")))
        for name, entry in content.items()
    }
