"""Published settings as experiments: they compose, and make the networks that were published."""

import pytest

from gnnpot.config import compose, group_entries
from gnnpot.models.hdnnp import HDNNP

OURS = ("quick", "energy_only", "force_only", "mp_pretrain")
PUBLISHED = [name for name in group_entries("experiment") if name not in OURS]


def hdnnp(name, elements):
    settings = compose("fit", [f"experiment={name}"])
    model = {key: value for key, value in settings["model"].items() if key != "_target_"}
    return HDNNP(**{**model, "elements": elements})


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_have_no_repulsion_of_ours(name):
    settings = compose("fit", [f"experiment={name}"])
    assert settings["model"]["_target_"].endswith("HDNNP")
    assert settings["model"]["short_range"] is None


@pytest.mark.parametrize(
    ("name", "elements", "sizes"),
    [
        ("auli_2021", ["Li", "Au"], [66, 10, 10, 1]),
        ("auli_energy_only", ["Li", "Au"], [66, 10, 10, 1]),
        ("li3po4_2017", ["Li", "P", "O"], [156, 15, 15, 1]),
    ],
)
def test_networks_as_published(name, elements, sizes):
    network = hdnnp(name, elements).networks[elements[0]]
    layers = [layer for layer in network if hasattr(layer, "in_features")]
    assert [layers[0].in_features, *(layer.out_features for layer in layers)] == sizes


def test_one_kind_of_label_alone():
    weights = {name: compose("fit", [f"experiment={name}"])["loss"] for name in ("energy_only", "force_only")}
    assert weights["energy_only"]["forces"]["weight"] == weights["force_only"]["energy"]["weight"] == 0.0
    assert weights["energy_only"]["energy"]["weight"] == weights["force_only"]["forces"]["weight"] == 1.0
