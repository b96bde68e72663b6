"""Phonons against closed forms: a rock salt with given Born charges, a lattice sum, frequencies from DFT."""

import json

import ase.io
import numpy as np
import phonopy
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, fcc111
from phonopy import Phonopy

from gnnpot import phonon
from gnnpot.apps import lattice_dynamics as dynamics
from gnnpot.apps.nonanalytic import dielectric_tensor, ionic_dielectric
from gnnpot.data.graph import edge_vectors, sum_over_neighbors
from gnnpot.data.labels import attach_labels, labels_of
from gnnpot.data.readers import read
from gnnpot.data.readers.phonopy_born import write_phonopy_born
from gnnpot.errors import ConfigError, DataError, DataWarning
from gnnpot.keys import COULOMB_CONSTANT
from gnnpot.models.potential import Potential
from gnnpot.report.phonons import largest_splitting

CHARGE, EPSILON = 1.98, 3.2
FAST = {"mesh": 20.0, "points": 5, "t_step": 100.0}


class RockSalt(Potential):
    """Unlike atoms attract at a distance, all repel; every Mg has the Born charge +1.98 e, every O the opposite."""

    outputs = frozenset({"energies", "born_effective_charges"})

    def __init__(self):
        super().__init__(["Mg", "O"], 4.0)
        self.weight = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, graph):
        r, numbers = edge_vectors(graph).norm(dim=1), graph.atomic_numbers
        unlike = numbers[graph.edge_index[0]] != numbers[graph.edge_index[1]]
        power = (1.9 / r) ** 6
        pair = 0.6 * torch.where(unlike, power**2 - power, 20.0 * power**2) * (1.0 - (r / 4.0) ** 2).clamp(min=0.0) ** 3
        charges = torch.where(numbers == 12, CHARGE, -CHARGE).double()
        born = charges[:, None, None] * torch.eye(3, dtype=torch.float64)
        return {"energies": (sum_over_neighbors(pair, graph) * self.weight).double(), "born_effective_charges": born}


@pytest.fixture(scope="module")
def polar(tmp_path_factory):
    cell = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    output = tmp_path_factory.mktemp("phonon") / "out"
    return phonon(RockSalt(), cell, relax=True, cell=True, dielectric=EPSILON, output=output, **FAST)


def test_splitting_of_a_diatomic_crystal_is_the_closed_form(polar):
    """ω_LO² - ω_TO² = e²Z²/(ε0 ε∞ V μ)."""
    m = polar.primitive.get_masses()
    reduced = m[0] * m[1] / m.sum()
    squared = 4 * np.pi * COULOMB_CONSTANT * CHARGE**2 / (EPSILON * polar.primitive.get_volume() * reduced)
    expected = np.sqrt(squared) * units.fs * 1e3 / (2 * np.pi)
    for longitudinal in polar.longitudinal.values():
        np.testing.assert_allclose(longitudinal[:5], polar.gamma[:5], atol=1e-5)
        assert np.sqrt(longitudinal[5] ** 2 - polar.gamma[5] ** 2) == pytest.approx(expected, rel=1e-6)
    for without in polar.record["gamma"]["without_field_THz"].values():
        np.testing.assert_allclose(without, polar.gamma, atol=1e-4)


def test_the_splitting_is_that_of_a_mode_however_many_it_passes():
    """A polar mode rises from 5 to 8 THz past one at 6 THz that has no dipole: by 3 THz, and no mode by 1 or 2."""
    plain = dynamics.GammaModes(np.array([-1.0, 5.0, 6.0]), np.eye(3) + 0j)
    turned = np.eye(3)[:, [0, 2, 1]] * np.exp(0.7j)
    split = dynamics.GammaModes(np.array([-1.0, 6.0, 8.0]), turned)
    assert dynamics.without_field(split, plain) == pytest.approx([-1.0, 6.0, 5.0])
    gamma = {
        "frequencies_THz": plain.frequencies.tolist(),
        "longitudinal_THz": {"x": split.frequencies.tolist()},
        "without_field_THz": {"x": dynamics.without_field(split, plain).tolist()},
    }
    assert largest_splitting({"gamma": gamma}) == pytest.approx(3.0)


def test_static_dielectric_tensor_fulfills_lyddane_sachs_teller(polar):
    ratio = (polar.longitudinal["x"][5] / polar.gamma[5]) ** 2
    static = np.array(polar.record["electric"]["dielectric_static"])
    np.testing.assert_allclose(static, EPSILON * ratio * np.eye(3), atol=1e-5)


