"""The conservative GNNFF's hand-written energies and forces against automatic differentiation of the same model."""

import copy
import time

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from gnnpot.data.graph import AtomicGraph, cast, collate, graph_from_atoms
from gnnpot.models import gnnff_conservative
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.properties import derive
from gnnpot.nn.angular import HIGHEST_DEGREE, SphericalHarmonics
from gnnpot.nn.gate_kernels import write_tanh
from gnnpot.nn.gnnff_neighborhoods import write_harmonics

PROPERTIES = ("energy", "energies", "forces", "stress")


def example(dtype=torch.float64, **arguments) -> GNNFFConservative:
    """A model whose energies vary by eV and forces by eV/Å."""
    torch.manual_seed(0)
    sizes = {"cutoff": 4.0, "triplet_cutoff": 3.3, "n_features": 10, "n_edge_features": 7}
    model = GNNFFConservative(["Ga", "N"], **{**sizes, **arguments}).double()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.uniform_(-0.5, 0.5)
    model.layers.message_scale.fill_(0.3)
    model.layers.triplet_scale.fill_(0.5)
    model.energy_scale.reference_energies.copy_(torch.tensor([-3.0, -8.0]))
    model.energy_scale.scale.fill_(5.0)
    return model.to(dtype).eval()


def structures() -> dict[str, Atoms]:
    crystal = bulk("GaN", "wurtzite", a=3.2, c=5.2) * (2, 1, 1)
    crystal.rattle(0.1, seed=1)
    crystal.set_cell(crystal.cell.array @ (np.eye(3) + 0.05 * np.ones((3, 3))), scale_atoms=True)
    slab = crystal.copy()
    slab.set_cell(slab.cell.array * np.array([[1.0], [1.0], [3.0]]))
    slab.pbc = (True, True, False)
    slab.positions[3, 2] += 9.0  # an atom without neighbors among others
    return {
        "crystal": crystal,
        "own images": Atoms("GaN", positions=[[0, 0, 0], [1.5, 0.2, 0.1]], cell=2.6 * np.eye(3), pbc=True),
        "one atom": bulk("Ga", "fcc", a=4.0),
        "slab": slab,
        "molecule": molecule("N2"),
        "far pair": Atoms("GaN", positions=[[0, 0, 0], [0, 0, 3.8]]),
        "isolated atom": Atoms("N", positions=[[1.0, 2.0, 3.0]]),
    }


