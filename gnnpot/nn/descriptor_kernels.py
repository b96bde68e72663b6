"""Symmetry functions and their analytic derivatives, one fused pass per center over its pairs of edges.

Each angular function is a sum over pairs (ij, ik) of a radial factor E(r_ij, r_ik, r_jk) and an angular factor
T(cos θ); exponentials and powers are shared by all functions that have a factor in common. For a pair, every
derivative is a combination of the two edge vectors::

    ∂/∂r_ij = α r_ij + γ r_ik,   ∂/∂r_ik = β r_ik + γ r_ij
    γ = E T'/(r_ij r_ik) - (∂E/∂r_jk) T/r_jk
    α = (∂E/∂r_ij) T/r_ij + (∂E/∂r_jk) T/r_jk - E T' cos θ/r_ij²,   β the same with ik

One loop serves four tasks. With J the derivatives of the descriptors by the edge vectors: the descriptors G; G and
J (kept with a data set for training); Jᵀ w for weights w of the descriptors (forces); J v for a change v of the
edge vectors (the derivative of Jᵀ w by w). The last two store nothing.
The edges of a center are sorted by the neighbor's type first, so a group of functions sees only its own pairs.
Pairs come in chunks of `CHUNK`, whose rows stay in the first cache. Arrays are float32 or float64 throughout.
"""

import numpy as np

from gnnpot.compiled import compiled
from gnnpot.nn.descriptor_pairs import Tables, Workspace, load_center, next_pairs, pair_angles, pair_factors
from gnnpot.nn.descriptor_rows import Floats, Integers, add_rows, dot_row

DESCRIPTORS, JACOBIAN, BACKWARD, TANGENT = 0, 1, 2, 3
"""The four tasks of `run`: G; G and J; Jᵀ w; J v."""


@compiled()
def add_values(group: Integers, n: int, tables: Tables, space: Workspace, out: Floats) -> None:
    """Add a chunk of pairs to the descriptors of one center."""
    value = out.dtype.type(0.0)
    for f in range(group[7], group[8]):
        function = tables.functions[f]
        if not function[6]:
            value = dot_row(space.radial[0, function[0]], space.angular[0, function[1]], n)
        out[function[2]] += tables.function_weights[f] * value


@compiled()
def add_gradients(group: Integers, n: int, tables: Tables, space: Workspace, weights: Floats, task: int) -> None:
    """Add the derivatives of a chunk of pairs to the result: of every function to its slots, or their sum to slot 0."""
    sums, each = space.sums, task == JACOBIAN
    if not each:
        weight = weights.dtype.type(0.0)
        for f in range(group[7], group[8]):
            function = tables.functions[f]
            a, b = function[0], function[1]
            own = tables.function_weights[f] * weights[function[2]]
            weight = weight + own if function[6] else own
            if f + 1 == group[8] or not tables.functions[f + 1, 6]:
                value, slope = space.angular[0, b], space.angular[1, b]
                add_rows(weight, value, slope, n, sums[0, a], sums[1, a], function[5])
    n_items = group[8] - group[7] if each else group[4] - group[3]
    for item in range(n_items):
        function = tables.functions[group[7] + (item if each else 0)]
        a = function[0] if each else item
        if each:
            value, slope = space.angular[0, function[1]], space.angular[1, function[1]]
            add_rows(tables.function_weights[group[7] + item], value, slope, n, sums[0, a], sums[1, a], True)
        combine(group[2], n, a, sums[0, a], sums[1, a], space, each or item == 0)
        if each or item == n_items - 1:
            slots = (function[3], function[4]) if each else (0, 0)
            scatter(group[2], n, space, space.result[slots[0]], space.result[slots[1]])


