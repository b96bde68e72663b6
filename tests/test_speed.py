"""Guards of measured gains: ratios of processor times in one process, at about half of what was measured."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list

from gnnpot.data.graph import AtomicGraph, graph_from_atoms
from gnnpot.data.neighbors import neighbor_list
from gnnpot.kernels import kernels
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet
from gnnpot.nn.descriptor_operators import fast_descriptors
from gnnpot.nn.descriptors import plain_descriptors

ROUNDS = 5


@pytest.fixture(scope="module")
def silicon() -> Atoms:
    atoms = bulk("Si", cubic=True) * 2
    atoms.rattle(0.05, seed=0)
    return atoms


def gain(fast: Callable[[], object], slow: Callable[[], object]) -> float:
    """Least processor time of the slow way over that of the fast one, in turns, after one call of each."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for k in range(ROUNDS + 1):
        for is_fast, work in ((True, fast), (False, slow)):
            start = time.process_time()
            work()
            if k:
                seconds[is_fast].append(time.process_time() - start)
    return min(seconds[False]) / min(seconds[True])


def trained_step(model: Potential, graph: AtomicGraph) -> Callable[[], None]:
    """A training step on forces."""

    def step() -> None:
        model.zero_grad()
        derive(model, graph, ["forces"], differentiable=True)["forces"].square().sum().backward()

    return step


def test_neighbor_list(silicon: Atoms) -> None:
    cell, pbc = silicon.cell.array, silicon.pbc
    assert (
        gain(
            lambda: neighbor_list(silicon.positions, cell, pbc, 5.0),
            lambda: primitive_neighbor_list("ijS", pbc, cell, silicon.positions, 5.0),
        )
        > 5.0
    )


def test_descriptors(silicon: Atoms) -> None:
    model, graph = HDNNP(["Si"], cutoff=5.0), graph_from_atoms(silicon, 5.0, torch.float32)
    types = model.types(graph)
    assert (
        gain(
            lambda: fast_descriptors(model.descriptor_set, graph, types),
            lambda: plain_descriptors(model.descriptor_set, graph, types),
        )
        > 8.0
    )


def test_training_on_stored_derivatives(silicon: Atoms) -> None:
    model, bare = HDNNP(["Si"], cutoff=5.0), graph_from_atoms(silicon, 5.0, torch.float32)
    stored = {name: x.float() for name, x in model.precompute(bare).items()}
    assert gain(trained_step(model, bare.replace(**stored)), trained_step(model, bare)) > 1.8


def test_training_of_schnet(silicon: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    model, graph = SchNet(["Si"]), graph_from_atoms(silicon, 6.5, torch.float32)
    graph = graph.replace(**model.precompute(graph))
    step = trained_step(model, graph)

    def plain_step() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("gnnpot.nn.convolution.kernels_serve", lambda device: False)
            step()

    assert kernels() == "compiled"
    assert gain(step, plain_step) > 1.7


def test_gain_counts_the_slow_over_the_fast() -> None:
    ones = np.ones(200_000)
    assert gain(lambda: ones.sum(), lambda: [ones.sum() for _ in range(20)]) > 5.0
