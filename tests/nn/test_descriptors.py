"""The plain descriptors against DScribe, and the compiled loops against the plain ones."""

import itertools
import math

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from gnnpot.data.graph import AtomicGraph, cast, collate, edge_vectors, graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.nn.descriptor_operators import (
    descriptors_and_jacobian,
    edge_gradients,
    fast_descriptors,
    weighted_jacobian,
    weighted_jacobian_in_torch,
)
from gnnpot.nn.descriptors import DescriptorSet, plain_descriptors
from gnnpot.nn.layers import ElementTable
from gnnpot.nn.symmetry_functions import SymmetryFunction, parse_function

CUTOFF = 4.0
ELEMENTS = (3, 8)


def mixed_functions(envelope="polynomial", cutoff=CUTOFF):
    """Unlike lists for the two elements: all kinds, shifts, a broken ζ, a shorter cutoff."""
    lines = [
        "G2 Li Li eta=0.5 shift=0",
        "G2 Li O eta=2 shift=1.5",
        "G2 O Li eta=0.3 shift=2",
        "G2 O O eta=0 shift=0",
        "G4 Li Li O eta=0.02 shift=0 zeta=4 lambda=-1",
        "G4 Li O O eta=0.1 shift=1 zeta=1 lambda=1",
        "G5 Li Li Li eta=0.3 shift=2 zeta=16 lambda=1",
        "G5 Li Li Li eta=0.3 shift=2 zeta=1 lambda=-1",
        "G5 O Li Li eta=0.4 shift=1.5 zeta=2.5 lambda=1",
        "G4 O Li O eta=0.01 shift=0 zeta=2 lambda=1",
        "G4 O Li O eta=0.05 shift=0 zeta=2 lambda=1",
        "G5 O O O eta=0.1 shift=0 zeta=3 lambda=-1",
        "wG2 Li eta=0.4 shift=1.2",
        "wG2 O eta=1 shift=2",
        "wG4 Li eta=0.05 shift=0.5 zeta=2 lambda=-1",
        "wG4 O eta=0.02 shift=0 zeta=1.5 lambda=1",
        "wG5 O eta=0.3 shift=1 zeta=4 lambda=1",
        "wG5 O eta=0.4 shift=1.5 zeta=2.5 lambda=1",
        "T2 Li order=0",
        "T2 Li order=3",
        "wT2 Li order=3",
        "T3 Li order=5",
        "wT3 Li order=2 eta=0.3 shift=2",
        "wT3 O order=0",
        "T3 O order=1 eta=0.4 shift=1.5",
        "wT3 O order=1 eta=0.4 shift=1.5",
        "T3 O order=4 eta=0.4 shift=1.5",
        "wT2 O order=1",
        "wT2 O order=1 power=3",
        "sT3 O order=1 eta=0.4 shift=1.5",
        "sT3 Li order=3",
        "zG4 Li eta=0.05 shift=0.5 zeta=2 lambda=-1",
        "zG4 O eta=0.1 shift=1 zeta=1 lambda=1",
        "zT2 Li order=3",
        "zT2 O order=6",
    ]
    functions = [parse_function(f"{line} cutoff={cutoff} {envelope}") for line in lines]
    return [*functions, SymmetryFunction("G2", 3, (3,), eta=1.0, cutoff=3.0, envelope=envelope)]


def crystal(repeat=(1, 1, 1), seed=0):
    rng = np.random.default_rng(seed)
    cell = 2.3 * (np.ones((3, 3)) - np.eye(3))
    atoms = ase.Atoms("Li2O", cell=cell, pbc=True, scaled_positions=[[0.25] * 3, [0.75] * 3, [0.0] * 3]) * repeat
    atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    return atoms


