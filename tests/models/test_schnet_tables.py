"""SchNet's hand-written energies and forces against automatic differentiation of the same model."""

import copy
import time

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from gnnpot.data.graph import AtomicGraph, cast, collate, graph_from_atoms
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet

PROPERTIES = ("energy", "energies", "forces", "stress")


def example(dtype=torch.float64, **arguments) -> SchNet:
    """A model whose energies vary by eV and forces by eV/Å."""
    torch.manual_seed(0)
    model = SchNet(["Ga", "N"], **{"cutoff": 4.0, "n_features": 20, "n_radial": 12, **arguments}).double()
    with torch.no_grad():
        model.readout[2].weight *= 4.0
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.uniform_(-0.5, 0.5)
            weight *= 1.1
    model.energy_scale.reference_energies.copy_(torch.tensor([-3.0, -8.0]))
    model.energy_scale.scale.fill_(20.0)
    return model.to(dtype).eval()


def structures() -> dict[str, Atoms]:
    crystal = bulk("GaN", "wurtzite", a=3.2, c=5.2) * (2, 1, 1)
    crystal.rattle(0.1, seed=1)
    crystal.set_cell(crystal.cell.array @ (np.eye(3) + 0.05 * np.ones((3, 3))), scale_atoms=True)
    slab = crystal.copy()
    slab.set_cell(slab.cell.array * np.array([[1.0], [1.0], [3.0]]))
    slab.pbc = (True, True, False)
    pair = molecule("N2")
    return {
        "crystal": crystal,
        "own images": Atoms("GaN", positions=[[0, 0, 0], [1.5, 0.2, 0.1]], cell=2.6 * np.eye(3), pbc=True),
        "one atom": bulk("Ga", "fcc", a=4.0),
        "slab": slab,
        "molecule": pair,
        "isolated atom": Atoms("N", positions=[[1.0, 2.0, 3.0]]),
    }


