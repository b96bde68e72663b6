"""SchNet against PyTorch Geometric's layers with the same weights."""

import pytest
import torch
from ase.build import bulk

from gnnpot.data.graph import edge_vectors, graph_from_atoms
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
