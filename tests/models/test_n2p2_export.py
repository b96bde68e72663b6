"""HDNNPs written as folders of n2p2, and read back."""

import ase
import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

import gnnpot
from gnnpot.data.graph import graph_from_atoms
from gnnpot.errors import CheckpointError
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.n2p2_export import export_n2p2
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet
from gnnpot.models.store import save


def lithium_oxide(seed):
    rng = np.random.default_rng(seed)
    cell = 2.3 * (np.ones((3, 3)) - np.eye(3))
    atoms = ase.Atoms("Li2O", cell=cell, pbc=True, scaled_positions=[[0.25] * 3, [0.75] * 3, [0.0] * 3]) * (2, 1, 1)
    atoms.positions += 0.15 * rng.normal(size=atoms.positions.shape)
    atoms.calc = SinglePointCalculator(atoms, energy=-28.0 + rng.normal(), forces=rng.normal(size=(len(atoms), 3)))
    return atoms


def trained(**arguments):
    """A model with random weights that has learned its ranges from a few frames."""
    torch.manual_seed(3)
    settings = {"cutoff": 4.5, "n_radial": 4, "n_angular": 2, "hidden": [7, 5], "short_range": None, **arguments}
    model = HDNNP(["Li", "O"], **settings).double()
    frames = [lithium_oxide(seed) for seed in range(4)]
    for symbol, energy in (("Li", -201.3), ("O", -559.7)):
        frames.append(ase.Atoms(symbol))
        frames[-1].calc = SinglePointCalculator(frames[-1], energy=energy)
    model.learn_from([graph_from_atoms(frame, 4.5) for frame in frames])
    return model.eval()


G4 = [
    "G4 O Li Li eta=0.3 shift=0.7 zeta=1.5 lambda=-1 cutoff=4 cosine",
    "G2 O Li eta=2 shift=1.1 cutoff=4.5 cosine",
    "G5 O Li O eta=0.1 shift=0 zeta=4 lambda=1 cutoff=4.5 cosine",
    "G2 Li O eta=0.123456789 shift=0 cutoff=4.5 cosine",
]


WEIGHTED = [
    f"{line} cutoff=4.5 polynomial"
    for z in ("Li", "O")
    for line in (f"wG4 {z} eta=0.05 shift=0.5 zeta=2 lambda=-1", f"wG2 {z} eta=1 shift=2", f"wG2 {z} eta=0.5 shift=2")
]


@pytest.mark.parametrize(
    "arguments",
    [
        {"functions": WEIGHTED},
        {},
        {"envelope": "cosine", "hidden": [9]},
        {"activation": "shifted_softplus"},
        {"functions": G4},
    ],
    ids=["weighted", "default", "cosine", "softplus", "own functions"],
)
def test_what_is_exported_and_read_back_is_the_same_potential(tmp_path, arguments):
    model = trained(**arguments)
    again = gnnpot.load(export_n2p2(model, tmp_path / "n2p2"))
    for seed in range(4, 7):
        graph = graph_from_atoms(lithium_oxide(seed), 4.5)
        expected = derive(model, graph, ["energy", "forces", "stress"])
        found = derive(again, graph, ["energy", "forces", "stress"])
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-10)
        assert torch.equal(again.extrapolations(graph), model.extrapolations(graph))
    isolated = graph_from_atoms(ase.Atoms("O"), 4.5)
    torch.testing.assert_close(again(isolated), model(isolated), rtol=0, atol=1e-10)


def test_published_potentials_go_out_as_they_came_in(gnnpot_data, tmp_path):
    model = gnnpot.load(gnnpot_data / "n2p2_potentials" / "Si")
    again = gnnpot.load(export_n2p2(model, tmp_path / "Si"))
    frame = ase.io.read(gnnpot_data / "n2p2_potentials" / "Si" / "n2p2_output_test.xyz", 0)
    graph = graph_from_atoms(frame, model.cutoff)
    expected, found = (derive(m, graph, ["energy", "forces"]) for m in (model, again))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    written, published = (
        {
            tuple(map(float, line.split()[5:]))
            for line in (folder / "input.nn").read_text().splitlines()
            if " 3 " in line
        }
        for folder in (tmp_path / "Si", gnnpot_data / "n2p2_potentials" / "Si")
    )
    assert written == published


def test_a_checkpoint_is_exported_by_its_path_and_never_over_files(tmp_path):
    checkpoint = save(trained().float(), tmp_path / "model")
    folder = export_n2p2(checkpoint, tmp_path / "n2p2")
    assert sorted(path.name for path in folder.iterdir()) == [
        "input.nn",
        "scaling.data",
        "weights.003.data",
        "weights.008.data",
    ]
    assert 'pair_style hdnnp 4.500001 dir "." cflength 1.889726' in (folder / "input.nn").read_text()
    with pytest.raises(CheckpointError, match="holds other files already"):
        export_n2p2(checkpoint, folder)
    assert list(tmp_path.glob(".n2p2*")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "silu"}, "n2p2 has no activation=silu; tanh and shifted_softplus"),
        ({"descriptors": "weighted"}, r"n2p2 has no wG5 \('wG5 Li eta.*; it has G2, G4, G5, wG2, wG4"),
        ({"descriptors": "chebyshev"}, r"n2p2 has no T2 \('T2 Li order=0.*; it has G2, G4, G5, wG2, wG4"),
        ({"descriptors": "moments"}, r"n2p2 has no functions of every center, as 'M2 \* one eta"),
        ({"descriptors": "moments", "network": "shared"}, "n2p2 has no network=shared"),
        ({"short_range": "zbl"}, r"n2p2 has no short_range=zbl: train it with model\.short_range=null"),
        ({"activation": "twisted_tanh"}, "n2p2 has no activation=twisted_tanh"),
        ({"functions": [*G4, "G2 O O eta=1 shift=0 cutoff=4 polynomial"]}, "one cutoff_type .* cosine and polynomial"),
    ],
)
def test_what_n2p2_lacks_is_refused_by_name(tmp_path, arguments, message):
    with pytest.raises(CheckpointError, match=message):
        export_n2p2(trained(**arguments), tmp_path / "n2p2")
    assert not (tmp_path / "n2p2").exists()


def test_other_models_and_untrained_ones_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="n2p2 has no SchNet"):
        export_n2p2(SchNet(["Li"], cutoff=4.0, n_features=4, n_radial=4, n_interactions=1), tmp_path / "n2p2")
    with pytest.raises(CheckpointError, match="never been trained"):
        export_n2p2(HDNNP(["Li"], cutoff=4.0, n_radial=3, n_angular=0, short_range=None), tmp_path / "n2p2")
    with pytest.raises(CheckpointError, match=r"n2p2 has no charge=true.*model\.charge=false"):
        export_n2p2(HDNNP(["Li"], cutoff=4.0, n_radial=3, n_angular=0, charge=True), tmp_path / "n2p2")
