"""Transport and spectra against walks with a known diffusion coefficient and an oscillator with a known frequency."""

import csv
import json

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot import analyze
from gnnpot.apps.arrhenius import fit_arrhenius
from gnnpot.apps.conductivity import polarization_path
from gnnpot.apps.correlations import autocorrelation, mean_squared_displacement
from gnnpot.apps.md import md
from gnnpot.apps.trajectories import load_trajectory
from gnnpot.errors import ConfigError, DataError, PropertyNotAvailableError
from gnnpot.keys import COULOMB_CONSTANT, S_PER_CM
from gnnpot.models.potential import Potential

SIDE, INTERVAL = 12.0, 0.1
"""Å; ps between frames."""
WALK = 0.4
"""Å²/ps, diffusion coefficient of the walkers."""


SWING, WAVE = 0.6, 2 * np.pi / (SIDE / 3)
"""e; 1/Å."""


def swinging_charges(positions):
    """Z = ∂P/∂r ``(..., 40, 3, 3)`` of P_a = Σ_pairs (x_a + SWING/WAVE sin(WAVE x_b)), b after a, x of Li from its Cl.

    A dipole that is periodic and bounded, and known to Z in its instants alone: Z is not symmetric, and its square is
    1 + SWING²/2 on average.
    """
    swing = SWING * np.cos(WAVE * (positions[..., :20, :] - positions[..., 20:, :]))
    charges = np.broadcast_to(np.eye(3), (*swing.shape, 3)).copy()
    for a in range(3):
        charges[..., a, (a + 1) % 3] += swing[..., (a + 1) % 3]
    return np.concatenate([charges, -charges], axis=-3)


