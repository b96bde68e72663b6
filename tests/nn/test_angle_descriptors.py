"""Polynomials of the angle itself (zT3), beside those of its cosine in the same set, against loops and differences."""

import itertools
import math

import ase
import numpy as np
import pytest
import torch
from ase.neighborlist import neighbor_list

from gnnpot.data.graph import cast, graph_from_atoms
from gnnpot.nn.descriptor_operators import (
    descriptors_and_jacobian,
    edge_gradients,
    fast_descriptors,
    weighted_jacobian,
)
from gnnpot.nn.descriptors import DescriptorSet, angles_of, plain_descriptors
from gnnpot.nn.layers import ElementTable
from gnnpot.nn.symmetry_functions import parse_function

CUTOFF = 4.0
ELEMENTS = (3, 8)
LINES = [
    *("zT3 Li order=0", "zT3 Li order=1", "zT3 Li order=2", "zT3 Li order=7", "T3 Li order=2", "G5 Li Li O eta=0.1"),
    *("zT3 O order=3", "zT3 O order=3 eta=0.4 shift=1.5", "wT3 O order=3", "T3 O order=1 eta=0.4 shift=1.5"),
]


def descriptor_set(envelope="cosine"):
    return DescriptorSet(ELEMENTS, [parse_function(f"{line} cutoff={CUTOFF} {envelope}") for line in LINES])


def cluster(seed=0):
    """Atoms of which no three are in line."""
    rng = np.random.default_rng(seed)
    grid = 1.9 * np.array(list(itertools.product(range(2), range(2), range(2))), dtype=float)
    return ase.Atoms("LiOLi2O2LiO", positions=grid + 0.25 * rng.normal(size=grid.shape))


def crystal(seed=0):
    """With images of an atom on both of its sides, in line."""
    rng = np.random.default_rng(seed)
    cell = 2.3 * (np.ones((3, 3)) - np.eye(3))
    atoms = ase.Atoms("Li2O", cell=cell, pbc=True, scaled_positions=[[0.25] * 3, [0.75] * 3, [0.0] * 3])
    atoms.positions += 0.1 * rng.normal(size=(3, 3))
    return atoms


def types_of(graph):
    return ElementTable(ELEMENTS)(graph.atomic_numbers)


def value_by_loops(function, around):
    """T_a(2 θ/π - 1) as cos(a arccos x) over all pairs of neighbors, with √(Z_j Z_k)."""
    total = 0.0
    for (z_j, v_j), (z_k, v_k) in itertools.combinations(around, 2):
        sides = np.linalg.norm(v_j), np.linalg.norm(v_k)
        theta = math.acos(max(-1.0, min(1.0, float(v_j @ v_k) / sides[0] / sides[1])))
        radial = 1.0
        for r in sides:
            gaussian = math.exp(-function.eta * (r - function.shift) ** 2)
            radial *= gaussian * 0.5 * (math.cos(math.pi * r / CUTOFF) + 1.0)
        total += math.sqrt(z_j * z_k) * math.cos(function.order * math.acos(2.0 * theta / math.pi - 1.0)) * radial
    return total


@pytest.mark.parametrize("atoms", [cluster(), crystal()], ids=["cluster", "crystal"])
def test_values_equal_loops(atoms):
    chosen = descriptor_set()
    graph = graph_from_atoms(atoms, CUTOFF)
    found = plain_descriptors(chosen, graph, types_of(graph))
    torch.testing.assert_close(fast_descriptors(chosen, graph, types_of(graph)), found, rtol=1e-10, atol=1e-10)
    i, j, vectors = neighbor_list("ijD", atoms, CUTOFF)
    n_checked = 0
    for center, z in enumerate(atoms.numbers):
        around = list(zip(atoms.numbers[j[i == center]].tolist(), vectors[i == center], strict=True))
        for function, column in zip(chosen.functions, chosen.columns, strict=True):
            if function.kind == "zT3" and function.center == z:
                n_checked += 1
                expected = value_by_loops(function, around)
                assert float(found[center, column]) == pytest.approx(expected, rel=1e-7, abs=1e-7)
    assert n_checked > len(atoms)


def on_atoms(graph, by_edge):
    out = torch.zeros_like(graph.positions)
    return out.index_add(0, graph.neighbors, by_edge).index_add(0, graph.centers, -by_edge)


def weights_for(graph, chosen):
    torch.manual_seed(0)
    return torch.randn(graph.n_atoms, chosen.n_functions, dtype=torch.float64)


@pytest.mark.parametrize("atoms", [cluster(), crystal()], ids=["cluster", "crystal"])
def test_derivatives_equal_automatic_ones(atoms):
    """Also where images of an atom are in line with it: both are 0 there."""
    chosen = descriptor_set()
    graph = graph_from_atoms(atoms, CUTOFF)
    types, weights = types_of(graph), weights_for(graph, chosen)
    positions = graph.positions.clone().requires_grad_(True)
    values = plain_descriptors(chosen, graph.replace(positions=positions), types)
    (expected,) = torch.autograd.grad((values * weights).sum(), positions)
    fused = edge_gradients(chosen, graph, types, weights)
    torch.testing.assert_close(on_atoms(graph, fused), expected, rtol=1e-9, atol=1e-9)
    jacobian = descriptors_and_jacobian(chosen, graph, types)[1]
    torch.testing.assert_close(weighted_jacobian(chosen, graph, types, jacobian, weights), fused, rtol=1e-9, atol=1e-9)


