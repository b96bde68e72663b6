"""The repulsion of colliding atoms: against its printed form, first-principles dimers, and its own promises."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.io import read

from gnnpot.data.graph import cast, graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet
from gnnpot.nn.short_range import MARGIN, SHORT_RANGE, UNSEEN, ZBL, build_short_range
from tests.contract.conftest import rattled

FUNCTIONS = ["G2 Li O eta=1 shift=1 cutoff=4 polynomial", "G2 O Li eta=1 shift=1 cutoff=4 polynomial"]


def test_universal_potential_from_its_printed_form():
    """Ziegler's formula in ångströms, written out for Si on O, without the switch (r far below the outer radius)."""
    r = 0.1
    a = 0.46850 / (14**0.23 + 8**0.23)
    x = r / a
    phi = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x)
    phi += 0.28022 * np.exp(-0.40290 * x) + 0.02817 * np.exp(-0.20162 * x)
    found = ZBL([8, 14]).energies(torch.tensor([r], dtype=torch.float64), torch.tensor([2]))
    assert float(found) == pytest.approx(14.3996 * 14 * 8 / r * phi, rel=2e-4)


def test_value_slope_and_curvature_end_at_the_outer_radius():
    zbl = ZBL([14])
    outer = float(zbl.outer_radii)
    r = torch.tensor([outer - 1e-5, outer + 1e-5], dtype=torch.float64, requires_grad=True)
    value = zbl.energies(r, torch.tensor([0, 0]))
    (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    assert value.abs().max() < 1e-10
    assert slope.abs().max() < 1e-6
    assert curvature.abs().max() < 0.1
    assert not torch.stack([value, slope, curvature])[:, 1].any()


@pytest.mark.parametrize("symbol", ["Si", "Li", "N", "O"])
def test_dimers_of_first_principles(gnnpot_data, symbol):
    """The energy falls all the way to the outer radius; bare, it is that of PBE within a third where nuclei rule."""
    zbl = ZBL([atomic_numbers[symbol]])
    outer = float(zbl.outer_radii)
    r = torch.linspace(0.05, outer, 400, dtype=torch.float64)
    energies = zbl.energies(r, torch.zeros(400, dtype=torch.int64))
    assert (energies.diff() < 0.0).all()
    frames = [
        atoms
        for atoms in read(gnnpot_data / "diatomics" / "dimers_PBE.xyz", ":")
        if atoms.info["pair"] == f"{symbol}-{symbol}"
    ]
    distances = np.array([atoms.get_distance(0, 1) for atoms in frames])
    reference = np.array([atoms.get_potential_energy() for atoms in frames])
    reference -= reference[distances.argmax()]
    closest = distances.argsort()[:1]
    zbl.outer_radii.fill_(1e6)
    found = zbl.energies(torch.tensor(distances[closest]), torch.zeros(1, dtype=torch.int64)).numpy()
    assert np.abs(found / reference[closest] - 1.0).max() < 0.35


def models(charge=False):
    torch.manual_seed(0)
    sizes = {"n_features": 8, "n_radial": 6, "n_interactions": 1}
    schnet = SchNet([3, 8], cutoff=4.0, charge=charge, **sizes)
    return [schnet.double(), HDNNP([3, 8], cutoff=4.0, functions=FUNCTIONS, hidden=[3], charge=charge).double()]


def collided():
    atoms = rattled((2, 1, 1))
    atoms.positions[1] = atoms.positions[0] + [0.6, 0.5, 0.2]
    atoms.positions[3] = atoms.positions[4] + [0.3, 0.5, 0.9]
    return atoms


@pytest.mark.parametrize("charge", [False, True])
def test_fast_and_automatic_derivatives_agree(charge):
    atoms = collided()
    atoms.info["charge"] = 2.0
    for model in models(charge):
        graph = graph_from_atoms(atoms, 4.0)
        moving = graph.replace(positions=graph.positions.clone().requires_grad_(True))
        names = ["energy", "energies", "forces", "stress"]
        fast, automatic = derive(model, graph, names), derive(model, moving, names)
        assert float(fast["forces"].abs().max()) > 10.0
        for name in names:
            torch.testing.assert_close(fast[name], automatic[name], rtol=1e-6, atol=1e-6)


def test_plain_search_finds_the_same_edges(monkeypatch):
    model = models()[0]
    graph = graph_from_atoms(collided(), 4.0)
    found = model.repulsion.short_edges(graph, model.types(graph))
    assert len(found) >= 4
    monkeypatch.setattr("gnnpot.nn.short_range.kernels_serve", lambda _: False)
    assert torch.equal(model.repulsion.short_edges(graph, model.types(graph)), found)


@pytest.mark.parametrize("name", SHORT_RANGE)
def test_outer_radii_are_learned_and_training_structures_feel_nothing(name):
    zbl = build_short_range(name, [3, 8, 14])
    frames = [bulk("Li", cubic=True), Atoms("LiO", positions=[[0, 0, 0], [1.2, 0, 0]])]
    graphs = [graph_from_atoms(atoms, 4.0) for atoms in frames]
    assert len(list(zbl.watching(graphs))) == 2
    bond = {pair: sum(covalent_radii[z] for z in pair) for pair in ((3, 3), (3, 8), (8, 14))}
    distance = bulk("Li", cubic=True).get_distance(0, 1) * (1.0 - MARGIN)
    assert bond[3, 3] < 0.9 * distance
    assert float(zbl.outer_radii[0, 0]) == pytest.approx(bond[3, 3] if name == "zbl" else distance)
    assert float(zbl.outer_radii[0, 1]) == float(zbl.outer_radii[1, 0]) == pytest.approx(1.2 * (1.0 - MARGIN))
    assert float(zbl.outer_radii[1, 2]) == pytest.approx(UNSEEN * bond[8, 14])
    for graph in graphs:
        for dtype in (torch.float64, torch.float32):
            assert not zbl(cast(graph, dtype), zbl.element_table(graph.atomic_numbers)).any()


def test_a_misspelt_name_is_refused():
    assert build_short_range(None, [14]) is None
    with pytest.raises(ConfigError, match=r"model\.short_range=zbll: did you mean 'zbl'"):
        build_short_range("zbll", [14])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_loop_gives_the_derivatives_of_the_equation(monkeypatch, dtype):
    zbl = ZBL([3, 8])
    atoms = bulk("LiO", "zincblende", a=3.1, cubic=True)
    atoms.rattle(0.1, seed=3)
    graph = cast(graph_from_atoms(atoms, 3.0), dtype)
    types = zbl.element_table(graph.atomic_numbers)
    before = torch.ones(graph.n_edges, 3, dtype=dtype)
    energies, gradients = zbl.energies_and_edge_gradients(graph, types, before)
    assert float(energies.sum()) > 0.1
    assert (before == 1.0).all()
    monkeypatch.setattr("gnnpot.nn.short_range.kernels_serve", lambda device: False)
    expected = zbl.energies_and_edge_gradients(graph, types, before)
    torch.testing.assert_close(energies, expected[0], rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, expected[1], rtol=1e-4 if dtype == torch.float32 else 1e-11, atol=1e-5)
