"""Atoms in a field: the calculator's forces, enthalpy, work and refusals, in double precision."""

import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.electric_field import ElectricField, electric_field
from gnnpot.errors import ConfigError, DataError, PhysicsWarning, PropertyNotAvailableError
from tests.contract.conftest import rattled, trained_like
from tests.contract.test_heads import with_head

FIELD = np.array([0.06, -0.03, 0.11])
HEADS = ("polarization", "born_tensor")
SHIFTED = pytest.mark.filterwarnings("ignore:.*the ions carry their oxidation numbers and:gnnpot.errors.PhysicsWarning")


@pytest.fixture(scope="module")
def models():
    return {name: with_head("schnet", name) for name in HEADS}


@pytest.fixture(params=HEADS)
def response(models, request):
    return models[request.param]


@pytest.fixture
def polarized(models):
    return models["polarization"]


@pytest.fixture
def tensor(models):
    return models["born_tensor"]


def in_field(model, atoms, field=FIELD, **options):
    atoms = atoms.copy()
    atoms.calc = Calculator(model, dtype="float64", field=field, **options)
    return atoms


def born(atoms):
    return atoms.calc.get_property("born_effective_charges", atoms)


def test_forces_get_the_transposed_tensor(response):
    atoms = rattled((2, 1, 1), seed=3)
    bare, pushed = in_field(response, atoms, None), in_field(response, atoms)
    tensors = born(bare)
    assert np.abs(tensors - tensors.transpose(0, 2, 1)).max() > 1e-4
    expected = bare.get_forces() + np.einsum("a,nab->nb", FIELD, tensors)
    np.testing.assert_allclose(pushed.get_forces(), expected, atol=1e-11)
    np.testing.assert_allclose(born(pushed), tensors, atol=1e-11)


def test_forces_have_slope_z_in_the_field(response):
    """(F_b(E_a + h) - F_b(E_a - h)) / 2h = Z[a, b]."""
    atoms, h = rattled(seed=4), 1e-3
    tensors = born(in_field(response, atoms, None))
    for a in range(3):
        step = h * np.eye(3)[a]
        ends = [in_field(response, atoms, FIELD + sign * step).get_forces() for sign in (1, -1)]
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), tensors[:, a], atol=1e-9)


def test_no_field_strength_is_the_bare_potential_to_the_bit(response):
    atoms = rattled((2, 1, 1), seed=5)
    zero = in_field(response, atoms, [0, 0, 0])
    for bare in (in_field(response, atoms, None), in_field(response.backbone, atoms, None)):
        assert zero.get_potential_energy() == bare.get_potential_energy()
        np.testing.assert_array_equal(zero.get_forces(), bare.get_forces())


def test_enthalpy_and_its_slope(polarized):
    atoms = in_field(polarized, rattled(seed=6))
    forces = atoms.get_forces()
    results = dict(atoms.calc.results)
    bare = in_field(polarized, atoms, None)
    assert results["internal_energy"] == pytest.approx(bare.get_potential_energy(), abs=1e-11)
    dipole = bare.calc.get_property("polarization", bare)
    np.testing.assert_allclose(results["polarization"], dipole, atol=1e-11)
    assert results["energy"] == results["free_energy"] == pytest.approx(bare.get_potential_energy() - FIELD @ dipole)
    ends = []
    for sign in (1, -1):
        atoms.positions[1, 2] += sign * 1e-5
        ends.append(atoms.get_potential_energy())
        atoms.positions[1, 2] -= sign * 1e-5
    assert forces[1, 2] == pytest.approx(-(ends[0] - ends[1]) / 2e-5, abs=1e-7)
    assert "enthalpy" in atoms.calc.energy_is


