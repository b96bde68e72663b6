"""Reference energies and scales."""

import ase
import numpy as np
import pytest
import torch

from gnnpot.data.graph import collate, graph_from_atoms
from gnnpot.data.labels import attach_labels
from gnnpot.errors import DataWarning
from gnnpot.nn.scaling import EnergyScale, ForceScale


def frame(formula, energy=None, forces=None, pbc=True):
    atoms = ase.Atoms(formula, cell=8.0 * np.eye(3), pbc=pbc)
    atoms.positions = 1.5 * np.arange(3 * len(atoms)).reshape(-1, 3)
    labels = {"energy": energy} if energy is not None else {}
    if forces is not None:
        labels["forces"] = np.full((len(atoms), 3), forces)
    attach_labels(atoms, labels)
    return graph_from_atoms(atoms, 2.0)


def test_least_squares_recovers_reference_energies():
    scale = EnergyScale([3, 8])
    graphs = [frame("LiO", -7.0), frame("Li2O", -9.0), frame("O2", -10.0, forces=2.0)]
    scale.learn_from(graphs)
    np.testing.assert_allclose(scale.reference_energies.numpy(), [-2.0, -5.0], rtol=1e-10)
    assert float(scale.scale) == pytest.approx(2.0)


def test_a_batch_counts_as_its_structures():
    one, other = EnergyScale([3, 8]), EnergyScale([3, 8])
    graphs = [frame("LiO", -7.1, 0.3), frame("Li2O", -9.0, 0.1), frame("O2", -10.0, 0.2)]
    one.learn_from(graphs)
    other.learn_from([collate(graphs)])
    assert torch.equal(one.reference_energies, other.reference_energies)
    assert float(one.scale) == pytest.approx(float(other.scale), rel=1e-12)


def test_isolated_atoms_come_first():
    scale = EnergyScale([3, 8])
    scale.learn_from([frame("Li", -1.0, pbc=False), frame("Li2O", -20.0)])
    np.testing.assert_allclose(scale.reference_energies.numpy(), [-1.0, -18.0])


def test_rank_deficient_compositions_are_explained():
    scale = EnergyScale([3, 8])
    with pytest.warns(DataWarning, match=r"only 1 combination.*Li, O.*isolated atom"):
        scale.learn_from([frame("Li2O", -9.0), frame("Li4O2", -18.0)])
    assert float(scale.reference_energies @ torch.tensor([2.0, 1.0], dtype=torch.float64)) == pytest.approx(-9.0)


def test_scale_without_forces_is_the_spread_of_the_energies():
    scale = EnergyScale([3])
    scale.learn_from([frame("Li2", -2.0), frame("Li2", -4.0)])
    assert float(scale.scale) == pytest.approx(np.std([-1.0, -2.0], ddof=1))


def test_frames_without_energy_are_left_out():
    scale = EnergyScale([3])
    scale.learn_from([frame("Li2", None, forces=1.0), frame("Li2", -4.0)])
    assert float(scale.reference_energies[0]) == pytest.approx(-2.0)


def test_no_labels_at_all_leaves_the_identity():
    scale = EnergyScale([3])
    scale.learn_from([frame("Li2")])
    types = torch.zeros(2, dtype=torch.int64)
    assert scale(torch.tensor([0.5, 1.0]), types).tolist() == [0.5, 1.0]


def test_energies_are_float64_from_float32_outputs():
    scale = EnergyScale([3])
    scale.reference_energies.fill_(-12345.678901234)
    energies = scale(torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert energies.dtype == torch.float64
    assert float(energies) == -12345.678901234


def test_force_scale():
    scale = ForceScale()
    scale.learn_from([frame("Li2", forces=3.0), frame("Li2")])
    assert float(scale(torch.ones(1))) == pytest.approx(3.0)
