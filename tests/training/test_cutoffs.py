import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

import gnnpot
from gnnpot.training.cutoffs import LONGEST, SHORTEST, cutoff_for
from gnnpot.training.fit import fit

HDNNP = {"_target_": "gnnpot.models.hdnnp.HDNNP", "n_radial": 4, "n_angular": 1, "hidden": [4]}


def rattled(atoms: Atoms, seed: int) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.15, seed=seed)
    return atoms


def test_atoms_have_as_many_neighbors_as_wanted():
    frames = [rattled(bulk("Si", cubic=True) * (2, 2, 2), seed) for seed in range(3)]
    cutoff = cutoff_for(frames, 40)
    found = [len(neighbor_list("i", atoms, cutoff)) / len(atoms) for atoms in frames]
    assert SHORTEST < cutoff < LONGEST
    assert np.mean(found) == pytest.approx(40, abs=2)


def test_dense_and_open_structures_stay_within_the_bounds():
    assert cutoff_for([bulk("C", "diamond", a=3.57)], 40) == SHORTEST
    assert cutoff_for([bulk("Cs", "bcc", a=6.1)], 40) == LONGEST
    assert cutoff_for([molecule("CH3CH2OH"), Atoms("H")], 40) == LONGEST


def test_fit_takes_the_cutoff_from_the_training_frames(settings, copper_file, no_report):
    result = fit(settings(model={**HDNNP, "cutoff": None}))
    frames, train = gnnpot.read(copper_file), json.loads((result.run_dir / "split.json").read_text())["train"]
    model = gnnpot.load(result.run_dir)
    assert model.cutoff == cutoff_for([frames[k] for k in train], model.n_neighbors)


def test_explicit_functions_bring_their_cutoff(settings, no_report):
    functions = ["G2 Cu Cu eta=1 shift=0 cutoff=3.2 polynomial", "G2 Cu Cu eta=2 shift=0 cutoff=3.7 polynomial"]
    result = fit(settings(model={**HDNNP, "cutoff": None, "functions": functions}))
    assert gnnpot.load(result.run_dir).cutoff == 3.7
