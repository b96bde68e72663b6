"""HDNNP: its ways to forces against each other, and its buffers; test_n2p2.py compares it with n2p2."""

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.data import atomic_numbers

from gnnpot.data.graph import cast, collate, graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.properties import derive
from gnnpot.models.store import load, save
from gnnpot.nn.descriptor_scaling import SMALLEST_SPREAD


def lithium_oxide(seed=0, repeat=(1, 1, 1)):
    rng = np.random.default_rng(seed)
    cell = 2.3 * (np.ones((3, 3)) - np.eye(3))
    atoms = ase.Atoms("Li2O", cell=cell, pbc=True, scaled_positions=[[0.25] * 3, [0.75] * 3, [0.0] * 3]) * repeat
    atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    return atoms


def small_model(seed=0, **arguments):
    torch.manual_seed(seed)
    settings = {"cutoff": 4.0, "n_radial": 4, "n_angular": 2, "hidden": [7, 5], **arguments}
    model = HDNNP(["Li", "O"], **settings).double()
    with torch.no_grad():
        for buffer in (model.descriptor_scale.mean, model.descriptor_scale.spread):
            buffer += torch.rand_like(buffer)
    return model.eval()


def by_automatic_differentiation(model, graph, **options):
    """Properties without the model's own edge gradients."""
    original = HDNNP.can_use_edge_gradients
    HDNNP.can_use_edge_gradients = lambda *_: False
    try:
        return derive(model, graph, ["energy", "forces", "stress"], **options)
    finally:
        HDNNP.can_use_edge_gradients = original