def batch_of_everything() -> AtomicGraph:
    """Crystal, slab, molecule, an atom alone, one atom per cell, and two images of one atom as neighbors."""
    slab = crystal((2, 1, 1), seed=1)
    slab.pbc = (True, False, True)
    water = molecule("H2O")
    water.numbers = [8, 3, 3]
    frames = [crystal(), slab, water, ase.Atoms("O"), bulk("Li"), ase.Atoms("Li", cell=[2.5, 9, 9], pbc=True)]
    return collate([graph_from_atoms(atoms, CUTOFF) for atoms in frames])


def types_of(graph):
    return ElementTable(ELEMENTS)(graph.atomic_numbers)


@pytest.fixture(params=["polynomial", "cosine"])
def descriptor_set(request):
    return DescriptorSet(ELEMENTS, mixed_functions(request.param))


@pytest.mark.parametrize("kind", ["G2", "G4", "G5"])
def test_against_dscribe(kind):
    """DScribe sums over j < k as we do; its η is in Å⁻², its shift exists in G2 alone."""
    acsf = pytest.importorskip("dscribe.descriptors").ACSF
    atoms = crystal((2, 2, 1), seed=4)
    values = [(0.1, 1.0, 1), (0.5, 4.0, -1), (0.03, 16.0, 1)]
    parameters = {"g2_params": [(0.5, 1.0), (2.0, 0.0)]} if kind == "G2" else {f"{kind.lower()}_params": values}
    theirs = acsf(species=["Li", "O"], r_cut=CUTOFF, periodic=True, **parameters).create(atoms)
    pairs = [(3,), (8,)] if kind == "G2" else [(3, 3), (3, 8), (8, 8)]
    n_radial = 3 if kind == "G2" else 1
    theirs = np.delete(theirs, [0, n_radial], axis=1)  # G1, which DScribe always puts before the G2 of an element
    if kind == "G2":
        functions = [
            SymmetryFunction("G2", z, p, eta, CUTOFF, shift, envelope="cosine")
            for z in ELEMENTS for p in pairs for eta, shift in parameters["g2_params"]
        ]  # fmt: skip
    else:
        functions = [
            SymmetryFunction(kind, z, p, eta, CUTOFF, 0.0, zeta, lambda_, "cosine")
            for z in ELEMENTS for p in pairs for eta, zeta, lambda_ in values
        ]  # fmt: skip
    graph = graph_from_atoms(atoms, CUTOFF)
    ours = plain_descriptors(DescriptorSet(ELEMENTS, functions), graph, types_of(graph))
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-8, atol=1e-10)


def weighted_function_by_loops(function, neighbors):
    """Gastegger et al. (2018), eqs. 6 and 7, for one atom; ``neighbors`` are pairs (Z, vector). zG4 has √(Z_j Z_k)."""

    def g(r):
        x = min(r / function.cutoff, 1.0)
        return math.exp(-function.eta * (r - function.shift) ** 2) * (1 - 10 * x**3 + 15 * x**4 - 6 * x**5)

    if function.kind == "wG2":
        return sum(z * g(np.linalg.norm(v)) for z, v in neighbors)
    total = 0.0
    for (z_j, v_j), (z_k, v_k) in itertools.combinations(neighbors, 2):
        r_j, r_k, r_jk = np.linalg.norm(v_j), np.linalg.norm(v_k), np.linalg.norm(v_k - v_j)
        radial = g(r_j) * g(r_k) * (1.0 if function.kind == "wG5" else g(r_jk))
        base = max(1.0 + function.lambda_ * (v_j @ v_k) / r_j / r_k, 0.0)
        weight = math.sqrt(z_j * z_k) if function.kind == "zG4" else z_j * z_k
        total += weight * 2.0 ** (1.0 - function.zeta) * base**function.zeta * radial
    return total