def test_an_ion_on_its_way_over_the_boundary_makes_no_jump(polarized):
    """The neighbor list wraps; the polarization is that of the caller's positions."""
    atoms = in_field(polarized, rattled((2, 1, 1), seed=7), skin=0.3)
    path = []
    for _ in range(30):
        atoms.positions[2] += [0.0, 0.0, 0.2]
        of_field = atoms.get_potential_energy() - atoms.calc.results["internal_energy"]
        path.append((of_field, atoms.calc.get_property("polarization", atoms)[2]))
    energies, dipoles = np.array(path).T
    assert atoms.cell.scaled_positions(atoms.positions)[2].max() > 1.3
    assert atoms.calc.neighbors.n_searches > 3
    charge = polarized.head.charges[str(atoms.symbols[2])]
    assert np.abs(np.diff(dipoles) - 0.2 * charge).max() < 0.2
    assert np.abs(np.diff(energies)).max() < 0.1
    far = rattled((2, 1, 1), seed=7)
    far.positions += atoms.cell.array[0] * np.arange(6)[:, None]
    near = in_field(polarized, rattled((2, 1, 1), seed=7))
    far = in_field(polarized, far)
    charges = np.array([polarized.head.charges[s] for s in far.symbols])
    expected = near.calc.get_property("polarization", near) + charges @ (far.positions - near.positions)
    np.testing.assert_allclose(far.calc.get_property("polarization", far), expected, atol=1e-9)


def test_single_precision_keeps_the_polarization_of_far_atoms(polarized):
    near = rattled((2, 1, 1), seed=8)
    far = near.copy()
    far.positions += 1000 * near.cell.array[1]
    energies = []
    for atoms in (near, far):
        atoms.calc = Calculator(polarized, dtype="float32", field=FIELD)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=1e-4)


def test_wrapped_steps_are_refused_by_name(polarized):
    atoms = in_field(polarized, rattled(seed=9))
    atoms.get_forces()
    atoms.positions[1] += 0.05 - atoms.cell.array[2]
    with pytest.raises(DataError, match=r"atom 1.*\[0, 0, -1\].*do not wrap"):
        atoms.get_forces()
    atoms.calc.start_path()
    assert np.isfinite(atoms.get_forces()).all()


def test_a_wrapped_atom_is_refused_however_far_it_moved_besides(polarized):
    """1.3 Å are no jump of their own; with a lattice vector they are, however far from an image the atom lands."""
    start = rattled((3, 3, 3), seed=9)
    atoms = in_field(polarized, start)
    atoms.get_forces()
    atoms.positions[4, 1] += 1.3
    before = atoms.get_potential_energy()
    assert np.isfinite(before)
    for jump in (-atoms.cell.array[2], atoms.cell.array[0] + atoms.cell.array[1]):
        wrapped = in_field(polarized, start)
        wrapped.get_forces()
        wrapped.positions[4, 1] += 1.3
        wrapped.positions[4] += jump
        with pytest.raises(DataError, match=r"atom 4\) moved by .* half of the cell.*shorter steps.*start_path"):
            wrapped.get_potential_energy()
        wrapped.positions[4] -= jump
        assert wrapped.get_potential_energy() == pytest.approx(before, abs=1e-9)


def test_wrapped_steps_change_nothing_for_the_tensor_head(tensor):
    plain, wrapped = in_field(tensor, rattled(seed=9)), in_field(tensor, rattled(seed=9))
    for atoms in (plain, wrapped):
        atoms.get_forces()
    plain.positions[1] += 0.05
    wrapped.positions[1] += 0.05 - plain.cell.array[2]
    np.testing.assert_allclose(wrapped.get_forces(), plain.get_forces(), atol=1e-10)
    assert wrapped.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-10)


def test_work_of_the_field(response):
    """∫ Σ E·Z·dr along a path and back is zero for the dipole; for tensors it is what the forces did."""
    atoms = in_field(response, rattled(seed=10))
    start = atoms.positions.copy()
    move = np.random.default_rng(0).normal(size=start.shape)
    n = 40
    expected, pushes = 0.0, None
    for k in range(n + 1):
        atoms.positions[:] = start + 0.2 * k / n * move
        bare = np.einsum("a,nab->nb", FIELD, born(in_field(response, atoms, None)))
        expected += 0.0 if pushes is None else 0.5 * ((pushes + bare) * 0.2 * move / n).sum()
        pushes = bare
        atoms.get_potential_energy()
    work = atoms.calc.results["field_work"]
    assert abs(work) > 1e-4
    assert work == pytest.approx(expected, rel=1e-4)
    results = atoms.calc.results
    if "polarization" in response.outputs:
        for k in range(n, -1, -1):
            atoms.positions[:] = start + 0.2 * k / n * move
            atoms.get_potential_energy()
        assert abs(atoms.calc.results["field_work"]) < 1e-12
    else:
        assert results["energy"] == pytest.approx(results["internal_energy"] - work, abs=1e-12)
        assert "work" in atoms.calc.energy_is


