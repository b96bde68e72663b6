"""GNNFF's layers against loops over atoms and against PyTorch Geometric's blocks; what sets both models apart."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii
from torch import nn

from gnnpot.data.graph import AtomicGraph, edge_vectors, graph_from_atoms
from gnnpot.data.triplets import reverse_edges
from gnnpot.errors import ConfigError, PropertyNotAvailableError
from gnnpot.models.gnnff import GNNFF
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.properties import derive
from gnnpot.nn.gnnff_layers import GNNFFLayers, LayerOutputs

CUTOFF = 4.0


def small_cell() -> AtomicGraph:
    """Two atoms in a cell much smaller than the cutoff: most neighbors are images."""
    atoms = bulk("GaN", "zincblende", a=4.2)
    atoms.rattle(0.1, seed=1)
    return graph_from_atoms(atoms, CUTOFF)


def water() -> AtomicGraph:
    return graph_from_atoms(molecule("H2O"), CUTOFF)


def layers(
    n_elements: int = 2,
    triplet_cutoff: float = 3.2,
    envelope: str | None = "polynomial",
    l_max: int | None = None,
) -> GNNFFLayers:
    torch.manual_seed(0)
    made = GNNFFLayers(range(1, n_elements + 1), 5, 4, 1.0, 2, CUTOFF, triplet_cutoff, envelope, l_max).double()
    made.message_scale.fill_(0.4)
    made.triplet_scale.fill_(0.7)
    return made


def apply(model: GNNFFLayers, types: torch.Tensor, graph: AtomicGraph) -> LayerOutputs:
    vectors = edge_vectors(graph)
    return model(model.embedding(types), graph, vectors, vectors.norm(dim=1))


def edge_chains(graph: AtomicGraph) -> list[tuple[int, int]]:
    """All (edge i→j, edge j→k) but the way back along the same edge."""
    reverse = reverse_edges(graph).tolist()
    edges = [*enumerate(graph.edge_index.t().tolist())]
    return [(e, f) for e, (_, j) in edges for f, (center, _) in edges if center == j and f != reverse[e]]


def concatenated(linear: nn.Linear, *parts: torch.Tensor) -> torch.Tensor:
    a, b = linear(torch.cat(parts)).chunk(2)
    return torch.sigmoid(a) * torch.tanh(b)


def naive(model: GNNFFLayers, types: torch.Tensor, graph: AtomicGraph) -> tuple[torch.Tensor, torch.Tensor]:
    """The paper's equations, one neighbor and one triplet after the other, on concatenated features."""
    r = edge_vectors(graph).norm(dim=1)
    i, j = graph.edge_index.tolist()
    shifts = graph.edge_shifts
    near, close = model.envelope(r), model.triplet_envelope(r)
    h, e = list(model.embedding(types)), list(model.radial_basis(r))
    for node_update, edge_update in zip(model.node_updates, model.edge_updates, strict=True):
        new = []
        for atom in range(graph.n_atoms):
            own = [k for k in range(graph.n_edges) if i[k] == atom]
            terms = [near[k] * concatenated(node_update.linear, h[atom], e[k]) for k in own]
            new.append(torch.tanh(h[atom] + 0.4 * sum(terms)))
        h = new
        new = []
        for k in range(graph.n_edges):
            total = torch.zeros_like(e[k])
            for m in range(graph.n_edges):
                is_reverse = j[m] == i[k] and torch.equal(shifts[m], -shifts[k])
                if i[m] == j[k] and not is_reverse and r[m] < model.triplet_envelope.cutoff:
                    parts = (h[i[k]], h[j[k]], h[j[m]], e[k], e[m])
                    total = total + close[m] * concatenated(edge_update.triplet_linear, *parts)
            pair = concatenated(edge_update.pair_linear, h[i[k]] * h[j[k]])
            new.append(torch.tanh(e[k] + pair + 0.7 * total))
        e = new
    return torch.stack(h), torch.stack(e)


@pytest.mark.parametrize("envelope", ["polynomial", "cosine", None])
@pytest.mark.parametrize("graph", [small_cell(), water()], ids=["crystal", "molecule"])
def test_equations_against_loops(graph, envelope):
    model = layers(envelope=envelope)
    types = (graph.atomic_numbers == graph.atomic_numbers[0]).long()
    with torch.no_grad():
        found = apply(model, types, graph)
        nodes, edges = naive(model, types, graph)
    torch.testing.assert_close(found.nodes, nodes, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.edges, edges, rtol=1e-12, atol=1e-12)