@compiled()
def add_tangent(group: Integers, n: int, tables: Tables, space: Workspace, out: Floats) -> None:
    """Add the change of a chunk of pairs to the changes of the descriptors of one center."""
    narrow = group[2]
    turn, side_j, side_k, side_jk = space.work[0], space.work[1], space.work[2], space.work[3]
    changes_of_sides(narrow, n, space, turn, side_j, side_k, side_jk)
    for a in range(group[4] - group[3]):
        change, weight = space.sums[0, a], space.sums[1, a]
        e0, e1, e2, e3 = space.radial[0, a], space.radial[1, a], space.radial[2, a], space.radial[3, a]
        for p in range(n):
            change[p] = e1[p] * side_j[p] + e2[p] * side_k[p]
        if narrow:
            for p in range(n):
                change[p] += e3[p] * side_jk[p]
        for p in range(n):
            weight[p] = e0[p] * turn[p]
    total = out.dtype.type(0.0)
    for f in range(group[7], group[8]):
        function = tables.functions[f]
        a, b = function[0], function[1]
        if not function[6]:
            total = dot_row(space.sums[0, a], space.angular[0, b], n)
            total += dot_row(space.sums[1, a], space.angular[1, b], n)
        out[function[2]] += tables.function_weights[f] * total


@compiled()
def changes_of_sides(
    narrow: bool, n: int, space: Workspace, turn: Floats, side_j: Floats, side_k: Floats, side_jk: Floats
) -> None:
    """Set the rows d cos θ, r_ij·dr_ij, r_ik·dr_ik and r_jk·dr_jk for changes ``moves`` of the edges."""
    local, moves, pairs, geometry = space.local, space.moves, space.pairs, space.geometry
    for p in range(n):
        j, k = pairs[0, p], pairs[1, p]
        cross = local[0, j] * moves[0, k] + local[1, j] * moves[1, k] + local[2, j] * moves[2, k]
        cross += local[0, k] * moves[0, j] + local[1, k] * moves[1, j] + local[2, k] * moves[2, j]
        side_j[p], side_k[p], side_jk[p] = moves[3, j], moves[3, k], moves[3, j] + moves[3, k] - cross
        bend = moves[3, j] * local[4, j] * local[4, j] + moves[3, k] * local[4, k] * local[4, k]
        turn[p] = cross * geometry[2, p] - geometry[0, p] * bend


@compiled()
def load_moves(n_edges: int, edge_weights: Floats, space: Workspace) -> None:
    """Copy the changes of a center's edges into local rows dx, dy, dz and r·dr."""
    local, moves = space.local, space.moves
    for n in range(n_edges):
        e = space.order[n]
        x, y, z = edge_weights[e, 0], edge_weights[e, 1], edge_weights[e, 2]
        moves[0, n], moves[1, n], moves[2, n] = x, y, z
        moves[3, n] = x * local[0, n] + y * local[1, n] + z * local[2, n]


@compiled()
def combine(narrow: bool, n: int, a: int, value: Floats, slope: Floats, space: Workspace, first: bool) -> None:
    """Add the derivatives of factor a by the three sides, times T, and E T' to the coefficients."""
    rows = space.coefficients
    if first:
        for c in range(4):
            for p in range(n):
                rows[c, p] = 0
    for p in range(n):
        rows[0, p] += space.radial[1, a, p] * value[p]
    for p in range(n):
        rows[1, p] += space.radial[2, a, p] * value[p]
    for p in range(n):
        rows[3, p] += space.radial[0, a, p] * slope[p]
    if narrow:
        for p in range(n):
            rows[2, p] -= space.radial[3, a, p] * value[p]


@compiled()
def scatter(narrow: bool, n: int, space: Workspace, result_j: Floats, result_k: Floats) -> None:
    """Complete α, β, γ of a chunk and add the derivatives to the edges j and k."""
    local, pairs, geometry = space.local, space.pairs, space.geometry
    rows = space.coefficients
    alpha, beta, gamma, turn = rows[0], rows[1], rows[2], rows[3]
    if narrow:
        for p in range(n):
            alpha[p] -= gamma[p]
        for p in range(n):
            beta[p] -= gamma[p]
    for p in range(n):
        gamma[p] += turn[p] * geometry[2, p]
    for p in range(n):
        turn[p] *= geometry[0, p]
    for p in range(n):
        j, k, g = pairs[0, p], pairs[1, p], gamma[p]
        result_j[3, j] += alpha[p] - turn[p] * local[4, j] * local[4, j]
        result_k[3, k] += beta[p] - turn[p] * local[4, k] * local[4, k]
        result_j[0, j] += g * local[0, k]
        result_j[1, j] += g * local[1, k]
        result_j[2, j] += g * local[2, k]
        result_k[0, k] += g * local[0, j]
        result_k[1, k] += g * local[1, j]
        result_k[2, k] += g * local[2, j]


