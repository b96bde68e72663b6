import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.data.graph import AtomicGraph, collate, graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.training.losses import (
    LabelStatistics,
    LossTerm,
    LossUnits,
    errors,
    labelled,
    loss_sums,
    loss_terms,
    mean_errors,
    total_loss,
)

TERMS = tuple(LossTerm(name, 1.0, "mse", 0.1) for name in ("energy", "forces", "stress"))
DEFAULTS = {
    name: {"weight": 1.0, "final_weight": None, "kind": "mse", "delta": 0.1} for name in ("energy", "forces", "stress")
}


def labelled_graph(**labels: object) -> AtomicGraph:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return graph_from_atoms(atoms, 3.0)


def predictions(graph: AtomicGraph, value: float) -> dict[str, torch.Tensor]:
    shapes = {"energy": graph.energy, "forces": graph.forces, "stress": graph.stress}
    return {name: torch.full_like(label, value) for name, label in shapes.items()}


def test_errors_are_per_atom_and_in_the_units_of_the_package() -> None:
    graph = labelled_graph(energy=-4.0, forces=np.ones((2, 3)), stress=np.zeros(6))
    predicted = predictions(graph, 0.0)
    assert errors("energy", predicted, graph)[0].tolist() == [2.0]
    assert errors("forces", predicted, graph)[0].tolist() == [[-1.0] * 3] * 2


def test_missing_labels_take_no_part_and_spoil_no_gradient() -> None:
    graph = collate([labelled_graph(energy=-4.0), labelled_graph(forces=np.ones((2, 3)))])
    predicted = {name: value.requires_grad_() for name, value in predictions(graph, 0.5).items()}
    sums = loss_sums(TERMS, predicted, graph, LossUnits())
    assert sums[:, 2].tolist() == [1.0, 6.0, 0.0]
    total_loss(TERMS, sums, sums[:, 2].detach()).backward()
    for name, value in predicted.items():
        assert value.grad is not None
        assert torch.isfinite(value.grad).all(), name
    assert predicted["energy"].grad is not None
    assert predicted["energy"].grad[1] == 0.0
    assert predicted["stress"].grad is not None
    assert not predicted["stress"].grad.any()


def test_losses_are_means_over_the_labels_there_are() -> None:
    one = labelled_graph(energy=-4.0, forces=np.ones((2, 3)))
    both = collate([one, labelled_graph(energy=-4.0)])
    for graph in (one, both):
        sums = loss_sums(TERMS, predictions(graph, 0.0), graph, LossUnits())
        assert float(total_loss(TERMS, sums, sums[:, 2])) == pytest.approx(4.0 + 1.0)


def test_stress_of_a_slab_is_masked() -> None:
    atoms = molecule("H2O")
    atoms.set_cell([5, 5, 5])
    atoms.pbc = (True, True, False)
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, stress=np.ones(6))
    graph = graph_from_atoms(atoms, 3.0)
    predicted = {**predictions(graph, 0.0), "stress": torch.full((1, 3, 3), float("nan"), dtype=torch.float64)}
    sums = loss_sums(TERMS, predicted, graph, LossUnits())
    assert sums[2].tolist() == [0.0, 0.0, 0.0]


def test_stress_enters_as_virial_per_atom() -> None:
    graph = labelled_graph(stress=np.zeros(6))
    sums = loss_sums(TERMS, predictions(graph, 0.01), graph, LossUnits())
    volume_per_atom = float(torch.linalg.det(graph.cell[0]).abs()) / 2
    assert float(sums[2, 0]) == pytest.approx(9 * (0.01 * volume_per_atom) ** 2)


def test_the_unit_makes_the_loss_independent_of_the_scale() -> None:
    graph = labelled_graph(energy=-4.0, forces=np.ones((2, 3)))
    stiff = labelled_graph(energy=-40.0, forces=10 * np.ones((2, 3)))
    losses = []
    for each in (graph, stiff):
        sums = loss_sums(TERMS, predictions(each, 0.0), each, LabelStatistics.of([each]).units)
        losses.append(float(total_loss(TERMS, sums, sums[:, 2])))
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.parametrize(("kind", "expected"), [("mse", 4.0), ("mae", 2.0), ("huber", 2.0 - 0.25)])
def test_kinds(kind: str, expected: float) -> None:
    assert float(LossTerm("forces", 1.0, kind, 0.5).of(torch.tensor(2.0))) == pytest.approx(expected)  # type: ignore[arg-type]


def test_mean_errors_have_names_with_units_and_skip_absent_labels() -> None:
    found = mean_errors(TERMS, torch.tensor([[0.0, 0.02, 2.0], [0.0, 3.0, 6.0], [0.0, 0.0, 0.0]]))
    assert found == {"energy_mae_mev_per_atom": pytest.approx(10.0), "forces_mae_mev_per_ang": pytest.approx(500.0)}


