"""Figures of a fine-tuning: errors of the models as bars, and validation errors on the way."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report import page
from gnnpot.report.plots import bars
from gnnpot.report.style import MUTED, SERIES_COLORS, drawing, plain_log_ticks

Log = Mapping[str, NDArray[np.float64]]

SERIES = {"test": "new data, test", "held_out": "old data, held out"}


def error_bars(models: Mapping[str, Mapping[str, Any]], name: str, titles: Mapping[str, str]) -> page.Figure | None:
    """Errors of each model on new and on old frames; energies without the base's own, which have another zero."""
    key, p = metric_name(name, "mae"), PROPERTIES[name]
    groups: dict[str, dict[str, float]] = {}
    for model, errors in models.items():
        found = {title: errors[part][key] for part, title in SERIES.items() if key in errors.get(part, {})}
        if found and not (name == "energy" and model == "base"):
            groups[titles[model]] = found
    return bars(f"{p.title.capitalize()} MAE", p.report_unit, groups)


def validation_figure(logs: Mapping[str, Log], name: str) -> page.Figure | None:
    """Validation error against the step, one curve for each training; dashed: where the fine-tuning started."""
    column, p = f"val_{metric_name(name, 'mae')}", PROPERTIES[name]
    curves = {title: (log["step"], log[column]) for title, log in logs.items() if column in log and "step" in log}
    curves = {title: (x[y > 0], y[y > 0]) for title, (x, y) in curves.items() if (y > 0).any()}
    if len(curves) < 2:
        return None
    title = f"{p.title.capitalize()}, validation MAE"
    with drawing(3.7, 2.75, f"{title} against the step of {' and '.join(curves)}") as d:
        axes = d.canvas.add_subplot()
        for (label, (x, y)), color in zip(curves.items(), SERIES_COLORS, strict=False):
            axes.plot(x, y, color=color, label=label, zorder=3)
        start = next(iter(curves.values()))[1][0]
        axes.axhline(start, color=MUTED, lw=0.9, ls="--", zorder=2)
        values = np.concatenate([y for _, y in curves.values()])
        axes.set(title=title, xlabel="step", ylabel=p.report_unit, yscale="log")
        plain_log_ticks(axes.yaxis, float(values.min()), float(values.max()))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.legend(loc="upper right")
    return d.figure
