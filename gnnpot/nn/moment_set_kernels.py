"""CPU kernels of `gnnpot.nn.moment_descriptors`: moments of the neighborhoods and products of them.

One loop over the centers serves three tasks: the moments A, their changes when the edges change, and the transpose of
that. Products of moments, the functions G, have the same three. A row is a number of every
edge of one center; the loops over rows run in vector registers. With Y homogeneous of degree l in the unit vector u,
∂Y/∂r_a = (∂Y/∂u_a - l u_a Y)/r.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiled import compiled
from gnnpot.nn.descriptor_rows import Floats, Integers, dot_row, factor_row

MOMENTS, CHANGES, GRADIENTS = 0, 1, 2
"""The tasks of `run`: A; ∂A/∂r v; (∂A/∂r)ᵀ w."""


class Tables(NamedTuple):
    """A `gnnpot.nn.moment_descriptors.MomentSet` as arrays."""

    n_moments: int
    highest_degree: int
    factors: Floats
    """(η, R_s, r_c, cosine, by element) of each radial factor."""
    spans: Integers
    """First harmonic of each factor, and the one after its last."""
    starts: Integers
    """First moment of each factor."""
    weights: Floats
    """Properties of the elements, ``(n_types, n_properties)``."""
    radii: Floats
    """Covalent radii of the elements, ``(n_types,)``."""
    left: Integers
    right: Integers
    function: Integers
    """Each term is the product of two moments, added to a function."""
    constants: Floats
    integers: Integers


class Rows(NamedTuple):
    """Scratch of one call: rows over the edges of a center."""

    local: Floats
    """x/r, y/r, z/r, r, 1/r, r - R_i - R_j."""
    values: Floats
    """g of every radial factor."""
    slopes: Floats
    """dg/dr of every radial factor."""
    harmonics: Floats
    """Y_lm."""
    gradients: Floats
    """∂Y_lm/∂r, ``(3, n_harmonics, n)``."""
    weights: Floats
    """Properties of the neighbors, ``(n_properties, n)``."""
    work: Floats


@compiled()
def make_rows(row_starts: Integers, tables: Tables) -> Rows:
    """Allocate scratch for the largest center."""
    n = 1
    for i in range(len(row_starts) - 1):
        n = max(n, row_starts[i + 1] - row_starts[i])
    kind = tables.constants.dtype
    n_factors, n_harmonics = len(tables.factors), (tables.highest_degree + 1) ** 2
    return Rows(
        np.empty((6, n), kind), np.empty((n_factors, n), kind), np.empty((n_factors, n), kind),
        np.empty((n_harmonics, n), kind), np.empty((3, n_harmonics, n), kind),
        np.empty((tables.weights.shape[1], n), kind), np.empty((6, n), kind),
    )  # fmt: skip


@compiled()
def load_rows(
    vectors: Floats, start: int, end: int, center: int, types: Integers, neighbors: Integers, tables: Tables,
    rows: Rows, slopes: bool,
) -> None:  # fmt: skip
    """Fill the rows of one center; gradients of the harmonics only with ``slopes``."""
    local, n = rows.local, end - start
    one = local.dtype.type(1.0)
    for p in range(n):
        x, y, z = vectors[start + p, 0], vectors[start + p, 1], vectors[start + p, 2]
        r = np.sqrt(x * x + y * y + z * z)
        inverse = one / r
        local[0, p], local[1, p], local[2, p], local[3, p], local[4, p] = (
            x * inverse,
            y * inverse,
            z * inverse,
            r,
            inverse,
        )
    radius = tables.radii[types[center]]
    for p in range(n):
        of_neighbor = types[neighbors[start + p]]
        local[5, p] = local[3, p] - radius - tables.radii[of_neighbor]
        own = tables.weights[of_neighbor]
        for c in range(len(own)):
            rows.weights[c, p] = own[c]
    for f in range(len(tables.factors)):
        factor = tables.factors[f]
        arguments = local[5] if factor[4] > factor[0] - factor[0] else local[3]
        factor_row(
            local[3], arguments, n, factor, tables.constants, tables.integers, rows.work, rows.values[f], rows.slopes[f]
        )
    write_harmonics(n, tables.highest_degree, local, rows.harmonics)
    if slopes:
        write_gradients(n, tables.highest_degree, local, rows.harmonics, rows.gradients)


@compiled()
def write_harmonics(n: int, degree: int, local: Floats, out: Floats) -> None:
    """Y_lm of every edge, as `gnnpot.nn.angular.SphericalHarmonics` orders and normalizes them."""
    kind = out.dtype.type
    one, half = kind(1.0), kind(0.5)
    a2, b2 = kind(3.0**0.5), kind(0.75**0.5)
    a3, b3, c3, d3 = kind(5.625**0.5), kind(0.625**0.5), kind(15.0**0.5), kind(0.375**0.5)
    e3 = kind(3.75**0.5)
    four, two, three = kind(4.0), kind(2.0), kind(3.0)
    for p in range(n):
        out[0, p] = one
    if degree > 0:
        for p in range(n):
            out[1, p], out[2, p], out[3, p] = local[1, p], local[2, p], local[0, p]
    if degree > 1:
        for p in range(n):
            x, y, z = local[0, p], local[1, p], local[2, p]
            out[4, p], out[5, p], out[7, p] = a2 * x * y, a2 * y * z, a2 * x * z
            out[6, p] = z * z - half * (x * x + y * y)
            out[8, p] = b2 * (x * x - y * y)
    if degree > 2:
        for p in range(n):
            x, y, z = local[0, p], local[1, p], local[2, p]
            xx, yy, zz = x * x, y * y, z * z
            out[9, p] = y * (a3 * xx - b3 * yy)
            out[10, p] = c3 * x * y * z
            out[11, p] = d3 * y * (four * zz - xx - yy)
            out[12, p] = half * z * (two * zz - three * (xx + yy))
            out[13, p] = d3 * x * (four * zz - xx - yy)
            out[14, p] = e3 * z * (xx - yy)
            out[15, p] = x * (b3 * xx - a3 * yy)


@compiled()
def write_gradients(n: int, degree: int, local: Floats, harmonics: Floats, out: Floats) -> None:
    """∂Y_lm/∂r of every edge."""
    kind = out.dtype.type
    zero, one, two, three, half = kind(0.0), kind(1.0), kind(2.0), kind(3.0), kind(0.5)
    a2, b2 = kind(3.0**0.5), kind(3.0**0.5)
    a3, b3, c3, d3 = kind(5.625**0.5), kind(0.625**0.5), kind(15.0**0.5), kind(0.375**0.5)
    e3, four, six, eight = kind(3.75**0.5), kind(4.0), kind(6.0), kind(8.0)
    for p in range(n):
        for a in range(3):
            out[a, 0, p] = zero
    if degree > 0:
        for p in range(n):
            for a in range(3):
                for m in range(1, 4):
                    out[a, m, p] = zero
            out[1, 1, p], out[2, 2, p], out[0, 3, p] = one, one, one
    if degree > 1:
        for p in range(n):
            x, y, z = local[0, p], local[1, p], local[2, p]
            out[0, 4, p], out[1, 4, p], out[2, 4, p] = a2 * y, a2 * x, zero
            out[0, 5, p], out[1, 5, p], out[2, 5, p] = zero, a2 * z, a2 * y
            out[0, 6, p], out[1, 6, p], out[2, 6, p] = -x, -y, two * z
            out[0, 7, p], out[1, 7, p], out[2, 7, p] = a2 * z, zero, a2 * x
            out[0, 8, p], out[1, 8, p], out[2, 8, p] = b2 * x, -b2 * y, zero
    if degree > 2:
        for p in range(n):
            x, y, z = local[0, p], local[1, p], local[2, p]
            xx, yy, zz = x * x, y * y, z * z
            out[0, 9, p], out[1, 9, p], out[2, 9, p] = two * a3 * x * y, a3 * xx - three * b3 * yy, zero
            out[0, 10, p], out[1, 10, p], out[2, 10, p] = c3 * y * z, c3 * x * z, c3 * x * y
            out[0, 11, p], out[1, 11, p] = -two * d3 * x * y, d3 * (four * zz - xx - three * yy)
            out[2, 11, p] = eight * d3 * y * z
            out[0, 12, p], out[1, 12, p] = -three * x * z, -three * y * z
            out[2, 12, p] = half * (six * zz - three * (xx + yy))
            out[0, 13, p], out[1, 13, p] = d3 * (four * zz - three * xx - yy), -two * d3 * x * y
            out[2, 13, p] = eight * d3 * x * z
            out[0, 14, p], out[1, 14, p], out[2, 14, p] = two * e3 * x * z, -two * e3 * y * z, e3 * (xx - yy)
            out[0, 15, p], out[1, 15, p], out[2, 15, p] = three * b3 * xx - a3 * yy, -two * a3 * x * y, zero
    for order in range(1, degree + 1):
        factor = kind(order)
        for m in range(order * order, (order + 1) * (order + 1)):
            for a in range(3):
                row, value, along = out[a, m], harmonics[m], local[a]
                for p in range(n):
                    row[p] = (row[p] - factor * along[p] * value[p]) * local[4, p]


@compiled()
def write_moments(n: int, tables: Tables, rows: Rows, out: Floats) -> None:
    """Write A_nalm = Σ_j w_a(j) g_n(r_ij) Y_lm(r̂_ij) of one center to ``out`` ``(n_moments + 1,)``."""
    n_properties, work = tables.weights.shape[1], rows.work[0]
    for f in range(len(tables.factors)):
        column, value = tables.starts[f], rows.values[f]
        for m in range(tables.spans[f, 0], tables.spans[f, 1]):
            harmonic = rows.harmonics[m]
            for p in range(n):
                work[p] = value[p] * harmonic[p]
            for c in range(n_properties):
                out[column] = dot_row(work, rows.weights[c], n)
                column += 1


@compiled()
def write_changes(n: int, moves: Floats, tables: Tables, rows: Rows, out: Floats) -> None:
    """Write the changes of one center's moments when its edges change by ``moves`` ``(n, 3)``."""
    n_properties, work, stretch, turn = tables.weights.shape[1], rows.work[0], rows.work[1], rows.work[2]
    x, y, z = rows.work[3], rows.work[4], rows.work[5]
    for p in range(n):
        x[p], y[p], z[p] = moves[p, 0], moves[p, 1], moves[p, 2]
    for p in range(n):
        stretch[p] = rows.local[0, p] * x[p] + rows.local[1, p] * y[p] + rows.local[2, p] * z[p]
    for m in range(rows.harmonics.shape[0]):
        harmonic = rows.harmonics[m]
        d0, d1, d2 = rows.gradients[0, m], rows.gradients[1, m], rows.gradients[2, m]
        for p in range(n):
            turn[p] = d0[p] * x[p] + d1[p] * y[p] + d2[p] * z[p]
        for f in range(len(tables.factors)):
            first, last = tables.spans[f, 0], tables.spans[f, 1]
            if m < first or m >= last:
                continue
            value, slope = rows.values[f], rows.slopes[f]
            for p in range(n):
                work[p] = slope[p] * stretch[p] * harmonic[p] + value[p] * turn[p]
            column = tables.starts[f] + (m - first) * n_properties
            for c in range(n_properties):
                out[column + c] = dot_row(work, rows.weights[c], n)