def test_the_lattice_part_of_the_dielectric_tensor_is_the_closed_form(polar):
    """ε0 - ε∞ = e²Z²/(ε0 V μ ω_TO²)."""
    lattice_part = np.array(polar.record["electric"]["dielectric_static"]) - EPSILON * np.eye(3)
    expected = lattice_dielectric(CHARGE, polar.primitive, polar.gamma[3:].mean())
    np.testing.assert_allclose(lattice_part, expected * np.eye(3), atol=1e-5 * expected)


def lattice_dielectric(charge, primitive, frequency):
    """Of a crystal of two ions of charges ±Z, cubic, whose transverse modes at Γ have a frequency in THz."""
    reduced = np.prod(primitive.get_masses()) / primitive.get_masses().sum()
    omega = 2 * np.pi * frequency * 1e-3 / units.fs
    return 4 * np.pi * COULOMB_CONSTANT * charge**2 / (primitive.get_volume() * reduced * omega**2)


def test_files_hold_what_a_reader_needs(polar):
    record = json.loads((polar.output / "phonon.json").read_text())
    assert record["primitive"]["symbols"] == ["Mg", "O"]
    assert record["asymmetry"] < 1e-6
    assert record["thermal"]["heat_capacity_J_per_K_per_mol"][-1] == pytest.approx(6 * 8.314, rel=0.02)
    assert np.trapezoid(record["dos"]["states_per_THz"], record["dos"]["frequencies_THz"]) == pytest.approx(6, rel=0.05)
    page = (polar.output / "report.html").read_text()
    assert "LO-TO splitting" in page and "ε∞" in page
    assert {p.name for p in polar.output.iterdir()} == {
        "phonon.json", "report.html", "bands.svg", "thermal.svg", "splitting.svg", "phonopy.yaml", "BORN"
    }  # fmt: skip
    assert "born_effective_charge" in (polar.output / "phonopy.yaml").read_text()


class Lopsided(RockSalt):
    """Born charges without symmetry."""

    def forward(self, graph):
        found, unit = super().forward(graph), torch.eye(3, dtype=torch.float64)
        found["born_effective_charges"] = found["born_effective_charges"] @ (unit + torch.tensor(SKEWED))
        return found


SKEWED = np.array([[0.0, 0.3, -0.1], [-0.15, 0.0, 0.2], [0.05, 0.1, 0.0]])


@pytest.mark.filterwarnings("ignore::gnnpot.errors.DataWarning")
def test_phonopy_finds_the_longitudinal_modes_in_files_of_ours(tmp_path):
    """phonopy.yaml and BORN, of tensors without symmetry: transposed, they give other frequencies."""
    vectors = bulk("MgO", "rocksalt", a=4.2).cell.array + 0.1 * SKEWED
    cell = Atoms("MgO", scaled_positions=[[0, 0, 0], [0.47, 0.52, 0.51]], cell=vectors, pbc=True)
    found = phonon(Lopsided(), cell, dielectric=EPSILON, output=tmp_path / "out", **FAST)
    np.testing.assert_allclose(found.born[0], CHARGE * (np.eye(3) + SKEWED), atol=1e-9)
    (ours,) = read(found.output / "BORN")
    np.testing.assert_allclose(labels_of(ours)["born_effective_charges"], found.born, atol=1e-7)
    write_phonopy_born(tmp_path / "TRANSPOSED", found.primitive, found.born.transpose(0, 2, 1), EPSILON * np.eye(3))
    apart = []
    for born in (found.output / "BORN", tmp_path / "TRANSPOSED"):
        theirs = phonopy.load(found.output / "phonopy.yaml", born_filename=born, log_level=0)
        theirs.symmetrize_force_constants(show_drift=False)
        modes = [dynamics.gamma_modes(theirs, direction).frequencies for direction in dynamics.DIRECTIONS.values()]
        apart.append(np.abs(np.array(modes) - list(found.longitudinal.values())).max())
    assert apart[0] < 1e-3 < 0.1 < apart[1]


def test_bands_reach_the_longitudinal_frequency_at_gamma(polar):
    first = polar.record["bands"][0]
    assert first["from"] == "G"
    assert first["frequencies_THz"][0][5] == pytest.approx(polar.longitudinal["x"][5], abs=1e-4)
    assert first["uncorrected_THz"][0][5] == pytest.approx(polar.gamma[5], abs=1e-4)