def walkers(path, temperature=800.0, diffusion=WALK, n_frames=600, wrap=False, seed=0, with_born=False):
    """20 Li that walk at random, and 20 heavy Cl that shake in their places."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(scale=np.sqrt(2 * diffusion * INTERVAL), size=(n_frames, 20, 3))
    walk = rng.uniform(0, SIDE, (20, 3)) + np.cumsum(steps, axis=0)
    still = rng.uniform(0, SIDE, (20, 3))
    masses = np.array([1e-6] * 20 + [35.0] * 20)
    frames = []
    for k in range(n_frames):
        shaken = still + rng.normal(scale=0.05, size=(20, 3))
        atoms = Atoms("Li20Cl20", np.concatenate([walk[k], shaken]), cell=[SIDE] * 3, pbc=True, masses=masses)
        atoms.info["time_ps"] = 5.0 + k * INTERVAL
        if wrap:
            atoms.wrap()
        if with_born:
            atoms.calc = SinglePointCalculator(atoms, born_effective_charges=swinging_charges(atoms.positions))
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    return walkers(tmp_path_factory.mktemp("walk") / "walk.traj", with_born=True)


@pytest.fixture(scope="module")
def short_walk(tmp_path_factory):
    return walkers(tmp_path_factory.mktemp("short") / "walk.traj", n_frames=120, with_born=True)


def slow_displacement(positions):
    return [
        np.mean(np.sum((positions[k:] - positions[: len(positions) - k]) ** 2, axis=2)) for k in range(len(positions))
    ]


def test_transforms_are_the_sums_they_stand_for():
    series = np.random.default_rng(0).normal(size=(37, 5, 3)).cumsum(axis=0) + 100.0
    np.testing.assert_allclose(mean_squared_displacement(series), slow_displacement(series), rtol=1e-9, atol=1e-9)
    x = series[:, 0]
    expected = [np.mean(np.sum(x[k:] * x[: 37 - k], axis=1)) for k in range(37)]
    np.testing.assert_allclose(autocorrelation(x), expected)


def test_a_random_walk_has_its_diffusion_coefficient(walk, tmp_path, capsys):
    result = analyze("diffusion", walk, temperature=800, output=tmp_path / "d", skip=0.0)
    elements = result.record["trajectories"][0]["elements"]
    lithium, chlorine = elements["Li"], elements["Cl"]
    assert lithium["diffusion_cm2_per_s"] == pytest.approx(WALK * 1e-4, abs=4 * lithium["error_cm2_per_s"])
    assert 0.005 < lithium["error_cm2_per_s"] / lithium["diffusion_cm2_per_s"] < 0.1
    assert lithium["growth_exponent"] == pytest.approx(1.0, abs=0.1)
    assert abs(chlorine["diffusion_cm2_per_s"]) < 1e-3 * lithium["diffusion_cm2_per_s"]
    assert "No diffusion is seen of Cl" in capsys.readouterr().out
    with (tmp_path / "d" / "diffusion.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert set(rows[0]) == {"trajectory", "temperature_K", "element", "time_ps", "msd_A2"}
    assert json.loads((tmp_path / "d" / "diffusion.json").read_text())["kind"] == "diffusion"
    assert "Self-diffusion" in (tmp_path / "d" / "report.html").read_text()


def test_wrapped_atoms_are_followed(tmp_path):
    straight = load_trajectory(walkers(tmp_path / "a.traj", n_frames=60, wrap=False), 300, None, 0.0)
    wrapped = load_trajectory(walkers(tmp_path / "b.traj", n_frames=60, wrap=True), 300, None, 0.0)
    moved = wrapped.positions - wrapped.positions[0]
    np.testing.assert_allclose(moved, straight.positions - straight.positions[0], atol=1e-9)
    assert "put back into the cell" in wrapped.notes[0] and straight.notes == ()
    assert wrapped.interval == pytest.approx(INTERVAL)


def test_independent_ions_conduct_by_nernst_einstein(walk, tmp_path, capsys):
    result = analyze("conductivity", walk, temperature=800, output=tmp_path / "c", skip=0.0)
    facts = result.record["trajectories"][0]
    expected = S_PER_CM * 20 * WALK / (SIDE**3 * units.kB * 800)
    for name in ("nernst_einstein", "integer", "born"):
        found = facts["conductivity"][name]
        assert found["value_S_per_cm"] == pytest.approx(expected, abs=4 * found["error_S_per_cm"])
    assert facts["conductivity"]["nernst_einstein"]["error_S_per_cm"] < 0.1 * expected
    assert facts["born_charges"] == "labels of the frames"
    assert result.record["integer_charges_e"] == {"Cl": -1.0, "Li": 1.0}
    assert 0.3 < facts["haven_ratio"] < 3.0
    assert "more than three standard errors" not in capsys.readouterr().out


def test_born_and_integer_charges_conduct_alike_though_their_currents_differ(walk, tmp_path):
    """A bounded dipole adds SWING²/2 to the square of every step, and nothing to the slope at long times."""
    result = analyze("conductivity", walk, temperature=800, output=tmp_path / "c", skip=0.0)
    with (tmp_path / "c" / "conductivity.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if float(row["time_ps"]) == pytest.approx(INTERVAL)]
    first_step = {row["method"]: float(row["squared_displacement_e2A2"]) for row in rows}
    assert first_step["born"] / first_step["integer"] == pytest.approx(1.0 + SWING**2 / 2.0, abs=0.07)
    estimates = result.record["trajectories"][0]["conductivity"]
    born, integer = (estimates[name]["value_S_per_cm"] for name in ("born", "integer"))
    assert born != integer
    assert born == pytest.approx(integer, rel=0.05)


class SwingingCharges(Potential):
    """Z of `swinging_charges`, and nothing else."""

    outputs = frozenset({"born_effective_charges"})

    def __init__(self):
        super().__init__(["Li", "Cl"], 3.0)
        self.weight = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, graph):
        positions = graph.positions.double().numpy().reshape(graph.n_structures, 40, 3)
        return {"born_effective_charges": torch.from_numpy(swinging_charges(positions).reshape(-1, 3, 3))}


def test_a_model_predicts_born_charges_along_the_trajectory(short_walk, tmp_path):
    settings = {"temperature": 800, "blocks": 3}
    found, sources = [], []
    for name, options in (
        ("labels", {}),
        ("all", {"checkpoint": SwingingCharges(), "born_every": 1}),
        ("some", {"checkpoint": SwingingCharges(), "born_every": 2}),
    ):
        record = analyze("conductivity", short_walk, output=tmp_path / name, **settings, **options).record
        sources.append(record["trajectories"][0]["born_charges"])
        found.append(record["trajectories"][0]["conductivity"]["born"]["value_S_per_cm"])
    predicted = "predicted by SwingingCharges"
    assert sources == ["labels of the frames", predicted, f"{predicted} (55 of 108 frames, linear between them)"]
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[1] != found[2] == pytest.approx(found[0], rel=0.05)


def test_siemens_per_centimeter():
    """e/(V·Å·ps) in SI."""
    assert pytest.approx(units._e / (1e-10 * 1e-12) / 100) == S_PER_CM


def test_born_charges_that_move_with_the_ions_give_the_path_of_the_dipole():
    x = np.linspace(0, 4, 400)
    positions = np.zeros((400, 1, 3))
    positions[:, 0, 1] = x
    born = np.zeros((400, 1, 3, 3))
    born[:, 0, 2, 1] = np.cos(x)
    path = polarization_path(positions, born)
    np.testing.assert_allclose(path[:, 2], np.sin(x), atol=1e-4)
    np.testing.assert_allclose(path[:, :2], 0.0)


def test_activation_energy_from_several_temperatures(tmp_path):
    kelvin, energy = (600, 800, 1000), 0.25
    paths = [
        walkers(tmp_path / f"{t}.traj", diffusion=8.0 * np.exp(-energy / (units.kB * t)), n_frames=200, seed=t)
        for t in kelvin
    ]
    settings = {"temperature": list(kelvin), "skip": 0.0, "blocks": 4}
    activation = analyze("diffusion", paths, output=tmp_path / "d", **settings).record["activation"]
    assert list(activation) == ["Li"]
    found = activation["Li"]
    assert found["energy_ev"] == pytest.approx(energy, abs=4 * found["energy_error_ev"])
    assert 0.001 < found["energy_error_ev"] < 0.05
    low, high = found["energy_95_percent_ev"]
    assert low < found["energy_ev"] < high
    record = analyze("conductivity", paths, output=tmp_path / "c", **settings).record
    independent = record["activation"]["nernst_einstein"]
    assert independent["energy_ev"] == pytest.approx(energy, abs=4 * independent["energy_error_ev"])
    assert (tmp_path / "c" / "arrhenius.svg").exists() and (tmp_path / "d" / "arrhenius.svg").exists()
    assert "born" not in record["activation"]


def test_nothing_is_fitted_to_one_temperature_or_to_negative_values():
    blocks = [np.array([1.0, 1.1])] * 2
    assert fit_arrhenius([300, 300], [1.0, 1.0], blocks, 0) is None
    assert fit_arrhenius([300, 400], [1.0, -1.0], blocks, 0) is None


def test_what_is_not_resolved_from_zero_has_no_haven_ratio_and_no_activation_energy(tmp_path):
    paths = [walkers(tmp_path / f"{t}.traj", diffusion=0.0, n_frames=200, seed=t) for t in (600, 800)]
    settings = {"temperature": [600, 800], "skip": 0.0, "blocks": 4}
    record = analyze("conductivity", paths, output=tmp_path / "c", **settings).record
    assert [t["haven_ratio"] for t in record["trajectories"]] == [None, None]
    assert record["activation"] == {}
    assert "no activation energy is made of them" in (tmp_path / "c" / "report.html").read_text()


FREQUENCY = 12.0
"""THz."""


@pytest.fixture(scope="module")
def oscillators(tmp_path_factory):
    """12 pairs of ions, Z = ±1, that vibrate at 12 THz about a heavy partner, at 300 K."""
    rng = np.random.default_rng(1)
    interval, n_frames, mass, n = 0.004, 700, 7.0, 12
    omega = 2 * np.pi * FREQUENCY * 1e-3 / units.fs
    amplitude = rng.normal(scale=np.sqrt(units.kB * 300 / mass) / omega, size=(2, n, 3))
    born = np.array([np.eye(3)] * n + [-np.eye(3)] * n)
    frames = []
    for k in range(n_frames):
        phase = 2 * np.pi * FREQUENCY * k * interval
        moved = amplitude[0] * np.cos(phase) + amplitude[1] * np.sin(phase)
        speed = omega * (amplitude[1] * np.cos(phase) - amplitude[0] * np.sin(phase))
        atoms = Atoms(f"Li{n}Cl{n}", np.concatenate([moved, np.zeros((n, 3))]), cell=[SIDE] * 3, pbc=True)
        atoms.set_masses([mass] * n + [1e9] * n)
        atoms.set_velocities(np.concatenate([speed, np.zeros((n, 3))]))
        atoms.calc = SinglePointCalculator(atoms, born_effective_charges=born)
        frames.append(atoms)
    path = tmp_path_factory.mktemp("oscillators") / "o.traj"
    ase.io.write(path, frames)
    return path


def test_an_oscillator_absorbs_at_its_frequency_with_its_strength(oscillators, tmp_path):
    """∫ α n dν = <J²> / (12 V k_B T ε0 c²), in SI."""
    path = oscillators
    result = analyze(
        "infrared", path, interval=4, temperature=300, output=tmp_path / "ir", skip=0.0, max_time=0.45, blocks=3
    )
    record = result.record
    assert record["peaks"][0]["wavenumber_per_cm"] == pytest.approx(FREQUENCY * 33.35641, abs=4.0)
    assert len(record["peaks"]) == 1
    assert record["velocities"] == "momenta of the frames"
    found = np.trapezoid(record["absorption_per_cm"], record["wavenumbers_per_cm"])
    current = oscillator_current(path)
    permittivity = 1 / (4 * np.pi * COULOMB_CONSTANT) * units._e / 1e-10
    strength = (
        current * (units._e * 100.0) ** 2 / (SIDE * 1e-10) ** 3 / (12 * units._k * 300 * permittivity * units._c**2)
    )
    assert found == pytest.approx(strength * 1e-4, rel=0.02)
    assert (tmp_path / "ir" / "spectrum.svg").exists()
    with (tmp_path / "ir" / "infrared.csv").open() as stream:
        assert next(csv.reader(stream)) == ["wavenumber_per_cm", "absorption_per_cm", "standard_error_per_cm"]


def oscillator_current(path):
    """Mean square of dP/dt, (e·Å/ps)²."""
    frames = ase.io.read(path, index=":")
    velocities = np.array([frame.get_velocities()[:12] for frame in frames]) * units.fs * 1e3
    return float(np.mean(velocities.sum(axis=1) ** 2) * 3)


def test_velocities_may_come_from_positions(oscillators, tmp_path):
    trajectory = load_trajectory(oscillators, None, 4, 0.0)
    expected = trajectory.velocities()[0]
    for frame in trajectory.frames:
        del frame.arrays["momenta"]
    found, source = trajectory.velocities()
    assert source == "differences of the positions"
    np.testing.assert_allclose(found[1:-1], expected[1:-1], atol=0.02 * np.abs(expected).max())


def test_our_own_simulation_tells_time_and_temperature(argon_potential, argon, tmp_path):
    md(
        argon_potential,
        argon,
        temperature=60,
        steps=205,
        output=tmp_path / "md",
        timestep=4,
        trajectory_interval=4,
        log_interval=50,
    )
    trajectory = load_trajectory(tmp_path / "md" / "trajectory.extxyz", None, None, 0.0)
    assert trajectory.interval == pytest.approx(0.016)
    assert len(trajectory.frames) == 52
    assert trajectory.temperature == pytest.approx(60, rel=0.5)
    analyze("diffusion", tmp_path / "md" / "trajectory.extxyz", blocks=2, skip=0.0, output=tmp_path / "d")
    with pytest.raises(PropertyNotAvailableError, match="head"):
        analyze("infrared", tmp_path / "md" / "trajectory.extxyz", checkpoint=argon_potential, output=tmp_path / "ir")
    with pytest.raises(ConfigError, match="checkpoint="):
        analyze("infrared", tmp_path / "md" / "trajectory.extxyz", output=tmp_path / "ir")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "diffusoin"}, "did you mean 'diffusion'"),
        ({"species": ["Na"]}, "no 'Na'"),
        ({"fit": [1, 100]}, "fit="),
        ({"fit": [5]}, "fit="),
        ({"blocks": 1}, "2 or more"),
        ({"skip": 1.0}, "skip=1.0"),
        ({"temperature": [300, 400]}, "2 of them for 1"),
        ({"interval": -1}, "interval=-1"),
        ({"kind": "conductivity", "charges": {"Li": 1}}, "Cl"),
        ({"kind": "infrared", "window": "hat"}, "hann"),
        ({"kind": "infrared", "max_time": 1000.0}, "max_time"),
    ],
)
def test_settings_are_checked(short_walk, tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        analyze(**{"kind": "diffusion", "trajectory": short_walk, "temperature": 800, "output": tmp_path, **settings})


def test_what_a_file_does_not_tell_is_asked_for(tmp_path):
    path = tmp_path / "bare.extxyz"
    ase.io.write(path, [Atoms("Cu2", [[0, 0, k * 0.1], [0, 0, 4]], cell=[9] * 3, pbc=True) for k in range(30)])
    with pytest.raises(ConfigError, match="interval= in fs"):
        analyze("diffusion", path, output=tmp_path)
    with pytest.raises(ConfigError, match="temperature= in K"):
        analyze("diffusion", path, interval=10, output=tmp_path)
    with pytest.raises(ConfigError, match="charges="):
        analyze("conductivity", path, interval=10, temperature=300, output=tmp_path)
    with pytest.raises(DataError, match="fewer blocks="):
        analyze("diffusion", path, interval=10, temperature=300, output=tmp_path)
    (tmp_path / "diffusion.json").write_text("{}")
    with pytest.raises(ConfigError, match="overwrite=true"):
        analyze("diffusion", path, output=tmp_path)
