"""Frames that the programs under benchmarks/pretraining make for a teacher."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase.data import covalent_radii
from ase.neighborlist import natural_cutoffs, neighbor_list
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

import gnnpot

FOLDER = Path(gnnpot.__file__).parents[1] / "benchmarks" / "pretraining"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="not a checkout")


@pytest.fixture
def molecules(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("molecules")


@pytest.mark.parametrize("seed", range(4))
def test_packed_molecules_stay_whole_and_apart(molecules: ModuleType, seed: int) -> None:
    atoms = molecules.packed(np.random.default_rng(seed))
    first, second, distances = neighbor_list("ijd", atoms, natural_cutoffs(atoms, mult=1.3))
    bonds = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(atoms), len(atoms)))
    n_found, molecule_of = connected_components(bonds)
    numbers = [sorted(atoms.numbers[molecule_of == k]) for k in range(n_found)]
    known = [sorted(other.numbers) for other in molecules.molecules()]
    assert all(one in known for one in numbers)
    first, second, distances = neighbor_list("ijd", atoms, 6.0)
    apart = molecule_of[first] != molecule_of[second]
    least = covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]] + molecules.GAP
    assert (distances >= least - 1e-9)[apart].all()
    assert len(atoms) <= molecules.MOST