def angular_loops(model: GNNFFLayers, types: torch.Tensor, graph: AtomicGraph) -> tuple[torch.Tensor, torch.Tensor]:
    """The equations of `AngularEdgeUpdate`, angle after angle, with Legendre polynomials of the cosines."""
    vectors = edge_vectors(graph)
    r = vectors.norm(dim=1)
    cosines = (vectors @ vectors.T) / (r[:, None] * r)
    legendre = torch.stack([torch.ones_like(cosines), cosines, 1.5 * cosines**2 - 0.5])
    i, j = graph.edge_index.tolist()
    reverse = reverse_edges(graph).tolist()
    near, close = model.envelope(r), model.triplet_envelope(r)
    h, e = list(model.embedding(types)), list(model.radial_basis(r))
    edges = range(graph.n_edges)
    for node_update, update in zip(model.node_updates, model.edge_updates, strict=True):
        h = [
            torch.tanh(
                h[a] + 0.4 * sum(near[k] * concatenated(node_update.linear, h[a], e[k]) for k in edges if i[k] == a)
            )
            for a in range(graph.n_atoms)
        ]
        channels = [concatenated(update.channel_linear, h[i[k]], h[j[k]], e[k]).reshape(3, -1) for k in edges]
        angular = [
            sum(0.7 * close[k] * channels[k] * legendre[:, ij, k, None] for k in edges if i[k] == i[ij]).flatten()
            for ij in edges
        ]
        e = [
            torch.tanh(
                e[k]
                + concatenated(update.pair_linear, h[i[k]] * h[j[k]])
                + concatenated(update.gate_linear, h[i[k]], h[j[k]], e[k], angular[k], angular[reverse[k]])
            )
            for k in edges
        ]
    return torch.stack(h), torch.stack(e)


@pytest.mark.parametrize("graph", [small_cell(), water()], ids=["crystal", "molecule"])
def test_angular_equations_against_loops(graph):
    model = layers(l_max=2)
    types = (graph.atomic_numbers == graph.atomic_numbers[0]).long()
    with torch.no_grad():
        found = apply(model, types, graph)
        nodes, edges = angular_loops(model, types, graph)
    torch.testing.assert_close(found.nodes, nodes, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.edges, edges, rtol=1e-12, atol=1e-12)


def test_only_angular_edges_tell_angles_apart():
    """Two environments with the same distances from the center and among its neighbors' chains, but other angles."""
    square = Atoms("Cu5", [[0, 0, 0], [2, 0, 0], [-2, 0, 0], [0, 2, 0], [0, -2, 0]])
    bent = square.copy()
    angle = np.radians(75.0)
    bent.positions[3:] = [[2 * np.cos(angle), 2 * np.sin(angle), 0], [-2 * np.cos(angle), -2 * np.sin(angle), 0]]
    differences = []
    for l_max in (None, 2):
        torch.manual_seed(0)
        model = GNNFFConservative(["Cu"], cutoff=2.4, triplet_cutoff=2.4, l_max=l_max).double()
        pair = [derive(model, graph_from_atoms(atoms, 2.4), ["energy"])["energy"] for atoms in (square, bent)]
        differences.append(abs(float(pair[0] - pair[1])))
    assert differences[0] < 1e-12 < 1e-9 < differences[1]


def test_triplets_are_the_chains_of_edges():
    graph = small_cell()
    vectors = edge_vectors(graph)
    around = layers(envelope=None).surroundings(graph, vectors, vectors.norm(dim=1))
    triplets = around.centers[0].triplets
    first, second = triplets.pairs()
    kept = [(ij, jk) for ij, jk in edge_chains(graph) if triplets.keep[jk]]
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == kept
    assert torch.equal(around.pairs.reverse, reverse_edges(graph))
    assert len(first) > 0


