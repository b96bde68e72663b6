"""The graph: geometry, batching, precision, and what it refuses."""

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from gnnpot.data.graph import (
    FIELDS,
    AtomicGraph,
    at_centers,
    at_neighbors,
    cast,
    collate,
    edge_vectors,
    graph_from_atoms,
    sum_over_neighbors,
    sum_per_structure,
)
from gnnpot.data.triplets import edge_pairs, reverse_edges, undirected_pairs
from gnnpot.errors import DataError


def test_edge_vectors_against_minimum_images_of_ase():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.1, seed=0)
    graph = graph_from_atoms(atoms, cutoff=2.7)
    lengths = edge_vectors(graph).norm(dim=1).numpy()
    distances = atoms.get_all_distances(mic=True)
    np.testing.assert_allclose(lengths, distances[graph.centers, graph.neighbors], rtol=1e-12)


def test_centers_are_row_zero_and_vectors_point_to_the_neighbor():
    atoms = ase.Atoms("HO", positions=[[0, 0, 0], [1.0, 0, 0]])
    graph = graph_from_atoms(atoms, cutoff=2.0)
    assert graph.centers.tolist() == [0, 1]
    assert edge_vectors(graph)[0].tolist() == [1.0, 0.0, 0.0]


def test_collate_shifts_every_kind_of_index():
    graphs = [graph_from_atoms(bulk("Si"), 3.0), graph_from_atoms(molecule("H2O"), 1.2)]
    filled = []
    for graph in graphs:
        pair_of_edge, edge_of_pair = undirected_pairs(graph)
        filled.append(graph.replace(pair_of_edge=pair_of_edge, edge_of_pair=edge_of_pair))
    batch = collate(filled)
    assert batch.n_structures == 2
    assert torch.equal(batch.centers[: graphs[0].n_edges], graphs[0].centers)
    assert torch.equal(batch.centers[graphs[0].n_edges :], graphs[1].centers + 2)
    assert torch.equal(edge_vectors(batch), torch.cat([edge_vectors(g) for g in graphs]))
    assert torch.equal(undirected_pairs(batch)[0], batch.pair_of_edge)
    assert torch.equal(undirected_pairs(batch)[1], batch.edge_of_pair)


def test_sums_and_gathers():
    graph = collate([graph_from_atoms(bulk("Cu"), 3.0), graph_from_atoms(molecule("H2"), 1.0)])
    ones = torch.ones(graph.n_edges, 1)
    assert sum_over_neighbors(ones, graph)[:, 0].tolist() == [12.0, 1.0, 1.0]
    assert sum_per_structure(torch.ones(graph.n_atoms), graph).tolist() == [1.0, 2.0]
    numbers = graph.atomic_numbers
    assert at_centers(numbers, graph).tolist() == [29] * 12 + [1, 1]
    assert at_neighbors(numbers, graph).tolist() == [29] * 12 + [1, 1]


def test_cast_keeps_integers_and_the_energy():
    graph = cast(graph_from_atoms(bulk("Si"), 3.0), torch.float32)
    assert graph.positions.dtype == graph.cell.dtype == graph.edge_shifts.dtype == torch.float32
    assert graph.energy.dtype == torch.float64
    assert graph.edge_index.dtype == torch.int64
    assert graph.pbc.dtype == torch.bool


def test_missing_labels_are_nan_never_zero():
    graph = graph_from_atoms(bulk("Si"), 3.0)
    assert torch.isnan(graph.energy).all()
    assert torch.isnan(graph.forces).all()
    assert torch.isnan(graph.stress).all()


def test_unknown_field_is_refused():
    with pytest.raises(TypeError, match="element_index"):
        AtomicGraph(element_index=torch.zeros(1))


def test_pyg_conversion_keeps_all_fields():
    pytest.importorskip("torch_geometric")
    graph = graph_from_atoms(bulk("Si"), 3.0)
    data = graph.to_pyg()
    assert data.num_nodes == 2
    assert torch.equal(data.edge_index, graph.edge_index)
    assert set(FIELDS) >= set(data.keys()) - {"num_nodes"}


def test_atoms_on_top_of_each_other_are_named():
    atoms = ase.Atoms("LiO", positions=[[0, 0, 0], [0, 0, 0.01]])
    atoms.info.update(source="bad.xyz", frame=7)
    with pytest.raises(DataError, match=r"bad\.xyz.*7.*Li \(atom 0\) and O \(atom 1\).*0\.010 Å"):
        graph_from_atoms(atoms, 3.0)


def test_atoms_at_exactly_the_same_place_are_named():
    atoms = ase.Atoms("LiO", positions=np.zeros((2, 3)))
    with pytest.raises(DataError, match="on top of each other"):
        graph_from_atoms(atoms, 3.0)


@pytest.mark.parametrize("cell", [np.zeros((3, 3)), [[1, 0, 0], [2, 0, 0], [0, 0, 1]]])
def test_periodic_cell_without_volume_is_refused(cell):
    atoms = ase.Atoms("Li", cell=cell, pbc=True)
    with pytest.raises(DataError, match="pbc"):
        graph_from_atoms(atoms, 3.0)


def test_positions_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="not finite"):
        graph_from_atoms(ase.Atoms("Li", positions=[[np.nan, 0, 0]]), 3.0)


@pytest.fixture
def small_cell():
    """A cell far smaller than the cutoff: an atom is its own neighbor many times."""
    return graph_from_atoms(bulk("Cu"), 4.0)


def test_reverse_edges(small_cell):
    reverse = reverse_edges(small_cell)
    assert torch.equal(reverse[reverse], torch.arange(small_cell.n_edges))
    torch.testing.assert_close(edge_vectors(small_cell)[reverse], -edge_vectors(small_cell))


def test_undirected_pairs_hold_every_edge_once_in_each_direction(small_cell):
    pair_of_edge, edge_of_pair = undirected_pairs(small_cell)
    assert 2 * len(edge_of_pair) == small_cell.n_edges
    assert torch.bincount(pair_of_edge).tolist() == [2] * len(edge_of_pair)
    lengths = edge_vectors(small_cell).norm(dim=1)
    torch.testing.assert_close(lengths[edge_of_pair][pair_of_edge], lengths)


@pytest.mark.parametrize("make", [lambda: bulk("Cu"), lambda: bulk("NaCl", "rocksalt", a=5.6), lambda: molecule("CH4")])
def test_pairs_of_edges_against_loops(make):
    graph = graph_from_atoms(make(), 4.2)
    keep = edge_vectors(graph).norm(dim=1) < 3.0
    edges = [e for e in range(graph.n_edges) if keep[e]]
    centers = graph.centers.tolist()
    pairs = [(e, f) for e in edges for f in edges if centers[e] == centers[f] and e < f]
    assert edge_pairs(graph, keep).tolist() == [list(pair) for pair in pairs]


def test_pairs_of_a_lone_atom():
    graph = graph_from_atoms(ase.Atoms("H"), 3.0)
    keep = torch.ones(0, dtype=torch.bool)
    assert reverse_edges(graph).shape == (0,)
    assert edge_pairs(graph, keep).shape == (0, 2)
