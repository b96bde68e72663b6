"""Small models in double precision that have learned a bundled crystal: first principles' forces and Born charges."""

import copy
import functools

import numpy as np
import torch
from ase import Atoms

from gnnpot.data.bundled import bundled_path
from gnnpot.data.graph import AtomicGraph, edge_vectors, graph_from_atoms
from gnnpot.data.readers import read
from gnnpot.models.properties import derive
from gnnpot.models.response import ResponsePotential, build_head, joined
from gnnpot.models.schnet import SchNet
from gnnpot.nn.convolution import only_parameters

CUTOFF = 4.0
NAMES = ("forces", "born_effective_charges")
CHARGES = {"Li2O": {"Li": 1, "O": -2}, "MgO": {"Mg": 2, "O": -2}}
CELLS = {"Li2O": 12, "MgO": 8}
"""Atoms in a cubic cell; the others are primitive, smaller than the cutoff."""
SIZES = {"n_inputs": 12, "cutoff": CUTOFF, "n_channels": 8, "n_radial": 8, "hidden": 12}


@functools.cache
def labelled_frames(crystal: str, primitive: bool = False) -> tuple[Atoms, ...]:
    """Bundled frames with forces and Born charges, of the cubic or the primitive cell, the calmest first."""
    labelled = [atoms for atoms in read(bundled_path(crystal)) if "born_effective_charges" in atoms.calc.results]
    found = [atoms for atoms in labelled if (len(atoms) < CELLS[crystal]) == primitive]
    return tuple(sorted(found, key=lambda atoms: np.abs(atoms.get_forces()).max()))


@functools.cache
def dipole_model(crystal: str) -> ResponsePotential:
    """SchNet and a polarization head, trained together on the six calmest frames."""
    torch.manual_seed(0)
    backbone = SchNet(list(CHARGES[crystal]), CUTOFF, n_features=12, n_interactions=2, n_radial=8)
    target = {"_target_": "gnnpot.models.polarization.PolarizationHead", "charges": CHARGES[crystal]}
    model = joined(backbone, build_head({**target, "elements": list(backbone.elements), **SIZES})).double()
    graphs = training_graphs(crystal)
    model.learn_from(graphs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(90):
        graph = graphs[step % len(graphs)]
        optimizer.zero_grad()
        found = derive(model, graph, NAMES, differentiable=True)
        loss = torch.stack([((found[name] - getattr(graph, name)) ** 2).mean() for name in NAMES]).sum()
        with only_parameters():
            loss.backward()
        optimizer.step()
    return model.requires_grad_(False).eval()


@functools.cache
def tensor_model(crystal: str) -> ResponsePotential:
    """The same SchNet, its weights kept, with a tensor head that was trained on it."""
    backbone = copy.deepcopy(dipole_model(crystal).backbone)
    torch.manual_seed(0)
    target = {"_target_": "gnnpot.models.born_tensor.BornTensorHead", "elements": list(backbone.elements)}
    model = joined(backbone, build_head({**target, **SIZES}).double())
    graphs = training_graphs(crystal)
    model.learn_response_from(graphs)
    features = [backbone.features(graph) for graph in graphs]
    optimizer = torch.optim.Adam(model.head.parameters(), lr=0.01)
    for step in range(90):
        k = step % len(graphs)
        optimizer.zero_grad()
        born = model.head(features[k], graphs[k], edge_vectors(graphs[k]))["born_effective_charges"]
        ((born - graphs[k].born_effective_charges) ** 2).mean().backward()
        optimizer.step()
    return model.requires_grad_(False).eval()


def training_graphs(crystal: str) -> list[AtomicGraph]:
    """The six calmest frames."""
    return [graph_from_atoms(atoms, CUTOFF) for atoms in labelled_frames(crystal)[:6]]
