"""The peers' side of every row: SchNetPack, DScribe, PyTorch Geometric, CHGNet, each at its fastest setting."""

import functools
import tempfile
import typing
from pathlib import Path

import torch
from works import EVERY, GNNFF, N_TRAINING, SCHNET, Work, dynamics, first_frame, silicon


def prepare(row: str, data: Path) -> Work:
    """The work of a row, ready to be repeated."""
    kind, _, size = row.partition("-")
    if kind == "md":
        return _schnetpack_dynamics(data, int(size))
    if kind == "chgnet":
        return _chgnet_dynamics(data, int(size))
    if kind == "gnnff":
        return _gnnff(data, training=size == "training")
    if row == "schnet-training":
        return _schnetpack_training(data)
    return _dscribe(data)


def _schnetpack():
    """Import it: version 2.1.1 asks torch for a name that newer versions do not have, and to load whole models."""
    import torch.utils.data.dataloader

    torch.utils.data.dataloader.T_co = typing.TypeVar("T_co")
    torch.load = functools.partial(torch.load, weights_only=False)
    import schnetpack

    return schnetpack


def _schnetpack_model():
    spk = _schnetpack()
    representation = spk.representation.SchNet(
        n_atom_basis=SCHNET["n_features"],
        n_interactions=SCHNET["n_interactions"],
        radial_basis=spk.nn.GaussianRBF(n_rbf=SCHNET["n_radial"], cutoff=SCHNET["cutoff"]),
        cutoff_fn=spk.nn.CosineCutoff(SCHNET["cutoff"]),
    )
    return spk.model.NeuralNetworkPotential(
        representation=representation,
        input_modules=[spk.atomistic.PairwiseDistances()],
        output_modules=[
            spk.atomistic.Atomwise(n_in=SCHNET["n_features"], output_key="energy"),
            spk.atomistic.Forces(energy_key="energy", force_key="forces"),
        ],
        postprocessors=[],
    )


def _schnetpack_dynamics(data: Path, n_atoms: int) -> Work:
    """Its fastest neighbor list: matscipy's within a skin."""
    model = _schnetpack_model()
    from schnetpack.interfaces import SpkCalculator
    from schnetpack.transform import MatScipyNeighborList, SkinNeighborList

    neighbors = SkinNeighborList(neighbor_list=MatScipyNeighborList(cutoff=SCHNET["cutoff"]), cutoff_skin=0.5)
    atoms = first_frame(data, n_atoms)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model, Path(folder) / "model")
        atoms.calc = SpkCalculator(
            model_file=str(Path(folder) / "model"),
            neighbor_list=neighbors,
            energy_unit="eV",
            position_unit="Ang",
            device="cpu",
            dtype=torch.float32,
        )
    return Work(dynamics(atoms), 1, "steps")


def _schnetpack_training(data: Path) -> Work:
    """Batch and neighbors made before; the same loss and optimizer as ours."""
    model = _schnetpack_model()
    from schnetpack.interfaces import AtomsConverter
    from schnetpack.transform import MatScipyNeighborList

    converter = AtomsConverter(neighbor_list=MatScipyNeighborList(cutoff=SCHNET["cutoff"]), device="cpu")
    batch = converter([first_frame(data)] * N_TRAINING)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    n_atoms = batch["_n_atoms"]
    model.train()

    def step() -> None:
        found = model(dict(batch))
        loss = (found["forces"] ** 2).mean() + ((found["energy"] / n_atoms) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Work(step, N_TRAINING, "structures")


def _dscribe(data: Path) -> Work:
    """The functions of the published silicon potential, one G2 or G4 of DScribe each."""
    from dscribe.descriptors import ACSF

    from gnnpot.models.n2p2 import load_n2p2

    model = load_n2p2(data / "n2p2_potentials" / "Si")
    functions = model.descriptor_set.functions
    g2 = [(f.eta, f.shift) for f in functions if f.kind == "G2"]
    g4 = [(f.eta, f.zeta, f.lambda_) for f in functions if f.kind == "G4"]
    assert len(g2) + len(g4) == len(functions)
    acsf = ACSF(species=["Si"], r_cut=model.cutoff, periodic=True, g2_params=g2, g4_params=g4)
    frames = silicon(data)[::EVERY]
    return Work(lambda: [acsf.create(atoms) for atoms in frames], sum(map(len, frames)), "atoms")


def _chgnet_dynamics(data: Path, n_atoms: int) -> Work:
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    atoms = first_frame(data, n_atoms)
    atoms.calc = CHGNetCalculator(CHGNet.load(use_device="cpu", verbose=False), use_device="cpu")
    return Work(dynamics(atoms), 1, "steps")


def _gnnff(data: Path, training: bool) -> Work:
    """`NodeBlock`, `EdgeBlock` and readout of PyTorch Geometric on our edges and triplets, made before."""
    from torch_geometric.nn.models import gnnff

    from gnnpot.data.graph import edge_vectors, graph_from_atoms
    from gnnpot.data.triplets import reverse_edges

    model = gnnff.GNNFF(GNNFF["n_features"], GNNFF["n_edge_features"], GNNFF["n_interactions"])
    graph = graph_from_atoms(first_frame(data), GNNFF["cutoff"], torch.float32)
    i, j = graph.edge_index
    ij, jk = (j[:, None] == i[None, :]).nonzero().t()
    onward = jk != reverse_edges(graph)[ij]
    ij, jk = ij[onward], jk[onward]
    triplets = (i[ij], j[ij], j[jk], ij, jk)

    def forces() -> torch.Tensor:
        vectors = -edge_vectors(graph)
        distances = vectors.norm(dim=1)
        nodes, edges = model.node_emb(graph.atomic_numbers), model.edge_emb(distances)
        for node_block, edge_block in zip(model.node_blocks, model.edge_blocks, strict=True):
            nodes = node_block(nodes, edges, i)
            edges = edge_block(nodes, edges, i, j, *triplets)
        out = torch.zeros_like(graph.positions)
        return out.index_add(0, i, model.force_predictor(edges) * vectors / distances[:, None])

    if not training:
        model.eval()
        return Work(torch.no_grad()(forces), 1, "steps")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        loss = (forces() ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Work(step, 1, "steps")
