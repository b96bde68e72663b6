"""Potentials of n2p2: its own energies and forces, and its formulas written out as loops."""

import itertools
import math
import random

import ase
import ase.io
import ase.neighborlist
import numpy as np
import pytest
import torch

import gnnpot
from gnnpot.data.graph import graph_from_atoms, scatter_sum
from gnnpot.errors import CheckpointError, DataWarning, ExtrapolationWarning
from gnnpot.models.n2p2 import load_n2p2
from gnnpot.models.store import read_card

BOHR, HARTREE = 0.529177210903, 27.211386245988
FUNCTIONS = [
    "H 2 H 0.1 0.0 8.0",
    "H 2 O 0.1 0.0 8.0",
    "H 2 O 0.1 1.5 8.0",
    "H 3 H O 0.02 -1 2.0 8.0",
    "H 3 O O 0.02 1 1.0 8.0 0.5",
    "H 9 H H 0.03 1 4.0 7.0",
    "O 2 H 0.05 2.0 8.0",
    "O 2 O 0.3 0.0 8.0",
    "O 3 H H 0.02 1 1.5 8.0",
]
"""As n2p2 numbers them: by center, type, cutoff, eta, shift, zeta, lambda, neighbors."""
SETTINGS = """number_of_elements 2
elements O H       # in any order
atom_energy H -0.45
atom_energy O -74.9
cutoff_type 1
scale_symmetry_functions
scale_min_short 0.0
scale_max_short 1.0
global_hidden_layers_short 2
global_nodes_short 4 3
global_activation_short t t l
epochs 10
random_seed 3
"""


def forces_as_n2p2(model, graph):
    """Forces without the reaction of an atom's own periodic images, which n2p2 2.3 leaves out.

    Where an atom is its own neighbor, n2p2's forces are therefore not the derivatives of its energy (which ours
    are: see the contract tests); everywhere else both agree.
    """
    gradients = model.energy_and_edge_gradients(graph, False).by_edge
    own_image = (graph.centers == graph.neighbors)[:, None]
    reaction = torch.where(own_image, torch.zeros_like(gradients), gradients)
    on_centers = scatter_sum(gradients, graph.centers, graph.n_atoms)
    return (on_centers - scatter_sum(reaction, graph.neighbors, graph.n_atoms)).detach()


FRAMES = {"Si": 25, "Li": 29, "Cu": 31}
OWN_NEIGHBORS = {"Si": {8}, "Li": {24, 25, 26, 27, 28}, "Cu": {4, 5}}
"""Frames of ``n2p2_output_test.xyz`` with cells so small that an atom has an image of its own within the cutoff."""
PERFECT = {"Si": set(), "Li": {26, 27, 28}, "Cu": set()}
"""Those of them where all forces vanish by symmetry, elastic strains of bcc: nothing is left out there."""


def frames_of_n2p2(folder):
    return ase.io.read(folder / "n2p2_output_test.xyz", ":")


@pytest.mark.parametrize("symbol", FRAMES)
def test_published_potentials_give_the_energies_and_forces_of_n2p2(gnnpot_data, symbol):
    """All frames: energies everywhere, forces everywhere but in the five small cells that have any."""
    folder = gnnpot_data / "n2p2_potentials" / symbol
    frames = frames_of_n2p2(folder)
    assert len(frames) == FRAMES[symbol]
    model = gnnpot.load(folder)
    found = gnnpot.predict(model, [atoms.copy() for atoms in frames], properties=["energy", "forces"])
    differing, own_neighbors = set(), set()
    for k, (atoms, values) in enumerate(zip(frames, found, strict=True)):
        assert abs(values["energy"] - atoms.get_potential_energy()) / len(atoms) < 3e-8
        error = np.abs(values["forces"] - atoms.get_forces()).max()
        assert error < 1e-7 or error > 1e-4
        differing |= {k} if error > 1e-4 else set()
        graph = graph_from_atoms(atoms, model.cutoff)
        own_neighbors |= {k} if bool((graph.centers == graph.neighbors).any()) else set()
        np.testing.assert_allclose(forces_as_n2p2(model, graph).numpy(), atoms.get_forces(), atol=1e-7)
    assert own_neighbors == OWN_NEIGHBORS[symbol]
    assert differing == own_neighbors - PERFECT[symbol]
    assert all(np.abs(frames[k].get_forces()).max() < 1e-7 for k in PERFECT[symbol])


