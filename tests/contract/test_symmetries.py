"""Energies, forces and stress transform as physics demands."""

import numpy as np
import pytest
from ase import Atoms
from scipy.stats import ortho_group

from tests.contract.conftest import rattled, structures, supercell

TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], err_msg=name, **{**TOLERANCE, **tolerance})


@pytest.mark.parametrize("kind", structures())
@pytest.mark.parametrize("determinant", [1, -1], ids=["rotation", "reflection"])
def test_rotation_and_reflection(model, evaluate, kind, determinant):
    atoms = structures()[kind]
    rotation = ortho_group.rvs(3, random_state=0)
    rotation *= determinant * np.sign(np.linalg.det(rotation))
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    expected = evaluate(model, atoms)
    expected["forces"] = expected["forces"] @ rotation.T
    if "stress" in expected:
        expected["stress"] = rotation @ expected["stress"] @ rotation.T
    assert_same(evaluate(model, turned), expected)


@pytest.mark.parametrize("kind", structures())
def test_translation(model, evaluate, kind):
    atoms = structures()[kind]
    moved = atoms.copy()
    moved.translate([0.3, -7.1, 2.2])
    assert_same(evaluate(model, moved), evaluate(model, atoms))


def test_permutation(model, evaluate):
    atoms = rattled((2, 1, 1))
    order = np.random.default_rng(0).permutation(len(atoms))
    expected = evaluate(model, atoms)
    expected["forces"] = expected["forces"][order]
    assert_same(evaluate(model, atoms[order]), expected)


def test_an_atom_moved_by_a_lattice_vector(model, evaluate):
    atoms = rattled()
    moved = atoms.copy()
    moved.positions[1] += np.array([2, -1, 3]) @ atoms.cell.array
    assert_same(evaluate(model, moved), evaluate(model, atoms))


@pytest.mark.parametrize("kind", ["cubic", "left-handed", "skewed"])
def test_other_lattice_vectors_of_the_same_crystal(model, evaluate, kind):
    atoms = structures()[kind]
    same = atoms.copy()
    same.set_cell(np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]]) @ atoms.cell.array)
    assert_same(evaluate(model, same), evaluate(model, atoms))


@pytest.mark.parametrize(
    "matrix", [np.diag([2, 1, 1]), np.diag([1, 2, 3]), np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])]
)
def test_supercell(model, evaluate, matrix):
    atoms = rattled()
    n_cells = round(np.linalg.det(matrix))
    large = supercell(atoms, matrix)
    expected = evaluate(model, atoms)
    found = evaluate(model, large)
    if "energy" in expected:
        np.testing.assert_allclose(found["energy"], n_cells * expected["energy"], **TOLERANCE)
        np.testing.assert_allclose(found["stress"], expected["stress"], **TOLERANCE)
    sums = np.sort(np.linalg.norm(found["forces"], axis=1))
    np.testing.assert_allclose(sums, np.sort(np.tile(np.linalg.norm(expected["forces"], axis=1), n_cells)), **TOLERANCE)


def test_forces_sum_to_zero(energy_model, evaluate):
    forces = evaluate(energy_model, rattled((2, 1, 1)))["forces"]
    assert np.abs(forces).max() > 1e-3
    np.testing.assert_allclose(forces.sum(0), 0.0, atol=1e-10)


def test_separated_molecules_do_not_feel_each_other(energy_model, evaluate):
    one = structures()["molecule"]
    far = one.copy()
    far.translate([30.0, 0.0, 0.0])
    pair = evaluate(energy_model, Atoms(one + far))
    np.testing.assert_allclose(pair["energy"], 2 * evaluate(energy_model, one)["energy"], **TOLERANCE)