@compiled()
def write_edge_gradients(n: int, by_moment: Floats, tables: Tables, rows: Rows, out: Floats) -> None:
    """Write Σ_nalm by_moment[nalm] ∂A_nalm/∂r_ij of one center's edges to ``out`` ``(n, 3)``."""
    n_properties = tables.weights.shape[1]
    weight, along, across = rows.work[0], rows.work[1], rows.work[2]
    x, y, z = rows.work[3], rows.work[4], rows.work[5]
    zero = out.dtype.type(0.0)
    for p in range(n):
        along[p], x[p], y[p], z[p] = zero, zero, zero, zero
    for m in range(rows.harmonics.shape[0]):
        harmonic = rows.harmonics[m]
        for p in range(n):
            across[p] = zero
        for f in range(len(tables.factors)):
            first, last = tables.spans[f, 0], tables.spans[f, 1]
            if m < first or m >= last:
                continue
            value, slope = rows.values[f], rows.slopes[f]
            column = tables.starts[f] + (m - first) * n_properties
            for p in range(n):
                weight[p] = zero
            for c in range(n_properties):
                factor, own = by_moment[column + c], rows.weights[c]
                for p in range(n):
                    weight[p] += factor * own[p]
            for p in range(n):
                across[p] += weight[p] * value[p]
            for p in range(n):
                along[p] += weight[p] * slope[p] * harmonic[p]
        d0, d1, d2 = rows.gradients[0, m], rows.gradients[1, m], rows.gradients[2, m]
        for p in range(n):
            x[p] += across[p] * d0[p]
            y[p] += across[p] * d1[p]
            z[p] += across[p] * d2[p]
    for p in range(n):
        out[p, 0] = x[p] + along[p] * rows.local[0, p]
        out[p, 1] = y[p] + along[p] * rows.local[1, p]
        out[p, 2] = z[p] + along[p] * rows.local[2, p]


