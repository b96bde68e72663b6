"""The laws of the response to a field on frames of first principles: bundled crystals, both heads, trained on them."""

import copy
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.md.verlet import VelocityVerlet

from gnnpot import phonon
from gnnpot.apps import response_tests as laws
from gnnpot.apps.calculator import Calculator
from gnnpot.apps.ensembles import set_velocities
from gnnpot.data.bundled import bundled_path
from gnnpot.data.graph import collate, graph_from_atoms
from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.keys import COULOMB_CONSTANT
from gnnpot.models.prediction import predict
from gnnpot.models.properties import derive
from gnnpot.models.response import ResponsePotential, build_head, joined
from gnnpot.models.schnet import SchNet
from gnnpot.nn.convolution import only_parameters
from gnnpot.training.losses import LossTerm, LossUnits, loss_sums, total_loss
from tests.apps.trained_response import CHARGES, CUTOFF, SIZES, dipole_model, labelled_frames, tensor_model

pytestmark = pytest.mark.filterwarnings("ignore:The compositions of the training set")
BORN = "born_effective_charges"
FIELD = np.array([0.06, -0.03, 0.11])
MODELS = {"polarization": dipole_model, "born_tensor": tensor_model}


@pytest.fixture(scope="module", params=sorted(CHARGES))
def crystal(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=sorted(MODELS))
def head(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def atoms(crystal: str) -> Atoms:
    """The frame with the largest force."""
    return labelled_frames(crystal)[-1].copy()


@pytest.fixture
def model(crystal: str, head: str) -> ResponsePotential:
    return MODELS[head](crystal)


@pytest.fixture
def dipole(crystal: str) -> ResponsePotential:
    return dipole_model(crystal)


def born(model: ResponsePotential, atoms: Atoms) -> np.ndarray:
    return laws.born_charges_of(model, [atoms])[0]


def polarization(model: ResponsePotential, atoms: Atoms) -> np.ndarray:
    found: np.ndarray = predict(model, [atoms], ["polarization"])[0]["polarization"]
    return found


def in_field(model: ResponsePotential, atoms: Atoms, field: np.ndarray | None = FIELD) -> Atoms:
    pushed = atoms.copy()
    pushed.calc = Calculator(model, dtype="float64", field=field)
    return pushed


def test_rotation_and_reflection(model: ResponsePotential, atoms: Atoms) -> None:
    tensors = born(model, atoms)
    assert np.abs(tensors - tensors.transpose(0, 2, 1)).max() > 1e-2
    assert laws.born_orientation_error(model, atoms, np.random.default_rng(0)) < 1e-10


def test_permutation_translation_and_supercells(model: ResponsePotential, crystal: str) -> None:
    """A primitive cell, smaller than the cutoff, against a skewed supercell that is mixed up and moved."""
    small = labelled_frames(crystal, primitive=True)[-1].copy()
    assert small.cell.lengths().max() < model.cutoff
    large = make_supercell(small, [[1, 1, 0], [-1, 1, 0], [0, 1, 2]])
    large.positions += [5.1, -7.3, 0.4]
    order = np.random.default_rng(0).permutation(len(large))
    expected = np.tile(born(model, small), (4, 1, 1))[order]
    np.testing.assert_allclose(born(model, large[order]), expected, atol=1e-10)


@pytest.mark.parametrize("charge", [0.0, 1.0, -1.0, 3.0])
def test_sum_rule(model: ResponsePotential, atoms: Atoms, charge: float) -> None:
    atoms.info["charge"] = charge
    assert laws.sum_rule_error(model, atoms, np.random.default_rng(0)) < 1e-10
    np.testing.assert_allclose(born(model, atoms).sum(axis=0), charge * np.eye(3), atol=1e-10)


def test_forces_in_a_field(model: ResponsePotential, atoms: Atoms) -> None:
    """Z[a, b] is their slope; they are linear in the field; without one they are the bare ones, to the bit."""
    tensors, step = born(model, atoms), 1e-3
    for a in range(3):
        ends = [in_field(model, atoms, FIELD + sign * step * np.eye(3)[a]).get_forces() for sign in (1, -1)]
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), tensors[:, a], atol=1e-9)
    zero = in_field(model, atoms, np.zeros(3))
    expected = zero.get_forces() + np.einsum("a,nab->nb", FIELD, tensors)
    np.testing.assert_allclose(in_field(model, atoms).get_forces(), expected, atol=1e-10)
    for bare in (in_field(model, atoms, None), in_field(model.backbone, atoms, None)):
        np.testing.assert_array_equal(zero.get_forces(), bare.get_forces())
        assert zero.get_potential_energy() == bare.get_potential_energy()


def test_born_charges_are_slopes_of_the_polarization(dipole: ResponsePotential, atoms: Atoms) -> None:
    rng = np.random.default_rng(0)
    assert laws.born_derivative_error(dipole, atoms, rng, n_coordinates=12) < 1e-8


