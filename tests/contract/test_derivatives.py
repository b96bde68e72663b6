"""Forces and stress are the derivatives of the energy, and everything is smooth at the cutoff."""

import numpy as np
import pytest
import torch
from ase import Atoms

from gnnpot.data.graph import collate
from gnnpot.models.properties import derive
from tests.contract.conftest import graph_of, structures

STEP = 2e-5
PERIODIC = ["cubic", "left-handed", "skewed"]


def energy(model, atoms):
    return float(derive(model, graph_of(model, atoms), ["energy"])["energy"][0])


@pytest.mark.parametrize("kind", structures())
def test_forces_against_finite_differences(energy_model, kind):
    atoms = structures()[kind]
    forces = derive(energy_model, graph_of(energy_model, atoms), ["forces"])["forces"].numpy()
    assert np.abs(forces).max() > 1e-4
    for atom in range(min(len(atoms), 3)):
        for axis in range(3):
            moved = [atoms.copy(), atoms.copy()]
            moved[0].positions[atom, axis] += STEP
            moved[1].positions[atom, axis] -= STEP
            slope = (energy(energy_model, moved[0]) - energy(energy_model, moved[1])) / (2 * STEP)
            assert forces[atom, axis] == pytest.approx(-slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", PERIODIC)
def test_stress_against_finite_differences(energy_model, kind):
    atoms = structures()[kind]
    stress = derive(energy_model, graph_of(energy_model, atoms), ["stress"])["stress"][0].numpy()
    np.testing.assert_allclose(stress, stress.T, atol=1e-12)
    for a, b in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)]:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * STEP
        strain[b, a] += 0.5 * STEP
        energies = []
        for sign in (1, -1):
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
            energies.append(energy(energy_model, strained))
        slope = (energies[0] - energies[1]) / (2 * STEP) / atoms.get_volume()
        assert stress[a, b] == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_stress_of_a_slab_is_nan_and_harms_no_neighbor(energy_model):
    slab, crystal = structures()["slab"], structures()["cubic"]
    graphs = [graph_of(energy_model, slab), graph_of(energy_model, crystal)]
    alone = derive(energy_model, graphs[1], ["stress", "forces"])
    together = derive(energy_model, collate(graphs), ["stress", "forces"], differentiable=True)
    assert torch.isnan(together["stress"][0]).all()
    torch.testing.assert_close(together["stress"][1], alone["stress"][0])
    loss = (together["forces"] ** 2).sum() + (together["stress"][1] ** 2).sum()
    loss.backward()
    gradients = [p.grad for p in energy_model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    energy_model.zero_grad()


def pair_of_atoms(distance, extra=True):
    """Two atoms at a distance, and a third near the first one, so that triplets cross the cutoff too."""
    positions = [[0, 0, 0], [distance, 0.3, 0]]
    if extra:
        positions.append([0.5, 1.7, 0.2])
    return Atoms("LiOO"[: len(positions) + 1] if extra else "LiO", positions=positions)


def test_value_and_slope_are_continuous_at_the_cutoff(model, evaluate):
    crossing = np.sqrt(model.cutoff**2 - 0.3**2)
    below, above = (evaluate(model, pair_of_atoms(crossing + side * 1e-6)) for side in (-1, 1))
    for name in ("energy", "forces"):
        if name in below:
            np.testing.assert_allclose(below[name], above[name], atol=1e-6, err_msg=name)


def test_slope_is_zero_for_a_pair_at_the_cutoff(energy_model, evaluate):
    inside = evaluate(energy_model, pair_of_atoms(energy_model.cutoff - 1e-4, extra=False))
    alone = evaluate(energy_model, pair_of_atoms(energy_model.cutoff + 1.0, extra=False))
    np.testing.assert_allclose(inside["forces"], 0.0, atol=1e-5)
    np.testing.assert_allclose(inside["energy"], alone["energy"], atol=1e-8)


def test_forces_are_continuous_along_a_path_through_the_cutoff(model, evaluate):
    distances = np.linspace(model.cutoff - 0.02, model.cutoff + 0.02, 81)
    forces = np.array([evaluate(model, pair_of_atoms(d))["forces"] for d in distances])
    jumps = np.abs(np.diff(forces, axis=0)).max(axis=(1, 2))
    assert jumps.max() < 1e-3