def both_ways(model: SchNet, graph: AtomicGraph, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Properties by the fast path and by automatic differentiation."""
    assert model.can_use_edge_gradients(graph, differentiable=False)
    fast = derive(model, graph, PROPERTIES)
    with monkeypatch.context() as patch:
        patch.setattr(SchNet, "can_use_edge_gradients", lambda *_: False)
        return [fast, derive(model, graph, PROPERTIES)]


@pytest.mark.parametrize("kind", structures())
@pytest.mark.parametrize("filters", ["shared", "by_element"])
@pytest.mark.parametrize("envelope", ["polynomial", "cosine"])
def test_double_precision(kind, envelope, filters, monkeypatch):
    model = example(envelope=envelope, filters=filters)
    fast, plain = both_ways(model, graph_from_atoms(structures()[kind], 4.0), monkeypatch)
    for name in PROPERTIES:
        torch.testing.assert_close(fast[name], plain[name], rtol=1e-10, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("n_interactions", [1, 2, 3])
def test_batch_with_and_without_stored_pairs(n_interactions, monkeypatch):
    model = example(n_interactions=n_interactions)
    graphs = [graph_from_atoms(atoms, 4.0) for atoms in structures().values()]
    stored = collate([graph.replace(**model.precompute(graph)) for graph in graphs])
    for graph in (collate(graphs), stored):
        fast, plain = both_ways(model, graph, monkeypatch)
        for name in PROPERTIES:
            torch.testing.assert_close(fast[name], plain[name], rtol=1e-10, atol=1e-10, equal_nan=True)


def test_single_precision_against_double(monkeypatch):
    atoms = structures()["crystal"] * (2, 2, 2)
    graph = graph_from_atoms(atoms, 4.0)
    exact = both_ways(example(), graph, monkeypatch)[1]
    found = derive(example(torch.float32), cast(graph, torch.float32), PROPERTIES)
    forces = exact["forces"].numpy()
    assert np.abs(forces).max() > 0.3
    assert abs(float(found["energy"][0] - exact["energy"][0])) / len(atoms) < 1e-6
    np.testing.assert_allclose(found["forces"].numpy(), forces, atol=1e-5 * (1.0 + np.abs(forces).max()))


def test_edges_beyond_the_cutoff_change_nothing(monkeypatch):
    model, atoms = example(), structures()["crystal"]
    assert model.ignores_far_edges
    near, far = (derive(model, graph_from_atoms(atoms, cutoff), PROPERTIES) for cutoff in (4.0, 5.0))
    plainly = both_ways(model, graph_from_atoms(atoms, 5.0), monkeypatch)[1]
    for name in PROPERTIES:
        torch.testing.assert_close(far[name], near[name], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(plainly[name], near[name], rtol=1e-10, atol=1e-10)


def test_forces_have_no_kink_at_the_cutoff():
    model = example()
    distances = 4.0 + np.linspace(-2e-3, 2e-3, 41)
    pairs = [Atoms("GaN", positions=[[0, 0, 0], [0.9, 0.0, d]]) for d in np.sqrt(distances**2 - 0.81)]
    forces = np.array([derive(model, graph_from_atoms(p, 4.5), ["forces"])["forces"][1].numpy() for p in pairs])
    assert np.abs(np.diff(forces, n=2, axis=0)).max() < 1e-6
    assert np.abs(forces[20:]).max() == 0.0


def energy(model: SchNet, graph: AtomicGraph) -> float:
    return float(derive(model, graph, ["energy", "forces"])["energy"][0])


def optimizer_step(model: SchNet) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sum((weight**2).sum() for weight in model.parameters()).backward()
    optimizer.step()


def average_by_data(model: SchNet) -> None:
    for weight in model.parameters():
        weight.data.mul_(0.9)


def load_other_weights(model: SchNet) -> None:
    torch.manual_seed(1)
    model.load_state_dict(SchNet(**model.arguments()).double().state_dict())


def to_single_and_back(model: SchNet) -> None:
    model.float().double()


def exchange_a_layer(model: SchNet) -> None:
    model.interactions[1] = copy.deepcopy(model.interactions[0])


@pytest.mark.parametrize(
    "change", [optimizer_step, average_by_data, load_other_weights, to_single_and_back, exchange_a_layer]
)
def test_no_stale_tables(change):
    model, graph = example(), graph_from_atoms(structures()["crystal"], 4.0)
    before = energy(model, graph)
    change(model)
    after = energy(model, graph)
    assert after != before
    fresh = example()
    fresh.interactions = copy.deepcopy(model.interactions)
    fresh.load_state_dict(model.state_dict())
    assert after == energy(fresh, graph)


@pytest.mark.parametrize("change", [load_other_weights, to_single_and_back, exchange_a_layer])
def test_no_stale_tables_of_frozen_weights(change):
    model, graph = example().requires_grad_(False), graph_from_atoms(structures()["crystal"], 4.0)
    before = energy(model, graph)
    change(model)
    assert energy(model, graph) != before


def test_tables_are_kept_while_the_weights_are_and_not_copied():
    model, graph = example(), graph_from_atoms(structures()["crystal"], 4.0)
    before = energy(model, graph)
    tables = model._current_tables()
    assert model._current_tables() is tables
    other = copy.deepcopy(model)
    assert energy(other, graph) == before
    optimizer_step(other)
    assert energy(other, graph) != before
    assert model._current_tables() is tables


def test_training_goes_through_differentiation():
    model, graph = example(), graph_from_atoms(structures()["crystal"], 4.0)
    assert not model.can_use_edge_gradients(graph, differentiable=True)
    forces = derive(model, graph, ["forces"], differentiable=True)["forces"]
    (forces**2).sum().backward()
    assert all(weight.grad is not None for weight in model.interactions.parameters() if weight.requires_grad)


def test_is_faster_than_differentiation(monkeypatch):
    """A guard of the gain (measured: 4 times as fast), with room for a noisy machine."""
    model = SchNet(["Si"], cutoff=5.0).requires_grad_(False)
    graph = graph_from_atoms(bulk("Si", cubic=True) * 2, 5.0, torch.float32)
    graph = graph.replace(**model.precompute(graph))
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for fast in [True, False] * 8:
        with monkeypatch.context() as patch:
            if not fast:
                patch.setattr(SchNet, "can_use_edge_gradients", lambda *_: False)
            start = time.perf_counter()
            derive(model, graph, ["energy", "forces"])
            seconds[fast].append(time.perf_counter() - start)
    assert min(seconds[True]) < min(seconds[False]) / 1.8
