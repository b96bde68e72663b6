"""Rates by depth, and old structures among new ones."""

import numpy as np
import pytest
import torch

from gnnpot.errors import ConfigError
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.potential import Potential
from gnnpot.models.response import ResponsePotential
from gnnpot.models.schnet import SchNet
from gnnpot.nn.adapters import add_adapters
from gnnpot.training.tuning import ReplayOrder, Tuning, batch_order, rated_groups

MODELS = {
    "schnet": (SchNet(["Na", "Cl"], 4.0, n_features=8, n_interactions=2, n_radial=6, charge=True), 4),
    "gnnff": (GNNFFConservative(["Na", "Cl"], 4.0, n_features=8, n_edge_features=6, n_interactions=2), 4),
    "hdnnp": (HDNNP(["Na", "Cl"], 4.0, n_radial=3, n_angular=1, hidden=[8, 8]), 3),
    "response": (
        ResponsePotential(
            {"_target_": "gnnpot.models.schnet.SchNet", "elements": ["Mg", "O"], "cutoff": 4.0, "n_interactions": 1},
            {
                "_target_": "gnnpot.models.born_tensor.BornTensorHead",
                "elements": [8, 12],
                "n_inputs": 64,
                "cutoff": 4.0,
            },
        ),
        4,
    ),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_rates_fall_from_the_output_to_the_input(name: str) -> None:
    potential, n_layers = MODELS[name]
    parameters = list(potential.parameters())
    groups = rated_groups(potential, parameters, 0.01, 0.5)
    assert [group["lr"] for group in groups] == pytest.approx([0.01 * 0.5**k for k in range(n_layers)])
    assert sum(len(group["params"]) for group in groups) == len(parameters)
    torch.optim.Adam(groups)
    (group,) = rated_groups(potential, parameters, 0.01, 1.0)
    assert group["lr"] == 0.01


def test_a_schnet_learns_slowest_in_its_embedding() -> None:
    potential = SchNet(["Na"], 4.0, n_features=8, n_interactions=2, n_radial=6)
    groups = rated_groups(potential, list(potential.parameters()), 1.0, 0.1)
    assert groups[-1]["params"] == [potential.embedding.weight]
    assert groups[-1]["lr"] == pytest.approx(1e-3)
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in potential.readout.parameters()}


def test_adapters_have_the_rates_of_their_layers() -> None:
    potential = SchNet(["Na"], 4.0, n_features=8, n_interactions=1, n_radial=6)
    add_adapters(potential, 2)
    trained = [p for p in potential.parameters() if p.requires_grad]
    rates = {id(p): group["lr"] for group in rated_groups(potential, trained, 1.0, 0.1) for p in group["params"]}
    for name, parameter in potential.named_parameters():
        if parameter.requires_grad:
            assert rates[id(parameter)] == pytest.approx(0.1 if name.startswith("interactions") else 1.0)


def test_a_layer_that_no_one_names_is_an_error() -> None:
    class Odd(Potential):
        def layer_names(self) -> list[tuple[str, ...]]:
            return [("first",)]

    odd = Odd(["Na"], 4.0)
    odd.second = torch.nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="does not say which layer second"):
        rated_groups(odd, list(odd.parameters()), 1.0, 0.5)


def test_batches_with_replay() -> None:
    replay = np.arange(10, 17)
    order = ReplayOrder(np.arange(10), 5, 3, None, replay, 0.5)
    for epoch in range(3):
        batches = order.batches(epoch)
        assert [len(batch) for batch in batches] == [10, 10]
        everything = np.concatenate(batches)
        assert sorted(everything[everything < 10].tolist()) == list(range(10))
        counts = np.bincount(everything[everything >= 10] - 10, minlength=7)
        assert counts.sum() == 10
        assert counts.min() == 1
    same = ReplayOrder(np.arange(10), 5, 3, None, replay, 0.5)
    assert [b.tolist() for b in same.batches(2)] == [b.tolist() for b in order.batches(2)]
    assert [b.tolist() for b in order.batches(1)] != [b.tolist() for b in order.batches(2)]


def test_replay_shares_the_size_of_a_batch() -> None:
    tuning = Tuning(1.0, np.arange(10, 17), 0.5)
    order = batch_order(np.arange(10), 4, 0, np.full(17, 5), tuning)
    assert [len(batch) for batch in order.batches(0)] == [4] * 5
    assert not isinstance(batch_order(np.arange(10), 4, 0, np.full(17, 5), Tuning()), ReplayOrder)


@pytest.mark.parametrize(
    ("decay", "share", "key"), [(0.0, 0.0, "layer_decay"), (2.0, 0.0, "layer_decay"), (1.0, 1.0, "replay.fraction")]
)
def test_what_makes_no_sense_is_refused(decay: float, share: float, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        Tuning(decay, np.arange(3), share)