def test_layers_against_those_of_pytorch_geometric():
    oracle = pytest.importorskip("torch_geometric.nn.models.gnnff", exc_type=ImportError)
    graph = small_cell()
    model = layers(triplet_cutoff=CUTOFF, envelope=None)
    model.message_scale.fill_(1.0)
    model.triplet_scale.fill_(1.0)
    types = (graph.atomic_numbers == 31).long()
    distances = edge_vectors(graph).norm(dim=1)
    i, j = graph.edge_index
    ij, jk = torch.tensor(edge_chains(graph)).t()
    with torch.no_grad():
        nodes, edges = model.embedding(types), model.radial_basis(distances)
        torch.testing.assert_close(oracle.GaussianFilter(0.0, CUTOFF, 4).double()(distances), edges, rtol=0, atol=1e-6)
        for node_update, edge_update in zip(model.node_updates, model.edge_updates, strict=True):
            node_block, edge_block = oracle.NodeBlock(5, 4).double(), oracle.EdgeBlock(5, 4).double()
            for block in (node_block, edge_block):
                for name, module in block.named_children():
                    if isinstance(module, nn.BatchNorm1d):
                        setattr(block, name, nn.Identity())
            node_block.lin_c1.load_state_dict(node_update.linear.state_dict())
            edge_block.lin_c2.load_state_dict(edge_update.pair_linear.state_dict())
            edge_block.lin_c3.load_state_dict(edge_update.triplet_linear.state_dict())
            nodes = node_block(nodes, edges, i)
            edges = edge_block(nodes, edges, i, j, i[ij], j[ij], j[jk], ij, jk)
        found = apply(model, types, graph)
    torch.testing.assert_close(found.nodes, nodes, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(found.edges, edges, rtol=1e-11, atol=1e-12)


def test_direct_forces_by_hand():
    torch.manual_seed(0)
    model = GNNFF(["H", "O"], CUTOFF, 5, 4, 2.0, 2).double()
    model.force_scale.scale.fill_(2.0)
    graph = water()
    vectors = edge_vectors(graph)
    r = vectors.norm(dim=1)
    with torch.no_grad():
        edges = apply(model.layers, (graph.atomic_numbers == 8).long(), graph).edges
        strengths = model.readout(edges)[:, 0] * model.layers.envelope(r)
        expected = torch.zeros(3, 3, dtype=torch.float64)
        for k, center in enumerate(graph.centers.tolist()):
            expected[center] -= 2.0 * strengths[k] * vectors[k] / r[k]
        torch.testing.assert_close(model(graph)["forces"], expected, rtol=1e-10, atol=1e-12)


def test_conservative_energy_is_half_the_sum_over_edges():
    torch.manual_seed(0)
    model = GNNFFConservative(["Ga", "N"], CUTOFF, 5, 4, 2.0, 2).double()
    graph = small_cell()
    r = edge_vectors(graph).norm(dim=1)
    with torch.no_grad():
        edges = apply(model.layers, model.types(graph), graph).edges
        expected = 0.5 * (model.layers.envelope(r) * model.readout(edges)[:, 0]).sum()
        torch.testing.assert_close(model.atomic_outputs(graph).sum(), expected)
    assert "stress" in derive(model, graph, ["stress"])


@pytest.mark.parametrize("option", ["symmetrize", "remove_net_force"])
def test_net_force(option):
    graph = small_cell()
    torch.manual_seed(0)
    free = GNNFF(["Ga", "N"], CUTOFF, 5, 4, 2.0, 2).double()
    bound = GNNFF(**{**free.arguments(), option: True}).double()
    bound.load_state_dict(free.state_dict())
    with torch.no_grad():
        assert free(graph)["forces"].sum(0).abs().max() > 1e-4
        torch.testing.assert_close(bound(graph)["forces"].sum(0), torch.zeros(3, dtype=torch.float64))


def test_direct_model_has_no_stress():
    with pytest.raises(PropertyNotAvailableError, match="gnnff_conservative"):
        derive(GNNFF(["Ga", "N"], CUTOFF), small_cell(), ["stress"])


@pytest.mark.parametrize("model_class", [GNNFF, GNNFFConservative])
def test_scales_are_learned(model_class):
    graph = small_cell()
    model = model_class(["Ga", "N"], CUTOFF, 5, 4, 2.0, 1)
    labelled = graph.replace(forces=torch.ones_like(graph.forces), energy=torch.ones(1, dtype=torch.float64))
    isolated = graph_from_atoms(Atoms("Ga"), CUTOFF).replace(energy=torch.zeros(1, dtype=torch.float64))
    model.learn_from(iter([labelled, isolated]))
    mean = model.layers.envelope(edge_vectors(graph).norm(dim=1)).sum() / 3
    assert float(model.layers.message_scale) == pytest.approx(float(mean) ** -0.5)
    alone = model_class(["Ga", "N"], CUTOFF, 5, 4, 2.0, 1)
    alone.learn_from([isolated])
    assert float(alone.layers.triplet_scale) == 1.0


def test_without_envelope_a_neighbor_at_the_cutoff_makes_a_jump():
    torch.manual_seed(0)
    model = GNNFF(["H"], CUTOFF, 5, 4, 2.0, 1, envelope=None).double()
    pairs = [Atoms("H2", positions=[[0, 0, 0], [0, 0, CUTOFF + side]]) for side in (-1e-6, 1e-6)]
    below, above = (model(graph_from_atoms(pair, CUTOFF + 1.0))["forces"] for pair in pairs)
    assert below.abs().max() > 1e-3
    assert torch.equal(above, torch.zeros_like(above))


def test_edges_beyond_the_cutoff_change_nothing():
    """As a neighbor list with a skin has them."""
    torch.manual_seed(0)
    model = GNNFFConservative(["Ga", "N"], CUTOFF, 5, 4, 2.0, 2).double()
    atoms = bulk("GaN", "zincblende", a=4.2)
    atoms.rattle(0.1, seed=1)
    found, expected = (derive(model, graph_from_atoms(atoms, c), ["energy", "forces"]) for c in (5.0, CUTOFF))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-11, atol=1e-11)


