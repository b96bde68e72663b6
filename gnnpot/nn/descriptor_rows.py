"""Rows of radial and angular factors, the inner loops of the symmetry functions.

A row is a piece of memory of up to `CHUNK` numbers, one per edge or per pair of edges; every loop here runs in
vector registers. All numbers have the type of the rows, float32 or float64.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled

Floats: TypeAlias = npt.NDArray[Any]
Integers: TypeAlias = npt.NDArray[Any]

CHUNK = 256
"""Pairs of edges that are evaluated together; a few dozen rows of this length stay in the first cache."""


def exponential_constants(dtype: type[np.floating[Any]]) -> tuple[Floats, Integers]:
    """Constants of eʸ = 2ⁿ e^f, n = round(y/ln 2): floats (bound, log2 e, magic, ln 2 high, low, 1/k!), integers.

    Adding ``magic`` = 1.5·2^mantissa rounds to an integer, which then stands in the lowest bits.
    """
    single = dtype == np.float32
    mantissa = 23 if single else 52
    high = 0.693359375 if single else 6.93147180369123816490e-01
    low = -2.12194440054690582e-4 if single else 1.90821492927058770002e-10
    factorials = [1.0]
    for k in range(1, 13):
        factorials.append(factorials[-1] / k)
    floats = [-86.0 if single else -700.0, 1.4426950408889634, 1.5 * 2.0**mantissa, high, low, *factorials]
    integer = np.int32 if single else np.int64
    one = np.ones(1, dtype=dtype).view(integer)[0]
    return np.array(floats, dtype=dtype), np.array([mantissa, one], dtype=integer)


@compiled()
def exponential_row(y: Floats, n: int, constants: Floats, integers: Integers, work: Floats, value: Floats) -> None:
    """Set value[p] = exp(y[p]) for y ≤ 0, to the last digits; ``work`` is a row of scratch."""
    bound, log2e, magic = constants[0], constants[1], constants[2]
    high, low = constants[3], constants[4]
    c0, c1, c2, c3, c4 = constants[5], constants[6], constants[7], constants[8], constants[9]
    c5, c6, c7, c8, c9 = constants[10], constants[11], constants[12], constants[13], constants[14]
    c10, c11, c12 = constants[15], constants[16], constants[17]
    for p in range(n):
        x = max(y[p], bound)
        shifted = x * log2e + magic
        work[p] = shifted
        whole = shifted - magic
        f = (x - whole * high) - whole * low
        upper = c6 + f * (c7 + f * (c8 + f * (c9 + f * (c10 + f * (c11 + f * c12)))))
        value[p] = c0 + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * (c5 + f * upper)))))
    bits = work.view(integers.dtype)
    shift, one = integers[0], integers[1]
    for p in range(n):
        bits[p] = (bits[p] << shift) + one
    for p in range(n):
        value[p] *= work[p]


@compiled()
def envelope_row(r: Floats, n: int, cutoff: float, cosine: bool, value: Floats, slope: Floats) -> None:
    """Set value = f_c(r) and slope = f_c'(r), zero beyond the cutoff."""
    kind = value.dtype.type
    one, half = kind(1.0), kind(0.5)
    inverse = one / cutoff
    if cosine:
        pi, factor = kind(np.pi), kind(-0.5 * np.pi) * inverse
        for p in range(n):
            z = pi * (min(r[p] * inverse, one) - half)
            s = z * z
            sine = kind(1.0 / 51090942171709440000.0)
            sine = sine * s - kind(1.0 / 121645100408832000.0)
            sine = sine * s + kind(1.0 / 355687428096000.0)
            sine = sine * s - kind(1.0 / 1307674368000.0)
            sine = sine * s + kind(1.0 / 6227020800.0)
            sine = sine * s - kind(1.0 / 39916800.0)
            sine = sine * s + kind(1.0 / 362880.0)
            sine = sine * s - kind(1.0 / 5040.0)
            sine = sine * s + kind(1.0 / 120.0)
            sine = sine * s - kind(1.0 / 6.0)
            value[p] = half - half * (z + z * s * sine)
        for p in range(n):
            z = pi * (min(r[p] * inverse, one) - half)
            s = z * z
            cosine_of = -kind(1.0 / 1124000727777607680000.0)
            cosine_of = cosine_of * s + kind(1.0 / 2432902008176640000.0)
            cosine_of = cosine_of * s - kind(1.0 / 6402373705728000.0)
            cosine_of = cosine_of * s + kind(1.0 / 20922789888000.0)
            cosine_of = cosine_of * s - kind(1.0 / 87178291200.0)
            cosine_of = cosine_of * s + kind(1.0 / 479001600.0)
            cosine_of = cosine_of * s - kind(1.0 / 3628800.0)
            cosine_of = cosine_of * s + kind(1.0 / 40320.0)
            cosine_of = cosine_of * s - kind(1.0 / 720.0)
            cosine_of = cosine_of * s + kind(1.0 / 24.0)
            cosine_of = cosine_of * s - half
            slope[p] = factor * (one + s * cosine_of)
    else:
        ten, fifteen, six, thirty = kind(10.0), kind(15.0), kind(6.0), kind(30.0)
        factor = thirty * inverse
        for p in range(n):
            x = min(r[p] * inverse, one)
            value[p] = one - x * x * x * (ten + x * (six * x - fifteen))
            slope[p] = -factor * (x * x) * ((one - x) * (one - x))


