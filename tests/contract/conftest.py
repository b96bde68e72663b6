"""Every model of ``configs/model/`` meets the tests of this folder by existing."""

import copy
from collections.abc import Callable

import ase
import numpy as np
import pytest
import torch
import yaml
from ase.build import bulk, make_supercell, molecule

from gnnpot.config import build, check_class, config_dir
from gnnpot.data.graph import AtomicGraph, graph_from_atoms
from gnnpot.data.labels import attach_labels
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive

MODEL_NAMES = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
ELEMENTS = [3, 8]
SMALL = {"n_features": 8, "n_edge_features": 16, "n_radial": 6, "n_interactions": 2, "hidden": [6, 6]}
"""Sizes for quick tests: whichever of them a model has."""


def model_config(name: str) -> dict[str, object]:
    """``configs/model/<name>.yaml`` as a dict."""
    return dict(yaml.safe_load((config_dir() / "model" / f"{name}.yaml").read_text(encoding="utf-8")))


def labelled(atoms: ase.Atoms, seed: int) -> ase.Atoms:
    """The structure with random labels of a plausible size."""
    rng = np.random.default_rng(seed)
    forces = rng.normal(size=(len(atoms), 3))
    labels = {"energy": -3.0 * len(atoms) + rng.normal(), "forces": forces, "stress": np.zeros((3, 3))}
    attach_labels(atoms, labels)
    return atoms


def rattled(repeat: tuple[int, int, int] = (1, 1, 1), seed: int = 0) -> ase.Atoms:
    """Li2O, displaced and sheared: no symmetry is left."""
    rng = np.random.default_rng(seed)
    cell = 2.3 * (np.ones((3, 3)) - np.eye(3))
    atoms = ase.Atoms("Li2O", cell=cell, pbc=True, scaled_positions=[[0.25] * 3, [0.75] * 3, [0.0] * 3]) * repeat
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.05 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    return atoms


def structures() -> dict[str, ase.Atoms]:
    """Cells of every kind that a user may bring."""
    cubic = rattled(seed=1)
    left = rattled(seed=2)
    left.set_cell(left.cell.array[[1, 0, 2]])
    skewed = rattled(seed=3)
    skewed.set_cell(skewed.cell.array @ np.array([[1, 0, 0], [0.9, 1, 0], [0.4, 0.7, 1]]), scale_atoms=True)
    slab = rattled((2, 1, 1), seed=4)
    slab.pbc = (True, True, False)
    slab.set_cell(slab.cell.array * np.array([[1], [1], [3.0]]))
    water = molecule("H2O")
    water.numbers = [8, 3, 3]
    return {"cubic": cubic, "left-handed": left, "skewed": skewed, "slab": slab, "molecule": water}


@pytest.fixture(scope="session", params=MODEL_NAMES)
def model_name(request: pytest.FixtureRequest) -> str:
    """Each model in turn."""
    return str(request.param)


def training_frames() -> list[ase.Atoms]:
    """Labelled frames for `trained_like`."""
    return [labelled(rattled((1, 1, 2), seed=k), k) for k in range(4)] + [labelled(bulk("Li", cubic=True), 9)]


def trained_like(name: str, frames: list[ase.Atoms] | None = None, **overrides: object) -> Potential:
    """A small model in float64 whose data-dependent buffers are filled, with random weights."""
    torch.manual_seed(0)
    config = model_config(name)
    target = str(config.pop("_target_"))
    config.update({key: value for key, value in SMALL.items() if key in config})
    config.update({"elements": ELEMENTS, "cutoff": 4.0}, **overrides)
    graphs = [graph_from_atoms(atoms, 4.0) for atoms in frames or training_frames()]
    model_class = check_class(target, ["gnnpot.models"])
    arguments = model_class.resolve(config, graphs)
    model: Potential = build({"_target_": target, **arguments}, ["gnnpot.models"])
    model.double()
    model.learn_from(graphs)
    return model.eval()


@pytest.fixture(scope="session")
def shared_model(model_name: str) -> Potential:
    """One model for all tests that leave it as it is."""
    return trained_like(model_name)


@pytest.fixture
def model(shared_model: Potential) -> Potential:
    """The model; a test that changes it copies it."""
    return shared_model


@pytest.fixture
def own_model(shared_model: Potential) -> Potential:
    """A model that the test may change."""
    return copy.deepcopy(shared_model)


@pytest.fixture
def energy_model(model: Potential) -> Potential:
    """The model if it has an energy."""
    if "energies" not in model.outputs:
        pytest.skip(f"{type(model).__name__} gives forces without an energy")
    return model


def graph_of(model: Potential, atoms: ase.Atoms) -> AtomicGraph:
    """Float64 graph of a structure for this model."""
    return graph_from_atoms(atoms, model.cutoff)


def main_properties(model: Potential) -> tuple[str, ...]:
    """Properties compared in symmetry tests."""
    return ("energy", "forces", "stress") if "energies" in model.outputs else ("forces",)


@pytest.fixture
def evaluate() -> Callable[[Potential, ase.Atoms], dict[str, np.ndarray]]:
    """Properties of one structure as arrays."""

    def properties(model: Potential, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        values = derive(model, graph_of(model, atoms), main_properties(model))
        return {name: value.numpy() for name, value in values.items()}

    return properties


def supercell(atoms: ase.Atoms, matrix: np.ndarray) -> ase.Atoms:
    """A supercell by any integer matrix, skewed ones included."""
    return make_supercell(atoms, matrix)