def chebyshev_function_by_loops(function, neighbors):
    """Artrith et al. (2017), eqs. 5, 6 and 10, for one atom, with T_a(x) = cos(a arccos x)."""

    def g(r):
        x = min(r / function.cutoff, 1.0)
        return math.exp(-function.eta * (r - function.shift) ** 2) * (1 - 10 * x**3 + 15 * x**4 - 6 * x**5)

    def w(z):
        if function.kind == "zT2":
            return z
        return {3: -1, 8: 1}[z] if function.is_weighted else 1

    if function.n_neighbors == 1:
        pairs = [(w(z) ** function.power, np.linalg.norm(v)) for z, v in neighbors]
        return sum(u * math.cos(function.order * math.acos(2 * r / function.cutoff - 1)) * g(r) for u, r in pairs)
    total = 0.0
    for (z_j, v_j), (z_k, v_k) in itertools.combinations(neighbors, 2):
        r_j, r_k = np.linalg.norm(v_j), np.linalg.norm(v_k)
        angle = math.acos(max(-1.0, min(1.0, (v_j @ v_k) / r_j / r_k)))
        weight = w(z_j) + w(z_k) if function.kind == "sT3" else w(z_j) * w(z_k)
        total += weight * math.cos(function.order * angle) * g(r_j) * g(r_k)
    return total


def test_functions_of_all_elements_equal_loops():
    atoms = crystal((2, 1, 1), seed=3)
    graph = graph_from_atoms(atoms, CUTOFF)
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    found = plain_descriptors(descriptor_set, graph, types_of(graph))
    i, j, vectors = neighbor_list("ijD", atoms, CUTOFF)
    functions = zip(descriptor_set.functions, descriptor_set.columns, strict=True)
    chosen = [(function, column) for function, column in functions if function.is_of_all_elements]
    for center, z in enumerate(atoms.numbers):
        around = list(zip(atoms.numbers[j[i == center]].tolist(), vectors[i == center], strict=True))
        for function, column in chosen:
            if function.center == z:
                by_loops = chebyshev_function_by_loops if function.is_chebyshev else weighted_function_by_loops
                expected = by_loops(function, around)
                assert float(found[center, column]) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("task", ["stored", "fused"])
def test_derivatives_equal_finite_differences(task):
    atoms, step = crystal(seed=5), 1e-4
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    graph = graph_from_atoms(atoms, CUTOFF)
    types = types_of(graph)
    torch.manual_seed(1)
    weights = torch.randn(graph.n_atoms, descriptor_set.n_functions, dtype=torch.float64)
    if task == "stored":
        jacobian = descriptors_and_jacobian(descriptor_set, graph, types)[1]
        found = on_atoms(graph, weighted_jacobian(descriptor_set, graph, types, jacobian, weights))
    else:
        found = on_atoms(graph, edge_gradients(descriptor_set, graph, types, weights))
    for atom, axis in np.ndindex(len(atoms), 3):
        sums = []
        for side in (-step, step):
            moved = graph.positions.clone()
            moved[atom, axis] += side
            sums.append(
                float((fast_descriptors(descriptor_set, graph.replace(positions=moved), types) * weights).sum())
            )
        slope = (sums[1] - sums[0]) / (2 * step)
        assert float(found[atom, axis]) == pytest.approx(slope, rel=1e-5, abs=1e-4)


def test_compiled_descriptors_equal_plain_ones(descriptor_set):
    graph = batch_of_everything()
    types = types_of(graph)
    plain = plain_descriptors(descriptor_set, graph, types)
    torch.testing.assert_close(fast_descriptors(descriptor_set, graph, types), plain, rtol=1e-10, atol=1e-10)
    values, _ = descriptors_and_jacobian(descriptor_set, graph, types)
    torch.testing.assert_close(values, plain, rtol=1e-10, atol=1e-10)


def gradient_by_autograd(descriptor_set, graph, weights):
    positions = graph.positions.clone().requires_grad_(True)
    values = plain_descriptors(descriptor_set, graph.replace(positions=positions), types_of(graph))
    return torch.autograd.grad((values * weights).sum(), positions)[0]


