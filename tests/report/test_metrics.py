import json

import numpy as np
import pytest

from gnnpot.errors import DataError
from gnnpot.keys import GPA_PER_EV_PER_CUBIC_ANGSTROM
from gnnpot.report.metrics import error_metrics, headline_part, label_counts, part_names

NUMBERS = [np.array([3, 8]), np.array([3])]


def test_errors_of_two_structures_equal_those_by_hand():
    labels = [
        {"energy": -10.0, "forces": np.zeros((2, 3)), "stress": np.zeros((3, 3))},
        {"energy": -5.0, "forces": np.zeros((1, 3))},
    ]
    off = np.array([[0.001, 0.0, 0.0], [0.0, 0.0, 0.002]])
    predictions = [
        {"energy": -10.004, "forces": off, "stress": np.eye(3) * 0.01},
        {"energy": -4.999, "forces": np.full((1, 3), 0.003), "stress": np.eye(3)},
    ]
    m = error_metrics(labels, predictions, NUMBERS, ["bulk", None])
    assert m["energy_mae_mev_per_atom"] == pytest.approx((2 + 1) / 2)
    assert m["energy_rmse_mev_per_atom"] == pytest.approx(np.sqrt((4 + 1) / 2))
    assert m["forces_mae_mev_per_ang"] == pytest.approx((1 + 2 + 9) / 9, rel=1e-6)
    assert m["forces_rmse_mev_per_ang"] == pytest.approx(np.sqrt((1 + 4 + 27) / 9), rel=1e-6)
    assert m["stress_mae_gpa"] == pytest.approx(0.01 * GPA_PER_EV_PER_CUBIC_ANGSTROM / 3, rel=1e-6)
    counts = {"n_structures": 2, "n_atoms": 3, "n_energy": 2, "n_force_components": 9, "n_stress": 1}
    assert m["counts"] == counts
    assert m["per_element"]["O"] == pytest.approx(
        {"forces_mae_mev_per_ang": 2 / 3, "forces_rmse_mev_per_ang": np.sqrt(4 / 3), "n_atoms": 1}, rel=1e-6
    )
    assert m["per_element"]["Li"]["n_atoms"] == 2
    assert m["per_config_type"]["bulk"]["energy_mae_mev_per_atom"] == pytest.approx(2)
    assert m["per_config_type"]["bulk"]["n_structures"] == 1
    assert set(m["per_config_type"]) == {"bulk"}


def test_metrics_are_plain_json(parts):
    from gnnpot.report.metrics import part_metrics

    metrics = part_metrics(parts["test"])
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_labels_that_are_absent_or_nan_do_not_count():
    stress = np.full((3, 3), np.nan)
    labels = [{"energy": -1.0, "stress": stress}, {"energy": np.nan}]
    m = error_metrics(labels, [{"energy": -1.5, "stress": np.eye(3)}, {"energy": 3.0}], NUMBERS)
    assert m["energy_mae_mev_per_atom"] == pytest.approx(250)
    assert m["counts"]["n_energy"] == 1 and m["counts"]["n_stress"] == 0
    assert not any(key.startswith(("stress", "forces")) for key in m)
    assert "per_config_type" not in m


def test_a_direct_force_model_has_no_energy_errors():
    labels = [{"energy": -1.0, "forces": np.ones((2, 3))}]
    m = error_metrics(labels, [{"forces": np.ones((2, 3))}], NUMBERS[:1])
    assert m["forces_mae_mev_per_ang"] == 0
    assert not any(key.startswith("energy") for key in m)


def test_stress_of_a_slab_is_masked_and_energies_that_are_nan_are_refused():
    labels = [{"energy": 1.0, "stress": np.eye(3)}] * 2
    slab = {"energy": 1.0, "stress": np.full((3, 3), np.nan)}
    assert error_metrics(labels, [slab, {"energy": 1.0, "stress": np.eye(3)}], NUMBERS)["counts"]["n_stress"] == 1
    with pytest.raises(DataError, match=r"prediction of energy is not finite: frame 1"):
        error_metrics(labels, [slab, {"energy": np.nan}], NUMBERS)


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([{"forces": np.zeros((3, 3))}, {}], [{"forces": np.zeros((2, 3))}, {}], r"label of forces has shape \(3, 3\)"),
        ([{"energy": 1.0}], [{"energy": 1.0}], "labels has 1 entries for 2 structures"),
        ([{"energy": np.inf}, {}], [{"energy": 1.0}, {}], "label of energy is not finite"),
    ],
)
def test_lists_that_do_not_fit_are_refused(labels, predictions, message):
    with pytest.raises(DataError, match=message):
        error_metrics(labels, predictions, NUMBERS)


def test_no_structures_give_no_errors():
    assert error_metrics([], [], []) == {"counts": {"n_structures": 0, "n_atoms": 0}}


def test_counts_before_training_know_what_is_missing():
    forces = np.ones((2, 3))
    forces[1] = np.nan
    counts = label_counts([{"energy": 1.0, "forces": forces}, {"stress": np.eye(3)}], NUMBERS)
    assert counts == {"n_structures": 2, "n_atoms": 3, "n_energy": 1, "n_force_components": 3, "n_stress": 1}


def test_parts_are_told_from_timing_and_the_test_speaks():
    metrics = {"timing": {}, "slabs": {}, "test": {}, "train": {}, "provenance": {}}
    assert part_names(metrics) == ["train", "test", "slabs"]
    assert headline_part(metrics) == "test"
    assert headline_part({"slabs": {}}) == "slabs"
    assert headline_part({}) is None