@compiled()
def run(
    task: int,
    vectors: Floats,
    row_starts: Integers,
    types: Integers,
    neighbors: Integers,
    tables: Tables,
    moments: Floats,
    edges: Floats,
) -> None:
    """Evaluate all centers.

    Args:
        task: `MOMENTS` writes A to ``moments``; `CHANGES` its changes for changes ``edges`` of the edge vectors;
            `GRADIENTS` writes Σ moments[i, nalm] ∂A_nalm/∂r_ij to ``edges``.
        vectors: r_ij ``(n_edges, 3)``, sorted by center.
        row_starts: where each center's edges begin, ``(n_atoms + 1,)``.
        types: of every atom.
        neighbors: of every edge.
        tables: the set.
        moments: ``(n_atoms, n_moments + 1)``, the last column untouched.
        edges: ``(n_edges, 3)``.
    """
    rows = make_rows(row_starts, tables)
    for i in range(len(row_starts) - 1):
        start, end = row_starts[i], row_starts[i + 1]
        if start == end:
            continue
        load_rows(vectors, start, end, i, types, neighbors, tables, rows, task != MOMENTS)
        if task == MOMENTS:
            write_moments(end - start, tables, rows, moments[i])
        elif task == CHANGES:
            write_changes(end - start, edges[start:end], tables, rows, moments[i])
        else:
            write_edge_gradients(end - start, moments[i], tables, rows, edges[start:end])