def on_atoms(graph, edge_gradients):
    out = torch.zeros_like(graph.positions)
    return out.index_add(0, graph.neighbors, edge_gradients).index_add(0, graph.centers, -edge_gradients)


def test_compiled_derivatives_equal_automatic_ones(descriptor_set):
    graph = batch_of_everything()
    types = types_of(graph)
    torch.manual_seed(0)
    weights = torch.randn(graph.n_atoms, descriptor_set.n_functions, dtype=torch.float64)
    expected = gradient_by_autograd(descriptor_set, graph, weights)
    fused = edge_gradients(descriptor_set, graph, types, weights)
    _, jacobian = descriptors_and_jacobian(descriptor_set, graph, types)
    stored = weighted_jacobian(descriptor_set, graph, types, jacobian, weights)
    torch.testing.assert_close(on_atoms(graph, fused), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(stored, fused, rtol=1e-10, atol=1e-10)


def test_single_precision_stays_close():
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    graph = batch_of_everything()
    single = cast(graph, torch.float32)
    exact, jacobian = descriptors_and_jacobian(descriptor_set, graph, types_of(graph))
    values, derivatives = descriptors_and_jacobian(descriptor_set, single, types_of(graph))
    assert values.dtype == derivatives.dtype == torch.float32
    torch.testing.assert_close(values.double(), exact, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(derivatives.double(), jacobian, rtol=2e-5, atol=5e-5)


def test_more_pairs_than_a_chunk():
    graph = graph_from_atoms(bulk("Cu", cubic=True), 6.0)
    lines = ["G2 Cu Cu eta=0.2 shift=3", "G4 Cu Cu Cu eta=0.01 zeta=2", "G5 Cu Cu Cu eta=0.05 zeta=4 lambda=-1"]
    descriptor_set = DescriptorSet([29], [parse_function(f"{line} cutoff=6 polynomial") for line in lines])
    types = torch.zeros(graph.n_atoms, dtype=torch.int64)
    plain = plain_descriptors(descriptor_set, graph, types)
    torch.testing.assert_close(fast_descriptors(descriptor_set, graph, types), plain, rtol=1e-11, atol=1e-11)


def test_edge_gradients_are_differentiable_by_the_weights():
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    graph = graph_from_atoms(crystal(), 2.5)
    types = types_of(graph)
    _, jacobian = descriptors_and_jacobian(descriptor_set, graph, types)
    weights = torch.randn(graph.n_atoms, descriptor_set.n_functions, dtype=torch.float64, requires_grad=True)

    def with_stored(w):
        return weighted_jacobian(descriptor_set, graph, types, jacobian, torch.tanh(w))

    def computed_anew(w):
        return edge_gradients(descriptor_set, graph, types, torch.tanh(w))

    for way in (with_stored, computed_anew):
        assert torch.autograd.gradcheck(way, (weights,))
        assert torch.autograd.gradgradcheck(way, (weights,))
    (stored,) = torch.autograd.grad((with_stored(weights) ** 3).sum(), weights)
    (anew,) = torch.autograd.grad((computed_anew(weights) ** 3).sum(), weights)
    torch.testing.assert_close(anew, stored, rtol=1e-10, atol=1e-10)


def test_contraction_in_plain_torch_is_the_same():
    """The way of accelerators, run on the CPU."""
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    graph = batch_of_everything()
    types = types_of(graph)
    _, jacobian = descriptors_and_jacobian(descriptor_set, graph, types)
    weights = torch.randn(graph.n_atoms, descriptor_set.n_functions, dtype=torch.float64)
    plain = weighted_jacobian_in_torch(descriptor_set, graph, types, jacobian, weights)
    fast = weighted_jacobian(descriptor_set, graph, types, jacobian, weights)
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)


def test_compiled_loops_refuse_moving_positions():
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    graph = graph_from_atoms(crystal(), CUTOFF)
    types = types_of(graph)
    moving = graph.replace(positions=graph.positions.clone().requires_grad_(True))
    with pytest.raises(RuntimeError, match="constant"):
        fast_descriptors(descriptor_set, moving, types)


def test_second_derivatives_of_the_plain_way():
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    graph = graph_from_atoms(crystal(), 2.6)
    types = types_of(graph)

    def descriptors(positions):
        return plain_descriptors(descriptor_set, graph.replace(positions=positions), types)

    positions = graph.positions.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(descriptors, (positions,))
    assert torch.autograd.gradgradcheck(descriptors, (positions,))


def test_collinear_neighbors_give_finite_derivatives():
    atoms = ase.Atoms("O3", positions=[[0, 0, 0], [0, 0, 1.2], [0, 0, -1.3]])
    graph = graph_from_atoms(atoms, CUTOFF)
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    _, jacobian = descriptors_and_jacobian(descriptor_set, graph, types_of(graph))
    assert torch.isfinite(jacobian).all()


@pytest.mark.parametrize("envelope", ["polynomial", "cosine"])
def test_smooth_at_the_cutoff(envelope):
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions(envelope))
    results = []
    for side in (-1e-5, 1e-5):
        atoms = ase.Atoms("LiOO", positions=[[0, 0, 0], [CUTOFF + side, 0, 0], [0.5, 1.6, 0.1]])
        graph = graph_from_atoms(atoms, CUTOFF + 0.5)
        weights = torch.ones(3, descriptor_set.n_functions, dtype=torch.float64)
        types = types_of(graph)
        gradients = edge_gradients(descriptor_set, graph, types, weights)
        results.append((fast_descriptors(descriptor_set, graph, types), on_atoms(graph, gradients)))
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=2e-4 if envelope == "cosine" else 5e-5)


