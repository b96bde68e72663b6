"""The gate in front of Born charges, and the order of their indices on real frames."""

import numpy as np
import pytest
from ase import Atoms

from gnnpot.data.born_checks import born_warnings, index_order
from gnnpot.data.labels import attach_labels, labels_of
from gnnpot.data.readers import read


def frames(n=6, total=0.0):
    """A rattled crystal whose polarization follows from fixed tensors that are not symmetric."""
    rng = np.random.default_rng(0)
    tensor = np.array([[1.9, 0.4, -0.3], [-0.2, 2.0, 0.5], [0.6, -0.1, 2.1]])
    cell = np.array([[6.0, 0.0, 0.0], [1.5, 6.2, 0.0], [0.4, -0.8, 6.4]])
    born = np.stack([tensor, -tensor + total * np.eye(3)])
    made = []
    for _ in range(n):
        atoms = Atoms("MgO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True)
        shift = 0.3 * rng.normal(size=(2, 3))
        atoms.positions += shift
        polarization = np.einsum("nab,nb->a", born, shift) + rng.integers(-3, 4, size=3) @ cell
        attach_labels(atoms, {"born_effective_charges": born, "polarization": polarization})
        made.append(atoms)
    return made


def transposed(given):
    for atoms in given:
        labels = labels_of(atoms)
        labels["born_effective_charges"] = labels["born_effective_charges"].transpose(0, 2, 1)
        attach_labels(atoms, labels)
    return given


def test_good_charges_give_no_warning():
    assert born_warnings(frames()) == []


def test_order_of_indices():
    order = index_order(frames())
    assert order.n_pairs == 5
    assert order.field_first < 1e-10 < 0.1 < order.transposed


def test_transposed_tensors_are_noticed():
    (text,) = born_warnings(transposed(frames()))
    assert "look transposed" in text


def test_a_sum_that_misses_the_charge():
    (text,) = born_warnings(frames(total=0.2))
    assert "in 6 of 6 frames" in text
    assert "0.100 e per atom" in text
    charged = frames(total=1.0)
    for atoms in charged:
        atoms.info["charge"] = 1.0
    assert born_warnings(charged) == []


def test_outliers():
    given = frames()
    labels = labels_of(given[2])
    labels["born_effective_charges"] = 30.0 * labels["born_effective_charges"]
    attach_labels(given[2], {"born_effective_charges": labels["born_effective_charges"]})
    texts = born_warnings(given)
    assert any("above 20 e" in text for text in texts)
    assert any("median of its element" in text for text in texts)


def test_frames_without_born_charges():
    assert born_warnings([Atoms("H")]) == []
    assert index_order([Atoms("H"), Atoms("H")]) is None


def test_order_of_indices_on_real_silica(gnnpot_data):
    """Field first: the residual is far below half of that of the transposed tensors."""
    order = index_order(read(gnnpot_data / "allegro_pol" / "SiO2.xyz.gz"), most=40)
    assert order.n_pairs == 40
    assert order.field_first < 0.5 * order.transposed
    assert order.field_first < 0.1 * order.change
    assert order.transposed == pytest.approx(0.2, abs=0.1)