def test_derivatives_equal_finite_differences():
    chosen, step = descriptor_set(), 1e-5
    graph = graph_from_atoms(cluster(), CUTOFF)
    types, weights = types_of(graph), weights_for(graph, chosen)
    found = on_atoms(graph, edge_gradients(chosen, graph, types, weights))
    for atom, axis in np.ndindex(graph.n_atoms, 3):
        sums = []
        for side in (-step, step):
            moved = graph.positions.clone()
            moved[atom, axis] += side
            values = fast_descriptors(chosen, graph.replace(positions=moved), types)
            sums.append(float((values * weights).sum()))
        assert float(found[atom, axis]) == pytest.approx((sums[1] - sums[0]) / (2 * step), rel=1e-6, abs=1e-6)


def test_the_plain_way_has_second_derivatives():
    chosen = descriptor_set("polynomial")
    graph = graph_from_atoms(cluster(), 2.4)

    def descriptors(positions):
        return plain_descriptors(chosen, graph.replace(positions=positions), types_of(graph))

    positions = graph.positions.clone().requires_grad_(True)
    assert torch.autograd.gradgradcheck(descriptors, (positions,))


def test_edge_gradients_are_differentiable_by_the_weights():
    chosen = descriptor_set()
    graph = graph_from_atoms(cluster(), 2.4)
    weights = weights_for(graph, chosen).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda w: edge_gradients(chosen, graph, types_of(graph), w), (weights,))


@pytest.mark.parametrize("side", [-1.3, 1.7], ids=["180 degrees", "0 degrees"])
def test_the_slope_of_the_angle_is_0_in_line(side):
    """O-O-O in line: what is left are the slopes of the distances, along the line."""
    chosen = descriptor_set()
    graph = graph_from_atoms(ase.Atoms("O3", positions=[[0, 0, 0], [0, 0, 1.2], [0, 0, side]]), CUTOFF)
    jacobian = descriptors_and_jacobian(chosen, graph, types_of(graph))[1]
    assert jacobian[:, 2].abs().max() > 0.1
    assert not jacobian[:, :2].any()
    positions = graph.positions.clone().requires_grad_(True)
    values = plain_descriptors(chosen, graph.replace(positions=positions), types_of(graph))
    (slopes,) = torch.autograd.grad(values.sum(), positions)
    torch.testing.assert_close(on_atoms(graph, jacobian.sum(2)), slopes, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("atoms", [cluster(), crystal()], ids=["cluster", "crystal"])
def test_single_precision_knows_an_angle_to_the_root_of_its_digits(atoms):
    chosen = descriptor_set()
    graph = graph_from_atoms(atoms, CUTOFF)
    exact = edge_gradients(chosen, graph, types_of(graph), weights_for(graph, chosen))
    single = cast(graph, torch.float32)
    found = edge_gradients(chosen, single, types_of(graph), weights_for(graph, chosen).float())
    torch.testing.assert_close(found.double(), exact, rtol=1e-2, atol=3e-3 * float(exact.abs().max()))


def test_the_cusp_is_there_and_its_slope_ends_1e_7_before_it():
    """Exempt from the tests of smoothness: the derivative by a bend is not 0 just beside 180°, as that of T3 is."""

    def slope(line, bend):
        positions = [[0, 0, 0], [1.2, 0, 0], [-1.3 * math.cos(bend), 1.3 * math.sin(bend), 0]]
        graph = graph_from_atoms(ase.Atoms("O3", positions=positions), CUTOFF)
        one = DescriptorSet([8], [parse_function(f"{line} cutoff={CUTOFF} cosine")])
        weights = torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64)
        types = torch.zeros(3, dtype=torch.int64)
        return abs(float(on_atoms(graph, edge_gradients(one, graph, types, weights))[2, 1]))

    assert slope("zT3 O order=1", 1e-3) > 0.1
    assert slope("zT3 O order=1", 1e-5) == pytest.approx(slope("zT3 O order=1", 1e-3), rel=1e-2)
    assert slope("zT3 O order=1", 1e-9) < 1e-6
    assert slope("T3 O order=1", 1e-3) < 1e-2


def test_angles_of_rounded_cosines():
    cosines = torch.tensor([-1.0 - 1e-15, -1.0, -0.5, 0.0, 0.7, 1.0, 1.0 + 1e-15], dtype=torch.float64)
    expected = np.arccos(np.clip(cosines.numpy(), -1.0, 1.0))
    np.testing.assert_allclose(angles_of(cosines).numpy(), expected, rtol=1e-14)
    leaf = cosines.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(angles_of(leaf).sum(), leaf, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), leaf)
    inside = cosines.abs() < 1.0
    np.testing.assert_allclose(slope.detach()[inside].numpy(), -((1.0 - cosines[inside] ** 2) ** -0.5).numpy())
    assert not slope[~inside].any()
    assert torch.isfinite(curvature).all()
