"""A center's edges, sorted by element, and chunks of pairs of them with their factors: pieces of the fused loop.

See `gnnpot.nn.descriptor_kernels` for the loop and the equations.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiled import compiled
from gnnpot.nn.descriptor_rows import (
    CHUNK,
    Floats,
    Integers,
    angle_row,
    argument_row,
    factor_row,
    next_angular_order,
    next_radial_order,
)


class Tables(NamedTuple):
    """A descriptor set as arrays; a group is a set of angular functions that run over the same pairs."""

    n_types: int
    n_slots: int
    """Most functions that any (center, neighbor) pair of elements takes part in."""
    factor_starts: Integers
    """Radial factors g(r) of center t: from [t] to the next."""
    factors: Floats
    """(η, R_s, r_c, cosine) of each radial factor."""
    factor_orders: Integers
    """Its Chebyshev order, or -1; orders from 0 on follow one another."""
    radial_starts: Integers
    """Radial functions of center t and neighbor x: from [t · n_types + x] to the next."""
    radials: Integers
    """Factor (of the center), column and slot of each radial function."""
    radial_weights: Floats
    """Factor of each radial function's terms."""
    group_starts: Integers
    """Angular groups of center t: from [t] to the next."""
    groups: Integers
    """Per group: x, y, narrow, then where its factors, angles and functions start and end."""
    group_reach: Floats
    """Square of the longest r_jk that counts."""
    group_factors: Integers
    """Factors (of the center) that a group uses."""
    angles: Floats
    """(λ, ζ, 2^(1-ζ)) of each angular factor of a group."""
    powers: Integers
    """ζ - 1 where integer, else -1."""
    angle_orders: Integers
    """Chebyshev order of each angular factor, or -1; orders from 0 on follow one another."""
    of_angle: Integers
    """Whether its polynomial is one of the angle instead of the cosine."""
    functions: Integers
    """Per angular function: factor and angle within the group, column, slots of x and y, whether it is the first of its
    factor, and whether the one before has both in common with it (they differ in their weights)."""
    function_weights: Floats
    """Factor of each angular function's terms."""
    constants: Floats
    integers: Integers


class Workspace(NamedTuple):
    """Scratch of one call."""

    local: Floats
    """Rows x, y, z, r, 1/r of the center's edges, sorted by type."""
    order: Integers
    type_starts: Integers
    fill: Integers
    edge_value: Floats
    """g(r) of every factor and local edge."""
    edge_slope: Floats
    """g'(r)/r of every factor and local edge."""
    pairs: Integers
    geometry: Floats
    """Rows cos θ, r_jk² and 1/(r_ij r_ik) of a chunk."""
    work: Floats
    radial: Floats
    """E, (∂E/∂r_ij)/r_ij, (∂E/∂r_ik)/r_ik, (∂E/∂r_jk)/r_jk of every factor and pair."""
    angular: Floats
    """T and T' of every angle and pair."""
    sums: Floats
    coefficients: Floats
    """Rows α, β, γ and E T'."""
    moves: Floats
    """Rows dx, dy, dz and r·dr of a change of the center's edges."""
    result: Floats
    """Per slot: rows x, y, z, and the multiple of the edge itself."""


def make_workspace(tables: Tables, n_max: int, n_slots: int) -> Workspace:
    """Allocate scratch for centers with up to ``n_max`` edges."""
    kind = tables.constants.dtype
    spans = [tables.factor_starts, tables.groups[:, 3:5].ravel(), tables.groups[:, 5:7].ravel()]
    wide = max(int(np.diff(span).max(initial=1)) for span in spans)
    return Workspace(
        local=np.empty((5, n_max), kind),
        order=np.empty(n_max, np.int64),
        type_starts=np.zeros(tables.n_types + 1, np.int64),
        fill=np.zeros(tables.n_types + 1, np.int64),
        edge_value=np.empty((wide, n_max), kind),
        edge_slope=np.empty((wide, n_max), kind),
        pairs=np.empty((2, CHUNK + 1), np.int64),
        geometry=np.empty((3, CHUNK + 1), kind),
        work=np.empty((6, max(CHUNK, n_max)), kind),
        radial=np.empty((4, wide, CHUNK), kind),
        angular=np.empty((2, wide, CHUNK), kind),
        sums=np.empty((2, wide, CHUNK), kind),
        coefficients=np.empty((4, CHUNK), kind),
        moves=np.empty((4, n_max), kind),
        result=np.empty((n_slots, 4, n_max), kind),
    )