@SHIFTED
def test_another_charge_is_another_path(response):
    """A cell that is charged where it stands has not been moved by the field."""
    atoms = rattled(seed=10)
    atoms.calc = Calculator(response, dtype="float64", field=FIELD, remove_net_force=True)
    atoms.get_forces()
    atoms.positions[0] += 0.05
    atoms.get_forces()
    assert atoms.calc.results["field_work"] != 0.0
    atoms.info["charge"] = 1.0
    atoms.get_forces()
    assert atoms.calc.results["field_work"] == 0.0


@SHIFTED
@pytest.mark.parametrize("charge", [1.0, -2.0])
def test_charged_cells_ask_what_to_do_with_their_net_force(response, charge):
    atoms = rattled(seed=11)
    atoms.info["charge"] = charge
    with pytest.raises(ConfigError, match="remove_net_force"):
        in_field(response, atoms).get_forces()
    falling = in_field(response, atoms, remove_net_force=False)
    np.testing.assert_allclose(falling.get_forces().sum(axis=0), charge * FIELD, atol=1e-11)
    held = in_field(response, atoms, remove_net_force=True)
    forces = held.get_forces()
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-11)
    np.testing.assert_allclose(held.calc.net_force, charge * FIELD, atol=1e-14)
    masses = atoms.get_masses()[:, None]
    np.testing.assert_allclose(falling.get_forces() - forces, masses / masses.sum() * charge * FIELD, atol=1e-11)
    if "polarization" in response.outputs:
        for moved, center in ((held, atoms.get_center_of_mass()), (falling, np.zeros(3))):
            force, results = moved.get_forces()[0, 1], dict(moved.calc.results)
            expected = results["internal_energy"] - FIELD @ (results["polarization"] - charge * center)
            assert moved.get_potential_energy() == pytest.approx(expected, abs=1e-10)
            ends = []
            for sign in (1, -1):
                moved.positions[0, 1] += sign * 1e-5
                ends.append(moved.get_potential_energy())
                moved.positions[0, 1] -= sign * 1e-5
            assert force == pytest.approx(-(ends[0] - ends[1]) / 2e-5, abs=1e-7)


def test_another_field_makes_results_void(response):
    atoms = in_field(response, rattled(seed=12))
    before = atoms.get_forces()
    atoms.calc.field = 1.5 * FIELD
    bare = in_field(response, atoms, None).get_forces()
    np.testing.assert_allclose(atoms.get_forces() - bare, 1.5 * (before - bare), atol=1e-11)
    atoms.calc.field = None
    np.testing.assert_allclose(atoms.get_forces(), bare, atol=1e-12)
    assert "stress" in atoms.calc.implemented_properties


def test_fields_in_time(polarized):
    atoms = in_field(polarized, rattled(seed=13), lambda time: [0.0, 0.0, 0.1 * time])
    np.testing.assert_array_equal(atoms.get_forces(), in_field(polarized, atoms, None).get_forces())
    atoms.calc.time = 1.5
    constant = in_field(polarized, atoms, [0, 0, 0.15])
    np.testing.assert_allclose(atoms.get_forces(), constant.get_forces(), atol=1e-12)
    np.testing.assert_allclose(atoms.calc.results["field"], [0, 0, 0.15])
    wave = electric_field({"amplitude": [0, 0.1, 0], "frequency": 2.0, "phase": 90})
    np.testing.assert_allclose(wave.at(250.0), [0, -0.1, 0], atol=1e-15)


def test_a_simulation_takes_the_field_of_its_own_time(polarized):
    atoms = in_field(polarized, rattled(seed=14), lambda time: [0.0, 0.0, 0.01 * time])
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    atoms.calc.follow(dynamics)
    seen = []
    dynamics.attach(lambda: (atoms.get_forces(), seen.append(atoms.calc.results["field"][2])))
    dynamics.run(4)
    np.testing.assert_allclose(seen, 0.01 * 0.5 * np.arange(5), atol=1e-15)


