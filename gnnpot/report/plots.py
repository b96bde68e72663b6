"""Figures of a training: learning curves, parity, force errors, bars by group.

No pyplot, no global settings: `style` has the canvas.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gnnpot.keys import GPA_PER_EV_PER_CUBIC_ANGSTROM, PROPERTIES, metric_name
from gnnpot.report import page
from gnnpot.report.formatting import part_title, printable, significant
from gnnpot.report.parity import ParityData
from gnnpot.report.style import (
    DENSITY,
    INK,
    MUTED,
    PALE,
    PART_COLORS,
    SERIES_COLORS,
    drawing,
    plain_log_ticks,
    thinned,
)

N_DRAWN = 12_000
"""Points of a cloud above which dense regions are thinned."""

N_BARS = 40
SINGULAR = {"forces": "force"}
SMALL: dict[str, Any] = {"fontsize": 7.5, "color": MUTED, "zorder": 6}

AXIS_UNITS = {"energy": ("eV/atom", 1.0), "forces": ("eV/Å", 1.0), "stress": ("GPa", GPA_PER_EV_PER_CUBIC_ANGSTROM)}


def learning_curves(log: Mapping[str, NDArray[np.float64]]) -> tuple[page.Figure, ...]:
    """One figure for the loss, one for each validation error, one for the learning rate, against the epoch.

    `log` holds the columns of ``log.csv``; columns that are missing are left out.
    """
    epoch = log.get("epoch", np.arange(len(next(iter(log.values()), ())), dtype=np.float64))
    panels: list[tuple[str, str, tuple[str, ...]]] = [("Loss", "", ("train_loss", "val_loss"))]
    for name, p in PROPERTIES.items():
        error = metric_name(name, "mae")
        panels.append((f"{p.title.capitalize()} MAE", p.report_unit, (f"train_{error}", f"val_{error}")))
    panels.append(("Learning rate", "", ("learning_rate",)))
    figures = [_curve(log, epoch, *panel) for panel in panels]
    return tuple(figure for figure in figures if figure is not None)


def _curve(
    log: Mapping[str, NDArray[np.float64]],
    epoch: NDArray[np.float64],
    title: str,
    unit: str,
    columns: Sequence[str],
) -> page.Figure | None:
    """Curves of some columns on a logarithmic scale; the lowest validation value is marked."""
    curves = {}
    for name in columns:
        known = np.isfinite(log.get(name, np.zeros(0))) & (log.get(name, np.zeros(0)) > 0)
        if known.any():
            curves[name] = (epoch[known], log[name][known])
    if not curves:
        return None
    last = ", ".join(f"{name.split('_')[0]} {significant(y[-1])}" for name, (_, y) in curves.items())
    with drawing(3.7, 2.75, f"{title} against epoch, at the end: {last} {unit}".strip()) as d:
        axes = d.canvas.add_subplot()
        for name, (x, y) in curves.items():
            part = name.split("_")[0]
            label = part_title(part) if part in PART_COLORS else None
            color = PART_COLORS.get(part, INK)
            axes.plot(x, y, color=color, label=label, marker="o" if len(x) == 1 else "", zorder=3)
            if part == "val":
                best = int(np.argmin(y))
                axes.plot(x[best], y[best], "o", ms=5, color=color, mec="white", mew=1, zorder=4)
        values = np.concatenate([y for _, y in curves.values()])
        axes.set(title=title, xlabel="epoch", ylabel=unit, yscale="log")
        axes.margins(x=0.02)
        plain_log_ticks(axes.yaxis, float(values.min()), float(values.max()))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        if len(curves) > 1:
            axes.legend(loc="upper right")
    return d.figure


def parity_figure(data: ParityData, name: str, part: str) -> page.Figure | None:
    """Prediction against label, and the error below it, of one property; None where there is no point.

    Energies are per atom and relative to their mean label. Color is the density of points where there are many.
    """
    label, predicted = data.points(name)
    if label.size == 0:
        return None
    p = PROPERTIES[name]
    unit, factor = AXIS_UNITS.get(name, (p.report_unit, 1.0))
    origin = float(label.mean()) if p.per_atom else 0.0
    x, y = (label - origin) * factor, (predicted - origin) * factor
    errors = (predicted - label) * p.report_factor
    statistics = _statistics(errors, p.report_unit)
    title = f"{p.title.capitalize()}, {part_title(printable(part))}"
    description = f"{title}: prediction against reference, {label.size:,} points, {', '.join(statistics)}"
    notes = [f"Relative to the mean reference, {significant(origin, 6)} {unit}."] if p.per_atom else []
    if len(x) > N_DRAWN:
        notes.append(f"{len(x):,} points, thinned where they are dense.")
    with drawing(3.7, 4.3, description, " ".join(notes)) as d:
        upper, lower = d.canvas.subplots(2, 1, sharex=True, height_ratios=(3.1, 1))
        span = _padded(np.concatenate([x, y]))
        upper.plot(span, span, color=MUTED, lw=0.9, zorder=2)
        _cloud(upper, x, y)
        upper.set(title=title, xlim=span, ylim=span, ylabel=f"model ({unit})")
        upper.text(0.04, 0.96, "\n".join(statistics), transform=upper.transAxes, va="top", linespacing=1.5)
        lower.axhline(0, color=MUTED, lw=0.9, zorder=2)
        _cloud(lower, x, errors)
        largest = 1.1 * max(float(np.abs(errors).max()), 1e-12)
        lower.set(xlabel=f"reference ({unit})", ylabel=f"Δ ({p.report_unit})", ylim=(-largest, largest))
        for axes in (upper, lower):
            axes.ticklabel_format(useOffset=False)
            axes.locator_params(nbins=5 if axes is upper else 4)
        d.canvas.align_ylabels()
    return d.figure


def _statistics(errors: NDArray[np.float64], unit: str) -> tuple[str, str]:
    mae, rmse = float(np.abs(errors).mean()), float(np.sqrt(np.square(errors).mean()))
    return f"MAE {significant(mae)} {unit}", f"RMSE {significant(rmse)} {unit}"


def _padded(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _cloud(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Points, rasterized; where they are many, colored by density."""
    is_log = axes.get_xscale() == "log"
    drawn, density = thinned(np.log(x) if is_log else x, np.log(y) if is_log else y, N_DRAWN)
    size = float(np.clip(6000 / len(drawn), 4, 12))
    style = {"linewidths": 0, "rasterized": True, "zorder": 3}
    if len(x) < 400:
        axes.scatter(x, y, s=size, color=PART_COLORS["test"], alpha=0.65, **style)
    else:
        axes.scatter(x[drawn], y[drawn], s=size, c=density, cmap=DENSITY, vmin=0, vmax=1, **style)


