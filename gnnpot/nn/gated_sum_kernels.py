"""CPU kernels of `gnnpot.nn.gated_sum`: one pass per block, no array over pairs ever written.

With (exp(-a), exp(-2 b)) of every row and column the gate of a pair needs no exponential:
σ(a_p + a_q) = 1/(1 + V) and tanh(b_p + b_q) = (1 - U)/(1 + U), V and U products of two such factors.

A block is worked on in tiles of `WIDTH` features: its rows are copied into a scratch that stays in the first-level
cache and whose constant width makes the innermost loop a few vector instructions. Blocks own their rows and
columns, so that the result does not depend on the number of threads.

First argument of all: the fields of `gnnpot.nn.gated_sum.Blocks`; the last two: the share of one thread.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = tuple[Array, ...]
Topology: TypeAlias = tuple[Array, Array, Array, Array, bool]

WIDTH = 16
"""Features per tile, one AVX-512 register of float32. Numbers of features are multiples of it, padded with zeros."""


@register_jitable
def _largest_block(row_starts: Array, first_block: int, last_block: int) -> int:
    n_slots = 0
    for block in range(first_block, last_block):
        n_slots = max(n_slots, row_starts[block + 1] - row_starts[block])
    return n_slots


@register_jitable
def _load(tile: Array, slot: int, field: int, array: Array, row: int, first: int) -> None:
    """Copy features ``first`` and following of a row into a field of a slot."""
    for f in range(WIDTH):
        tile[slot, field, f] = array[row, first + f]


@register_jitable
def _store(tile: Array, slot: int, field: int, array: Array, row: int, first: int) -> None:
    """Copy a field of a slot to features ``first`` and following of a row."""
    for f in range(WIDTH):
        array[row, first + f] = tile[slot, field, f]


@register_jitable
def _clear(tile: Array, slot: int, field: int) -> None:
    for f in range(WIDTH):
        tile[slot, field, f] = 0


@register_jitable
def _add_total(tile: Array, field: int, totals: Array, column: int, first: int) -> None:
    """Add the sum of a field of the only slot to ``totals[column]``, which starts at the first tile."""
    total = totals.dtype.type(0)
    for f in range(WIDTH):
        total += tile[0, field, f]
    totals[column] = total + (totals[column] if first else totals.dtype.type(0))


@compiled(sums=True)
def sum_gates(blocks: Topology, inputs: Arrays, outputs: Arrays, first_block: int, last_block: int) -> None:
    """Write ``Σ_q w_q σ tanh`` ``(n_rows, n_features)``.

    Inputs: row and column factors ``(n, 2 n_features)``, weights ``(n_columns,)``.
    """
    row_starts, rows, column_starts, keep, skip_same = blocks
    row_factors, column_factors, weights = inputs
    sums = outputs[0]
    n_features, one = sums.shape[1], sums.dtype.type(1)
    for block in range(first_block, last_block):
        start = row_starts[block]
        for slot in range(start, row_starts[block + 1]):
            row = rows[slot]
            for f in range(n_features):
                sums[row, f] = 0
            same = column_starts[block] + slot - start if skip_same else -1
            for column in range(column_starts[block], column_starts[block + 1]):
                if column == same or not keep[column]:
                    continue
                weight = weights[column]
                for f in range(n_features):
                    v = one + row_factors[row, f] * column_factors[column, f]
                    u = row_factors[row, n_features + f] * column_factors[column, n_features + f]
                    sums[row, f] += weight * (one - u) / (v * (one + u))


@compiled(sums=True)
def sum_gate_gradients(blocks: Topology, inputs: Arrays, outputs: Arrays, first_block: int, last_block: int) -> None:
    """Gradients of Σ_p g_p · S_p by rows and columns ``(n, 2 n_features)`` and weights ``(n_columns,)``.

    Inputs: those of `sum_gates` and g ``(n_rows, n_features)``.
    """
    row_starts, rows, column_starts, keep, skip_same = blocks
    row_factors, column_factors, weights, sum_gradients = inputs
    by_rows, by_columns, by_weights = outputs
    n_features, one = sum_gradients.shape[1], sum_gradients.dtype.type(1)
    tile = np.zeros((_largest_block(row_starts, first_block, last_block), 5, WIDTH), sum_gradients.dtype)
    own = np.zeros((1, 5, WIDTH), sum_gradients.dtype)
    for block in range(first_block, last_block):
        start, n_slots = row_starts[block], row_starts[block + 1] - row_starts[block]
        for first in range(0, n_features, WIDTH):
            for slot in range(n_slots):
                _load(tile, slot, 0, row_factors, rows[start + slot], first)
                _load(tile, slot, 1, row_factors, rows[start + slot], n_features + first)
                _load(tile, slot, 2, sum_gradients, rows[start + slot], first)
                for field in range(3, 5):
                    _clear(tile, slot, field)
            for column in range(column_starts[block], column_starts[block + 1]):
                for field in range(2, 5):
                    _clear(own, 0, field)
                _load(own, 0, 0, column_factors, column, first)
                _load(own, 0, 1, column_factors, column, n_features + first)
                same = column - column_starts[block] if skip_same else -1
                weight = weights[column]
                for slot in range(n_slots if keep[column] else 0):
                    if slot == same:
                        continue
                    for f in range(WIDTH):
                        v = one + tile[slot, 0, f] * own[0, 0, f]
                        u = tile[slot, 1, f] * own[0, 1, f]
                        inverse = one / (v * (one + u))
                        s, t = inverse * (one + u), (one - u) * inverse * v
                        gs = tile[slot, 2, f] * s
                        by_a, by_b = weight * gs * (one - s) * t, weight * gs * (one - t * t)
                        tile[slot, 3, f] += by_a
                        tile[slot, 4, f] += by_b
                        own[0, 2, f] += by_a
                        own[0, 3, f] += by_b
                        own[0, 4, f] += gs * t
                _store(own, 0, 2, by_columns, column, first)
                _store(own, 0, 3, by_columns, column, n_features + first)
                _add_total(own, 4, by_weights, column, first)
            for slot in range(n_slots):
                _store(tile, slot, 3, by_rows, rows[start + slot], first)
                _store(tile, slot, 4, by_rows, rows[start + slot], n_features + first)


@compiled(sums=True)
def sum_gate_second_gradients(
    blocks: Topology, inputs: Arrays, outputs: Arrays, first_block: int, last_block: int
) -> None:
    """Gradients of Σ directions · (outputs of `sum_gate_gradients`) by g, rows, columns and weights.

    Inputs: those of `sum_gate_gradients` and one direction for each of its outputs.
    """
    row_starts, rows, column_starts, keep, skip_same = blocks
    row_factors, column_factors, weights, sum_gradients, row_along, column_along, weight_along = inputs
    by_sum_gradients, by_rows, by_columns, by_weights = outputs
    n_features, one, two = sum_gradients.shape[1], sum_gradients.dtype.type(1), sum_gradients.dtype.type(2)
    tile = np.zeros((_largest_block(row_starts, first_block, last_block), 8, WIDTH), sum_gradients.dtype)
    own = np.zeros((1, 7, WIDTH), sum_gradients.dtype)
    for block in range(first_block, last_block):
        start, n_slots = row_starts[block], row_starts[block + 1] - row_starts[block]
        for first in range(0, n_features, WIDTH):
            for slot in range(n_slots):
                _load(tile, slot, 0, row_factors, rows[start + slot], first)
                _load(tile, slot, 1, row_factors, rows[start + slot], n_features + first)
                _load(tile, slot, 2, sum_gradients, rows[start + slot], first)
                _load(tile, slot, 3, row_along, rows[start + slot], first)
                _load(tile, slot, 4, row_along, rows[start + slot], n_features + first)
                for field in range(5, 8):
                    _clear(tile, slot, field)
            for column in range(column_starts[block], column_starts[block + 1]):
                for field in range(4, 7):
                    _clear(own, 0, field)
                _load(own, 0, 0, column_factors, column, first)
                _load(own, 0, 1, column_factors, column, n_features + first)
                _load(own, 0, 2, column_along, column, first)
                _load(own, 0, 3, column_along, column, n_features + first)
                same = column - column_starts[block] if skip_same else -1
                weight, c = weights[column], weight_along[column]
                for slot in range(n_slots if keep[column] else 0):
                    if slot == same:
                        continue
                    for f in range(WIDTH):
                        v = one + tile[slot, 0, f] * own[0, 0, f]
                        u = tile[slot, 1, f] * own[0, 1, f]
                        inverse = one / (v * (one + u))
                        s, t = inverse * (one + u), (one - u) * inverse * v
                        g = tile[slot, 2, f]
                        a, b = tile[slot, 3, f] + own[0, 2, f], tile[slot, 4, f] + own[0, 3, f]
                        slope_a, slope_b = s * (one - s) * t, s * (one - t * t)
                        mixed = slope_b * (one - s)
                        by_a = g * (weight * (slope_a * (one - two * s) * a + mixed * b) + c * slope_a)
                        by_b = g * (weight * (mixed * a - two * t * slope_b * b) + c * slope_b)
                        along = slope_a * a + slope_b * b
                        tile[slot, 5, f] += weight * along + c * s * t
                        tile[slot, 6, f] += by_a
                        tile[slot, 7, f] += by_b
                        own[0, 4, f] += by_a
                        own[0, 5, f] += by_b
                        own[0, 6, f] += g * along
                _store(own, 0, 4, by_columns, column, first)
                _store(own, 0, 5, by_columns, column, n_features + first)
                _add_total(own, 6, by_weights, column, first)
            for slot in range(n_slots):
                _store(tile, slot, 5, by_sum_gradients, rows[start + slot], first)
                _store(tile, slot, 6, by_rows, rows[start + slot], first)
                _store(tile, slot, 7, by_rows, rows[start + slot], n_features + first)