@pytest.mark.parametrize(
    "descriptors",
    ["pairwise", "weighted", "chebyshev", "weighted_root", "chebyshev_angle", ["pairwise", "narrow", "chebyshev"]],
    ids=str,
)
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("differentiable", [False, True])
def test_edge_gradients_equal_automatic_differentiation(stored, differentiable, descriptors):
    model = small_model(descriptors=descriptors)
    graph = collate([graph_from_atoms(lithium_oxide(seed), 4.0) for seed in range(2)])
    expected = by_automatic_differentiation(model, graph)
    if stored:
        graph = graph.replace(**model.precompute(graph))
    found = derive(model, graph, ["energy", "forces", "stress"], differentiable=differentiable)
    for name, value in expected.items():
        tolerance = 1e-6 if stored else 1e-10
        torch.testing.assert_close(found[name].detach(), value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("stored", [False, True])
def test_weight_gradients_equal_those_of_automatic_differentiation(stored):
    model = small_model()
    graph = graph_from_atoms(lithium_oxide(), 4.0)
    gradients = []
    for way in (derive, by_automatic_differentiation):
        model.zero_grad()
        if way is derive:
            source = graph.replace(**model.precompute(graph)) if stored else graph
            values = derive(model, source, ["energy", "forces", "stress"], differentiable=True)
        else:
            values = by_automatic_differentiation(model, graph, differentiable=True)
        sum((value**2).sum() for value in values.values()).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for found, expected in zip(*gradients, strict=True):
        tolerance = 1e-6 if stored else 1e-9
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def test_stored_descriptors_are_not_taken_for_moved_atoms():
    model = small_model()
    graph = graph_from_atoms(lithium_oxide(), 4.0)
    stored = graph.replace(**model.precompute(graph))
    expected = by_automatic_differentiation(model, graph)["forces"]
    torch.testing.assert_close(by_automatic_differentiation(model, stored)["forces"], expected)
    moving = stored.replace(positions=stored.positions.clone().requires_grad_(True))
    assert not model.can_use_edge_gradients(moving, False)
    assert model(moving)["energies"].requires_grad


def test_stored_derivatives_are_in_single_precision_and_half_empty_rows_are_not_stored():
    model = small_model()
    graph = graph_from_atoms(lithium_oxide(), 4.0)
    stored = model.precompute(graph)
    assert stored["descriptor_gradients"].dtype == torch.float32
    assert stored["descriptors"].shape == (3, model.descriptor_set.n_functions)
    assert stored["descriptor_gradients"].shape[2] < model.descriptor_set.n_functions


def test_learning_centers_and_scales_each_element():
    model = small_model()
    graphs = [graph_from_atoms(lithium_oxide(seed), 4.0) for seed in range(6)]
    graphs.append(graph_from_atoms(ase.Atoms("O"), 4.0))
    for graph in graphs:
        graph.energy[:] = -3.0
    model.learn_from(iter(graphs))
    features = model.features(collate(graphs[:6]))
    for t in range(2):
        rows = features[model.types(collate(graphs[:6])) == t]
        torch.testing.assert_close(rows.mean(0), torch.zeros_like(rows[0]), rtol=0, atol=1e-9)
        assert (rows.std(0) < 1.2).all()
    spread = model.descriptor_scale.spread
    assert (spread >= SMALLEST_SPREAD * spread.amax(1, keepdim=True) * 0.999).all()


def test_functions_that_never_vary_do_not_blow_up():
    model = small_model()
    perfect = bulk("Li", cubic=True)
    perfect.numbers[0] = 8
    graph = graph_from_atoms(perfect, 4.0)
    model.learn_from([graph, graph])
    assert torch.isfinite(model.features(graph)).all()
    assert (model.descriptor_scale.spread > 0).all()


def test_extrapolations_are_counted():
    model = small_model()
    graphs = [graph_from_atoms(lithium_oxide(seed), 4.0) for seed in range(4)]
    assert int(model.extrapolations(graphs[0]).sum()) == 0
    model.learn_from(graphs)
    assert all(int(model.extrapolations(graph).sum()) == 0 for graph in graphs)
    dense = lithium_oxide()
    dense.set_cell(0.8 * dense.cell.array, scale_atoms=True)
    counts = model.extrapolations(graph_from_atoms(dense, 4.0))
    assert counts.shape == (3,)
    assert (counts > 0).all()


def test_functions_are_generated_from_the_data_and_travel_as_lines():
    frames = [graph_from_atoms(lithium_oxide(seed), 4.0) for seed in range(2)]
    config = {"elements": None, "cutoff": 4.0, "functions": None, "n_radial": 5, "n_angular": 2, "envelope": "cosine"}
    arguments = HDNNP.resolve(config, frames)
    assert config["functions"] is None
    assert arguments["elements"] == [3, 8]
    assert all(isinstance(line, str) and line.endswith("cosine") for line in arguments["functions"])
    model = HDNNP(**arguments)
    assert model.arguments()["functions"] == arguments["functions"]
    assert HDNNP.resolve(model.arguments(), frames) == model.arguments()


def test_networks_are_wide_where_each_has_many_atoms_to_learn_from():
    functions = [f"G2 {pair} eta=1 shift=0 cutoff=4 cosine" for pair in ("Li O", "O Li")]
    config = {"elements": [3, 8], "cutoff": 4.0, "hidden": None, "functions": functions}
    assert HDNNP.resolve(config, [])["hidden"] == HDNNP.resolve(config, [], 149_999)["hidden"] == [60, 60]
    assert HDNNP.resolve(config, [], 150_000)["hidden"] == [100, 100]
    assert HDNNP.resolve(config | {"network": "shared"}, [], 75_000)["hidden"] == [100, 100]
    assert HDNNP.resolve(config | {"hidden": [7]}, [], 150_000)["hidden"] == [7]
    assert HDNNP(**config).hidden == (60, 60)


def test_mixtures_are_saved_as_they_were_asked_for(tmp_path):
    model = small_model(descriptors=["pairwise", "chebyshev"])
    assert {line.split()[0] for line in model.functions} == {"G2", "G5", "T2", "wT2", "T3", "wT3", "sT3"}
    again = load(save(model, tmp_path / "model"))
    assert again.arguments() == model.arguments()
    assert again.arguments()["descriptors"] == ["pairwise", "chebyshev"]


def test_moments_do_not_mix():
    with pytest.raises(ConfigError, match=r"descriptors=\[moments,weighted\]"):
        HDNNP(["Si"], cutoff=4.0, descriptors=["moments", "weighted"])


def test_functions_beyond_the_cutoff_are_refused():
    with pytest.raises(ConfigError, match=r"reaches beyond model.cutoff=4"):
        HDNNP(["Si"], cutoff=4.0, functions=["G2 Si Si eta=1 cutoff=5 cosine"])


@pytest.mark.parametrize("descriptors", ["pairwise", "chebyshev"])
def test_single_precision_matches_double(descriptors):
    model = small_model(descriptors=descriptors, n_radial=12)
    graph = graph_from_atoms(lithium_oxide(repeat=(2, 2, 1)), 4.0)
    exact = derive(model, graph, ["energy", "forces"])
    single = derive(model.float(), cast(graph, torch.float32), ["energy", "forces"])
    assert abs(float(single["energy"] - exact["energy"])) / graph.n_atoms < 1e-6
    largest = float(exact["forces"].abs().max())
    torch.testing.assert_close(single["forces"].double(), exact["forces"], rtol=0, atol=1e-5 * (1 + largest))


def test_isolated_atoms_have_their_reference_energies():
    model = small_model()
    model.energy_scale.reference_energies.copy_(torch.tensor([-1.5, -2.5]))
    atoms = collate([graph_from_atoms(ase.Atoms(symbol), 4.0) for symbol in ("Li", "O")])
    values = derive(model, atoms, ["energy", "forces"])
    assert values["energy"].tolist() == [-1.5, -2.5]
    assert not values["forces"].any()


def test_elements_of_the_networks_have_names():
    names = {name.split(".")[1] for name, _ in small_model().named_parameters()}
    assert names == {"Li", "O"}
    assert all(symbol in atomic_numbers for symbol in names)


def test_plain_descriptors_serve_accelerators():
    """The meta device stands for any device without compiled loops: it must not be asked for edge gradients."""
    model = small_model()
    graph = graph_from_atoms(lithium_oxide(), 4.0)
    elsewhere = graph.replace(positions=graph.positions.to("meta"))
    assert not model.can_use_edge_gradients(elsewhere, False)