def force_error_figure(data: ParityData, part: str) -> page.Figure | None:
    """Length of the force error against the length of the force, one point per atom, on logarithmic scales."""
    if "forces" not in data.properties:
        return None
    magnitude = np.linalg.norm(data.labels["forces"].astype(np.float64), axis=1) * 1000
    error = np.linalg.norm(data.errors("forces"), axis=1) * 1000
    known = np.isfinite(error)
    magnitude, error = magnitude[known], error[known]
    if not error.any() or not magnitude.any():
        return None
    floor_x, floor_y = _floor(magnitude, 1.0), _floor(error, 0.1)
    x, y = np.maximum(magnitude, floor_x), np.maximum(error, floor_y)
    caption = "One point per atom; gray: error as a share of the force; orange: median, 10th and 90th percentile."
    if len(error) > N_DRAWN:
        caption += " Thinned where they are dense."
    title = f"Force error against force, {part_title(printable(part))}"
    with drawing(3.7, 3.2, f"{title}, {len(error):,} atoms", caption) as d:
        axes = d.canvas.add_subplot()
        axes.set(xscale="log", yscale="log")
        _cloud(axes, x, y)
        _relative_lines(axes, x, y)
        _running_median(axes, x, y)
        axes.set(title=title, xlabel="|F| of the reference (meV/Å)", ylabel="|ΔF| (meV/Å)")
        plain_log_ticks(axes.xaxis, float(x.min()), float(x.max()))
        plain_log_ticks(axes.yaxis, float(y.min()), float(y.max()))
    return d.figure


def _floor(values: NDArray[np.float64], smallest: float) -> float:
    """Lower end of a logarithmic axis: no lower than a fifth of the lowest percentile, never zero."""
    positive = values[values > 0]
    return max(smallest * 1e-3, min(float(np.percentile(positive, 1)) / 2, smallest))


