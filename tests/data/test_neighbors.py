"""The neighbor list against ASE's, on cells that no one would draw."""

import ase
import ase.neighborlist
import numpy as np
import pytest

from gnnpot.data.neighbors import neighbor_list


def random_structure(seed):
    rng = np.random.default_rng(seed)
    n_atoms = int(rng.integers(1, 9))
    cell = rng.normal(size=(3, 3)) * rng.choice([1.5, 3.0]) + 2.0 * np.eye(3)
    while abs(np.linalg.det(cell)) < 8.0:
        cell = cell + np.eye(3)
    positions = rng.normal(size=(n_atoms, 3)) * 6.0
    return ase.Atoms(f"H{n_atoms}", positions=positions, cell=cell, pbc=rng.integers(0, 2, 3).astype(bool))


@pytest.mark.parametrize("seed", range(40))
def test_against_ase_on_skewed_cells_and_every_periodicity(seed):
    atoms = random_structure(seed)
    edge_index, shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)
    i, j, images = ase.neighborlist.neighbor_list("ijS", atoms, 4.0)
    found = sorted(map(tuple, np.c_[edge_index.T, shifts].tolist()))
    assert found == sorted(map(tuple, np.c_[i, j, images].tolist()))
    assert (np.diff(edge_index[0]) >= 0).all()


def test_no_cap_on_the_number_of_neighbors():
    edge_index, _ = neighbor_list(np.zeros((1, 3)), 1.5 * np.eye(3), np.ones(3, dtype=bool), 6.0)
    assert edge_index.shape[1] > 200


def test_empty_structure():
    edge_index, shifts = neighbor_list(np.zeros((0, 3)), np.eye(3), np.zeros(3, dtype=bool), 4.0)
    assert edge_index.shape == (2, 0)
    assert shifts.shape == (0, 3)


def test_cell_rows_without_periodicity_are_ignored():
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    wire = np.array([False, False, True])
    zero = neighbor_list(positions, np.diag([0.0, 0.0, 3.0]), wire, 3.5)
    full = neighbor_list(positions, np.diag([1.0, 1.0, 3.0]), wire, 3.5)
    np.testing.assert_array_equal(zero[0], full[0])


@pytest.mark.parametrize("repeat", [1, 3])
def test_many_bins_find_what_ase_finds(repeat):
    rng = np.random.default_rng(repeat)
    atoms = ase.Atoms("H90", rng.uniform(-8, 20, (90, 3)), cell=[[11, 0, 0], [4, 10, 0], [-3, 5, 9]], pbc=True)
    atoms = atoms.repeat((repeat, repeat, 1))
    edge_index, shifts = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 3.1)
    i, j, images = ase.neighborlist.neighbor_list("ijS", atoms, 3.1)
    found = sorted(map(tuple, np.c_[edge_index.T, shifts].tolist()))
    assert found == sorted(map(tuple, np.c_[i, j, images].tolist()))


def test_every_edge_has_its_reverse_even_at_the_cutoff():
    cell = 2.7 * np.array([[1.0, 1, 0], [0, 1, 1], [1, 0, 1]])
    positions = np.array([[0.0, 0, 0], [0.1, 0.2, 0.3]])
    for cutoff in np.linalg.norm(cell, axis=1):
        edge_index, shifts = neighbor_list(positions, cell, np.ones(3, dtype=bool), float(cutoff))
        edges = set(map(tuple, np.c_[edge_index.T, shifts].tolist()))
        assert {(j, i, -a, -b, -c) for i, j, a, b, c in edges} == edges