def slopes(model: ResponsePotential, atoms: Atoms, step: float = 1e-4) -> np.ndarray:
    """∂Z[i, a, b]/∂r_jc of the first three atoms by central differences, ``(j, c, i, a, b)``."""
    found = np.empty((3, 3, 3, 3, 3))
    for j in range(3):
        for c in range(3):
            ends = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[j, c] += sign * step
                ends.append(born(model, moved)[:3])
            found[j, c] = (ends[0] - ends[1]) / (2 * step)
    return found


def test_mixed_derivatives_are_symmetric(dipole: ResponsePotential, atoms: Atoms) -> None:
    """∂Z[i, a, b]/∂r_jc = ∂Z[j, a, c]/∂r_ib; without the exchange of b and c it does not hold."""
    found = slopes(dipole, atoms)
    np.testing.assert_allclose(found, found.transpose(2, 4, 0, 3, 1), atol=1e-7)
    assert np.abs(found - found.transpose(2, 1, 0, 3, 4)).max() > 1e-3


def test_a_field_does_no_work_around_a_loop(dipole: ResponsePotential, atoms: Atoms) -> None:
    plane = laws.random_plane(atoms, np.random.default_rng(0))
    work, size = laws.loop_work(dipole, atoms, plane, radius=0.02)
    assert np.abs(work).max() < 1e-10 < 0.1 < size.max()


def test_the_loop_work_of_a_tensor_head_is_its_curl(crystal: str, atoms: Atoms) -> None:
    """Stokes: around a small loop in the plane of u and v, π r² Σ (∂Z[j, a, c]/∂r_ib - ∂Z[i, a, b]/∂r_jc) u_ib v_jc."""
    model, radius = tensor_model(crystal), 0.005
    plane = np.zeros((2, len(atoms), 3))
    plane[:, :3] = laws.random_plane(atoms[:3], np.random.default_rng(0))
    found = slopes(model, atoms)
    curl = np.einsum("ibjac,ib,jc->a", found, *plane[:, :3]) - np.einsum("jciab,ib,jc->a", found, *plane[:, :3])
    work, _ = laws.loop_work(model, atoms, plane, radius=radius)
    np.testing.assert_allclose(work, np.pi * radius**2 * curl, atol=0.01 * np.abs(work).max())
    assert laws.work_on_a_loop(model, atoms, np.random.default_rng(0)) > 1e-3


def test_an_ion_once_around_the_crystal(dipole: ResponsePotential, atoms: Atoms, crystal: str) -> None:
    """∮ Z·dr = q0 times a lattice vector, by way of a detour around the ions between."""
    n, period = 120, atoms.cell.array[0]
    detour = 0.25 * (atoms.cell.array[1] + atoms.cell.array[2])
    time = np.arange(n) / n
    path = time[:, None] * period + 0.5 * (1 - np.cos(2 * np.pi * time))[:, None] * detour
    tangents = period + np.pi * np.sin(2 * np.pi * time)[:, None] * detour
    frames = [atoms.copy() for _ in range(n)]
    for frame, shift in zip(frames, path, strict=True):
        frame.positions[0] += shift
    tensors = np.array(laws.born_charges_of(dipole, frames))[:, 0]
    assert np.ptp(tensors, axis=0).max() > 0.05
    expected = CHARGES[crystal][str(atoms.symbols[0])] * period
    np.testing.assert_allclose(np.einsum("tab,tb->a", tensors, tangents) / n, expected, atol=1e-4)
    arrived = atoms.copy()
    arrived.positions[0] += period
    np.testing.assert_allclose(polarization(dipole, arrived) - polarization(dipole, atoms), expected, atol=1e-10)


def test_no_jump_where_an_ion_crosses_the_boundary(dipole: ResponsePotential, atoms: Atoms) -> None:
    """The enthalpy changes by what the forces do on the way (Simpson's rule), also where the ion leaves the cell."""
    path, step = in_field(dipole, atoms), 0.004 * atoms.cell.array[2]
    height = atoms.get_scaled_positions(wrap=False)[:, 2]
    ion = int(np.argmin(np.abs(height - np.round(height))))
    path.positions[ion] -= (height[ion] - np.round(height[ion])) * atoms.cell.array[2] + 10.5 * step
    numbers, energies, pushes = [], [], []
    for _ in range(21):
        path.positions[ion] += step
        numbers.append(np.floor(path.get_scaled_positions(wrap=False)[ion, 2]))
        energies.append(path.get_potential_energy())
        pushes.append(path.get_forces()[ion] @ step)
    assert numbers[-1] == numbers[0] + 1
    work = (np.array(pushes[:-2:2]) + 4 * np.array(pushes[1::2]) + np.array(pushes[2::2])) / 3
    np.testing.assert_allclose(np.diff(energies[::2]), -work, atol=1e-5)
    assert np.abs(work).max() > 1e-2


