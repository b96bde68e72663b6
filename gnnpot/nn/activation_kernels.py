"""The shifted softplus and its slope in one compiled pass that runs in vector registers, in either precision."""

from math import factorial, log
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt
from numba.extending import overload

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]

N_EXP, N_LOG = 14, 17
"""Terms of the two series below; what is left out is below 1e-16."""

SERIES = np.array(
    [1.0 / factorial(k) for k in range(N_EXP)]  # exp(r), |r| < ln(2)/2
    + [2.0 / (2 * k + 1) for k in range(N_LOG)]  # ln(1 + e) = s Σ_k s^2k 2/(2k+1), s = e/(2 + e) < 1/3
    + [log(2.0), 1.0 / log(2.0), 0.5, 1.0, 2.0, -80.0]  # exp(-80) is nothing beside 1
)


def shifted_softplus_and_slope(x: Array, values: Array, slopes: Array) -> None:
    """Write ln(½ eˣ + ½) to ``values`` and 1/(1 + e⁻ˣ) to ``slopes``, each ``(n, n_features)``.

    >>> x, y, slope = np.array([[1.0, 2.0]]), np.empty((1, 2)), np.empty((1, 2))
    >>> shifted_softplus_and_slope(x, y, slope)
    >>> y.round(5).tolist(), slope.round(5).tolist()
    ([[0.62011, 1.43378]], [[0.73106, 0.8808]])
    """
    write_activation(x, SERIES.astype(x.dtype), values, slopes)


@compiled(sums=True)
def write_activation(x: Array, c: Array, values: Array, slopes: Array) -> None:
    """`shifted_softplus_and_slope` with its constants ``c``, `SERIES` in the precision of x.

    With e = exp(-|x|) = 2^k exp(r): softplus = max(x, 0) + ln(1 + e), slope = 1/(1 + e) or 1 less that.
    """
    end = N_EXP + N_LOG
    for i in range(x.shape[0]):
        for f in range(x.shape[1]):
            v = x[i, f]
            a = max(-abs(v), c[end + 5])
            k = np.int32(a * c[end + 1] - c[end + 2])
            r = a - c.dtype.type(k) * c[end]
            e = c[N_EXP - 1]
            for d in range(N_EXP - 2, -1, -1):
                e = e * r + c[d]
            e *= _power_of_two(k, v)
            s = e / (c[end + 4] + e)
            logarithm = c[end - 1]
            for d in range(end - 2, N_EXP - 1, -1):
                logarithm = logarithm * (s * s) + c[d]
            values[i, f] = max(v, v - v) + (logarithm * s - c[end])
            g = c[end + 3] / (c[end + 3] + e)
            slopes[i, f] = g if v >= v - v else c[end + 3] - g


def _power_of_two(k: Any, like: Any) -> Any:
    """2^k in the precision of ``like``, made of its exponent bits; for compiled code only."""
    raise NotImplementedError


@overload(_power_of_two)
def _compiled_power_of_two(k: Any, like: Any) -> Any:
    def single(k: Any, like: Any) -> Any:
        return np.int32((k + 127) << 23).view(np.float32)

    def double(k: Any, like: Any) -> Any:
        return np.int64((k + 1023) << 52).view(np.float64)

    return single if like == numba.types.float32 else double
