"""gnnpot's side of every row."""

from collections.abc import Callable
from pathlib import Path

import torch
from limits import gnnff_forward, schnet_evaluation, schnet_training, symmetry_functions
from works import EVERY, GNNFF, N_TRAINING, SCHNET, Work, dynamics, first_frame, silicon

from gnnpot.apps.calculator import Calculator
from gnnpot.data.graph import AtomicGraph, cast, collate, graph_from_atoms
from gnnpot.models import gnnff
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.n2p2 import load_n2p2
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet
from gnnpot.nn.convolution import only_parameters

FLOAT = torch.float32


def prepare(row: str, data: Path) -> Work:
    """The work of a row, ready to be repeated."""
    kind, _, size = row.partition("-")
    if kind == "md":
        return _dynamics(SchNet(["Si"], **SCHNET), data, int(size))
    if kind == "chgnet":
        return _dynamics(GNNFFConservative(["Si"], cutoff=5.0), data, int(size))
    if kind == "gnnff":
        return _gnnff(data, training=size == "training")
    return {
        "schnet-training": _schnet_training,
        "descriptors": lambda data: _symmetry_functions(data, derivatives=False),
        "hdnnp-forces": lambda data: _symmetry_functions(data, derivatives=True),
        "hdnnp-epoch": _hdnnp_epoch,
    }[row](data)


def _dynamics(model: Potential, data: Path, n_atoms: int) -> Work:
    atoms = first_frame(data, n_atoms)
    atoms.calc = Calculator(model)
    flops, moved = 0.0, 0.0
    if isinstance(model, SchNet):
        n_pairs = graph_from_atoms(atoms, model.cutoff).n_edges // 2
        flops, moved = schnet_evaluation(len(atoms), n_pairs, model.n_features, model.n_interactions)
    return Work(dynamics(atoms), 1, "steps", flops, moved)


def _training(model: Potential, batch: AtomicGraph) -> Callable[[], object]:
    """A step of Adam on energies per atom and forces, mean squares."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    n_atoms = torch.bincount(batch.batch)
    wanted = ["energy", "forces"] if "energies" in model.outputs else ["forces"]

    def step() -> None:
        found = derive(model, batch, wanted, differentiable=True)
        loss = (found["forces"] ** 2).mean()
        if "energy" in found:
            loss = loss + ((found["energy"] / n_atoms) ** 2).mean()
        optimizer.zero_grad()
        with only_parameters():
            loss.backward()
        optimizer.step()

    return step


def _graph(model: Potential, atoms) -> AtomicGraph:
    graph = graph_from_atoms(atoms, model.cutoff)
    return cast(graph.replace(**model.precompute(graph)), FLOAT)


def _schnet_training(data: Path) -> Work:
    model = SchNet(["Si"], **SCHNET)
    batch = collate([_graph(model, first_frame(data))] * N_TRAINING)
    cost = schnet_training(batch.n_atoms, batch.n_edges // 2, model.n_features, model.n_interactions)
    return Work(_training(model, batch), N_TRAINING, "structures", *cost)


def _symmetry_functions(data: Path, derivatives: bool) -> Work:
    """Neighbor lists included, as in the peers."""
    model = load_n2p2(data / "n2p2_potentials" / "Si").to(FLOAT).requires_grad_(False)
    frames = silicon(data)[::EVERY]
    graphs = [graph_from_atoms(atoms, model.cutoff) for atoms in frames]
    degrees = [torch.bincount(graph.centers) for graph in graphs]
    triplets = sum(int((n * (n - 1) // 2).sum()) for n in degrees)

    def repeat() -> None:
        for atoms in frames:
            graph = graph_from_atoms(atoms, model.cutoff, FLOAT)
            if derivatives:
                derive(model, graph, ["energy", "forces"])
            else:
                model.features(graph)

    cost = symmetry_functions(triplets, len(model.functions), derivatives)
    return Work(repeat, sum(map(len, frames)), "atoms", *cost)


def _hdnnp_epoch(data: Path) -> Work:
    """Descriptors and their derivatives stored, batches of 8; loads nothing and validates nothing."""
    model: HDNNP = load_n2p2(data / "n2p2_potentials" / "Si").float()
    graphs = [_graph(model, atoms) for atoms in silicon(data)[::EVERY]]
    batches = [collate(graphs[k : k + N_TRAINING]) for k in range(0, len(graphs), N_TRAINING)]
    steps = [_training(model, batch) for batch in batches]
    moved = 2.0 * sum(graph.descriptor_gradients.numel() * 4 for graph in graphs)
    return Work(lambda: [step() for step in steps], len(graphs), "structures", 0.0, moved)


def _gnnff(data: Path, training: bool) -> Work:
    model = gnnff.GNNFF(["Si"], triplet_cutoff=GNNFF["cutoff"], **GNNFF)
    graph = _graph(model, first_frame(data))
    degrees = torch.bincount(graph.centers)
    n_triplets = int((degrees * (degrees - 1)).sum())
    flops, moved = gnnff_forward(graph.n_edges, n_triplets, GNNFF)
    if training:
        return Work(_training(model, graph), 1, "steps", 3 * flops, 3 * moved)
    return Work(lambda: derive(model, graph, ["forces"]), 1, "steps", flops, moved)
