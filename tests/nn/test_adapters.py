"""Low-rank adapters: nothing at the start, an ordinary layer in the end."""

import copy

import pytest
import torch
from ase.build import bulk
from torch.nn.utils import parametrize

from gnnpot.data.graph import graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet
from gnnpot.nn.adapters import add_adapters, merge_adapters

MODELS = {
    "schnet": lambda: SchNet(["Na", "Cl"], 4.0, n_features=8, n_interactions=2, n_radial=6),
    "gnnff": lambda: GNNFFConservative(["Na", "Cl"], 4.0, n_features=8, n_edge_features=6, n_interactions=1),
    "hdnnp": lambda: HDNNP(["Na", "Cl"], 4.0, n_radial=3, n_angular=1, hidden=[8, 8]),
}


@pytest.fixture(params=sorted(MODELS))
def potential(request: pytest.FixtureRequest) -> Potential:
    torch.manual_seed(1)
    model: Potential = MODELS[request.param]()
    return model.double()


def given(potential: Potential) -> dict[str, torch.Tensor]:
    atoms = bulk("NaCl", "rocksalt", a=5.2)
    atoms.rattle(0.2, seed=1)
    return derive(potential, graph_from_atoms(atoms, potential.cutoff), ["energy", "forces", "stress"])


def test_adapters_change_nothing_at_first_and_merge_into_an_ordinary_model(potential: Potential) -> None:
    plain = copy.deepcopy(potential)
    before = given(potential)
    assert add_adapters(potential, 2) > 0
    for name, value in given(potential).items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-12)
    with torch.no_grad():
        for name, parameter in potential.named_parameters():
            is_small = name.endswith("weight") and "embedding" not in name and min(parameter.shape) <= 2
            assert parameter.requires_grad == (name.endswith(("inward", "outward")) or is_small)
            if name.endswith("outward"):
                parameter.normal_()
    adapted = given(potential)
    assert float((adapted["forces"] - before["forces"]).abs().max()) > 1e-6
    merge_adapters(potential)
    assert potential.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(potential.state_dict())
    for model in (potential, plain):
        for name, value in given(model).items():
            torch.testing.assert_close(value, adapted[name], rtol=0, atol=1e-10)


def test_frozen_layers_get_no_adapter() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    layers[0].weight.requires_grad_(False)
    assert add_adapters(layers, 2) == 1
    assert not parametrize.is_parametrized(layers[0])
    with pytest.raises(ConfigError, match="freeze leaves no linear layer"):
        add_adapters(layers[:1], 2)


def test_a_rank_is_positive() -> None:
    with pytest.raises(ConfigError, match="adapter_rank=0"):
        add_adapters(torch.nn.Linear(8, 8), 0)
