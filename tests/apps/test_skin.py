import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.skin import NeighborSkin
from gnnpot.data.graph import graph_from_atoms
from gnnpot.data.triplets import undirected_pairs
from gnnpot.errors import ConfigError, DataError


def skin_of(cutoff: float = 6.0, skin: float = 0.8) -> NeighborSkin:
    return NeighborSkin(cutoff, skin, torch.float64, "cpu")


def assert_same_as_fresh(model, walker: Atoms, calculator: Calculator) -> None:
    fresh = walker.copy()
    fresh.calc = Calculator(model, dtype="float64", skin=0.0)
    walker.calc = calculator
    assert walker.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-11)
    np.testing.assert_allclose(walker.get_forces(), fresh.get_forces(), atol=1e-12)
    if walker.pbc.all():
        np.testing.assert_allclose(walker.get_stress(), fresh.get_stress(), atol=1e-14)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, False)])
def test_walk_gives_the_results_of_fresh_lists(bare_lennard_jones, argon, pbc):
    argon.pbc = pbc
    calculator = Calculator(bare_lennard_jones, dtype="float64", skin=0.8)
    rng = np.random.default_rng(1)
    for _ in range(25):
        argon.positions += rng.normal(scale=0.06, size=(len(argon), 3))
        assert_same_as_fresh(bare_lennard_jones, argon, calculator)
    assert 1 < calculator.neighbors.n_searches < 20


def test_breathing_cell_gives_the_results_of_fresh_lists(bare_lennard_jones, argon):
    calculator = Calculator(bare_lennard_jones, dtype="float64", skin=0.8)
    rng = np.random.default_rng(2)
    for _ in range(25):
        strain = np.eye(3) + rng.normal(scale=0.005, size=(3, 3))
        argon.set_cell(argon.cell.array @ strain, scale_atoms=True)
        argon.positions += rng.normal(scale=0.03, size=(len(argon), 3))
        assert_same_as_fresh(bare_lennard_jones, argon, calculator)
    assert 1 < calculator.neighbors.n_searches < 25


def test_sudden_changes_give_the_results_of_fresh_lists(bare_lennard_jones, argon):
    calculator = Calculator(bare_lennard_jones, dtype="float64")
    assert_same_as_fresh(bare_lennard_jones, argon, calculator)
    argon.set_cell(0.9 * argon.cell.array, scale_atoms=True)
    assert_same_as_fresh(bare_lennard_jones, argon, calculator)
    argon.set_cell(argon.cell.array + np.array([0.0, 0.0, 2.0]), scale_atoms=False)
    assert_same_as_fresh(bare_lennard_jones, argon, calculator)
    argon.pbc = (True, False, True)
    assert_same_as_fresh(bare_lennard_jones, argon, calculator)
    argon.wrap()
    assert_same_as_fresh(bare_lennard_jones, argon, calculator)
    del argon[3]
    assert_same_as_fresh(bare_lennard_jones, argon, calculator)


def test_one_atom_cell_keeps_its_images(bare_lennard_jones):
    atom = bulk("Ar", a=5.3)
    calculator = Calculator(bare_lennard_jones, dtype="float64")
    for shift in (0.0, 0.1, 7.0, -40.0):
        atom.positions += shift
        assert_same_as_fresh(bare_lennard_jones, atom, calculator)


def test_edges_are_those_of_a_fresh_search_and_sorted(argon):
    neighbors = skin_of()
    neighbors.graph(argon)
    argon.rattle(0.1, seed=5)
    graph = neighbors.graph(argon)
    assert neighbors.n_searches == 1
    assert graph.n_edges == graph_from_atoms(argon, 6.0).n_edges
    assert (graph.centers.diff() >= 0).all()


def test_pairs_join_an_edge_and_its_reverse(argon):
    neighbors = skin_of()
    neighbors.graph(argon)
    argon.rattle(0.1, seed=5)
    graph = neighbors.graph(argon)
    expected, _ = undirected_pairs(graph)
    first = graph.edge_of_pair[graph.pair_of_edge]
    assert len(graph.edge_of_pair) == graph.n_edges // 2
    assert torch.equal(graph.edge_of_pair, undirected_pairs(graph)[1])
    assert torch.equal(graph.pair_of_edge, expected)
    assert (graph.edge_shifts[first].abs() == graph.edge_shifts.abs()).all()


def test_tensors_are_used_again(argon):
    neighbors = skin_of()
    first = neighbors.graph(argon)
    argon.rattle(0.01, seed=5)
    second = neighbors.graph(argon)
    assert first.positions.data_ptr() == second.positions.data_ptr()
    images = (argon.positions - second.positions.numpy()) / argon.cell.lengths()
    np.testing.assert_allclose(images, np.round(images), atol=1e-12)


def test_zero_skin_searches_always(argon):
    neighbors = skin_of(skin=0.0)
    neighbors.graph(argon)
    neighbors.graph(argon)
    assert neighbors.n_searches == 2


def test_negative_skin_is_refused():
    with pytest.raises(ConfigError, match=r"skin=-0.1 Å"):
        skin_of(skin=-0.1)


def test_shortest_distance():
    neighbors = skin_of()
    neighbors.graph(molecule("N2"))
    assert neighbors.shortest_distance == pytest.approx(molecule("N2").get_distance(0, 1))
    neighbors.graph(Atoms("Ar"))
    assert neighbors.shortest_distance == np.inf


def test_positions_that_are_not_numbers_are_refused(argon):
    neighbors = skin_of()
    neighbors.graph(argon)
    argon.positions[4, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        neighbors.graph(argon)


def test_slab_that_drifts_out_of_its_cell(bare_lennard_jones):
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=5.0)
    calculator = Calculator(bare_lennard_jones, dtype="float64")
    assert_same_as_fresh(bare_lennard_jones, slab, calculator)
    slab.positions += [30.0, -50.0, 80.0]
    assert_same_as_fresh(bare_lennard_jones, slab, calculator)