def test_slots_hold_only_the_neighbors_own_functions():
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    assert descriptor_set.n_slots < descriptor_set.n_functions
    involved = descriptor_set.involved
    lithium_at_oxygen = {f for f in involved[1, 0] if f < descriptor_set.n_functions}
    own = [f for f in descriptor_set.functions if f.center == 8]
    assert lithium_at_oxygen == {k for k, f in enumerate(own) if 3 in f.neighbors or f.is_of_all_elements}
    assert descriptor_set.gradient_bytes(n_edges=100) == 100 * 3 * 4 * descriptor_set.n_slots


def test_permutation_of_atoms(descriptor_set):
    atoms = crystal((2, 1, 1))
    order = np.random.default_rng(0).permutation(len(atoms))
    graphs = [graph_from_atoms(a, CUTOFF) for a in (atoms, atoms[order])]
    values = [fast_descriptors(descriptor_set, g, types_of(g)) for g in graphs]
    torch.testing.assert_close(values[1], values[0][torch.from_numpy(order)], rtol=1e-12, atol=1e-12)
    assert edge_vectors(graphs[0]).shape[0] > 0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["G2 Li Si eta=1"], "Si.*not in model.elements"),
        (["G2 Li Li eta=1", "G2 Li Li eta=1"], "given twice"),
        (["G2 Li Li eta=1"], "none with O as the center"),
    ],
)
def test_sets_that_do_not_fit_are_refused(lines, message):
    with pytest.raises(ConfigError, match=message):
        DescriptorSet(ELEMENTS, [parse_function(f"{line} cutoff=4 cosine") for line in lines])


def test_stored_derivatives_of_other_functions_are_refused():
    descriptor_set = DescriptorSet(ELEMENTS, mixed_functions())
    graph = graph_from_atoms(crystal(), CUTOFF)
    weights = torch.ones(graph.n_atoms, descriptor_set.n_functions)
    with pytest.raises(ConfigError, match="belong to other functions"):
        weighted_jacobian(descriptor_set, graph, types_of(graph), torch.zeros(graph.n_edges, 3, 2), weights)