@compiled()
def add_products(moments: Floats, tables: Tables, out: Floats) -> None:
    """Add the terms of the functions to G ``(n_atoms, n_functions)``."""
    left, right, function = tables.left, tables.right, tables.function
    for i in range(len(moments)):
        for t in range(len(left)):
            out[i, function[t]] += moments[i, left[t]] * moments[i, right[t]]


@compiled()
def add_product_gradients(weights: Floats, moments: Floats, tables: Tables, out: Floats) -> None:
    """Add Σ_f weights[i, f] ∂G_if/∂A to ``out`` ``(n_atoms, n_moments + 1)``."""
    left, right, function = tables.left, tables.right, tables.function
    for i in range(len(moments)):
        for t in range(len(left)):
            weight = weights[i, function[t]]
            out[i, left[t]] += weight * moments[i, right[t]]
            out[i, right[t]] += weight * moments[i, left[t]]


@compiled()
def add_product_changes(changes: Floats, moments: Floats, tables: Tables, out: Floats) -> None:
    """Add Σ ∂G_if/∂A dA to ``out`` ``(n_atoms, n_functions)``, for changes dA with 0 in the last column."""
    left, right, function = tables.left, tables.right, tables.function
    for i in range(len(moments)):
        for t in range(len(left)):
            change = changes[i, left[t]] * moments[i, right[t]] + moments[i, left[t]] * changes[i, right[t]]
            out[i, function[t]] += change
