"""Gates σ(a) tanh(b) and tanh in compiled passes over rows, for either precision, and their slopes.

Arguments come scaled: a gate's two halves as (-a, -2 b), so that σ(a) = 1/(1 + V) and tanh(b) = (1 - U)/(1 + U) with
V, U the exponentials of what is there. Weights scaled by -1 and -2 lose no digit.
"""

from math import factorial, log
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt
from numba.extending import overload, register_jitable

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]

SINGLE = [np.float32(1.0 / factorial(k)) for k in range(8)]
DOUBLE = [1.0 / factorial(k) for k in range(14)]
"""exp(r) = Σ_k r^k/k!, |r| < ln(2)/2: what is left out is below the last digit."""


def exponential(x: Any) -> Any:
    """exp(x), with x held within ±40 (float32) or ±300 (float64), where a gate is 0 or 1; for compiled code only."""
    raise NotImplementedError


@overload(exponential)
def _compiled_exponential(x: Any) -> Any:
    """With x = k ln(2) + r: 2^k made of its exponent bits, times exp(r)."""
    c0, c1, c2, c3, c4, c5, c6, c7 = SINGLE
    d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13 = DOUBLE
    inverse, ln2, half, limit = (np.float32(v) for v in (1.0 / log(2.0), log(2.0), 127.5, 40.0))
    wide_inverse, wide_ln2 = 1.0 / log(2.0), log(2.0)

    def single(x: Any) -> Any:
        x = limit if x > limit else x
        x = -limit if x < -limit else x
        n = np.int32(x * inverse + half)
        r = x - np.float32(n - np.int32(127)) * ln2
        e = ((((((c7 * r + c6) * r + c5) * r + c4) * r + c3) * r + c2) * r + c1) * r + c0
        return e * np.int32(n << np.int32(23)).view(np.float32)

    def double(x: Any) -> Any:
        x = 300.0 if x > 300.0 else x
        x = -300.0 if x < -300.0 else x
        n = np.int64(x * wide_inverse + 1023.5)
        r = x - np.float64(n - np.int64(1023)) * wide_ln2
        e = ((((d13 * r + d12) * r + d11) * r + d10) * r + d9) * r + d8
        e = (((((((e * r + d7) * r + d6) * r + d5) * r + d4) * r + d3) * r + d2) * r + d1) * r + d0
        return e * np.int64(n << np.int64(52)).view(np.float64)

    return single if x == numba.types.float32 else double


@register_jitable
def open_gates(inputs: Array) -> None:
    """Turn (-a, -2 b) of a row into (σ(a), tanh(b))."""
    width, one = len(inputs) // 2, inputs.dtype.type(1)
    first, second = inputs[:width], inputs[width:]
    for f in range(width):
        v, u = exponential(first[f]), exponential(second[f])
        inverse = one / ((one + v) * (one + u))
        first[f] = (one + u) * inverse
        second[f] = (one - u) * (one + v) * inverse


@register_jitable
def pull_back(gates: Array, gradient: Array, factor: Any) -> None:
    """Turn (σ, t) of a row into factor · gradient · (∂(σ t)/∂a, ∂(σ t)/∂b)."""
    width, one = len(gradient), gates.dtype.type(1)
    first, second = gates[:width], gates[width:]
    for f in range(width):
        s, t = first[f], second[f]
        g = factor * gradient[f] * s
        first[f] = g * t * (one - s)
        second[f] = g * (one - t * t)


@register_jitable
def add(values: Array, out: Array) -> None:
    """Add a row to a row."""
    for f in range(len(values)):
        out[f] += values[f]


@register_jitable
def copy(values: Array, out: Array) -> None:
    """Write a row over a row."""
    for f in range(len(values)):
        out[f] = values[f]


@compiled(sums=True)
def write_tanh(out: Array) -> None:
    """Replace every number of an array of rows by its tanh."""
    one, two = out.dtype.type(1), out.dtype.type(-2)
    for i in range(out.shape[0]):
        row = out[i]
        for f in range(len(row)):
            u = exponential(two * row[f])
            row[f] = (one - u) / (one + u)


@compiled()
def apply_silu(x: Array, slopes: Array) -> None:
    """Replace x by x σ(x), and write σ (1 + x (1 - σ)), σ = 1/(1 + e⁻ˣ)."""
    one = x.dtype.type(1)
    for i in range(x.shape[0]):
        for f in range(x.shape[1]):
            value = x[i, f]
            sigmoid = one / (one + exponential(-value))
            x[i, f] = value * sigmoid
            slopes[i, f] = sigmoid * (one + value * (one - sigmoid))