def pair_dynamics(potential, a, q):
    """Frequencies of an fcc crystal of a pair potential from the lattice sum of V'' and V'/r, THz."""
    n = np.array([(i, j, k) for i in range(-4, 5) for j in range(-4, 5) for k in range(-4, 5)])
    vectors = torch.tensor(n[(n.sum(axis=1) % 2 == 0) & (np.abs(n).sum(axis=1) > 0)] * a / 2)
    r = vectors.norm(dim=1)
    vectors, r = vectors[r < potential.cutoff], r[r < potential.cutoff].requires_grad_(True)
    x = r / potential.cutoff
    power = (potential.sigma / r) ** 6
    energy = 4 * potential.epsilon * (power**2 - power) * (1 - 10 * x**3 + 15 * x**4 - 6 * x**5)
    slope = torch.autograd.grad(energy.sum(), r, create_graph=True)[0]
    curvature = torch.autograd.grad(slope.sum(), r)[0].numpy()
    tension, units_of, r = (slope / r).detach().numpy(), (vectors / r[:, None]).detach().numpy(), r.detach().numpy()
    springs = np.einsum("n,na,nb->nab", curvature - tension, units_of, units_of) + tension[:, None, None] * np.eye(3)
    phase = 1 - np.cos(2 * np.pi / a * vectors.numpy() @ q)
    squared = np.linalg.eigvalsh(np.einsum("n,nab->ab", phase, springs)) / Atoms("Ar").get_masses()[0]
    return np.sqrt(squared) * units.fs * 1e3 / (2 * np.pi)


def test_frequencies_of_a_pair_potential_are_its_lattice_sum(argon_potential, tmp_path):
    cell = bulk("Ar", "fcc", a=5.3, cubic=True)
    result = phonon(argon_potential, cell, output=tmp_path / "ar", **FAST)
    ends = {band["to"]: band["frequencies_THz"][-1] for band in result.record["bands"]}
    np.testing.assert_allclose(ends["X"], pair_dynamics(argon_potential, 5.3, np.array([0, 0, 1.0])), rtol=2e-4)
    np.testing.assert_allclose(ends["L"], pair_dynamics(argon_potential, 5.3, np.array([0.5, 0.5, 0.5])), rtol=2e-4)
    assert result.born is None and result.longitudinal == {}
    assert "no LO-TO splitting" in (result.output / "report.html").read_text()


def test_forces_that_are_no_gradient_are_told(swirling_forces, tmp_path, capsys):
    cell = bulk("Ar", "fcc", a=5.3, cubic=True)
    with pytest.warns(DataWarning, match="imaginary"):
        result = phonon(swirling_forces, cell, output=tmp_path / "swirl", **FAST)
    assert result.record["direct_forces"]
    assert "no gradient" in capsys.readouterr().out


def test_a_structure_off_its_minimum_is_warned_of(tmp_path):
    cell = bulk("MgO", "rocksalt", a=4.28, cubic=True)
    cell.positions[0, 0] += 0.02
    with pytest.warns(DataWarning, match="relax=true"):
        phonon(RockSalt(), cell, nac=False, output=tmp_path / "off", **FAST)


@pytest.mark.filterwarnings("ignore:Mesh .* is incompatible with the primitive-cell point group")
def test_the_symmetry_that_a_relaxed_crystal_nearly_has_is_told(polar, tmp_path, capsys):
    said = "With symprec=0.01 in the place of 0.0001 Å the space group is Fm-3m (225)"
    assert said not in (polar.output / "report.html").read_text()
    cell = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    cell.set_cell(cell.cell * [1.0, 1.0, 1.0005], scale_atoms=True)
    found = phonon(RockSalt(), cell, nac=False, output=tmp_path / "out", supercell=1, **FAST)
    assert found.record["space_group"] == "I4/mmm (139)"
    assert said in capsys.readouterr().out.replace("\n", " ")
    assert said in (tmp_path / "out" / "report.html").read_text()


def test_born_charges_need_a_dielectric_tensor(tmp_path):
    cell = bulk("MgO", "rocksalt", a=4.2766, cubic=True)
    with pytest.raises(ConfigError, match=r"dielectric is missing.*nac=false"):
        phonon(RockSalt(), cell, output=tmp_path / "a", **FAST)
    attach_labels(cell, {"dielectric_tensor": EPSILON * np.eye(3)})
    result = phonon(RockSalt(), cell, output=tmp_path / "b", **FAST)
    assert result.record["electric"]["dielectric_from"] == "label of the structure"
    wide = bulk("MgO", "rocksalt", a=4.32, cubic=True)
    attach_labels(wide, {"dielectric_tensor": EPSILON * np.eye(3)})
    result = phonon(RockSalt(), wide, relax=True, cell=True, output=tmp_path / "relaxed", **FAST)
    assert result.record["electric"]["dielectric_from"] == "label of the structure before it was relaxed"
    cell.info["charge"] = 1
    with pytest.raises(ConfigError, match="charge 1 e"):
        phonon(RockSalt(), cell, dielectric=3.0, output=tmp_path / "c", **FAST)