@compiled()
def load_center(
    t: int, vectors: Floats, start: int, end: int, neighbor_types: Integers, tables: Tables, space: Workspace
) -> None:
    """Copy the edges of one center into local rows, sorted by the neighbor's type, and evaluate their factors."""
    local, type_starts, fill = space.local, space.type_starts, space.fill
    for x in range(len(type_starts)):
        type_starts[x] = 0
    for e in range(start, end):
        type_starts[neighbor_types[e] + 1] += 1
    for x in range(len(type_starts) - 1):
        type_starts[x + 1] += type_starts[x]
        fill[x] = type_starts[x]
    one = local.dtype.type(1.0)
    for e in range(start, end):
        n = fill[neighbor_types[e]]
        fill[neighbor_types[e]] += 1
        space.order[n] = e
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        r = np.sqrt(x * x + y * y + z * z)
        local[0, n], local[1, n], local[2, n], local[3, n], local[4, n] = x, y, z, r, one / r
    n = end - start
    for a in range(tables.factor_starts[t + 1] - tables.factor_starts[t]):
        value, slope, factor = space.edge_value[a], space.edge_slope[a], tables.factors[tables.factor_starts[t] + a]
        order = tables.factor_orders[tables.factor_starts[t] + a]
        if order > 0:
            next_radial_order(local[3], local[4], n, factor[2], order, space.edge_value, space.edge_slope, a)
            continue
        factor_row(local[3], local[3], n, factor, tables.constants, tables.integers, space.work, value, slope)
        for p in range(n):
            slope[p] *= local[4, p]


@compiled()
def next_pairs(
    bounds: tuple[int, int, int], same: bool, reach: float, j: int, k: int, space: Workspace
) -> tuple[int, int, int]:
    """Collect up to `CHUNK` pairs (j, k) with r_jk² < reach from (j, k) on; their number, and where to go on."""
    last_j, first_k, last_k = bounds
    local, pairs, geometry = space.local, space.pairs, space.geometry
    two, zero = local.dtype.type(2.0), local.dtype.type(0.0)
    n = 0
    while j < last_j and n < CHUNK:
        x, y, z, inverse = local[0, j], local[1, j], local[2, j], local[4, j]
        square = local[3, j] * local[3, j]
        stop = min(last_k, k + CHUNK - n)
        for q in range(k, stop):
            dot = x * local[0, q] + y * local[1, q] + z * local[2, q]
            third = max(square + local[3, q] * local[3, q] - two * dot, zero)
            product = inverse * local[4, q]
            pairs[0, n], pairs[1, n] = j, q
            geometry[0, n], geometry[1, n], geometry[2, n] = dot * product, third, product
            if third < reach:
                n += 1
        k = max(stop, k)
        if k >= last_k:
            j += 1
            k = j + 1 if same else first_k
    return n, j, k


@compiled()
def pair_factors(t: int, group: Integers, n: int, tables: Tables, space: Workspace, slopes: bool) -> None:
    """Evaluate E and, with ``slopes``, its derivatives for every factor of a group."""
    pairs, work, radial = space.pairs, space.work, space.radial
    distance, third, third_slope = work[3], work[4], work[5]
    if group[2]:
        for p in range(n):
            distance[p] = np.sqrt(space.geometry[1, p])
    for a in range(group[4] - group[3]):
        own = tables.group_factors[group[3] + a]
        value, slope = space.edge_value[own], space.edge_slope[own]
        e0, e1, e2, e3 = radial[0, a], radial[1, a], radial[2, a], radial[3, a]
        for p in range(n):
            e0[p] = value[pairs[0, p]] * value[pairs[1, p]]
        if slopes:
            for p in range(n):
                e1[p] = slope[pairs[0, p]] * value[pairs[1, p]]
            for p in range(n):
                e2[p] = value[pairs[0, p]] * slope[pairs[1, p]]
        if group[2]:
            factor = tables.factors[tables.factor_starts[t] + own]
            factor_row(distance, distance, n, factor, tables.constants, tables.integers, work, third, third_slope)
            if slopes:
                for p in range(n):
                    e3[p] = e0[p] * third_slope[p] / distance[p]
                for p in range(n):
                    e1[p] *= third[p]
                for p in range(n):
                    e2[p] *= third[p]
            for p in range(n):
                e0[p] *= third[p]


@compiled()
def pair_angles(group: Integers, n: int, tables: Tables, space: Workspace) -> None:
    """Evaluate T and T' for every angular factor of a group."""
    x, turn = space.work[2], space.work[3]
    for b in range(group[6] - group[5]):
        g = group[5] + b
        order = tables.angle_orders[g]
        if order == 0:
            argument_row(space.geometry[0], n, tables.of_angle[g] != 0, x, turn)
        if order >= 0:
            next_angular_order(x, turn, n, order, space.angular[0], space.angular[1], b)
            continue
        angle_row(
            space.geometry[0],
            n,
            tables.angles[g],
            tables.powers[g],
            space.work,
            space.angular[0, b],
            space.angular[1, b],
        )