@pytest.mark.parametrize("symbol", FRAMES)
def test_where_forces_differ_ours_are_the_derivatives_of_n2p2s_energy(gnnpot_data, symbol):
    """Finite differences along the differing force of the atom that differs most."""
    folder, step = gnnpot_data / "n2p2_potentials" / symbol, 1e-4
    model = gnnpot.load(folder)
    frames = frames_of_n2p2(folder)
    for k in OWN_NEIGHBORS[symbol] - PERFECT[symbol]:
        atoms = frames[k]
        (ours,) = gnnpot.predict(model, [atoms.copy()], properties=["forces"])
        atom, axis = np.unravel_index(np.abs(ours["forces"] - atoms.get_forces()).argmax(), (len(atoms), 3))
        moved = [atoms.copy(), atoms.copy()]
        moved[0].positions[atom, axis] -= step
        moved[1].positions[atom, axis] += step
        before, after = (values["energy"] for values in gnnpot.predict(model, moved, properties=["energy"]))
        slope = -(after - before) / (2.0 * step)
        assert ours["forces"][atom, axis] == pytest.approx(slope, abs=1e-6)
        assert abs(atoms.get_forces()[atom, axis] - slope) > 1e-4
        assert abs(ours["forces"].sum(0)).max() < 1e-9


def test_an_imported_potential_has_no_repulsion_of_ours(tmp_path):
    """Its energy is its networks' alone at any distance, also where atoms nearly touch."""
    model = load_n2p2(write_folder(tmp_path))
    assert model.short_range is None
    close = ase.Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.2]])
    (found,) = gnnpot.predict(model, [close], properties=["energy"])
    reference = energy_by_loops(tmp_path, close, lambda g, low, high, *_: (g - low) / (high - low))
    assert found["energy"] == pytest.approx(reference, abs=1e-7)


def write_folder(folder, settings=SETTINGS, activations=("t", "t"), seed=0):
    """A potential for H and O with random weights; lines of functions in a random order."""
    rng = np.random.default_rng(seed)
    lines = [f"symfunction_short {line}" for line in FUNCTIONS]
    random.Random(seed).shuffle(lines)
    settings = settings.replace("t t l", f"{activations[0]} {activations[1]} l")
    (folder / "input.nn").write_text(settings + "\n".join(lines))
    rows = ["# a header"]
    for t, symbol in enumerate(["H", "O"]):
        for k in range(sum(line.startswith(symbol) for line in FUNCTIONS)):
            low, high = sorted(rng.uniform(0.0, 2.0, size=2))
            row = (low, high, 0.5 * (low + high), 0.3 * (high - low))
            rows.append(" ".join([str(t + 1), str(k + 1), *(f"{x:.16E}" for x in row)]))
    (folder / "scaling.data").write_text("\n".join(rows))
    for z, n_inputs in ((1, 6), (8, 3)):
        sizes = [n_inputs, 4, 3, 1]
        n_weights = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
        weights = rng.normal(size=n_weights)
        text = "\n".join(f"{w:.16E} a {k + 1} 0 0 0 0" for k, w in enumerate(weights))
        (folder / f"weights.{z:03d}.data").write_text("# a header\n" + text + "\n")
    return folder


def envelope(kind, x):
    if x >= 1.0:
        return 0.0
    return 0.5 * (math.cos(math.pi * x) + 1.0) if kind == 1 else ((15.0 - 6.0 * x) * x - 10.0) * x**3 + 1.0


def value_of_function(line, around, kind):
    """Symmetry function of one atom; ``around`` has (symbol, vector in bohr) of its neighbors."""
    words = line.split()
    n_neighbors = 1 if words[1] == "2" else 2
    elements, numbers = words[2 : 2 + n_neighbors], [float(x) for x in words[2 + n_neighbors :]]
    if n_neighbors == 1:
        eta, shift, cutoff = numbers
        distances = [np.linalg.norm(v) for s, v in around if s == elements[0]]
        return sum(math.exp(-eta * (r - shift) ** 2) * envelope(kind, r / cutoff) for r in distances)
    eta, lambda_, zeta, cutoff, shift = numbers if len(numbers) == 5 else [*numbers, 0.0]
    total = 0.0
    for (s, a), (u, b) in itertools.combinations(around, 2):
        if sorted((s, u)) != sorted(elements):
            continue
        sides = [np.linalg.norm(a), np.linalg.norm(b)] + ([np.linalg.norm(b - a)] if words[1] == "3" else [])
        cosine = a @ b / sides[0] / sides[1]
        radial = math.prod(math.exp(-eta * (r - shift) ** 2) * envelope(kind, r / cutoff) for r in sides)
        total += 2.0 ** (1.0 - zeta) * max(1.0 + lambda_ * cosine, 0.0) ** zeta * radial
    return total


ACTIVATION = {
    "t": np.tanh,
    "s": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "S": lambda x: 1.0 - 1.0 / (1.0 + np.exp(-x)),
    "p": lambda x: np.log(1.0 + np.exp(x)),
}


