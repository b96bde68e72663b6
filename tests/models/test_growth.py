"""Trained models made fit for more: what they knew stays."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from gnnpot.data.graph import AtomicGraph, graph_from_atoms
from gnnpot.errors import ConfigError, UnknownElementError
from gnnpot.models.gnnff import GNNFF
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.growth import untrained, with_charge, with_elements
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet

SMALL = {
    "schnet": lambda: SchNet(["O", "Fe"], 4.0, n_features=8, n_interactions=1, n_radial=6),
    "gnnff": lambda: GNNFFConservative(["O", "Fe"], 4.0, n_features=8, n_edge_features=6, n_interactions=1),
    "hdnnp": lambda: HDNNP(["O", "Fe"], 4.0, n_radial=3, n_angular=1, hidden=[6]),
}


def structure(symbols: str = "FeO", charge: float | None = None) -> AtomicGraph:
    atoms: Atoms = bulk(symbols, "rocksalt", a=4.3)
    atoms.rattle(0.1, seed=2)
    if charge is not None:
        atoms.info["charge"] = charge
    return graph_from_atoms(atoms, 4.0)


def made(name: str) -> Potential:
    torch.manual_seed(3)
    model: Potential = SMALL[name]()
    model = model.double()
    model.energy_scale.reference_energies.copy_(torch.tensor([-1.0, -2.0]))
    return model


@pytest.mark.parametrize("name", ["schnet", "gnnff"])
def test_a_new_element_begins_as_its_kin_and_changes_nothing_else(name: str) -> None:
    potential = made(name)
    grown = with_elements(potential, [26, 44])
    assert grown.elements == (8, 26, 44)
    for key in ("energy", "forces", "stress"):
        expected, found = (derive(model, structure(), [key])[key] for model in (potential, grown))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    energies = [float(derive(grown, structure(s), ["energy"])["energy"]) for s in ("FeO", "RuO")]
    assert energies[0] == pytest.approx(energies[1], abs=1e-12)
    assert with_elements(potential, [8]) is potential


BY_ELEMENT = {
    "schnet": lambda: SchNet(["O", "Fe"], 4.0, n_features=8, n_interactions=1, n_radial=6, filters="by_element"),
    "gnnff": lambda: GNNFFConservative(["O", "Fe"], 4.0, n_features=8, n_edge_features=6, edges="by_element"),
}


@pytest.mark.parametrize("name", BY_ELEMENT)
def test_a_new_element_of_layers_by_element_has_its_own_size(name: str) -> None:
    potential = BY_ELEMENT[name]().double()
    grown = with_elements(potential, [26, 44])
    for key in ("energy", "forces", "stress"):
        expected, found = (derive(model, structure(), [key])[key] for model in (potential, grown))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    energies = [float(derive(grown, structure(s), ["energy"])["energy"]) for s in ("FeO", "RuO")]
    assert abs(energies[0] - energies[1]) > 1e-6


def test_outer_radii_of_new_pairs_are_those_of_unseen_ones() -> None:
    potential = made("schnet")
    potential.repulsion.outer_radii.fill_(0.5)
    radii = with_elements(potential, [44]).repulsion.outer_radii
    assert float(radii[:2, :2].max()) == 0.5
    assert float(radii[2].min()) > 1.0


def test_functions_of_every_center_take_new_elements() -> None:
    shared = {"descriptors": "moments", "network": "shared", "n_radial": 2, "n_angular": 1, "hidden": [4]}
    potential = HDNNP(["O", "Fe"], 4.0, **shared).double()
    grown = with_elements(potential, [44])
    expected, found = (derive(model, structure(), ["forces"])["forces"] for model in (potential, grown))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert untrained(grown, [8, 44])["functions"] == list(potential.functions)


def test_symmetry_functions_refuse_new_elements_by_name() -> None:
    with pytest.raises(UnknownElementError, match=r"Ru: this HDNNP knows O, Fe.*SchNet or GNNFF"):
        with_elements(made("hdnnp"), [44])


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_charge_changes_nothing_before_it_is_learned(name: str) -> None:
    potential = made(name)
    charged = with_charge(potential)
    assert charged.takes_charge
    expected = derive(potential, structure(), ["energy", "forces", "stress"])
    for charge in (0.0, 2.0):
        found = derive(charged, structure(charge=charge), ["energy", "forces", "stress"])
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-12)


def test_a_model_with_a_head_takes_no_charge_in_addition() -> None:
    from gnnpot.models.response import ResponsePotential

    backbone = {"_target_": "gnnpot.models.schnet.SchNet", "elements": ["Mg", "O"], "cutoff": 4.0}
    sizes = {"elements": [8, 12], "n_inputs": 64, "cutoff": 4.0}
    head = {"_target_": "gnnpot.models.born_tensor.BornTensorHead", **sizes}
    with pytest.raises(ConfigError, match="cannot take a charge"):
        with_charge(ResponsePotential(backbone, head))


def test_an_untrained_model_of_the_same_make() -> None:
    described = untrained(made("hdnnp"), [8])
    assert described["elements"] == [8]
    assert described["functions"]
    assert not [line for line in described["functions"] if "Fe" in line]
    assert untrained(GNNFF(["O", "Fe"], cutoff=3.5), [26])["cutoff"] == 3.5