def test_a_dielectric_tensor_needs_born_charges(argon_potential, tmp_path):
    with pytest.raises(ConfigError, match="Born charges as well"):
        phonon(argon_potential, bulk("Ar", "fcc", a=5.3), dielectric=1.6, output=tmp_path / "a", **FAST)


@pytest.mark.parametrize(("value", "said"), [([1, 2], "not 2"), (0.5, "at least 1"), ("much", "3 or 9")])
def test_dielectric_tensors_are_checked(value, said):
    with pytest.raises(ConfigError, match=said):
        dielectric_tensor(value)


@pytest.mark.parametrize("value", [0, [1, 2], [1.5, 1, 1], [[1, 0, 0], [1, 0, 0], [0, 0, 1]]])
def test_supercells_are_checked(value):
    with pytest.raises(ConfigError, match="supercell="):
        dynamics.supercell_matrix(value)


def test_slabs_and_earlier_calculations_are_refused(argon_potential, tmp_path):
    with pytest.raises(DataError, match="three directions"):
        phonon(argon_potential, fcc111("Ar", (1, 1, 3), a=5.3, vacuum=8.0), output=tmp_path)
    (tmp_path / "phonon.json").write_text("{}")
    with pytest.raises(ConfigError, match="overwrite=true"):
        phonon(argon_potential, bulk("Ar", "fcc", a=5.3), output=tmp_path)


def test_left_handed_cells_have_the_same_path():
    cell = bulk("Ar", "fcc", a=5.3)
    mirrored = cell.copy()
    mirrored.set_cell(-cell.cell.array)
    assert [line[:2] for line in dynamics.band_path(mirrored, 3)] == [line[:2] for line in dynamics.band_path(cell, 3)]


@pytest.fixture
def sodium_chloride(gnnpot_data):
    """Force constants from PBE forces on random displacements, and what DFPT found."""
    folder = gnnpot_data / "phonon_ref"
    reference = json.loads((folder / "phonopy_dft_reference.json").read_text())["NaCl"]
    cell = Atoms(
        reference["symbols"], cell=reference["lattice"], scaled_positions=reference["scaled_positions"], pbc=True
    )
    crystal = dynamics.lattice(cell, np.diag([2, 2, 2]), 0.01, 1e-4)
    frames = ase.io.read(folder / "NaCl_rd.xyz", index=":")
    ideal = crystal.supercell.positions
    moved = np.array([f.positions - ideal for f in frames])
    fitted = Phonopy(crystal.unitcell, np.diag([2, 2, 2]), primitive_matrix=crystal.primitive_matrix)
    fitted.dataset = {"displacements": moved, "forces": np.array([f.get_forces() for f in frames])}
    fitted.produce_force_constants(fc_calculator="symfc")
    springs = fitted.force_constants
    dynamics.learn_force_constants(
        crystal, lambda atoms: -np.einsum("iajb,jb->ia", springs.transpose(0, 2, 1, 3), atoms.positions - ideal)
    )
    return crystal, reference


def test_frequencies_of_sodium_chloride_from_dft_forces(sodium_chloride):
    """With DFPT's Z and ε∞ they give DFPT's splitting."""
    crystal, reference = sodium_chloride
    gamma = dynamics.gamma_modes(crystal).frequencies
    np.testing.assert_allclose(gamma[3:], reference["frequencies_THz"]["G"][3:], rtol=0.02)
    dynamics.set_correction(crystal, np.array(reference["born"]), np.array(reference["dielectric"]))
    split = dynamics.gamma_modes(crystal, (0.0, 0.0, 1.0)).frequencies[5]
    assert np.sqrt(split**2 - gamma[5] ** 2) == pytest.approx(5.78, abs=0.05)


def test_static_dielectric_constant_of_sodium_chloride(sodium_chloride):
    """DFPT's frequency and Z in the closed form; measured is ε0 = 5.9 (PBE is softer)."""
    crystal, reference = sodium_chloride
    primitive, modes = dynamics.ase_atoms(crystal.primitive), dynamics.gamma_modes(crystal)
    born, electronic = np.array(reference["born"]), reference["dielectric"][0][0]
    born -= born.mean(axis=0)
    found = ionic_dielectric(
        modes.frequencies, modes.eigenvectors, primitive.get_masses(), born, primitive.get_volume()
    )
    expected = lattice_dielectric(born[0, 0, 0], primitive, reference["frequencies_THz"]["G"][5])
    np.testing.assert_allclose(found, expected * np.eye(3), atol=0.04 * expected)
    assert electronic + found[0, 0] == pytest.approx(5.9, rel=0.1)