def energy_by_loops(folder, atoms, scaled, kind=1, activations=("t", "t"), normalize=False, conv=(0.0, 1.0)):
    """Total energy in eV; ``scaled(G, low, high, mean, sigma)`` is the scaling under test."""
    statistics = np.loadtxt(folder / "scaling.data")
    i, j, vectors = ase.neighborlist.neighbor_list("ijD", atoms, 8.0 * BOHR)
    symbols = atoms.get_chemical_symbols()
    total = 0.0
    for center, symbol in enumerate(symbols):
        t = ["H", "O"].index(symbol)
        around = [(symbols[n], v / BOHR) for n, v in zip(j[i == center], vectors[i == center], strict=True)]
        own = [line for line in FUNCTIONS if line.startswith(symbol)]
        rows = statistics[statistics[:, 0] == t + 1]
        x = np.array([scaled(value_of_function(f, around, kind), *row[2:]) for f, row in zip(own, rows, strict=True)])
        weights = np.loadtxt(folder / f"weights.{[1, 8][t]:03d}.data", usecols=0)
        for n, m, activation in zip([len(x), 4, 3], [4, 3, 1], [*activations, "l"], strict=True):
            layer, bias, weights = weights[: n * m].reshape(n, m), weights[n * m : (n + 1) * m], weights[(n + 1) * m :]
            x = (x @ layer + bias) / (n if normalize else 1)
            x = x if activation == "l" else ACTIVATION[activation](x)
        total += x[0] / conv[1] + conv[0] + (-0.45, -74.9)[t]
    return total * HARTREE


def water():
    rng = np.random.default_rng(2)
    positions = rng.uniform(0.0, 5.0, size=(7, 3))
    return ase.Atoms("OHHOHHO", positions, cell=[[5.0, 0.4, 0], [0, 5.2, 0.3], [0, 0, 4.9]], pbc=True)


SCALE_ONLY = "scale_symmetry_functions\nscale_min_short 0.0\nscale_max_short 1.0"
CASES = {
    "scale": ({}, {}),
    "scale to -1, 2": (
        {"scale_min_short 0.0": "scale_min_short -1", "scale_max_short 1.0": "scale_max_short 2"},
        {"scaled": lambda g, low, high, mean, sigma: -1 + 3 * (g - low) / (high - low)},
    ),
    "center": (
        {SCALE_ONLY: "center_symmetry_functions"},
        {"scaled": lambda g, low, high, mean, sigma: g - mean},
    ),
    "scale and center": (
        {"scale_min_short": "center_symmetry_functions\nscale_min_short"},
        {"scaled": lambda g, low, high, mean, sigma: (g - mean) / (high - low)},
    ),
    "sigma": (
        {SCALE_ONLY: "scale_symmetry_functions_sigma"},
        {"scaled": lambda g, low, high, mean, sigma: (g - mean) / sigma},
    ),
    "no scaling": ({SCALE_ONLY: ""}, {"scaled": lambda g, *_: g}),
    "polynomial": ({"cutoff_type 1": "cutoff_type 6 0.0"}, {"kind": 6}),
    "normalized nodes": ({"epochs": "normalize_nodes\nepochs"}, {"normalize": True}),
    "normalized data": (
        {"epochs": "mean_energy -2.5\nconv_energy 40.0\nconv_length 1.3\nepochs"},
        {"conv": (-2.5, 40.0)},
    ),
    "logistic": ({}, {"activations": ("s", "S")}),
    "softplus": ({}, {"activations": ("p", "p")}),
}


@pytest.mark.parametrize("name", CASES)
def test_every_keyword_means_what_n2p2_says(tmp_path, name):
    replacements, expected = CASES[name]
    settings = SETTINGS
    for old, new in replacements.items():
        assert old in settings
        settings = settings.replace(old, new)
    folder = write_folder(tmp_path, settings, expected.get("activations", ("t", "t")))
    arguments = {"scaled": lambda g, low, high, *_: (g - low) / (high - low), **expected}
    (found,) = gnnpot.predict(gnnpot.load(folder), [water()], properties=["energy"])
    reference = energy_by_loops(folder, water(), **arguments)
    assert found["energy"] == pytest.approx(reference, abs=1e-7)


def test_ranges_of_scaling_data_count_extrapolations(tmp_path):
    model = gnnpot.load(write_folder(tmp_path))
    assert bool(torch.isfinite(model.descriptor_scale.lowest[0]).all())
    assert int(model.extrapolations(graph_from_atoms(water(), model.cutoff)).sum()) > 0