@compiled()
def radial_part(t: int, task: int, tables: Tables, space: Workspace, weights: Floats, out: Floats) -> None:
    """Add the radial functions of one center."""
    for x in range(tables.n_types):
        pair = t * tables.n_types + x
        first, last = space.type_starts[x], space.type_starts[x + 1]
        for f in range(tables.radial_starts[pair], tables.radial_starts[pair + 1]):
            a, column, slot = tables.radials[f, 0], tables.radials[f, 1], tables.radials[f, 2]
            value, slope = space.edge_value[a], space.edge_slope[a]
            weight = tables.radial_weights[f]
            if task in (DESCRIPTORS, JACOBIAN):
                for n in range(first, last):
                    out[column] += weight * value[n]
            if task == JACOBIAN:
                for n in range(first, last):
                    space.result[slot, 3, n] += weight * slope[n]
            elif task == BACKWARD:
                for n in range(first, last):
                    space.result[0, 3, n] += weight * weights[column] * slope[n]
            elif task == TANGENT:
                for n in range(first, last):
                    out[column] += weight * slope[n] * space.moves[3, n]


@compiled()
def angular_part(t: int, task: int, tables: Tables, space: Workspace, weights: Floats, out: Floats) -> None:
    """Add the angular functions of one center, chunk by chunk of pairs."""
    starts = space.type_starts
    for g in range(tables.group_starts[t], tables.group_starts[t + 1]):
        group = tables.groups[g]
        x, y = group[0], group[1]
        bounds = (starts[x + 1], starts[y], starts[y + 1])
        j = starts[x]
        k = j + 1 if x == y else starts[y]
        while j < bounds[0]:
            n, j, k = next_pairs(bounds, x == y, tables.group_reach[g], j, k, space)
            if n == 0:
                continue
            pair_factors(t, group, n, tables, space, task != DESCRIPTORS)
            pair_angles(group, n, tables, space)
            if task in (DESCRIPTORS, JACOBIAN):
                add_values(group, n, tables, space, out)
            if task in (JACOBIAN, BACKWARD):
                add_gradients(group, n, tables, space, weights, task)
            elif task == TANGENT:
                add_tangent(group, n, tables, space, out)


@compiled()
def clear(n_edges: int, result: Floats) -> None:
    """Set the result of the next center to zero."""
    for slot in range(result.shape[0]):
        for c in range(4):
            for n in range(n_edges):
                result[slot, c, n] = 0


@compiled()
def store_edges(n_edges: int, space: Workspace, gradients: Floats) -> None:
    """Write the result of one center, ``(n_slots, 4, n)``, to the rows of its edges, ``(n_edges, 3, n_slots)``."""
    for n in range(n_edges):
        e = space.order[n]
        for c in range(3):
            for slot in range(gradients.shape[2]):
                result = space.result[slot]
                gradients[e, c, slot] = result[c, n] + result[3, n] * space.local[c, n]


