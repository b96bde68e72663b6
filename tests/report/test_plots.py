import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from gnnpot.report.plots import bars, error_distribution, force_error_figure, learning_curves, parity_figure
from gnnpot.report.style import log_ticks, thinned


def test_curves_are_drawn_for_the_columns_that_exist():
    log = {
        "epoch": np.arange(4.0),
        "train_loss": np.array([1.0, 0.5, 0.2, 0.1]),
        "val_loss": np.array([np.nan, 0.7, np.nan, 0.3]),
        "val_energy_mae_mev_per_atom": np.array([9.0, 5.0, 3.0, 2.0]),
        "something_else": np.zeros(4),
    }
    figures = learning_curves(log)
    assert [figure.description.split(" against")[0] for figure in figures] == ["Loss", "Energy MAE"]
    assert "val 0.300" in figures[0].description
    assert learning_curves({}) == () and learning_curves({"epoch": np.zeros(0)}) == ()
    del log["epoch"]
    assert len(learning_curves(log)) == 2


def test_figures_are_svg_that_is_described_and_the_same_each_time(parts):
    data = parts["test"]
    figures = [
        parity_figure(data, "energy", "test"),
        parity_figure(data, "stress", "test"),
        force_error_figure(data, "test"),
        error_distribution(parts, "forces"),
        bars("Force error", "meV/Å", {"Li": {"MAE": 1.0, "RMSE": 2.0}, "O": {"MAE": float("nan")}}),
    ]
    for figure in figures:
        assert figure is not None
        assert figure.image.startswith(b"<?xml") and len(figure.description) > 20
    again = parity_figure(data, "energy", "test")
    assert again is not None and figures[0] is not None and again.image == figures[0].image


def test_nothing_to_draw_is_no_figure(parts):
    forces_only = parts["test"].of_structures(np.zeros(5, dtype=bool))
    assert parity_figure(forces_only, "energy", "test") is None
    assert force_error_figure(forces_only, "test") is None
    assert error_distribution({"test": forces_only}, "energy") is None
    assert bars("Force error", "meV/Å", {"Li": {"MAE": 1.0}}) is None


def test_bars_stop_at_forty_groups():
    figure = bars("Force error", "meV/Å", {f"kind {k} with a long name of its own": {"MAE": k} for k in range(50)})
    assert figure is not None and figure.caption == "The first 40 of 50."


def test_drawing_leaves_the_settings_of_the_user_alone(parts):
    before = dict(matplotlib.rcParams)
    parity_figure(parts["test"], "forces", "test")
    assert dict(matplotlib.rcParams) == before


def test_thinning_keeps_outliers_and_knows_the_density():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20_000)) * 0.01
    x[7], y[7] = 5.0, 5.0
    drawn, density = thinned(x, y, n_most=500)
    assert 7 in drawn and len(drawn) <= 500
    assert len(set(drawn.tolist())) == len(drawn)
    assert density.min() == 0 and density.max() == 1 and (np.diff(density) >= 0).all()


def test_tables_and_metrics_do_not_load_matplotlib():
    code = (
        "import sys, gnnpot.report.html, gnnpot.report.metrics, gnnpot.report.tables, gnnpot.report.parity;"
        "sys.exit('matplotlib' in sys.modules or 'jinja2' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (1.5, 3.2), (0.0009, 0.004), (1e-6, 1e-3), (1e-12, 1e9)])
def test_logarithmic_axes_have_a_few_ticks(low, high):
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 12 and ticks == sorted(set(ticks))