def both_ways(
    model: GNNFFConservative, graph: AtomicGraph, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, torch.Tensor]]:
    """Properties by the fast path and by automatic differentiation."""
    assert model.can_use_edge_gradients(graph, differentiable=False)
    fast = derive(model, graph, PROPERTIES)
    with monkeypatch.context() as patch:
        patch.setattr(GNNFFConservative, "can_use_edge_gradients", lambda *_: False)
        return [fast, derive(model, graph, PROPERTIES)]


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    for name in PROPERTIES:
        torch.testing.assert_close(left[name], right[name], rtol=1e-10, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("edges", ["shared", "by_element"])
@pytest.mark.parametrize("kind", structures())
def test_double_precision(kind, edges, monkeypatch):
    graph = graph_from_atoms(structures()[kind], 4.0)
    fast, plain = both_ways(example(edges=edges), graph, monkeypatch)
    assert kind in ("one atom", "isolated atom") or plain["forces"].abs().max() > 0.01
    assert_same(fast, plain)


@pytest.mark.parametrize(
    "arguments",
    [
        {"l_max": 0},
        {"l_max": 1, "n_interactions": 1},
        {"l_max": 3, "n_interactions": 3},
        {"envelope": "cosine"},
        {"envelope": None},
        {"triplet_cutoff": 9.0, "n_features": 5, "n_edge_features": 9},
    ],
    ids=str,
)
def test_options_on_a_batch(arguments, monkeypatch):
    model = example(**arguments)
    graphs = [graph_from_atoms(atoms, 4.0) for atoms in structures().values()]
    stored = collate([graph.replace(**model.precompute(graph)) for graph in graphs])
    for graph in (collate(graphs), stored):
        assert_same(*both_ways(model, graph, monkeypatch))


def test_single_precision_against_double(monkeypatch):
    atoms = structures()["crystal"] * (2, 2, 2)
    graph = graph_from_atoms(atoms, 4.0)
    exact = both_ways(example(), graph, monkeypatch)[1]
    found = derive(example(torch.float32), cast(graph, torch.float32), PROPERTIES)
    forces = exact["forces"].numpy()
    assert np.abs(forces).max() > 0.3
    assert abs(float(found["energy"][0] - exact["energy"][0])) / len(atoms) < 1e-6
    np.testing.assert_allclose(found["forces"].numpy(), forces, atol=1e-5 * (1.0 + np.abs(forces).max()))


def test_blocks_longer_than_their_usual_size(monkeypatch):
    """An atom with more neighbors than a block of neighborhoods usually has edges."""
    graph = graph_from_atoms(bulk("Ga", "fcc", a=3.0), 6.0)
    assert graph.n_edges > 64
    assert_same(*both_ways(example(cutoff=6.0, triplet_cutoff=5.0), graph, monkeypatch))


def test_edges_beyond_the_cutoff_change_nothing(monkeypatch):
    model, atoms = example(), structures()["crystal"]
    near, far = (derive(model, graph_from_atoms(atoms, cutoff), PROPERTIES) for cutoff in (4.0, 5.0))
    assert_same(far, near)


def test_forces_have_no_kink_at_either_cutoff():
    model = example()
    for cutoff in (4.0, 3.3):
        distances = cutoff + np.linspace(-2e-3, 2e-3, 41)
        pairs = [
            Atoms("GaN2", positions=[[0, 0, 0], [0.9, 0.0, d], [1.5, 1.0, 0.0]]) for d in np.sqrt(distances**2 - 0.81)
        ]
        forces = np.array([derive(model, graph_from_atoms(p, 4.5), ["forces"])["forces"][1].numpy() for p in pairs])
        assert np.abs(np.diff(forces, n=2, axis=0)).max() < 1e-6


def test_saturated_gates_stay_finite():
    model = example(torch.float32)
    with torch.no_grad():
        for weight in model.layers.parameters():
            weight *= 300.0
    graph = graph_from_atoms(structures()["crystal"], 4.0, torch.float32)
    for values in derive(model, graph, PROPERTIES).values():
        assert values.isfinite().all()


def test_what_is_not_finite_is_not_hidden():
    model = example()
    with torch.no_grad():
        model.layers.node_updates[0].linear.weight[0, 0] = float("nan")
    found = derive(model, graph_from_atoms(structures()["crystal"], 4.0), PROPERTIES)
    assert found["energy"].isnan().all() and found["forces"].isnan().any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh(dtype):
    x = np.concatenate([np.linspace(-30.0, 30.0, 1001), np.linspace(-1e-3, 1e-3, 11)])
    found = x.astype(dtype)[None]
    write_tanh(found)
    np.testing.assert_allclose(found[0], np.tanh(x.astype(dtype)), rtol=0.0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("l_max", range(HIGHEST_DEGREE + 1))
def test_harmonics_are_those_of_the_layers(l_max):
    directions = np.random.default_rng(0).normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    pairs = np.stack([np.arange(5), np.arange(5, 10)], axis=1)
    found = np.empty((10, (l_max + 1) ** 2))
    write_harmonics(directions, pairs, found)
    expected = SphericalHarmonics(l_max).double()(torch.from_numpy(np.concatenate([directions, -directions])))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-14)


def energy(model: GNNFFConservative, graph: AtomicGraph) -> float:
    return float(derive(model, graph, ["energy", "forces"])["energy"][0])


def optimizer_step(model: GNNFFConservative) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sum((weight**2).sum() for weight in model.parameters()).backward()
    optimizer.step()


def average_by_data(model: GNNFFConservative) -> None:
    for weight in model.parameters():
        weight.data.mul_(0.9)


def other_scales(model: GNNFFConservative) -> None:
    model.layers.message_scale.mul_(1.1)
    model.layers.triplet_scale.mul_(0.9)


@pytest.mark.parametrize("change", [optimizer_step, average_by_data, other_scales])
def test_no_stale_tables(change):
    model, graph = example(), graph_from_atoms(structures()["crystal"], 4.0)
    before = energy(model, graph)
    change(model)
    after = energy(model, graph)
    assert after != before
    fresh = example()
    fresh.load_state_dict(model.state_dict())
    assert after == energy(fresh, graph)


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


def test_training_and_triplets_go_through_differentiation():
    graph = graph_from_atoms(structures()["crystal"], 4.0)
    assert not example().can_use_edge_gradients(graph, differentiable=True)
    assert not example(l_max=None).can_use_edge_gradients(graph, differentiable=False)


def test_graphs_too_large_for_the_room_go_in_parts(monkeypatch):
    model, graph = example(), graph_from_atoms(structures()["crystal"], 4.0)
    monkeypatch.setattr(gnnff_conservative, "LARGEST_ROOM", 1000)
    assert not model.can_use_edge_gradients(graph, differentiable=False)


def test_is_faster_than_differentiation(monkeypatch):
    """A guard of the gain, with room for a noisy machine."""
    model = GNNFFConservative(["Si"], cutoff=5.0).requires_grad_(False)
    graph = graph_from_atoms(bulk("Si", cubic=True) * 2, 5.0, torch.float32)
    graph = graph.replace(**model.precompute(graph))
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for fast in [True, False] * 6:
        with monkeypatch.context() as patch:
            if not fast:
                patch.setattr(GNNFFConservative, "can_use_edge_gradients", lambda *_: False)
            start = time.process_time()
            derive(model, graph, ["energy", "forces"])
            seconds[fast].append(time.process_time() - start)
    assert min(seconds[True]) < min(seconds[False]) / 1.8
