"""What every model offers to the code around it."""

import inspect

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from gnnpot.config import check_class
from gnnpot.data.graph import FIELDS, cast, collate, graph_from_atoms
from gnnpot.errors import PropertyNotAvailableError, UnknownElementError
from gnnpot.models.prediction import predict
from gnnpot.models.properties import derive
from gnnpot.models.store import load, save
from tests.contract.conftest import (
    graph_of,
    labelled,
    main_properties,
    model_config,
    rattled,
    structures,
    trained_like,
)


def test_yaml_is_the_signature(model_name):
    config = model_config(model_name)
    parameters = inspect.signature(check_class(config.pop("_target_"), ["gnnpot.models"])).parameters
    defaults = {name: list(p.default) if isinstance(p.default, tuple) else p.default for name, p in parameters.items()}
    assert config == defaults


def test_yaml_explains_its_keys(model_name):
    from gnnpot.config import config_dir

    lines = (config_dir() / "model" / f"{model_name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")


def test_arguments_are_attributes(model):
    rebuilt = type(model)(**model.arguments())
    assert rebuilt.arguments() == model.arguments()


def test_outputs_and_shapes(model):
    graphs = [graph_of(model, rattled(seed=1)), graph_of(model, rattled((2, 1, 1), seed=2))]
    batch = collate(graphs)
    assert model.outputs in ({"energies"}, {"forces"})
    with torch.no_grad():
        outputs = model(batch)
    assert outputs.keys() == model.outputs
    shape = (batch.n_atoms,) if "energies" in outputs else (batch.n_atoms, 3)
    assert outputs[next(iter(outputs))].shape == shape
    with torch.no_grad():
        assert model.features(batch).shape[0] == batch.n_atoms


def test_features_and_outputs_are_those_of_each_alone(model):
    graph = graph_of(model, rattled((2, 1, 1), seed=3))
    with torch.no_grad():
        features, outputs = model.features_and_outputs(graph)
        torch.testing.assert_close(features, model.features(graph), rtol=0, atol=0)
        for name, value in model(graph).items():
            torch.testing.assert_close(outputs[name], value, rtol=0, atol=0)


def test_forward_leaves_the_graph_as_it_is(model):
    graph = graph_of(model, rattled())
    before = {name: getattr(graph, name).clone() for name in FIELDS if graph.has(name)}
    derive(model, graph, main_properties(model))
    assert {name for name in FIELDS if graph.has(name)} == before.keys()
    for name, value in before.items():
        torch.testing.assert_close(getattr(graph, name), value, rtol=0, atol=0, equal_nan=True)
    assert not graph.positions.requires_grad


@pytest.mark.parametrize("precomputed", [False, True])
def test_batch_equals_singles(model, precomputed):
    graphs = [graph_of(model, atoms) for atoms in structures().values()]
    if precomputed:
        graphs = [graph.replace(**model.precompute(graph)) for graph in graphs]
    together = derive(model, collate(graphs), main_properties(model))
    alone = [derive(model, graph, main_properties(model)) for graph in graphs]
    for name, value in together.items():
        expected = torch.cat([single[name] for single in alone])
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-10, equal_nan=True)


def test_precomputed_fields_change_nothing(model):
    graph = graph_of(model, rattled((2, 1, 1)))
    filled = graph.replace(**model.precompute(graph))
    plain = derive(model, graph, main_properties(model))
    cached = derive(model, filled, main_properties(model))
    trained = derive(model, filled, main_properties(model), differentiable=True)
    for name, value in plain.items():
        tolerance = {"rtol": 2e-5, "atol": 2e-5} if graph.n_edges else {}
        torch.testing.assert_close(cached[name], value, **tolerance)
        torch.testing.assert_close(trained[name].detach(), value, **tolerance)


def test_isolated_atom(model):
    atom = Atoms("Li", positions=[[1.0, 2.0, 3.0]])
    values = derive(model, graph_of(model, atom), [n for n in main_properties(model) if n != "stress"])
    torch.testing.assert_close(values["forces"], torch.zeros(1, 3, dtype=torch.float64))
    if "energy" in values:
        torch.testing.assert_close(values["energy"], model.energy_scale.reference_energies[:1])


def test_one_atom_cell(model):
    values = derive(model, graph_of(model, bulk("Li")), main_properties(model))
    torch.testing.assert_close(values["forces"], torch.zeros(1, 3, dtype=torch.float64), rtol=0, atol=1e-9)


def test_batch_with_an_isolated_atom(model):
    graphs = [graph_of(model, Atoms("O")), graph_of(model, rattled())]
    values = derive(model, collate(graphs), ["forces"])["forces"]
    torch.testing.assert_close(values[1:], derive(model, graphs[1], ["forces"])["forces"])


