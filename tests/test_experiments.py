"""Published settings as experiments: they compose, and make the functions and networks that were published."""

from collections import Counter

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from gnnpot.config import compose, config_dir, group_entries
from gnnpot.data.graph import graph_from_atoms
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.properties import derive
from gnnpot.nn.layers import TwistedTanh

OURS = ("quick", "energy_only", "force_only", "mp_pretrain")
PUBLISHED = {
    "auli_2021": {"G2": 12, "G5": 54},
    "auli_energy_only": {"G2": 12, "G4": 54},
    "li3po4_2017": {"G2": 48, "G5": 108},
    "lgps_chebyshev": {"zT2": 50, "zT3": 30},
    "weighted_commercial": None,
    "crystal_phonons": None,
    "gan_charged_2022": None,
}
"""Functions of each element; None: the paper gives no number, only their kind, or the networks."""
ELEMENTS = {
    "auli_2021": ["Li", "Au"], "auli_energy_only": ["Li", "Au"], "li3po4_2017": ["Li", "O", "P"],
    "lgps_chebyshev": ["Li", "P", "S", "Ge"], "weighted_commercial": ["Li", "O", "P"], "crystal_phonons": ["Si"],
    "gan_charged_2022": ["N", "Ga"],
}  # fmt: skip
LAYERS = {
    "auli_2021": [66, 10, 10, 1],
    "auli_energy_only": [66, 10, 10, 1],
    "li3po4_2017": [156, 15, 15, 1],
    "lgps_chebyshev": [80, 40, 40, 1],
}


def disordered(symbols, seed):
    """A few dozen atoms, no two closer than about 1.7 Å; density and composition differ from frame to frame."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3) + rng.uniform(-0.15, 0.15, size=(27, 3))
    spacing = rng.uniform(2.6, 3.2)
    chosen = rng.permutation([*symbols, *rng.choice(symbols, 27 - len(symbols))]).tolist()
    atoms = Atoms(chosen, spacing * grid, cell=[3 * spacing] * 3, pbc=True, info={"charge": float(seed % 3)})
    atoms.calc = SinglePointCalculator(atoms, energy=-100.0 + rng.normal(), forces=rng.normal(size=(27, 3)))
    return atoms


def built(name):
    """The model of an experiment, made for a tiny data set as `gnnpot fit` does it, and the data."""
    settings = compose("fit", [f"experiment={name}"])
    assert settings["model"]["_target_"].endswith("HDNNP")
    arguments = {key: value for key, value in settings["model"].items() if key != "_target_"}
    graphs = [graph_from_atoms(disordered(ELEMENTS[name], seed), arguments["cutoff"]) for seed in range(6)]
    model = HDNNP(**HDNNP.resolve(arguments, graphs))
    model.learn_from(graphs)
    return settings, model, graphs


def test_every_experiment_is_ours_or_published():
    assert set(group_entries("experiment")) == {*OURS, *PUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_build_on_a_tiny_data_set(name):
    settings, model, graphs = built(name)
    assert settings["model"]["short_range"] is None
    assert [chemical_symbols[z] for z in model.elements] == ELEMENTS[name]
    counts = Counter(tuple(line.split()[:2]) for line in model.functions)
    for symbol in ELEMENTS[name] if PUBLISHED[name] else ():
        assert {kind: n for (kind, center), n in counts.items() if center == symbol} == PUBLISHED[name]
    if name in LAYERS:
        layers = [layer for layer in model.networks[ELEMENTS[name][0]] if hasattr(layer, "in_features")]
        assert [layers[0].in_features, *(layer.out_features for layer in layers)] == LAYERS[name]
    forces = derive(model.double(), graphs[0], ["forces"])["forces"]
    assert torch.isfinite(forces).all()
    assert forces.abs().max() > 0.0


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_say_whose_optimizer_they_have(name):
    settings = compose("fit", [f"experiment={name}"])
    assert settings["optimizer"] == compose("fit")["optimizer"]
    text = (config_dir() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    assert "# Trained with our default optimizer" in text


def test_energies_alone_have_two_body_functions_around_the_atom():
    settings, model, _ = built("auli_energy_only")
    weights = {label: settings["loss"][label]["weight"] for label in ("energy", "forces", "stress")}
    assert weights["energy"] > 0.0
    assert weights["forces"] == weights["stress"] == 0.0
    assert all(function.shift == 0.0 for function in model.descriptor_set.functions)


def test_functions_of_the_commercial_code():
    _, model, _ = built("lgps_chebyshev")
    assert model.cutoff == 6.0
    assert isinstance(model.networks["Li"][1], TwistedTanh)
    orders = {kind: {f.order for f in model.descriptor_set.functions if f.kind == kind} for kind in ("zT2", "zT3")}
    assert orders == {"zT2": set(range(50)), "zT3": set(range(30))}
    _, model, _ = built("weighted_commercial")
    weights = {f.kind: f.weight((3, 8)[: f.n_neighbors], (3, 8, 15)) for f in model.descriptor_set.functions}
    assert weights == {"wG2": pytest.approx(3.0), "zG4": pytest.approx(24.0**0.5)}


def test_one_kind_of_label_alone():
    weights = {name: compose("fit", [f"experiment={name}"])["loss"] for name in ("energy_only", "force_only")}
    assert weights["energy_only"]["forces"]["weight"] == weights["force_only"]["energy"]["weight"] == 0.0
    assert weights["energy_only"]["energy"]["weight"] == weights["force_only"]["forces"]["weight"] == 1.0


def test_pretraining_names_a_model_that_builds():
    """What the comment of mp_pretrain asks for an HDNNP."""
    text = (config_dir() / "experiment" / "mp_pretrain.yaml").read_text(encoding="utf-8")
    words = ["model=hdnnp", "model.descriptors=moments", "model.network=shared"]
    assert all(word in text for word in words)
    settings = compose("fit", ["experiment=mp_pretrain", *words])
    arguments = {key: value for key, value in settings["model"].items() if key != "_target_"}
    assert HDNNP(**{**arguments, "elements": ["Li", "O"], "cutoff": 5.0}).takes_new_elements