@compiled()
def run(
    task: int,
    vectors: Floats,
    row_starts: Integers,
    center_types: Integers,
    neighbor_types: Integers,
    tables: Tables,
    space: Workspace,
    weights: Floats,
    edge_weights: Floats,
    out: Floats,
    gradients: Floats,
) -> None:
    """Evaluate all centers.

    Args:
        task: `DESCRIPTORS` fills ``out`` with G; `JACOBIAN` also ``gradients`` ``(n_edges, 3, n_slots)`` with J;
            `BACKWARD` fills ``gradients`` ``(n_edges, 3, 1)`` with Σ_f weights[i, f] ∂G_if/∂r_ij; `TANGENT`
            fills ``out`` with Σ_j ∂G_if/∂r_ij · edge_weights[ij].
        vectors: r_ij ``(n_edges, 3)``, sorted by center; ``row_starts`` ``(n_atoms + 1,)`` where each begins.
        row_starts: see ``vectors``.
        center_types: type of every atom.
        neighbor_types: type of every edge's neighbor.
        tables: the descriptor set.
        space: from `make_workspace`.
        weights: ``(n_atoms, n_functions)``, read by `BACKWARD` alone.
        edge_weights: ``(n_edges, 3)``, read by `TANGENT` alone.
        out: ``(n_atoms, n_functions)``, zeros.
        gradients: see ``task``.
    """
    for i in range(len(row_starts) - 1):
        t = center_types[i]
        load_center(t, vectors, row_starts[i], row_starts[i + 1], neighbor_types, tables, space)
        n_edges = row_starts[i + 1] - row_starts[i]
        if task == TANGENT:
            load_moves(n_edges, edge_weights, space)
        else:
            clear(n_edges, space.result)
        radial_part(t, task, tables, space, weights[i], out[i])
        angular_part(t, task, tables, space, weights[i], out[i])
        if task in (JACOBIAN, BACKWARD):
            store_edges(n_edges, space, gradients)


@compiled(sums=True)
def contract(
    row_starts: Integers,
    center_types: Integers,
    neighbor_types: Integers,
    involved: Integers,
    jacobian: Floats,
    weights: Floats,
    out: Floats,
) -> None:
    """Set out[e] = Σ_m jacobian[e, :, m] weights[i, involved[t_i, t_j, m]] for every edge e = (i, j)."""
    n_types, n_slots = involved.shape[1], involved.shape[2]
    picked = np.zeros((n_types, n_slots), weights.dtype)
    zero = weights.dtype.type(0.0)
    for i in range(len(row_starts) - 1):
        pick(involved[center_types[i]], weights[i], picked)
        for e in range(row_starts[i], row_starts[i + 1]):
            row, own = jacobian[e], picked[neighbor_types[e]]
            x, y, z = zero, zero, zero
            for m in range(n_slots):
                x += row[0, m] * own[m]
                y += row[1, m] * own[m]
                z += row[2, m] * own[m]
            out[e, 0], out[e, 1], out[e, 2] = x, y, z


@compiled()
def pick(involved: Integers, weights: Floats, picked: Floats) -> None:
    """Copy the weights that edges to each type need; a padded slot (column n_functions) gets 0."""
    for x in range(picked.shape[0]):
        for m in range(picked.shape[1]):
            column = involved[x, m]
            if column < len(weights):
                picked[x, m] = weights[column]
            else:
                picked[x, m] = 0


@compiled()
def contract_transposed(
    row_starts: Integers,
    center_types: Integers,
    neighbor_types: Integers,
    involved: Integers,
    jacobian: Floats,
    edge_weights: Floats,
    out: Floats,
) -> None:
    """Set out[i, f] = Σ_e Σ_c jacobian[e, c, m] edge_weights[e, c], f = involved[t_i, t_j, m]."""
    n_types, n_slots = involved.shape[1], involved.shape[2]
    total = np.zeros((n_types, n_slots), edge_weights.dtype)
    for i in range(len(row_starts) - 1):
        for x in range(n_types):
            for m in range(n_slots):
                total[x, m] = 0
        for e in range(row_starts[i], row_starts[i + 1]):
            row, own = jacobian[e], total[neighbor_types[e]]
            x, y, z = edge_weights[e, 0], edge_weights[e, 1], edge_weights[e, 2]
            for m in range(n_slots):
                own[m] += row[0, m] * x + row[1, m] * y + row[2, m] * z
        t = center_types[i]
        for x in range(n_types):
            for m in range(n_slots):
                if involved[t, x, m] < out.shape[1]:
                    out[i, involved[t, x, m]] += total[x, m]
