"""The total charge as an input of every model: `gnnpot.nn.system_charge`."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from gnnpot.data.graph import collate
from gnnpot.errors import DataError
from gnnpot.models.prediction import predict
from gnnpot.models.properties import derive
from gnnpot.models.store import load, save
from tests.contract.conftest import graph_of, labelled, main_properties, rattled, structures, trained_like

STEP = 2e-5


def charged(atoms, charge):
    atoms = atoms.copy()
    atoms.info["charge"] = charge
    return atoms


@pytest.fixture(scope="module")
def charged_model(model_name):
    """A model with charge that has seen charges 0 to 2 in cells of two volumes, with random weights."""
    model = trained_like(model_name, frames=training_frames(), charge=True)
    if hasattr(model, "energy_scale"):
        assert model.energy_scale.charge_coefficients.abs().min() > 1e-3
    return model


def training_frames():
    frames = [labelled(charged(bulk("Li", cubic=True), 0), 9)]
    for k in range(6):
        atoms = labelled(charged(rattled((1, 1, 1 + k % 2), seed=k), k % 3), k)
        atoms.calc.results["energy"] += (0.7 * (k % 3) - 0.2 * (k % 3) ** 2) * len(atoms)
        frames.append(atoms)
    return frames


def values(model, atoms):
    return {name: v.numpy() for name, v in derive(model, graph_of(model, atoms), main_properties(model)).items()}


def test_the_unit_of_charge_is_that_of_the_training_set(charged_model):
    largest = max(abs(atoms.info["charge"]) / atoms.get_volume() for atoms in training_frames())
    assert float(charged_model.system_charge.factor) == pytest.approx(1.0 / largest, rel=1e-12)


def test_charge_changes_energies_and_forces(charged_model):
    neutral, positive = (values(charged_model, charged(rattled(), q)) for q in (0.0, 1.0))
    for name, value in neutral.items():
        assert np.abs(value - positive[name]).max() > 0.01 * np.abs(value).max()


def test_repeating_a_cell_repeats_its_charge(charged_model):
    atoms = rattled(seed=5)
    one = values(charged_model, charged(atoms, 1.5))
    four = values(charged_model, charged(atoms * (2, 2, 1), 6.0))
    np.testing.assert_allclose(four["forces"], np.tile(one["forces"], (4, 1)), rtol=1e-9, atol=1e-10)
    if "energy" in one:
        np.testing.assert_allclose(four["energy"], 4.0 * one["energy"], rtol=1e-10)
        np.testing.assert_allclose(four["stress"], one["stress"], rtol=1e-8, atol=1e-10)


def test_stress_and_forces_against_finite_differences(charged_model):
    if "energies" not in charged_model.outputs:
        pytest.skip("no energy")
    atoms = charged(rattled((2, 1, 1), seed=3), -2.0)
    found = values(charged_model, atoms)
    for a, b in [(0, 0), (1, 1), (0, 2)]:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * STEP
        strain[b, a] += 0.5 * STEP
        strained = [atoms.copy(), atoms.copy()]
        for sign, one in zip((1, -1), strained, strict=True):
            one.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
        slope = -np.subtract.reduce([values(charged_model, one)["energy"][0] for one in strained[::-1]])
        assert found["stress"][0, a, b] == pytest.approx(slope / (2 * STEP) / atoms.get_volume(), rel=1e-5, abs=1e-7)
    moved = [atoms.copy(), atoms.copy()]
    moved[0].positions[1, 2] += STEP
    moved[1].positions[1, 2] -= STEP
    slope = (values(charged_model, moved[0])["energy"] - values(charged_model, moved[1])["energy"]) / (2 * STEP)
    assert found["forces"][1, 2] == pytest.approx(-slope[0], rel=1e-5, abs=1e-6)


def test_every_way_gives_the_same(charged_model):
    """Alone, in a batch with other charges, with stored fields, to be trained through, by automatic gradients."""
    frames = [charged(rattled((1, 1, 1 + k), seed=k), q) for k, q in enumerate((0.0, 1.0, -1.5))]
    graphs = [graph_of(charged_model, atoms) for atoms in frames]
    names = main_properties(charged_model)
    alone = [derive(charged_model, graph, names) for graph in graphs]
    stored = collate([graph.replace(**charged_model.precompute(graph)) for graph in graphs])
    moving = collate(graphs).replace(positions=collate(graphs).positions.requires_grad_(True))
    for batch, differentiable in ((collate(graphs), False), (stored, False), (stored, True), (moving, False)):
        found = derive(charged_model, batch, names, differentiable=differentiable)
        for name in names:
            expected = torch.cat([one[name] for one in alone])
            torch.testing.assert_close(found[name].detach(), expected, rtol=2e-5, atol=2e-5)


def test_every_parameter_learns_from_energy_forces_and_stress(charged_model):
    batch = collate([graph_of(charged_model, charged(rattled(seed=k), 1.0 + k)) for k in range(2)])
    charged_model.zero_grad()
    found = derive(charged_model, batch, main_properties(charged_model), differentiable=True)
    sum((value**2).sum() for value in found.values()).backward()
    still = [name for name, p in charged_model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    charged_model.zero_grad()
    assert not still


def test_save_and_load_keep_the_unit_of_charge(charged_model, tmp_path):
    save(charged_model, tmp_path / "model", {})
    loaded = load(tmp_path / "model")
    assert loaded.takes_charge
    graph = graph_of(charged_model, charged(rattled(), 1.0))
    expected = derive(charged_model, graph, ["forces"])["forces"]
    assert torch.equal(derive(loaded, graph, ["forces"])["forces"], expected)


def test_a_frame_without_charge_or_volume_is_refused_by_name(charged_model):
    bare = rattled()
    bare.info.update(source="mine.xyz", frame=3)
    with pytest.raises(DataError, match=r"mine\.xyz, frame 3: no total charge.*data\.charge=0"):
        predict(charged_model, [bare], ["forces"])
    with pytest.raises(DataError, match="no total charge"):
        charged_model(graph_of(charged_model, bare))
    slab = charged(structures()["slab"], 0.0)
    slab.info.update(source="slab.xyz", frame=0)
    with pytest.raises(DataError, match=r"slab\.xyz, frame 0: pbc is \[True, True, False\].*per volume"):
        predict(charged_model, [slab], ["forces"])
    with pytest.raises(DataError, match=r"structure 0 of 1.*not periodic"):
        charged_model(graph_of(charged_model, slab))


def test_a_neutral_training_set_has_the_unit_one(model_name):
    frames = [labelled(charged(atoms, 0.0), 0) for atoms in (rattled(), bulk("Li", cubic=True))]
    model = trained_like(model_name, frames=frames, charge=True)
    assert float(model.system_charge.factor) == 1.0
    if hasattr(model, "energy_scale"):
        assert not model.energy_scale.charge_coefficients.any()


def test_without_charge_as_input_it_counts_as_none(model):
    neutral, positive = (values(model, charged(rattled(), q)) for q in (0.0, 1.0))
    for name, value in neutral.items():
        np.testing.assert_array_equal(value, positive[name])
