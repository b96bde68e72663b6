"""Energy and forces in a field from one pass of backbone and head, against automatic differentiation of both."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms

from gnnpot.data.graph import cast, collate, graph_from_atoms
from gnnpot.data.triplets import undirected_pairs
from gnnpot.models.properties import derive
from gnnpot.models.response import ResponsePotential
from tests.contract.conftest import rattled, structures
from tests.contract.test_heads import with_head

FIELD = torch.tensor([0.11, -0.07, 0.16], dtype=torch.float64)
BACKBONES = ("schnet", "hdnnp", "gnnff_conservative")
HEADS = ("polarization", "born_tensor")
NAMES = {"polarization": ("energy", "forces", "polarization"), "born_tensor": ("energy", "forces")}


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request):
    return request.param


@pytest.fixture(scope="module", params=HEADS)
def head(request):
    return request.param


@pytest.fixture(scope="module")
def model(backbone, head):
    """Energies vary by eV and forces by eV/Å; no bias is zero."""
    found = with_head(backbone, head)
    found.backbone.energy_scale.scale.fill_(10.0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in found.head.named_parameters():
            if name.endswith("bias"):
                weight += 0.3 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return found


def plainly(model, graph, names, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ResponsePotential, "in_field", lambda *_: None)
        return derive(model, graph, names, field=FIELD)


def test_double_precision(model, head, monkeypatch):
    frames = [*structures().values(), rattled((2, 1, 1), seed=3), Atoms("O", positions=[[1.0, 2.0, 3.0]])]
    graph = collate([graph_from_atoms(atoms, model.cutoff) for atoms in frames])
    assert model.in_field(graph, FIELD.expand(graph.n_structures, 3)) is not None
    fast = derive(model, graph, NAMES[head], field=FIELD)
    plain = plainly(model, graph, NAMES[head], monkeypatch)
    for name in NAMES[head]:
        torch.testing.assert_close(fast[name], plain[name], rtol=1e-10, atol=1e-10)


def test_single_precision_against_double(model, monkeypatch):
    atoms = rattled((2, 2, 2), seed=4)
    graph = graph_from_atoms(atoms, model.cutoff)
    exact = plainly(model, graph, ("energy", "forces"), monkeypatch)
    found = derive(copy.deepcopy(model).float(), cast(graph, torch.float32), ("energy", "forces"), field=FIELD.float())
    forces = exact["forces"].numpy()
    assert np.abs(forces).max() > 0.3
    assert abs(float(found["energy"][0] - exact["energy"][0])) / len(atoms) < 1e-6
    np.testing.assert_allclose(found["forces"].numpy(), forces, atol=1e-5 * (1.0 + np.abs(forces).max()))


def test_edges_beyond_the_cutoff_and_stored_pairs_change_nothing(model, head):
    atoms = rattled((2, 1, 1), seed=5)
    near, far = (graph_from_atoms(atoms, model.cutoff + beyond) for beyond in (0.0, 0.7))
    expected = derive(model, near, NAMES[head], field=FIELD)
    graphs = [near.replace(edge_of_pair=undirected_pairs(near)[1])]
    graphs += [far, far.replace(edge_of_pair=undirected_pairs(far)[1])] if model.ignores_far_edges else []
    for graph in graphs:
        for name, value in derive(model, graph, NAMES[head], field=FIELD).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("of", ["backbone", "head"])
def test_forces_have_no_kink_at_the_cutoff(model, of):
    distances = model.get_submodule(of).cutoff + np.linspace(-2e-3, 2e-3, 41)
    forces = []
    for x in np.sqrt(distances**2 - 0.81):
        atoms = Atoms("LiO", positions=[[0, 0, 0], [0.9, 0.0, x]])
        graph = graph_from_atoms(atoms, model.cutoff + (0.5 if model.ignores_far_edges else 0.0))
        forces.append(derive(model, graph, ["forces"], field=FIELD)["forces"][1].numpy())
    assert np.abs(np.diff(forces, n=2, axis=0)).max() < 1e-6


@pytest.mark.parametrize("train", [True, False])
def test_no_stale_weights(model, train):
    own = copy.deepcopy(model).requires_grad_(train)
    graph = graph_from_atoms(rattled((2, 1, 1), seed=6), model.cutoff)
    before = derive(own, graph, ["forces"], field=FIELD)["forces"]
    with torch.no_grad():
        own.head.moments.of_distance.weight *= 1.1
    after = derive(own, graph, ["forces"], field=FIELD)["forces"]
    assert (after - before).abs().max() > 1e-4
    fresh = copy.deepcopy(model)
    fresh.load_state_dict(own.state_dict())
    assert torch.equal(derive(fresh, graph, ["forces"], field=FIELD)["forces"], after)