@compiled()
def factor_row(
    r: Floats, u: Floats, n: int, factor: Floats, constants: Floats, integers: Integers, work: Floats, value: Floats,
    slope: Floats,
) -> None:  # fmt: skip
    """Set value = exp(-η (u - R_s)²) f_c(r) and slope = its derivative by r; ``factor`` begins (η, R_s, r_c, cosine).

    u is r itself, or r less a constant of each edge.
    """
    eta, shift = factor[0], factor[1]
    exponent, gaussian, rounded = work[0], work[1], work[2]
    for p in range(n):
        d = u[p] - shift
        exponent[p] = -eta * d * d
    exponential_row(exponent, n, constants, integers, rounded, gaussian)
    envelope_row(r, n, factor[2], factor[3] > eta - eta, value, slope)
    twice = eta + eta
    for p in range(n):
        slope[p] = gaussian[p] * (slope[p] - twice * (u[p] - shift) * value[p])
    for p in range(n):
        value[p] *= gaussian[p]


@compiled()
def angle_row(
    cosine: Floats, n: int, angle: Floats, integer_power: int, work: Floats, value: Floats, slope: Floats
) -> None:
    """Set value = 2^(1-ζ) (1 + λ c)^ζ and slope = its derivative by c; ``angle`` is (λ, ζ, 2^(1-ζ)).

    ``integer_power`` is ζ - 1 where that is an integer (powers by squaring), else -1.
    """
    lambda_, zeta, prefactor = angle[0], angle[1], angle[2]
    zero = lambda_ - lambda_
    one = zero + prefactor / prefactor
    base, square = work[0], work[1]
    for p in range(n):
        base[p] = max(one + lambda_ * cosine[p], zero)
    if integer_power < 0:
        for p in range(n):
            slope[p] = prefactor * base[p] ** (zeta - one)
    else:
        for p in range(n):
            square[p] = base[p]
            slope[p] = prefactor
        power = integer_power
        while power > 0:
            if power & 1:
                for p in range(n):
                    slope[p] *= square[p]
            power >>= 1
            if power > 0:
                for p in range(n):
                    square[p] *= square[p]
    for p in range(n):
        value[p] = slope[p] * base[p]
    derivative = lambda_ * zeta
    for p in range(n):
        slope[p] *= derivative


@compiled()
def next_radial_order(
    r: Floats, inverse: Floats, n: int, cutoff: float, order: int, values: Floats, slopes: Floats, a: int
) -> None:
    """Set row a, g_m = T_m(2 r/r_c - 1) f_c(r) and g_m'/r, from rows a - 1 and a - 2 of the lower orders.

    g_1 = x g_0 and g_m = 2 x g_{m-1} - g_{m-2}, x = 2 r/r_c - 1.
    """
    kind = values.dtype.type
    one, two = kind(1.0), kind(2.0)
    steep = two / cutoff
    value, slope, before, slope_before = values[a], slopes[a], values[a - 1], slopes[a - 1]
    if order == 1:
        for p in range(n):
            x = steep * r[p] - one
            value[p] = x * before[p]
            slope[p] = x * slope_before[p] + steep * inverse[p] * before[p]
    else:
        first, slope_first = values[a - 2], slopes[a - 2]
        for p in range(n):
            x = two * (steep * r[p] - one)
            value[p] = x * before[p] - first[p]
            slope[p] = x * slope_before[p] + two * steep * inverse[p] * before[p] - slope_first[p]


@compiled()
def argument_row(cosine: Floats, n: int, of_angle: bool, x: Floats, turn: Floats) -> None:
    """Set x, of which the angular polynomials are, and its derivative by c = cos θ: x = c, or 2 θ/π - 1 ``of_angle``.

    Within 1e-7 of 0 and π, where its derivative has no limit, the angle is exactly these.
    """
    kind = x.dtype.type
    zero, one, least, scale = kind(0.0), kind(1.0), kind(1e-14), kind(2.0 / np.pi)
    if of_angle:
        for p in range(n):
            square = (one - cosine[p]) * (one + cosine[p])
            if square > least:
                x[p], turn[p] = scale * np.arccos(cosine[p]) - one, -scale / np.sqrt(square)
            else:
                x[p], turn[p] = one if cosine[p] < zero else -one, zero
    else:
        for p in range(n):
            x[p], turn[p] = cosine[p], one


@compiled()
def next_angular_order(x: Floats, turn: Floats, n: int, order: int, values: Floats, slopes: Floats, b: int) -> None:
    """Set row b, T_m(x) and its derivative by cos θ, from rows b - 1 and b - 2 of the lower orders.

    T_m = 2 x T_{m-1} - T_{m-2}; x and ``turn`` are from `argument_row`.
    """
    kind = values.dtype.type
    zero, one, two = kind(0.0), kind(1.0), kind(2.0)
    value, slope = values[b], slopes[b]
    if order == 0:
        for p in range(n):
            value[p], slope[p] = one, zero
    elif order == 1:
        for p in range(n):
            value[p], slope[p] = x[p], turn[p]
    else:
        before, slope_before = values[b - 1], slopes[b - 1]
        first, slope_first = values[b - 2], slopes[b - 2]
        for p in range(n):
            twice = two * x[p]
            value[p] = twice * before[p] - first[p]
            slope[p] = twice * slope_before[p] + two * turn[p] * before[p] - slope_first[p]


@compiled(sums=True)
def dot_row(a: Floats, b: Floats, n: int) -> Any:
    """Σ_p a[p] b[p]."""
    total = a[0] - a[0]
    for p in range(n):
        total += a[p] * b[p]
    return total


@compiled()
def add_rows(
    weight: float, value: Floats, slope: Floats, n: int, sum_value: Floats, sum_slope: Floats, first: bool
) -> None:
    """Add weight · value and weight · slope to the two sums; with ``first``, set them."""
    if first:
        for p in range(n):
            sum_value[p] = weight * value[p]
        for p in range(n):
            sum_slope[p] = weight * slope[p]
    else:
        for p in range(n):
            sum_value[p] += weight * value[p]
        for p in range(n):
            sum_slope[p] += weight * slope[p]
