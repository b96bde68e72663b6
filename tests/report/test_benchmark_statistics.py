"""The statistics of a benchmark against cases whose answers are known."""

import numpy as np
import pytest

from gnnpot.report.benchmark_statistics import FrameErrors, frame_errors, mean_and_error, paired_bootstrap
from gnnpot.report.metrics import part_metrics

from .conftest import made_up_part


def single(values):
    values = np.asarray(values, dtype=float)
    return FrameErrors(np.abs(values), values**2, np.ones(len(values)))


def test_frame_errors_add_up_to_the_metrics():
    part = made_up_part(3)
    metrics, errors = part_metrics(part), frame_errors(part)
    for name, key in (
        ("energy", "energy_{}_mev_per_atom"),
        ("forces", "forces_{}_mev_per_ang"),
        ("stress", "stress_{}_gpa"),
    ):
        for statistic in ("mae", "rmse"):
            assert errors[name].value(statistic)[0] == pytest.approx(metrics[key.format(statistic)], rel=1e-6)


def test_interval_of_a_mean_difference_is_that_of_the_normal_law():
    """Differences with deviation s: the mean of n has s/√n, and 95 % of a normal law lie within 1.96 of it."""
    rng = np.random.default_rng(1)
    n, shift, spread = 300, 0.3, 2.0
    a = 5.0 + rng.uniform(size=n)
    b = a + shift + spread * (rng.permutation(n) / (n - 1) - 0.5)
    found = paired_bootstrap([single(a)], [single(b)], "mae", n_resamples=8000)
    half = 1.96 * np.std(b - a) / np.sqrt(n)
    assert found.value == pytest.approx(np.mean(b - a))
    assert found.high - found.value == pytest.approx(half, rel=0.06)
    assert found.value - found.low == pytest.approx(half, rel=0.06)
    assert found.is_clear


def test_pairing_removes_what_both_models_share():
    """Frames differ by far more than the models do, and the interval does not know of it."""
    a = np.linspace(1.0, 1000.0, 50)
    found = paired_bootstrap([single(a)], [single(a + 0.01)], "mae")
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))


def test_frames_of_one_group_are_drawn_together():
    """Ten copies of every frame tell no more than one of each."""
    rng = np.random.default_rng(2)
    a, b = rng.uniform(size=30), rng.uniform(size=30)
    one = paired_bootstrap([single(a)], [single(b)], "rmse", n_resamples=4000)
    copies = [single(np.repeat(x, 10)) for x in (a, b)]
    grouped = paired_bootstrap([copies[0]], [copies[1]], "rmse", np.repeat(np.arange(30), 10).tolist(), 4000)
    assert grouped.n_units == 30
    assert (grouped.low, grouped.high) == pytest.approx((one.low, one.high))


def test_seeds_are_averaged():
    a, b = [single([1.0, 1.0]), single([3.0, 3.0])], [single([2.0, 2.0])]
    found = paired_bootstrap(a, b, "mae")
    assert found.value == 0.0
    assert not found.is_clear


def test_standard_error():
    mean, error = mean_and_error([1.0, 2.0, 3.0, 4.0])
    assert (mean, error) == (2.5, pytest.approx(np.sqrt(5.0 / 3.0) / 2.0))