def test_float32_agrees_with_float64(own_model):
    graph = graph_of(own_model, rattled((2, 1, 1)))
    exact = derive(own_model, graph, main_properties(own_model))
    single = derive(own_model.float(), cast(graph, torch.float32), main_properties(own_model))
    for name, value in exact.items():
        expected_type = torch.float64 if name == "energy" else torch.float32
        assert single[name].dtype == expected_type
        torch.testing.assert_close(single[name].double(), value, rtol=1e-4, atol=1e-4)


def test_reference_energies_survive_a_cast(own_model):
    if not hasattr(own_model, "energy_scale"):
        pytest.skip("no energies")
    value = torch.tensor([-1234567.123456789, -7654321.987654321], dtype=torch.float64)
    own_model.energy_scale.reference_energies.copy_(value)
    own_model.float().double()
    assert torch.equal(own_model.energy_scale.reference_energies, value)


def test_save_and_load_bitwise(model, tmp_path):
    save(model, tmp_path / "model", {"trained_on": "nothing"})
    loaded = load(tmp_path / "model")
    assert loaded.arguments() == model.arguments()
    graph = graph_of(model, rattled())
    for name, value in derive(model, graph, main_properties(model)).items():
        assert torch.equal(derive(loaded, graph, main_properties(model))[name], value)


def test_every_parameter_gets_a_gradient(own_model):
    """Also when an element is absent from the batch, as distributed training needs."""
    graph = graph_of(own_model, bulk("Li", cubic=True))
    graph = graph.replace(positions=graph.positions + 0.1 * torch.randn_like(graph.positions))
    mixed = collate([graph, graph_of(own_model, rattled())])
    for batch in (mixed, graph):
        own_model.zero_grad()
        values = derive(own_model, batch, main_properties(own_model), differentiable=True)
        loss = sum((value**2).sum() for name, value in values.items())
        loss.backward()
        missing = [name for name, p in own_model.named_parameters() if p.grad is None]
        assert not missing
    own_model.zero_grad()
    values = derive(own_model, mixed, main_properties(own_model), differentiable=True)
    sum((value**2).sum() for value in values.values()).backward()
    zero = [name for name, p in own_model.named_parameters() if not p.grad.abs().sum() > 0]
    assert not zero


def test_overfits_four_structures(model_name):
    """Optimizing the forces of four structures brings their error down by far."""
    model = trained_like(model_name)
    frames = [labelled(rattled(seed=k), k) for k in range(4)]
    rng = np.random.default_rng(0)
    for atoms in frames:
        forces = rng.normal(size=(len(atoms), 3))
        atoms.calc.results["forces"] = forces - forces.mean(0)
    graphs = [graph_from_atoms(atoms, model.cutoff) for atoms in frames]
    model.learn_from([*graphs, graph_from_atoms(labelled(bulk("Li", cubic=True), 9), model.cutoff)])
    batch = collate([graph.replace(**model.precompute(graph)) for graph in graphs])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(300):
        forces = derive(model, batch, ["forces"], differentiable=True)["forces"]
        loss = ((forces - batch.forces) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_unknown_element_is_refused_by_name(model):
    stranger = Atoms("Xe", info={"source": "mine.xyz", "frame": 7})
    with pytest.raises(UnknownElementError, match=r"mine\.xyz, frame 7: Xe.*knows Li, O"):
        predict(model, [rattled(), stranger], ["forces"])


def test_unavailable_property_names_the_models_that_have_it(model):
    with pytest.raises(PropertyNotAvailableError, match="response head"):
        derive(model, graph_of(model, rattled()), ["born_effective_charges"])
    if "energies" not in model.outputs:
        with pytest.raises(PropertyNotAvailableError, match="schnet"):
            derive(model, graph_of(model, rattled()), ["energy"])


@pytest.mark.parametrize("n_edges", [1, 150])
def test_batches_by_edges_change_nothing(model, n_edges, monkeypatch):
    frames = [rattled((2, 1, 1), seed=1), structures()["molecule"], rattled(seed=2), structures()["molecule"]]
    whole = predict(model, frames, ["forces"])
    monkeypatch.setattr("gnnpot.models.prediction.EVALUATION_EDGES", n_edges)
    done: list[int] = []
    parts = predict(model, frames, ["forces"], progress=done.append)
    assert done[-1] == 4
    assert len(done) == 4 if n_edges == 1 else len(done) > 1
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one["forces"], other["forces"], rtol=1e-9, atol=1e-10)


def test_prediction_keeps_the_order_of_the_frames(model):
    frames = [rattled((2, 1, 1), seed=1), rattled(seed=2), structures()["molecule"]]
    together = predict(model, frames, batch_size=2)
    for atoms, prediction in zip(frames, together, strict=True):
        assert prediction["forces"].shape == (len(atoms), 3)
        (alone,) = predict(model, [atoms])
        np.testing.assert_allclose(prediction["forces"], alone["forces"], rtol=1e-9, atol=1e-10)