def test_unknown_envelope_is_refused():
    with pytest.raises(ConfigError, match="polynomial"):
        GNNFF(["H"], envelope="polynomal")


def test_third_neighbor_acts_through_a_triplet():
    """k feels i through j: the force changes when only r_jk does and i does not see k."""
    torch.manual_seed(0)
    model = GNNFF(["H"], 2.0, 16, 16, 2.0, 1, triplet_cutoff=2.0).double()
    forces = []
    for x in (1.2, 1.6):
        chain = Atoms("H3", positions=[[-1.5, 0, 0], [0, 0, 0], [x, 0, 0]])
        forces.append(model(graph_from_atoms(chain, 2.0))["forces"][0].detach().numpy())
    assert np.abs(forces[0] - forces[1]).max() > 1e-6


@pytest.mark.parametrize("edges", ["shared", "by_element"])
def test_edges_by_element_are_counted_from_the_touch_of_the_atoms(edges):
    """Two pairs of equal gap between their covalent spheres have equal energies, apart from the envelope."""
    torch.manual_seed(0)
    sizes = {"triplet_cutoff": 6.0, "envelope": None, "short_range": None}
    model = GNNFFConservative(["Li", "Cs"], 6.0, edges=edges, **sizes).double()
    with torch.no_grad():
        model.layers.embedding.weight[1] = model.layers.embedding.weight[0]
    energies = []
    for symbol, z in (("Li", 3), ("Cs", 55)):
        distance = 2.0 * float(covalent_radii[z]) + 0.5
        graph = graph_from_atoms(Atoms([symbol] * 2, [[0.0] * 3, [0.0, 0.0, distance]]), 6.0)
        energies.append(float(model(graph)["energies"].detach().sum()))
    assert energies[0] != 0.0
    assert (energies[0] == pytest.approx(energies[1], rel=1e-9)) == (edges == "by_element")


@pytest.mark.parametrize("edges", ["shared", "by_element"])
def test_the_first_update_of_nodes_by_element_tells_neighbors_apart(edges):
    """Before it, only the element of the center and the distance are known (the published edges)."""
    torch.manual_seed(0)
    model = GNNFFConservative(["Li", "Fe", "Ru"], 4.0, edges=edges).double()
    if model.sizes is not None:
        model.sizes.hundredths.fill_(150.0)
    first = []
    model.layers.node_updates[0].register_forward_hook(lambda _, given, found: first.append(found[0]))
    for other in ("Fe", "Ru"):
        model(graph_from_atoms(Atoms(["Li", other], [[0.0] * 3, [0.0, 0.0, 2.0]]), 4.0))
    differ = float((first[0] - first[1]).detach().abs().max())
    assert (differ > 1e-3) == (edges == "by_element")