def test_card_and_calculator_know_it(tmp_path):
    folder = write_folder(tmp_path)
    card = read_card(folder)
    assert card["elements"] == ["H", "O"]
    assert "n2p2" in card["trained_by"]
    assert gnnpot.load(folder, dtype="float32").dtype == torch.float32
    atoms = water()
    atoms.calc = gnnpot.Calculator(folder, dtype="float64")
    (found,) = gnnpot.predict(gnnpot.load(folder), [water()], properties=["energy"])
    with pytest.warns(ExtrapolationWarning):
        energy = atoms.get_potential_energy()
    assert energy == pytest.approx(found["energy"], abs=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "cutoff_type 1",
            "cutoff_type 2",
            r"cutoff_type 2 \(tanh.*\) does not exist here; 1 \(cosine\) and 6 \(polynomial\) do",
        ),
        ("cutoff_type 1", "cutoff_type 1 0.3", "inner cutoff"),
        ("cutoff_type 1", "", "cutoff_type is missing"),
        ("t t l", "t g l", "global_activation_short t g l"),
        ("t t l", "t p l", "one activation"),
        ("t t l", "t t t", "the last l"),
        ("nodes_short 4 3", "nodes_short 4", "one number for each"),
        ("epochs", "element_nodes_short O 1 9\nepochs", "element_nodes_short is not understood"),
        ("epochs", "nnp_type 4G-HDNNP\nepochs", "nnp_type 4G-HDNNP"),
        ("epochs", "mean_energy 3\nepochs", "belong together"),
        ("elements O H", "elements O Q", "'Q' is no element"),
        ("elements O H", "elements O", "about H"),
        ("atom_energy H -0.45", "atom_energy H a", "'a' is no number"),
        ("epochs", "symfunction_short H 2 H 0.1 0.0 x\nepochs", "no symmetry function of n2p2"),
        ("epochs", "symfunction_short H 3 H H 0.1 1.5 1 8.0\nepochs", "lambda"),
        ("scale_max_short 1.0", "scale_max_short 0.0", "must differ"),
    ],
)
def test_what_gnnpot_lacks_is_refused_by_name(tmp_path, old, new, message):
    assert old in SETTINGS
    folder = write_folder(tmp_path)
    (folder / "input.nn").write_text((folder / "input.nn").read_text().replace(old, new))
    with pytest.raises(CheckpointError, match=message):
        gnnpot.load(folder)


def test_incomplete_folders_are_refused(tmp_path):
    folder = write_folder(tmp_path)
    weights = folder / "weights.008.data"
    text = weights.read_text()
    weights.write_text(text.rsplit("\n", 2)[0])
    with pytest.raises(CheckpointError, match=r"weights.008.data: 34 weights, but a network 3-4-3-1 has 35"):
        gnnpot.load(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"weights.008.data: not there; .* consists of input.nn"):
        gnnpot.load(folder)
    weights.write_text(text)
    scaling = folder / "scaling.data"
    lines = scaling.read_text().splitlines()
    scaling.write_text("\n".join(lines[:-1]))
    with pytest.raises(CheckpointError, match=r"no line '2 3 ...'"):
        gnnpot.load(folder)
    scaling.write_text("\n".join([*lines[:-1], "2 3 1.0 1.0 1.0 0.0"]))
    with pytest.raises(CheckpointError, match=r"divide by zero"):
        gnnpot.load(folder)


def test_a_cutoff_that_may_be_in_another_unit_is_warned_of(tmp_path):
    folder = write_folder(tmp_path)
    text = (folder / "input.nn").read_text().replace(" 8.0", " 6.0").replace(" 7.0", " 6.0")
    (folder / "input.nn").write_text(text)
    with pytest.warns(DataWarning, match=r"6 bohr = 3.18 Å, which is short"):
        load_n2p2(folder)


def test_files_in_other_units_say_so_in_a_file_beside_them(tmp_path):
    """The same numbers in eV and Å: all lengths are longer by Å/bohr, energies smaller by eV/hartree."""
    model = gnnpot.load(write_folder(tmp_path))
    (tmp_path / "units.yaml").write_text("{energy: eV, length: angstrom}")
    other = gnnpot.load(tmp_path)
    assert other.cutoff == pytest.approx(8.0)
    larger = water()
    larger.set_cell(larger.cell.array / 0.529177210903, scale_atoms=True)
    pairs = ((model, water()), (other, larger))
    energies = [float(m(graph_from_atoms(atoms, m.cutoff))["energies"].detach().sum()) for m, atoms in pairs]
    assert energies[0] == pytest.approx(27.211386245988 * energies[1], rel=1e-10)
    (tmp_path / "units.yaml").write_text("{energy: eV, length: Angström}")
    with pytest.raises(CheckpointError, match=r"units.yaml: length=Angström is no unit"):
        gnnpot.load(tmp_path)
