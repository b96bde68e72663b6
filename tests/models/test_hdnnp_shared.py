"""HDNNP with functions of every center, and with one network for all elements: the contract, and what is special."""

import ase
import numpy as np
import pytest
import torch
from ase.data import covalent_radii

from gnnpot.data.graph import collate, graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.properties import derive
from gnnpot.models.store import load, save
from gnnpot.nn.moment_descriptors import MomentSet
from gnnpot.nn.radial import build_envelope
from tests.contract.conftest import energy_model, evaluate, model, own_model, rattled, trained_like  # noqa: F401
from tests.contract.test_charge import test_every_way_gives_the_same, training_frames  # noqa: F401
from tests.contract.test_derivatives import (  # noqa: F401
    test_forces_against_finite_differences,
    test_slope_is_zero_for_a_pair_at_the_cutoff,
    test_stress_against_finite_differences,
)
from tests.contract.test_interface import (  # noqa: F401
    test_arguments_are_attributes,
    test_batch_with_an_isolated_atom,
    test_every_parameter_gets_a_gradient,
    test_float32_agrees_with_float64,
    test_forward_leaves_the_graph_as_it_is,
    test_isolated_atom,
    test_one_atom_cell,
    test_save_and_load_bitwise,
)
from tests.contract.test_symmetries import test_permutation, test_rotation_and_reflection  # noqa: F401
from tests.models.test_hdnnp import by_automatic_differentiation

SHARED = {"descriptors": "moments", "network": "shared", "n_radial": 4, "n_angular": 2}


BY_ELEMENT = {**SHARED, "descriptors": "moments_by_element"}


@pytest.fixture(scope="module", params=[SHARED, {**SHARED, "network": "element"}, BY_ELEMENT], ids=str)
def shared_model(request):
    return trained_like("hdnnp", **request.param)


@pytest.fixture(scope="module")
def charged_model():
    return trained_like("hdnnp", frames=training_frames(), charge=True, **SHARED)


def many_elements(n_atoms=24):
    """A crystal of atoms of 24 elements."""
    rng = np.random.default_rng(0)
    numbers = np.linspace(1, 94, n_atoms).astype(int)
    cell = 3.0 * np.diag([2, 3, 4])
    grid = np.stack(np.meshgrid(range(2), range(3), range(4), indexing="ij"), axis=-1).reshape(-1, 3)
    return ase.Atoms(numbers, positions=3.0 * grid + 0.3 * rng.normal(size=(n_atoms, 3)), cell=cell, pbc=True)


def test_weights_learn_the_same_by_compiled_loops_and_by_automatic_differentiation():
    model = trained_like("hdnnp", **SHARED)  # noqa: F811
    graph = collate([graph_from_atoms(rattled(seed=k), 4.0) for k in range(2)])
    gradients = []
    for way in (lambda: derive(model, graph, ["energy", "forces", "stress"], differentiable=True),
                lambda: by_automatic_differentiation(model, graph, differentiable=True)):  # fmt: skip
        model.zero_grad()
        sum((value**2).sum() for value in way().values()).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9 * float(expected.abs().max()))


def test_the_card_does_not_grow_with_the_elements(tmp_path):
    sizes = []
    for elements in ([3, 8], sorted(set(many_elements().numbers.tolist()))):
        arguments = HDNNP.resolve(
            {**HDNNP(["Li"], 4.0).arguments(), **SHARED, "functions": None, "elements": elements}, []
        )
        model = HDNNP(**arguments)  # noqa: F811
        assert isinstance(model.descriptor_set, MomentSet)
        save(model, tmp_path / str(len(elements)))
        sizes.append(len((tmp_path / str(len(elements)) / "model.yaml").read_text().splitlines()))
    assert sizes[1] - sizes[0] < 3 * 24
    graph = graph_from_atoms(many_elements(), 4.0, dtype=torch.float32)
    assert torch.equal(load(tmp_path / "24")(graph)["energies"], model.eval()(graph)["energies"])


def test_by_element_bonds_of_large_and_of_small_atoms_lie_in_the_same_shells():
    model = HDNNP(["Li", "Cs"], 8.0, **BY_ELEMENT)  # noqa: F811
    first_shell = next(k for k, f in enumerate(model.descriptor_set.functions) if f.properties == ("one",))
    found = []
    for symbol, z in (("Li", 3), ("Cs", 55)):
        distance = 2.0 * float(covalent_radii[z]) + 0.1
        pair = ase.Atoms([symbol] * 2, [[0.0] * 3, [0.0, 0.0, distance]])
        envelope = float(build_envelope("polynomial", 8.0)(torch.tensor(distance)))
        found.append(float(model._constant_descriptors(graph_from_atoms(pair, 8.0))[0, first_shell]) / envelope)
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[0] > 0.1


def test_statistics_are_those_of_all_atoms_and_ranges_of_each_element():
    model = trained_like("hdnnp", **SHARED)  # noqa: F811
    scale = model.descriptor_scale
    assert torch.equal(scale.mean[0], scale.mean[1])
    assert torch.equal(scale.spread[0], scale.spread[1])
    assert not torch.equal(scale.lowest[0], scale.lowest[1])
    graphs = [graph_from_atoms(rattled((1, 1, 2), seed=k), 4.0) for k in range(4)]
    features = torch.cat([model.features(graph) for graph in graphs])
    assert float(features.mean(0).abs().max()) < 1.0


def test_elements_that_were_not_met_begin_as_their_relatives():
    torch.manual_seed(0)
    model = HDNNP(["Fe", "Co", "Cl"], 4.0, **SHARED).double().eval()  # noqa: F811
    atoms = ase.Atoms("Cl2", positions=[[0, 0, 0], [1.8, 0.3, 0]])
    energies = []
    for symbol in ("Fe", "Co", "Cl"):
        atoms.symbols[0] = symbol
        energies.append(float(model(graph_from_atoms(atoms, 4.0))["energies"][0].detach()))
    assert 0.0 < abs(energies[1] - energies[0]) < 0.5 * abs(energies[2] - energies[0])


def test_settings_that_do_not_go_together_are_named():
    for arguments, message in [
        ({"network": "shared"}, r"network=shared needs functions of every center: set model\.descriptors=moments"),
        ({"network": "sharde"}, "model.network='sharde' is unknown; .*shared"),
        ({**SHARED, "hidden": []}, r"hidden=\[\] with model\.network=shared"),
        ({**SHARED, "n_functions": 5}, "n_functions=5 chooses among the functions of each element"),
        (
            {"functions": ["M2 * one eta=1 shift=1 cutoff=4 cosine", "G2 Si Si eta=1 cutoff=4 cosine"]},
            "either kind alone",
        ),
        ({"functions": ["M2 * one eta=1 shift=1 cutoff=5 cosine"]}, r"reaches beyond model\.cutoff=4"),
    ]:
        with pytest.raises(ConfigError, match=message):
            HDNNP(["Si"], 4.0, **arguments)
