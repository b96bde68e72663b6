"""SchNet against PyTorch Geometric's layers with the same weights."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from gnnpot.data.graph import edge_vectors, graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.models.schnet import SchNet


@pytest.fixture
def oracle():
    return pytest.importorskip("torch_geometric.nn.models.schnet", exc_type=ImportError)


def test_features_against_the_layers_of_pytorch_geometric(oracle):
    torch.manual_seed(0)
    sizes = {"n_features": 12, "n_radial": 9, "gaussian_width": 1.0, "n_interactions": 2}
    ours = SchNet(["Ga", "N"], cutoff=4.5, envelope="cosine", **sizes).double()
    atoms = bulk("GaN", "wurtzite", a=3.2, c=5.2)
    atoms.rattle(0.1, seed=1)
    graph = graph_from_atoms(atoms, 4.5)
    flipped = graph.edge_index.flip(0)
    distances = edge_vectors(graph).norm(dim=1)
    basis = oracle.GaussianSmearing(0.0, 4.5, 9).double()(distances)
    x = ours.embedding(ours.types(graph))
    for block in ours.interactions:
        theirs = oracle.InteractionBlock(12, 9, 12, 4.5).double()
        theirs.mlp.load_state_dict(block.filter.state_dict())
        theirs.conv.lin1.load_state_dict(block.inward.state_dict())
        theirs.conv.lin2.load_state_dict(block.outward[0].state_dict())
        theirs.lin.load_state_dict(block.outward[2].state_dict())
        x = x + theirs(x, flipped, distances, basis)
    torch.testing.assert_close(ours.features(graph), x, rtol=1e-6, atol=1e-7)


def test_size_of_the_default_model():
    assert SchNet(["Si"]).n_parameters < 60_000


def test_filters_by_element_are_counted_from_the_touch_of_the_atoms():
    """Two pairs of equal gap between their covalent spheres have equal filters, apart from the envelope."""
    torch.manual_seed(0)
    model = SchNet(["Li", "Cs"], cutoff=6.0, filters="by_element", n_interactions=1, short_range=None).double()
    with torch.no_grad():
        model.embedding.weight[1] = model.embedding.weight[0]
    interaction = model.interactions[0]
    sums = []
    for symbol, z in (("Li", 3), ("Cs", 55)):
        distance = 2.0 * float(covalent_radii[z]) + 0.5
        graph = graph_from_atoms(Atoms([symbol] * 2, [[0.0] * 3, [0.0, 0.0, distance]]), 6.0)
        inside = []
        hook = interaction.outward.register_forward_pre_hook(lambda _, given, kept=inside: kept.append(given[0][0]))
        model(graph)
        hook.remove()
        sums.append(inside[0] / model.cutoff_function(torch.tensor(distance, dtype=torch.float64)))
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-10, atol=1e-12)
    assert float(sums[0].detach().abs().max()) > 0.01


def test_filters_by_element_know_the_element_of_the_center():
    torch.manual_seed(0)
    model = SchNet(["Ga", "N"], cutoff=4.0, filters="by_element", n_interactions=1).double()
    graph = graph_from_atoms(Atoms("GaN", [[0.0] * 3, [0.0, 0.0, 2.0]]), 4.0)
    seen = []
    model.interactions[0].outward.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(graph)
    embeddings = model.embedding(model.types(graph))
    filtered = seen[0][:2] / model.interactions[0].of_centers(embeddings)
    values = model.interactions[0].inward(embeddings)
    torch.testing.assert_close(filtered[0] / values[1], filtered[1] / values[0], rtol=1e-9, atol=1e-12)


def test_unknown_filters_are_refused():
    with pytest.raises(ConfigError, match=r"model\.filters='by_elements' is unknown; did you mean 'by_element'\?"):
        SchNet(["Si"], filters="by_elements")
