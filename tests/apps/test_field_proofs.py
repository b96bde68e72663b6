"""What a field does, on a model trained on first principles and on ions whose answer is known."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE
from torch import Tensor, nn

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.ensembles import set_velocities
from gnnpot.data.graph import AtomicGraph, collate, graph_from_atoms, sum_per_structure
from gnnpot.models.polarization import IonicCharges
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive
from gnnpot.models.response import ResponsePotential
from tests.apps.trained_response import NAMES, dipole_model, labelled_frames

pytestmark = [
    pytest.mark.filterwarnings("ignore:The compositions of the training set"),
    pytest.mark.filterwarnings("ignore:.*the ions carry their oxidation numbers and:gnnpot.errors.PhysicsWarning"),
]
FIELD = np.array([0.03, 0.0, 0.1])


@pytest.fixture(scope="module")
def frames() -> tuple[Atoms, ...]:
    """Of the bundled lithium oxide, with forces and Born charges of density functional theory; the calmest first."""
    return labelled_frames("Li2O")[:6]


@pytest.fixture(scope="module")
def trained() -> ResponsePotential:
    """A small model that has learned forces and Born charges of a few frames."""
    return dipole_model("Li2O")


def test_the_model_has_learned(trained: ResponsePotential, frames: tuple[Atoms, ...]) -> None:
    graph = collate([graph_from_atoms(atoms, 4.0) for atoms in frames])
    for name, found in derive(trained, graph, NAMES).items():
        label = getattr(graph, name)
        assert (found - label).std() < 0.25 * label.std()


def energies_along(model: Potential, start: Atoms, charge: float, timestep: float) -> np.ndarray:
    """(K + U, K + H) along 80 fs at a constant field."""
    atoms = start.copy()
    atoms.info["charge"] = charge
    atoms.calc = Calculator(model, dtype="float64", field=FIELD, remove_net_force=True)
    set_velocities(atoms, 600.0, 3 * len(atoms) - 3, np.random.default_rng(0))
    found = []

    def note() -> None:
        kinetic = atoms.get_kinetic_energy()
        found.append((kinetic + atoms.calc.results["internal_energy"], kinetic + atoms.get_potential_energy()))

    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    dynamics.attach(note, interval=round(2.0 / timestep))
    dynamics.run(round(80.0 / timestep))
    return np.array(found).T


@pytest.mark.parametrize("charge", [0.0, 1.0])
def test_a_trained_model_conserves_the_enthalpy_and_not_the_energy(trained, frames, charge):
    """The fluctuation of K + H falls 4 x when the step is halved, its slope is zero; both fail without -E·P.

    Bound ions swing in a field that is switched on: K + U rises for half of the 80 fs, and comes back.
    """
    coarse, fine = (energies_along(trained, frames[0], charge, step) for step in (2.0, 1.0))
    (bare, enthalpy), time = fine, np.arange(fine.shape[1])
    giving_way = slice(20)
    assert coarse[1].std() / enthalpy.std() == pytest.approx(4.0, rel=0.15)
    assert coarse[0].std() / bare.std() == pytest.approx(1.0, rel=0.05)
    assert abs(slope_in_errors(time, enthalpy)) < 3.0
    of_enthalpy, of_bare = (slope_in_errors(time[giving_way], x[giving_way]) for x in (enthalpy, bare))
    assert abs(of_enthalpy) < 3.0 < of_bare
    assert bare.std() > 30.0 * enthalpy.std()


def slope_in_errors(time: np.ndarray, values: np.ndarray, n_blocks: int = 5) -> float:
    """Slope of the means of blocks, over its standard error."""
    x, y = (np.array([part.mean() for part in np.array_split(z, n_blocks)]) for z in (time, values))
    (slope, start), away = np.polyfit(x, y, 1), x - x.mean()
    error = np.sqrt(((y - slope * x - start) ** 2).sum() / (n_blocks - 2) / (away**2).sum())
    return float(slope / error)


class BoundIons(Potential):
    """U = ½ k Σ_i |r_i - r_i0|² and P = Σ_i q_i r_i."""

    outputs = frozenset({"energies", "polarization"})

    def __init__(self, elements: Sequence[int | str] | None, cutoff: float, spring: float, places: np.ndarray) -> None:
        super().__init__(elements, cutoff)
        self.spring, self.places = spring, places
        self.head = nn.Module()
        self.head.ionic_charges = IonicCharges(self.elements, {"Li": 1.0, "F": -1.0})
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        away = graph.positions - torch.from_numpy(self.places)
        dipoles = self.head.ionic_charges(graph)[:, None] * graph.positions
        return {
            "energies": 0.5 * self.spring * (away**2).sum(dim=1) + self.weight,
            "polarization": sum_per_structure(dipoles, graph),
        }

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        pass


def ions(spring: float) -> Atoms:
    atoms = Atoms("LiF", positions=[[0.0, 0.0, 0.0], [5.0, 5.0, 5.0]])
    model = BoundIons(["Li", "F"], 3.0, spring, atoms.positions.copy())
    atoms.calc = Calculator(model, dtype="float64", field=FIELD)
    return atoms


def test_a_bound_ion_is_displaced_by_its_charge_times_the_field_over_the_spring() -> None:
    atoms = ions(spring=2.0)
    start = atoms.positions.copy()
    FIRE(atoms, logfile=None).run(fmax=1e-9, steps=2000)
    expected = np.outer([1.0, -1.0], FIELD) / 2.0
    np.testing.assert_allclose(atoms.positions - start, expected, atol=1e-8)
    assert atoms.get_potential_energy() == pytest.approx(-FIELD @ (start.T @ [1.0, -1.0]) - 2 * FIELD @ FIELD / 4.0)


def test_a_free_ion_under_friction_drifts_with_its_charge_times_the_field_over_the_friction() -> None:
    atoms, friction = ions(spring=0.0), 0.05 / units.fs
    dynamics = Langevin(atoms, 0.2 * units.fs, temperature_K=0.0, friction=friction, fixcm=False)
    dynamics.run(2500)
    expected = np.outer([1.0, -1.0], FIELD) / (atoms.get_masses()[:, None] * friction)
    np.testing.assert_allclose(atoms.get_velocities(), expected, rtol=1e-5)
