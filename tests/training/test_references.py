"""Reference energies fitted anew: what was shifted by known numbers comes back."""

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.data import atomic_numbers

from gnnpot.data.graph import AtomicGraph, graph_from_atoms
from gnnpot.data.labels import attach_labels
from gnnpot.models.gnnff import GNNFF
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet
from gnnpot.training.references import Refit, apply_references, fit_references

SHIFTS = {"Na": 12.345678, "Cl": -987.654321, "K": 0.0625}


@pytest.fixture(scope="module")
def potential() -> SchNet:
    torch.manual_seed(0)
    model = SchNet(["Na", "Cl", "K", "O"], 4.0, n_features=8, n_interactions=1, n_radial=6).double()
    model.energy_scale.reference_energies.copy_(torch.tensor([-1.0, -2.0, -3.0, -4.0]))
    return model


def frames(*names: str) -> list[ase.Atoms]:
    found = []
    for seed, name in enumerate(names):
        atoms = bulk(name, "rocksalt", a=5.5) if name in ("NaCl", "KCl") else bulk(name, "bcc", a=4.3)
        atoms = atoms * (2, 1, 1)
        atoms.rattle(0.1, seed=seed)
        found.append(atoms)
    return found


def shifted(potential: SchNet, structures: list[ase.Atoms]) -> list[AtomicGraph]:
    """Graphs whose energies are the model's own plus the shifts."""
    graphs = []
    for atoms in structures:
        energy = float(derive(potential, graph_from_atoms(atoms, 4.0), ["energy"])["energy"])
        energy += sum(SHIFTS[s] for s in atoms.get_chemical_symbols())
        attach_labels(atoms, {"energy": energy})
        graphs.append(graph_from_atoms(atoms, 4.0))
    return graphs


def test_known_shifts_are_recovered(potential: SchNet) -> None:
    graphs = shifted(potential, frames("NaCl", "KCl", "Na", "NaCl", "K"))
    refit = fit_references(potential, graphs)
    assert isinstance(refit, Refit)
    assert [s.symbol for s in refit.shifts] == ["Na", "Cl", "K"]
    for shift in refit.shifts:
        assert shift.shift == pytest.approx(SHIFTS[shift.symbol], abs=1e-8)
        assert shift.is_determined
    assert refit.rms_after < 1e-9 < 1.0 < refit.rms_before
    before = potential.energy_scale.reference_energies.clone()
    apply_references(potential, refit)
    try:
        for graph in graphs:
            found = derive(potential, graph, ["energy"])["energy"]
            torch.testing.assert_close(found, graph.energy, rtol=0, atol=1e-8)
        row = potential.elements.index(atomic_numbers["O"])
        assert potential.energy_scale.reference_energies[row] == before[row]
    finally:
        potential.energy_scale.reference_energies.copy_(before)


def test_what_compositions_leave_open_is_one_shift_for_all(potential: SchNet) -> None:
    refit = fit_references(potential, shifted(potential, frames("NaCl", "NaCl", "K")))
    assert refit is not None
    assert refit.undetermined == ("Na", "Cl")
    assert refit.of("K") == pytest.approx(SHIFTS["K"], abs=1e-8)
    assert refit.of("Na") + refit.of("Cl") == pytest.approx(SHIFTS["Na"] + SHIFTS["Cl"], abs=1e-8)
    assert refit.of("Na") == pytest.approx(refit.of("Cl"), abs=1e-6)
    assert refit.of("O") == 0.0


def test_isolated_atoms_count_for_elements_that_stand_nowhere_else(potential: SchNet) -> None:
    alone = [ase.Atoms("Na", pbc=False), ase.Atoms("K", pbc=False)]
    graphs = shifted(potential, [*frames("Na", "NaCl"), *alone])
    graphs[2].energy += 5.0
    refit = fit_references(potential, graphs)
    assert refit is not None
    for symbol, shift in SHIFTS.items():
        assert refit.of(symbol) == pytest.approx(shift, abs=1e-8)


def test_without_energies_there_is_nothing_to_fit(potential: SchNet) -> None:
    assert fit_references(potential, [graph_from_atoms(bulk("Na"), 4.0)]) is None
    direct = GNNFF(["Na"], 4.0, n_features=4, n_edge_features=4, n_interactions=1).double()
    assert fit_references(direct, [graph_from_atoms(bulk("Na"), 4.0)]) is None


def test_charge_states_are_fitted_along() -> None:
    torch.manual_seed(0)
    model = SchNet(["Na"], 4.0, n_features=8, n_interactions=1, n_radial=6, charge=True).double()
    graphs = []
    for seed, charge in enumerate([0.0, 0.0, 1.0, 1.0, 2.0]):
        atoms = bulk("Na", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.info["charge"] = charge
        graphs.append(graph_from_atoms(atoms, 4.0))
    for _ in model.watching_charges(graphs):
        pass
    for graph in graphs:
        relative = float(model.system_charge(graph))
        energy = derive(model, graph, ["energy"])["energy"]
        graph.energy.copy_(energy + 2 * (3.0 + 0.5 * relative - 0.25 * relative**2))
    refit = fit_references(model, graphs)
    assert refit is not None
    np.testing.assert_allclose([refit.of("Na"), *refit.charge_terms], [3.0, 0.5, -0.25], atol=1e-8)
    apply_references(model, refit)
    assert float(derive(model, graphs[-1], ["energy"])["energy"]) == pytest.approx(float(graphs[-1].energy), abs=1e-8)