@pytest.mark.parametrize("name", [BORN, "born_along_direction"])
def test_frames_without_born_charges_leave_the_gradient_as_it_is(
    model: ResponsePotential, crystal: str, name: str
) -> None:
    """Of every weight, whether bundled frames without labels are in the batch or not; by Z, and by Z along a field."""
    unlabelled = [a for a in read(bundled_path(crystal)) if "born_effective_charges" not in a.calc.results][:3]
    labelled = list(labelled_frames(crystal)[-2:])
    own = copy.deepcopy(model).requires_grad_(True)
    gradients = []
    for frames in (labelled, [unlabelled[0], *labelled, *unlabelled[1:]]):
        graph = collate([graph_from_atoms(frame, own.cutoff) for frame in frames])
        direction = torch.from_numpy(FIELD).expand(graph.n_structures, 3)
        predicted = derive(own, graph, [name], direction=direction, differentiable=True)
        predicted |= {} if name == BORN else {"direction": direction}
        term = (LossTerm(BORN, 1.0, "mse", 1.0),)
        sums = loss_sums(term, predicted, graph, LossUnits())
        with only_parameters():
            total_loss(term, sums, sums[:, 2].detach()).backward()
        gradients.append({name: p.grad.clone() for name, p in own.named_parameters() if p.grad is not None})
        own.zero_grad()
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 6
    for weight, expected in gradients[0].items():
        assert expected.abs().max() > 0.0 or weight.endswith("bias"), weight
        torch.testing.assert_close(gradients[1][weight], expected, rtol=1e-10, atol=1e-12)


def test_the_center_of_mass_rests_for_ten_picoseconds(head: str) -> None:
    model = MODELS[head]("MgO")
    atoms = in_field(model, labelled_frames("MgO", primitive=True)[0])
    set_velocities(atoms, 300.0, 3 * len(atoms) - 3, np.random.default_rng(0))
    dynamics, speeds, ang_per_ps = VelocityVerlet(atoms, 4.0 * units.fs), [], units.fs * 1e3
    dynamics.attach(lambda: speeds.append(np.abs(atoms.get_velocities()).max() * ang_per_ps), interval=50)
    dynamics.run(2500)
    momentum = atoms.get_momenta().sum(axis=0)
    np.testing.assert_allclose(momentum / atoms.get_masses().sum() * ang_per_ps, 0.0, atol=1e-10)
    assert max(speeds) > 1.0


def test_splitting_of_magnesium_oxide(tmp_path: Path) -> None:
    """ω_LO² - ω_TO² = e²Z²/(ε0 ε∞ V μ) with the model's own Z, which is that of first principles; ε∞ is a label."""
    model = dipole_model("MgO")
    label = labels_of(labelled_frames("MgO", primitive=True)[0])["dielectric_tensor"].trace() / 3
    settings = {"mesh": 10.0, "points": 3, "t_step": 500.0, "dielectric": label, "output": tmp_path / "out"}
    found = phonon(model, bulk("MgO", "rocksalt", a=4.192), **settings)
    masses, charge = found.primitive.get_masses(), abs(found.born[0, 0, 0])
    assert charge == pytest.approx(1.93, abs=0.03)
    reduced = masses.prod() / masses.sum()
    squared = 4 * np.pi * COULOMB_CONSTANT * charge**2 / (label * found.primitive.get_volume() * reduced)
    for longitudinal in found.longitudinal.values():
        split = longitudinal[5] ** 2 - found.gamma[5] ** 2
        assert split == pytest.approx(squared * (units.fs * 1e3 / (2 * np.pi)) ** 2, rel=1e-5)


OTHERS = {
    "les_bec/spice_water.xyz": {"H": 1, "O": -2},
    "allegro_pol/SiO2.xyz.gz": {"Si": 4, "O": -2},
    "allegro_pol/BaTiO3.xyz.gz": {"Ba": 2, "Ti": 4, "O": -2},
}


@pytest.mark.parametrize("file", OTHERS)
def test_laws_hold_in_crystals_and_clusters_of_others(gnnpot_data: Path, head: str, file: str) -> None:
    """Random weights on the scale of the labels: not what they say, but that they obey."""
    frame = ase.io.read(gnnpot_data / file, 0)
    graph, charges, rng = graph_from_atoms(frame, CUTOFF), OTHERS[file], np.random.default_rng(0)
    torch.manual_seed(0)
    backbone = SchNet(list(charges), CUTOFF, n_features=12, n_interactions=1, n_radial=8)
    target = {"_target_": "gnnpot.models.born_tensor.BornTensorHead"}
    if head == "polarization":
        target = {"_target_": "gnnpot.models.polarization.PolarizationHead", "charges": charges}
    model = joined(backbone, build_head({**target, "elements": list(backbone.elements), **SIZES})).double().eval()
    model.learn_response_from([graph])
    tensors = born(model.requires_grad_(False), frame)
    assert np.abs(tensors - tensors.transpose(0, 2, 1)).max() > 1e-4
    assert laws.born_orientation_error(model, frame, rng) < 1e-10
    np.testing.assert_allclose(tensors.sum(axis=0), 0.0, atol=1e-10)
    if head == "polarization":
        assert laws.born_derivative_error(model, frame, rng, n_coordinates=2) < 1e-8
        work, size = laws.loop_work(model, frame, laws.random_plane(frame, rng), radius=0.003, n_points=16)
        assert np.abs(work).max() < 1e-10 < 1e-2 < size.max()