def test_only_present_labels_make_terms() -> None:
    assert [term.property for term in loss_terms(DEFAULTS, ["forces"])] == ["forces"]


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to learn"):
        loss_terms(DEFAULTS, [])
    with pytest.raises(ConfigError, match="nothing to learn"):
        loss_terms({"energy": {**DEFAULTS["energy"], "weight": 0.0}}, ["energy"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "hubert"}, "did you mean 'huber'"),
        ({"weight": -1.0}, "must not be negative"),
        ({"final_weight": 0.0}, "must be above 0"),
        ({"kind": "huber", "delta": 0.0}, "must be positive"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loss_terms({"energy": {**DEFAULTS["energy"], **change}}, ["energy"])


def test_unknown_property_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'forces'"):
        loss_terms({"force": DEFAULTS["forces"]}, ["forces"])


def test_a_weight_grows_with_the_progress() -> None:
    term = LossTerm("energy", 1.0, "mse", 0.1, final_weight=100.0)
    assert [term.weight_at(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 10.0, 100.0])
    sums = torch.tensor([[4.0, 0.0, 2.0]])
    assert float(total_loss([term], sums, sums[:, 2], progress=0.5)) == pytest.approx(20.0)
    assert float(total_loss([term], sums, sums[:, 2])) == pytest.approx(200.0)


RESPONSE_TERMS = tuple(LossTerm(name, 1.0, "mse", 0.1) for name in ("born_effective_charges", "polarization"))


def response_graph(charge: float | None = None, **labels: object) -> AtomicGraph:
    graph = labelled_graph(**labels)
    return graph if charge is None else graph.replace(charge=torch.full((1,), charge, dtype=torch.float64))


def test_frames_without_born_charges_take_no_part_and_have_no_gradient() -> None:
    born = np.random.default_rng(0).normal(size=(2, 3, 3))
    graph = collate([response_graph(born_effective_charges=born), response_graph(polarization=np.ones(3))])
    predicted = {
        name: torch.full_like(getattr(graph, name), 0.3).requires_grad_()
        for name in ("born_effective_charges", "polarization")
    }
    sums = loss_sums(RESPONSE_TERMS, predicted, graph, LossUnits())
    assert sums[:, 2].tolist() == [18.0, 3.0]
    total_loss(RESPONSE_TERMS, sums, sums[:, 2].detach()).backward()
    gradients = [predicted[name].grad for name in ("born_effective_charges", "polarization")]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert gradients[0][:2].all()
    assert not gradients[0][2:].any()
    assert not gradients[1][0].any()


def test_along_a_direction_frames_without_born_charges_have_no_gradient() -> None:
    born = np.random.default_rng(0).normal(size=(2, 3, 3))
    graph = collate([response_graph(), response_graph(born_effective_charges=born), response_graph()])
    value = torch.full((6, 3), 0.3, dtype=torch.float64, requires_grad=True)
    direction = torch.nn.functional.normalize(torch.arange(9.0, dtype=torch.float64).reshape(3, 3))
    predicted = {"born_along_direction": value, "direction": direction}
    sums = loss_sums(RESPONSE_TERMS[:1], predicted, graph, LossUnits())
    assert sums[0, 2] == 6.0
    total_loss(RESPONSE_TERMS[:1], sums, sums[:, 2].detach()).backward()
    assert value.grad is not None
    assert value.grad[2:4].all()
    assert not value.grad[[0, 1, 4, 5]].any()


def test_along_a_direction_the_square_is_that_of_the_tensor_on_average() -> None:
    born = np.random.default_rng(1).normal(size=(2, 3, 3))
    graph = response_graph(born_effective_charges=born)
    whole = loss_sums(RESPONSE_TERMS[:1], {"born_effective_charges": torch.zeros(2, 3, 3)}, graph, LossUnits())
    contracted = []
    for axis in torch.eye(3, dtype=torch.float64):
        predicted = {"born_along_direction": torch.zeros(2, 3, dtype=torch.float64), "direction": axis[None]}
        contracted.append(loss_sums(RESPONSE_TERMS[:1], predicted, graph, LossUnits()))
    assert [row[0, 2].item() for row in contracted] == [6.0] * 3
    total = sum(float(row[0, 0] / row[0, 2]) for row in contracted) / 3
    assert total == pytest.approx(float(whole[0, 0] / whole[0, 2]))


def test_polarizations_are_compared_on_the_nearest_branch() -> None:
    graph = response_graph(polarization=np.array([0.1, 0.2, 0.3]))
    far = (graph.polarization + 0.01 + 3 * graph.cell[:, 0] - 2 * graph.cell[:, 2]).requires_grad_()
    error, known = errors("polarization", {"polarization": far}, graph)
    np.testing.assert_allclose(error.detach().numpy(), 0.01, atol=1e-9)
    assert bool(known.all())
    error.sum().backward()
    assert far.grad is not None
    assert far.grad.tolist() == [[1.0, 1.0, 1.0]]


def test_the_polarization_of_a_charged_cell_is_no_label() -> None:
    assert bool(labelled("polarization", response_graph(polarization=np.ones(3), charge=0.0)).all())
    assert not bool(labelled("polarization", response_graph(polarization=np.ones(3), charge=1.0)).any())


def test_born_charges_are_measured_by_their_spread() -> None:
    born = np.stack([np.eye(3), -np.eye(3)]) + 0.2 * np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    units = LabelStatistics.of([response_graph(born_effective_charges=born)]).units
    assert units.born == pytest.approx((2 * 0.04 / 9) ** 0.5)