def _relative_lines(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Lines of constant relative error, within the range of the data."""
    limits = axes.get_xlim(), axes.get_ylim()
    ends = np.array(limits[0])
    for share in (0.01, 0.1, 1.0):
        axes.plot(ends, share * ends, color="#aeb7c3", lw=0.8, zorder=1, scalex=False, scaley=False)
        end = min(limits[0][1], limits[1][1] / share)
        if share * end > limits[1][0]:
            place = {"ha": "right", "va": "top"} if end < limits[0][1] else {"ha": "right", "va": "bottom"}
            axes.annotate(f"{share:.0%}", (end, share * end), (-4, 0), textcoords="offset points", **place, **SMALL)
    axes.set(xlim=limits[0], ylim=limits[1])


def _running_median(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Median and 10th to 90th percentile of y in bins of equal numbers of points."""
    n_bins = int(np.clip(len(x) // 60, 0, 12))
    if n_bins < 3:
        return
    groups = np.array_split(np.argsort(x, kind="stable"), n_bins)
    center = np.array([np.median(x[group]) for group in groups])
    low, middle, high = (np.array([np.percentile(y[group], q) for group in groups]) for q in (10, 50, 90))
    for curve, width in ((low, 0.9), (high, 0.9), (middle, 1.8)):
        axes.plot(center, curve, color="white", lw=width + 1.4, zorder=4)
        axes.plot(center, curve, color=PART_COLORS["val"], lw=width, zorder=5)


def error_distribution(
    parts: Mapping[str, ParityData], name: str, colors: Mapping[str, str] = PART_COLORS
) -> page.Figure | None:
    """Share of atoms (structures, for energies) whose error lies below a value, one curve for each part."""
    p = PROPERTIES[name]
    sizes = {part: e for part, data in parts.items() if (e := _error_sizes(data, name)).any()}
    if not sizes:
        return None
    lowest = min(_floor(error, 0.1) for error in sizes.values())
    highest = max(float(error[-1]) for error in sizes.values())
    medians = ", ".join(f"{part_title(printable(k))} {significant(float(np.median(v)))}" for k, v in sizes.items())
    rows = {"structure": "structures", "atom": "atoms"}[p.level]
    title, symbol = (
        f"Distribution of {SINGULAR.get(name, p.title)} errors",
        {"energy": "|ΔE|", "forces": "|ΔF|"}.get(name, "|Δ|"),
    )
    caption = f"Share of {rows} with an error below the value; dots: median."
    with drawing(3.7, 3.2, f"{title}, medians in {p.report_unit}: {medians}", caption) as d:
        axes = d.canvas.add_subplot()
        for i, (part, error) in enumerate(sizes.items()):
            color = colors.get(part, SERIES_COLORS[(i + 2) % len(SERIES_COLORS)])
            quantiles = np.linspace(0, 1, min(len(error), 400))
            values = np.maximum(np.quantile(error, quantiles), lowest)
            axes.plot(values, 100 * quantiles, color=color, label=part_title(printable(part)), zorder=3)
            axes.plot(np.median(error), 50, "o", ms=5, color=color, mec="white", mew=1, zorder=4)
        axes.set(title=title, xscale="log", xlabel=f"{symbol} ({p.report_unit})", ylabel=f"{rows} (%)", ylim=(0, 101))
        plain_log_ticks(axes.xaxis, lowest, highest)
        axes.legend(loc="upper left")
    return d.figure


def _error_sizes(data: ParityData, name: str) -> NDArray[np.float64]:
    """Length of the error of each row that has a label, ascending, in the units of reports."""
    if name not in data.properties:
        return np.zeros(0)
    errors = data.errors(name) * PROPERTIES[name].report_factor
    sizes = np.sqrt(np.square(errors).sum(axis=tuple(range(1, errors.ndim))))
    return np.sort(sizes[np.isfinite(sizes)])


def bars(
    title: str,
    unit: str,
    groups: Mapping[str, Mapping[str, float]],
    colors: Sequence[str] = (SERIES_COLORS[0], PALE, *SERIES_COLORS[1:]),
) -> page.Figure | None:
    """Horizontal bars of one or more series for each group: {group: {series: value}}, at most 40 groups.

    None where there are fewer than two groups: a table says the same.
    """
    if len(groups) < 2:
        return None
    shown = dict(list(groups.items())[:N_BARS])
    series = list(dict.fromkeys(name for values in shown.values() for name in values))
    thickness = 0.8 / len(series)
    caption = f"The first {N_BARS} of {len(groups)}." if len(groups) > N_BARS else ""
    with drawing(3.7, 0.95 + 0.42 * len(shown), f"{title} in {unit}. {_in_words(shown)}", caption) as d:
        d.canvas.set_layout_engine("constrained")
        axes = d.canvas.add_subplot()
        for i, name in enumerate(series):
            values = [group.get(name, np.nan) for group in shown.values()]
            places = np.arange(len(shown)) + (i - (len(series) - 1) / 2) * thickness
            drawn = axes.barh(places, values, 0.9 * thickness, color=colors[i], label=name, zorder=3)
            axes.bar_label(drawn, [significant(v) for v in values], padding=3, fontsize=8, color=MUTED)
        names = [printable(name) for name in shown]
        axes.set_yticks(np.arange(len(shown)), [n if len(n) < 25 else f"{n[:10]}…{n[-12:]}" for n in names])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        d.canvas.suptitle(title, x=0.02, ha="left", size=10, weight="bold")
        axes.set(xlabel=unit, ylim=(len(shown) - 0.4, -0.6))
        axes.margins(x=0.16)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        if len(series) > 1:
            d.canvas.legend(loc="outside lower right", ncols=len(series))
    return d.figure


def _in_words(groups: Mapping[str, Mapping[str, float]]) -> str:
    """The first dozen groups with their values, for those who cannot see the bars."""
    return "; ".join(
        f"{printable(group)}: " + ", ".join(f"{name} {significant(value)}" for name, value in values.items())
        for group, values in list(groups.items())[:12]
    )