@pytest.mark.parametrize("name", ["stress", "energies"])
def test_what_a_field_does_not_define_is_refused_by_name(response, name):
    atoms = in_field(response, rattled(seed=15))
    with pytest.raises(PropertyNotImplementedError, match=f"{name} in an electric field"):
        atoms.calc.get_property(name, atoms)


def test_models_without_a_head_say_what_to_train():
    model = trained_like("schnet")
    with pytest.raises(PropertyNotAvailableError, match="head=polarization"):
        Calculator(model, field=[0, 0, 0.1])
    atoms = in_field(model, rattled(), None)
    with pytest.raises(PropertyNotImplementedError, match="response head"):
        born(atoms)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ([0, 0.1], "three numbers"),
        ("x", "three numbers"),
        ([0, 0, float("nan")], "three numbers"),
        ({"amplitude": [0, 0, 0.1], "frequncy": 1.0}, "did you mean 'frequency'"),
        ({"amplitude": [0, 0, 0.1]}, "frequency in THz"),
        ({"amplitude": [0, 0, 0.1], "frequency": 0}, "positive number in THz"),
        ({"amplitude": [0.1], "frequency": 1}, "field.amplitude"),
    ],
)
def test_fields_that_are_none(polarized, field, message):
    with pytest.raises(ConfigError, match=message):
        Calculator(polarized, field=field)


@pytest.mark.parametrize(
    "field",
    [[0, 0, 0.5], {"amplitude": [0, 0.5, 0], "frequency": 1.0}, ElectricField((0.5, 0, 0))],
    ids=["constant", "alternating", "object"],
)
def test_a_strong_field_is_warned_of(polarized, field):
    with pytest.warns(PhysicsWarning, match=r"0\.5 V/Å is beyond linear response"):
        Calculator(polarized, field=field)


def test_a_function_that_becomes_strong_is_warned_of_once(polarized):
    atoms = in_field(polarized, rattled(seed=13), lambda time: [0.0, 0.0, 0.1 * time])
    largest = []
    with pytest.warns(PhysicsWarning, match=r"0\.3 V/Å is beyond linear response") as said:
        for time in (1.0, 3.0, 4.0, 0.5):
            atoms.calc.time = time
            atoms.get_forces()
            largest.append(atoms.calc.largest_field[2])
    assert len(said) == 1
    np.testing.assert_allclose(largest, [0.1, 0.3, 0.4, 0.4])


def test_ions_without_oxidation_numbers_are_warned_of_once(polarized):
    """Without one Li the rest of its charge is shared: P no longer changes by whole charges times lattice vectors."""
    atoms = rattled((2, 1, 1), seed=17)
    del atoms[0]
    assert atoms.get_chemical_formula() == "Li3O2"
    vacancy = in_field(polarized, atoms)
    with pytest.warns(PhysicsWarning, match=r"Li3O2.*\+0\.2 e each.*charge of the cell, 0 e.*not whole") as said:
        before = born_and_polarization(vacancy)
    vacancy.calc.start_path()
    vacancy.positions[2] += vacancy.cell.array[1]
    after = born_and_polarization(vacancy)
    assert len(said) == 1
    jump = (after[1] - before[1]) @ np.linalg.inv(vacancy.cell.array)
    np.testing.assert_allclose(jump, [0.0, {"Li": 1.2, "O": -1.8}[vacancy.symbols[2]], 0.0], atol=1e-9)
    np.testing.assert_allclose(after[0], before[0], atol=1e-9)
    whole = rattled((2, 1, 1), seed=17)
    born_and_polarization(in_field(polarized, whole))
    whole.info["charge"] = -2.0
    charged = in_field(polarized, whole, remove_net_force=True)
    with pytest.warns(PhysicsWarning, match=r"-0\.3333 e each.*charge of the cell, -2 e"):
        charged.get_forces()


def born_and_polarization(atoms):
    return born(atoms), atoms.calc.get_property("polarization", atoms)


def test_a_head_on_direct_forces(models):
    model = with_head("gnnff", "born_tensor")
    atoms = in_field(model, rattled(seed=16))
    expected = in_field(model, atoms, None).get_forces() + np.einsum(
        "a,nab->nb", FIELD, born(in_field(model, atoms, None))
    )
    np.testing.assert_allclose(atoms.get_forces(), expected, atol=1e-11)
    with pytest.raises(PropertyNotImplementedError, match="forces directly"):
        atoms.get_potential_energy()
