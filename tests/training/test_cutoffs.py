import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write
from ase.neighborlist import neighbor_list

import gnnpot
from gnnpot.config import compose
from gnnpot.training.cutoffs import LONGEST, cutoff_for
from gnnpot.training.fit import fit

HDNNP = {"_target_": "gnnpot.models.hdnnp.HDNNP", "n_radial": 4, "n_angular": 1, "hidden": [4]}


def rattled(atoms: Atoms, seed: int) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.15, seed=seed)
    return atoms


def test_atoms_have_as_many_neighbors_as_wanted():
    frames = [rattled(bulk("Si", cubic=True) * (2, 2, 2), seed) for seed in range(3)]
    cutoff = cutoff_for(frames, 40, 4.5)
    found = [len(neighbor_list("i", atoms, cutoff)) / len(atoms) for atoms in frames]
    assert 4.5 < cutoff < LONGEST
    assert np.mean(found) == pytest.approx(40, abs=2)


def test_dense_and_open_structures_stay_within_the_bounds():
    assert cutoff_for([bulk("C", "diamond", a=3.57)], 40, 4.2) == 4.2
    assert cutoff_for([bulk("Cs", "bcc", a=6.1)], 40, 4.5) == LONGEST
    assert cutoff_for([molecule("CH3CH2OH"), Atoms("H")], 40, 4.5) == LONGEST


def test_fit_takes_the_cutoff_from_the_training_frames(settings, copper_file, no_report):
    result = fit(settings(model={**HDNNP, "cutoff": None}))
    frames, train = gnnpot.read(copper_file), json.loads((result.run_dir / "split.json").read_text())["train"]
    model = gnnpot.load(result.run_dir)
    assert model.cutoff == cutoff_for([frames[k] for k in train], model.n_neighbors, model.shortest_cutoff)


def test_explicit_functions_bring_their_cutoff(settings, no_report):
    functions = ["G2 Cu Cu eta=1 shift=0 cutoff=3.2 polynomial", "G2 Cu Cu eta=2 shift=0 cutoff=3.7 polynomial"]
    result = fit(settings(model={**HDNNP, "cutoff": None, "functions": functions}))
    assert gnnpot.load(result.run_dir).cutoff == 3.7


def test_a_graph_network_takes_both_radii_from_the_data(settings, tmp_path, no_report):
    frames = [rattled(bulk("Al", a=4.6, cubic=True), seed) for seed in range(8)]
    for atoms in frames:
        atoms.calc = EMT()
        atoms.get_forces()
    write(tmp_path / "aluminum.xyz", frames)
    model = compose("fit", ["model=gnnff_conservative"])["model"] | {"n_features": 4, "n_edge_features": 4}
    fit(settings(model=model, data={"path": str(tmp_path / "aluminum.xyz")}))
    found = gnnpot.load(tmp_path / "run")
    within = np.mean([len(neighbor_list("i", atoms, found.cutoff)) / len(atoms) for atoms in frames])
    assert found.cutoff > 5.0
    assert within == pytest.approx(found.n_neighbors, abs=3)
    assert found.triplet_cutoff == pytest.approx(0.8 * found.cutoff)
