"""Figures of a benchmark: learning from more data, accuracy against cost, models side by side, where data end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import NDArray

from gnnpot.keys import PROPERTIES
from gnnpot.report import page
from gnnpot.report.benchmark_statistics import mean_and_error
from gnnpot.report.formatting import printable, significant
from gnnpot.report.parity import ParityData
from gnnpot.report.plots import SINGULAR
from gnnpot.report.style import INK, LINE, MUTED, SERIES_COLORS, drawing, plain_log_ticks

FloatArray = NDArray[np.float64]
Points = Mapping[str, Mapping[float, Sequence[float]]]

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH, HEIGHT = 3.7, 3.2
HIGHEST_DIMER = 15.0
"""Energy of two atoms, eV, above which a curve leaves its figure."""


def model_colors(models: Sequence[str]) -> dict[str, str]:
    """One color for each model, the same in all figures.

    >>> sorted(model_colors(["b", "a"]))
    ['a', 'b']
    """
    return {model: SERIES_COLORS[k % len(SERIES_COLORS)] for k, model in enumerate(sorted(models))}


def efficiency_figure(
    name: str, points: Points, references: Mapping[str, float], colors: Mapping[str, str]
) -> page.Figure | None:
    """Error against the number of training structures, on logarithmic scales, with standard errors over seeds.

    Args:
        name: property.
        points: {model: {number of structures: errors of the seeds}}, MAE in the units of reports.
        references: MAE of models that were not trained here, drawn as level lines.
        colors: of the models.
    """
    sizes = sorted({size for curve in points.values() for size in curve})
    if len(sizes) < 2:
        return None
    p = PROPERTIES[name]
    title = f"{SINGULAR.get(name, p.title).capitalize()} error"
    last = ", ".join(f"{m} {significant(mean_and_error(c[max(c)])[0])}" for m, c in points.items() if c)
    values = [v for curve in points.values() for seeds in curve.values() for v in seeds] + list(references.values())
    with drawing(
        WIDTH, HEIGHT, f"{title} (MAE) against training structures; with the most: {last} {p.report_unit}"
    ) as d:
        axes = d.canvas.add_subplot()
        for k, (model, curve) in enumerate(points.items()):
            x = sorted(curve)
            means, errors = zip(*(mean_and_error(curve[n]) for n in x), strict=True)
            style: dict[str, Any] = {
                "color": colors[model],
                "marker": MARKERS[k % len(MARKERS)],
                "ms": 4.5,
                "capsize": 2.5,
            }
            axes.errorbar(x, means, [e or 0.0 for e in errors], label=printable(model), zorder=3, **style)
        for model, value in references.items():
            axes.axhline(value, color=colors[model], ls="--", label=printable(model), zorder=2)
        axes.set(title=title, xlabel="training structures", ylabel=f"MAE ({p.report_unit})", xscale="log", yscale="log")
        plain_log_ticks(axes.xaxis, sizes[0], sizes[-1])
        plain_log_ticks(axes.yaxis, min(values), max(values))
        axes.legend(loc="best")
    return d.figure


def functions_figure(name: str, points: Mapping[str, Mapping[float, float]]) -> page.Figure:
    """Error against the number of symmetry functions per element, on logarithmic scales, a line for each family.

    Args:
        name: property.
        points: {family of models: {number of functions: MAE in the units of reports}}.
    """
    p = PROPERTIES[name]
    title = f"{SINGULAR.get(name, p.title).capitalize()} error"
    numbers = sorted({n for curve in points.values() for n in curve})
    errors = [error for curve in points.values() for error in curve.values()]
    said = "; ".join(
        f"{family}: " + ", ".join(f"{n:g} with {significant(e)}" for n, e in sorted(curve.items()))
        for family, curve in points.items()
    )
    with drawing(WIDTH, HEIGHT, f"{title} (MAE, {p.report_unit}) against symmetry functions. {said}") as d:
        axes = d.canvas.add_subplot()
        for k, (family, curve) in enumerate(points.items()):
            x = sorted(curve)
            style: dict[str, Any] = {
                "color": SERIES_COLORS[k % len(SERIES_COLORS)],
                "marker": MARKERS[k % len(MARKERS)],
            }
            axes.plot(x, [curve[n] for n in x], label=printable(family), ms=4.5, zorder=3, **style)
        label = "symmetry functions per element"
        axes.set(title=title, xlabel=label, ylabel=f"MAE ({p.report_unit})", xscale="log", yscale="log")
        plain_log_ticks(axes.xaxis, numbers[0], numbers[-1])
        plain_log_ticks(axes.yaxis, min(errors), max(errors))
        axes.legend(loc="best")
    return d.figure


def pareto_figure(
    title: str,
    unit: str,
    costs: Mapping[str, float],
    errors: Mapping[str, float],
    error_label: str,
    colors: Mapping[str, str],
) -> page.Figure | None:
    """Error against cost, on logarithmic scales; the line joins the models that none beats in both."""
    models = [m for m in costs if m in errors and costs[m] > 0 and errors[m] > 0]
    if len(models) < 2:
        return None
    front = pareto_front({m: costs[m] for m in models}, {m: errors[m] for m in models})
    x, y = [costs[m] for m in models], [errors[m] for m in models]
    said = "; ".join(f"{m}: {significant(costs[m])} {unit}, {significant(errors[m])}" for m in models)
    with drawing(WIDTH, HEIGHT, f"{error_label} against {title.lower()}. {said}") as d:
        axes = d.canvas.add_subplot()
        axes.set(xscale="log", yscale="log")
        axes.plot([costs[m] for m in front], [errors[m] for m in front], color="#aeb7c3", lw=1.2, zorder=2)
        for model in models:
            axes.plot(costs[model], errors[model], "o", ms=8, color=colors[model], mec="white", mew=1, zorder=4)
        low, high = (np.array([min(v), max(v)]) for v in (x, y))
        axes.set_xlim(low[0] / _margin(low), low[1] * _margin(low))
        axes.set_ylim(high[0] / _margin(high), high[1] * _margin(high))
        for model in models:
            on_left = np.log(costs[model] / low[0]) < 0.5 * np.log(low[1] / low[0] + 1e-9)
            offset, side = ((8, 4), "left") if on_left else ((-8, 4), "right")
            style: dict[str, Any] = {"color": colors[model], "fontsize": 8.5, "ha": side, "zorder": 5}
            axes.annotate(printable(model), (costs[model], errors[model]), offset, textcoords="offset points", **style)
        axes.set(title=title, xlabel=f"{title.lower()} ({unit})" if unit else title.lower(), ylabel=error_label)
        plain_log_ticks(axes.xaxis, *axes.get_xlim())
        plain_log_ticks(axes.yaxis, *axes.get_ylim())
    return d.figure


def _margin(ends: FloatArray) -> float:
    """Factor by which a logarithmic axis reaches beyond its points."""
    return float(max((ends[1] / ends[0]) ** 0.2, 1.3))


def pareto_front(costs: Mapping[str, float], errors: Mapping[str, float]) -> list[str]:
    """Models that no other beats in cost and error at once, the cheapest first.

    >>> pareto_front({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 5.0, "b": 6.0, "c": 1.0})
    ['a', 'c']
    """
    front: list[str] = []
    for model in sorted(costs, key=lambda m: (costs[m], errors[m])):
        if not front or errors[model] < errors[front[-1]]:
            front.append(model)
    return front


def force_error_medians(parts: Mapping[str, ParityData], colors: Mapping[str, str]) -> page.Figure | None:
    """Median length of the force error against the length of the force, one curve for each model."""
    curves = {}
    for model, data in parts.items():
        if "forces" in data.properties:
            curve = _running_median(data)
            if curve is not None:
                curves[model] = curve
    if not curves:
        return None
    title = "Force error against force"
    everything = np.concatenate([np.concatenate(curve[1:]) for curve in curves.values()])
    forces = np.concatenate([curve[0] for curve in curves.values()])
    with drawing(WIDTH, HEIGHT, f"{title}, medians of {len(curves)} models", "Median; shaded: 10 % to 90 %.") as d:
        axes = d.canvas.add_subplot()
        for model, (x, low, middle, high) in curves.items():
            axes.fill_between(x, low, high, color=colors[model], alpha=0.12, lw=0, zorder=2)
            axes.plot(x, middle, color=colors[model], label=printable(model), zorder=3)
        axes.set(title=title, xscale="log", yscale="log", xlabel="|F| of the reference (meV/Å)", ylabel="|ΔF| (meV/Å)")
        plain_log_ticks(axes.xaxis, float(forces.min()), float(forces.max()))
        plain_log_ticks(axes.yaxis, float(everything.min()), float(everything.max()))
        axes.legend(loc="upper left")
    return d.figure


def _running_median(data: ParityData) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
    """Force, and 10th, 50th and 90th percentile of its error, meV/Å, in bins of equal numbers of atoms."""
    magnitude = 1000.0 * np.linalg.norm(data.labels["forces"].astype(np.float64), axis=1)
    error = 1000.0 * np.linalg.norm(data.errors("forces"), axis=1)
    known = np.isfinite(error) & (magnitude > 0.1) & (error > 0.0)
    x, y = magnitude[known], error[known]
    n_bins = int(np.clip(len(x) // 40, 0, 16))
    if n_bins < 3:
        return None
    bins = np.array_split(np.argsort(x, kind="stable"), n_bins)
    low, middle, high = (np.array([np.percentile(y[b], q) for b in bins]) for q in (10, 50, 90))
    return np.array([np.median(x[b]) for b in bins]), low, middle, high


def stretch_figure(curves: Mapping[str, Any], where: str, colors: Mapping[str, str]) -> page.Figure | None:
    """Force along a bond while one of its atoms moves along it, one curve for each model."""
    if not curves:
        return None
    title = f"Stretch of a {where}"
    caption = "One atom of a test structure moves along its shortest bond; the others stay."
    forces = np.concatenate([np.asarray(curve["force"]) for curve in curves.values()])
    limit = 1.5 * float(np.percentile(np.abs(forces), 90)) + 0.1
    with drawing(WIDTH, HEIGHT, f"{title}: force along the bond of {len(curves)} models", caption) as d:
        axes = d.canvas.add_subplot()
        axes.axhline(0.0, color=MUTED, lw=0.8, zorder=1)
        for model, curve in curves.items():
            axes.plot(curve["distance"], curve["force"], color=colors[model], label=printable(model), zorder=3)
        axes.set(title=title, xlabel="distance (Å)", ylabel="force (eV/Å)", ylim=(-limit, limit))
        axes.legend(loc="upper right")
    return d.figure


def dimer_figure(
    pair: str, dimer: Mapping[str, Any], reference: Mapping[str, Any] | None, colors: Mapping[str, str]
) -> page.Figure | None:
    """Energy of two atoms alone against their distance, one curve for each model, dots for labeled pairs."""
    if not dimer["energy"]:
        return None
    caption = "Energy relative to the longest distance; dotted: the sum of the covalent radii."
    energies = np.concatenate([np.asarray(e) for e in dimer["energy"].values()])
    inner = np.tile(np.asarray(dimer["distance"]) > 0.8 * dimer["bond"], len(dimer["energy"]))
    depth = float(np.min(energies[inner], initial=0.0))
    height = float(np.clip(np.max(energies, initial=0.0), 1.0, HIGHEST_DIMER))
    with drawing(WIDTH, HEIGHT, f"Dimer {pair}: energy of {len(dimer['energy'])} models", caption) as d:
        axes = d.canvas.add_subplot()
        axes.axvline(dimer["bond"], color=MUTED, lw=0.9, ls=":", zorder=1)
        axes.axhline(0.0, color=LINE, lw=0.8, zorder=1)
        for model, energy in dimer["energy"].items():
            axes.plot(dimer["distance"], energy, color=colors[model], label=printable(model), zorder=3)
        if reference:
            style: dict[str, Any] = {"label": "labels", "zorder": 4}
            axes.plot(reference["distance"], reference["energy"], "o", ms=3.5, color=INK, **style)
        bottom = min(1.4 * depth, -0.1 * height)
        axes.set(title=f"{pair}, two atoms alone", xlabel="distance (Å)", ylabel="energy (eV)", ylim=(bottom, height))
        axes.set_xlim(dimer["distance"][0] * 0.95, min(dimer["distance"][-1], 3.0 * dimer["bond"]))
        axes.legend(loc="upper right")
    return d.figure


def structure_picture(structure: Mapping[str, Any], title: str, caption: str) -> page.Figure:
    """One structure as spheres, seen along its shortest cell vector; black rings: the atoms with the largest errors."""
    numbers = np.asarray(structure["numbers"])
    view = _view(np.asarray(structure["cell"], dtype=np.float64))
    positions = np.asarray(structure["positions"], dtype=np.float64) @ view
    errors = np.asarray(structure["force_errors"], dtype=np.float64)
    rings = set(np.argsort(-errors)[: max(1, len(errors) // 12)].tolist()) if len(errors) else set()
    symbols = ", ".join(chemical_symbols[z] for z in np.unique(numbers))
    with drawing(WIDTH, HEIGHT, f"{title}: {len(numbers)} atoms of {symbols}", caption) as d:
        axes = d.canvas.add_subplot()
        _draw_cell(axes, np.asarray(structure["cell"], dtype=np.float64) @ view)
        for k in np.argsort(positions[:, 2]):
            disk = _disk(
                positions[k], float(covalent_radii[numbers[k]]) * 0.6, jmol_colors[numbers[k]], int(k) in rings
            )
            axes.add_patch(disk)
        axes.set_aspect("equal")
        axes.autoscale_view()
        axes.set_title(title)
        axes.set_axis_off()
    return d.figure


def _disk(position: FloatArray, radius: float, color: Any, is_ringed: bool) -> Any:
    from matplotlib.patches import Circle

    edge, width = (INK, 1.8) if is_ringed else (MUTED, 0.5)
    return Circle((position[0], position[1]), radius, facecolor=color, edgecolor=edge, linewidth=width, zorder=3)


def _draw_cell(axes: Any, cell: FloatArray) -> None:
    """The edges of the cell."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    for a in corners:
        for axis in range(3):
            if a[axis] == 0.0:
                ends = np.array([a, a + np.eye(3)[axis]]) @ cell
                axes.plot(ends[:, 0], ends[:, 1], color="#aeb7c3", lw=0.8, zorder=1)


def _view(cell: FloatArray) -> FloatArray:
    """Axes (columns) that look along the shortest cell vector, a little from the side."""
    lengths = np.linalg.norm(cell, axis=1)
    order = np.argsort(-lengths)
    basis = np.linalg.qr(cell[order].T)[0] if abs(np.linalg.det(cell)) > 1e-9 else np.eye(3)
    tilt, turn = np.deg2rad(14.0), np.deg2rad(18.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_y = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    view: FloatArray = basis @ about_x @ about_y
    return view
