"""A descriptor set as the arrays that the compiled loops read."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gnnpot.nn.descriptor_pairs import Tables
from gnnpot.nn.descriptor_rows import Floats, Integers, exponential_constants
from gnnpot.nn.descriptors import DescriptorSet, Group
from gnnpot.nn.symmetry_functions import SymmetryFunction

Factor = tuple[float, float, float, float, int]
Angle = tuple[float, float, bool, int]
PLAIN = -1
"""Order of what has no Chebyshev polynomial."""


def make_tables(descriptor_set: DescriptorSet, kind: type[np.floating[Any]]) -> Tables:
    """Arrays of a descriptor set in one floating-point type."""
    n_types = len(descriptor_set.elements)
    factors: list[list[Factor]] = [[] for _ in range(n_types)]
    for group in descriptor_set.groups:
        found = [*factors[group.center], *(_factor(f) for f in group.functions)]
        factors[group.center] = _with_lower_orders(found)
    constants, integers = exponential_constants(kind)
    return Tables(
        n_types=n_types,
        n_slots=descriptor_set.n_slots,
        factor_starts=_starts([len(found) for found in factors]),
        factors=_rows([factor[:4] for found in factors for factor in found], 4, kind),
        factor_orders=np.array([factor[4] for found in factors for factor in found], dtype=np.int64),
        **_radial_tables(descriptor_set, factors, kind),
        **_angular_tables(descriptor_set, factors, kind),
        constants=constants,
        integers=integers,
    )


def _radial_tables(
    descriptor_set: DescriptorSet, factors: list[list[Factor]], kind: type[np.floating[Any]]
) -> dict[str, Any]:
    n_types = len(factors)
    counts = [0] * n_types**2
    rows = []
    weights: list[float] = []
    for group in descriptor_set.groups:
        if len(group.neighbors) == 1:
            counts[group.center * n_types + group.neighbors[0]] = len(group.functions)
            for function, column in zip(group.functions, group.columns, strict=True):
                factor = factors[group.center].index(_factor(function))
                rows.append((factor, column, _slot(descriptor_set, group, 0, column)))
            weights += group.weights
    return {
        "radial_starts": _starts(counts),
        "radials": _rows(rows, 3, np.int64),
        "radial_weights": np.array(weights, dtype=kind),
    }


def _angular_tables(
    descriptor_set: DescriptorSet, factors: list[list[Factor]], kind: type[np.floating[Any]]
) -> dict[str, Any]:
    groups = [group for group in descriptor_set.groups if len(group.neighbors) == 2]
    rows: list[tuple[int, ...]] = []
    used: list[int] = []
    angles: list[Angle] = []
    functions: list[tuple[int, ...]] = []
    for group in groups:
        own_factors = list(dict.fromkeys(_factor(f) for f in group.functions))
        own_angles = _with_lower_orders([_angle(f) for f in group.functions])
        spans = [(len(used), len(own_factors)), (len(angles), len(own_angles)), (len(functions), len(group.functions))]
        rows.append((*group.neighbors, int(group.narrow), *(end for a, n in spans for end in (a, a + n))))
        used += [factors[group.center].index(factor) for factor in own_factors]
        angles += own_angles
        functions += _function_rows(descriptor_set, group, own_factors, own_angles)
    reach = [max(f.cutoff for f in group.functions) ** 2 if group.narrow else np.inf for group in groups]
    counts = np.bincount([group.center for group in groups], minlength=len(factors)).tolist()
    return {
        "group_starts": _starts(counts),
        "groups": _rows(rows, 9, np.int64),
        "group_reach": np.array(reach, dtype=kind),
        "group_factors": np.array(used, dtype=np.int64),
        "angles": _rows([(sign, zeta, 2.0 ** (1.0 - zeta)) for sign, zeta, *_ in angles], 3, kind),
        "powers": np.array([int(z) - 1 if float(z).is_integer() else -1 for _, z, *_ in angles], dtype=np.int64),
        "angle_orders": np.array([order for *_, order in angles], dtype=np.int64),
        "of_angle": np.array([of_angle for *_, of_angle, _ in angles], dtype=np.int64),
        "functions": _rows(functions, 7, np.int64),
        "function_weights": np.array([w for group in groups for w in group.weights], dtype=kind),
    }


def _function_rows(
    descriptor_set: DescriptorSet, group: Group, own_factors: list[Factor], own_angles: list[Angle]
) -> list[tuple[int, ...]]:
    rows: list[tuple[int, ...]] = []
    for function, column in zip(group.functions, group.columns, strict=True):
        a, b = own_factors.index(_factor(function)), own_angles.index(_angle(function))
        slots = [_slot(descriptor_set, group, side, column) for side in (0, 1)]
        repeats = bool(rows) and rows[-1][:2] == (a, b)
        first = rows[-1][5] if repeats else int(all(row[0] != a for row in rows))
        rows.append((a, b, column, *slots, first, int(repeats)))
    return rows


def _factor(function: SymmetryFunction) -> Factor:
    order = function.order if function.is_chebyshev and not function.is_angular else PLAIN
    return (function.eta, function.shift, function.cutoff, float(function.envelope == "cosine"), order)


def _angle(function: SymmetryFunction) -> Angle:
    order = function.order if function.is_chebyshev else PLAIN
    return (function.lambda_, function.zeta, function.is_of_angle, order)


def _with_lower_orders(items: Sequence[tuple[float, ...]]) -> list[Any]:
    """Each item once, and every Chebyshev one right after those of all lower orders, from which the loops get it."""
    found = list(dict.fromkeys(item for item in items if item[-1] == PLAIN))
    highest: dict[tuple[float, ...], float] = {}
    for *kind, order in items:
        if order != PLAIN:
            highest[tuple(kind)] = max(order, highest.get(tuple(kind), 0))
    for same, top in highest.items():
        found += [(*same, order) for order in range(int(top) + 1)]
    return found


def _slot(descriptor_set: DescriptorSet, group: Group, side: int, column: int) -> int:
    row = descriptor_set.involved[group.center, group.neighbors[side]]
    return int(np.searchsorted(row, column))


def _starts(counts: list[int]) -> Integers:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


def _rows(values: Sequence[Any], width: int, kind: type[np.generic]) -> Floats:
    return np.array(values, dtype=kind).reshape(-1, width)
