"""Figures of simulations in an electric field."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gnnpot.report.formatting import significant
from gnnpot.report.page import Figure
from gnnpot.report.style import INK, MUTED, SERIES_COLORS, drawing

SIZE = (3.7, 2.9)
N_DRAWN = 400
"""Points of a curve above which some are left out."""

Record = Mapping[str, Any]


def drift_figure(run: Record) -> Figure:
    """Mean displacement of every element along the field, against time."""
    time = np.array(run["species"]["time_ps"])
    elements = [(symbol, values) for symbol, values in run["species"].items() if symbol != "time_ps"]
    ends = ", ".join(f"{symbol} {significant(values['displacement_ang'][-1])} Å" for symbol, values in elements)
    with drawing(*SIZE, f"Mean displacement along the field against time, at the end: {ends}") as d:
        axes = d.canvas.add_subplot()
        axes.axhline(0, color=MUTED, lw=0.8, zorder=2)
        for k, (symbol, values) in enumerate(elements):
            axes.plot(*_thinned(time, values["displacement_ang"]), color=_color(k), label=symbol, zorder=3)
        axes.set(title="Drift along the field", xlabel="time (ps)", ylabel="mean displacement (Å)")
        axes.margins(x=0.02)
        axes.legend(loc="best")
    return d.figure


def displacement_figure(run: Record) -> Figure | None:
    """Mean squared displacement of every element along and across the field."""
    elements = [(s, v) for s, v in run["species"].items() if s != "time_ps" and len(v["lag_ps"]) > 2]
    if not elements:
        return None
    caption = "Solid: along the field, drift included; dashed: one direction across it."
    ends = ", ".join(
        f"{s} {significant(v['msd_along_ang2'][-1])} along, {significant(v['msd_across_ang2'][-1])} across"
        for s, v in elements
    )
    with drawing(*SIZE, f"Mean squared displacement in Å² at the longest lag: {ends}", caption) as d:
        axes = d.canvas.add_subplot()
        for k, (symbol, values) in enumerate(elements):
            axes.plot(values["lag_ps"], values["msd_along_ang2"], color=_color(k), label=symbol, zorder=3)
            axes.plot(values["lag_ps"], values["msd_across_ang2"], color=_color(k), ls="--", zorder=3)
        axes.set(title="Mean squared displacement", xlabel="time between (ps)", ylabel="Å²", ylim=(0, None))
        axes.margins(x=0.02)
        axes.legend(loc="best")
    return d.figure


def energy_figure(energy: Record) -> Figure | None:
    """Work of the field, heat that the thermostat took, and the change of K + U."""
    if not energy:
        return None
    names = {"work_eV": "work of the field", "heat_eV": "heat taken", "change_of_energy_eV": "change of K + U"}
    ends = ", ".join(f"{label} {significant(energy[key][-1])} eV" for key, label in names.items())
    with drawing(*SIZE, f"Energies against time, at the end: {ends}") as d:
        axes = d.canvas.add_subplot()
        axes.axhline(0, color=MUTED, lw=0.8, zorder=2)
        for k, (key, label) in enumerate(names.items()):
            axes.plot(*_thinned(np.array(energy["time_ps"]), energy[key]), color=_color(k), label=label, zorder=3)
        axes.set(title="Energy account", xlabel="time (ps)", ylabel="eV")
        axes.margins(x=0.02)
        axes.legend(loc="best")
    return d.figure


def scan_figure(scan: Record) -> Figure | None:
    """Drift velocity of every element against the strength of the field."""
    shown = {symbol: values for symbol, values in scan.items() if values["field_v_per_ang"]}
    if not shown:
        return None
    with drawing(*SIZE, f"Drift velocity against field strength of {', '.join(shown)}") as d:
        axes = d.canvas.add_subplot()
        axes.axhline(0, color=MUTED, lw=0.8, zorder=2)
        for k, (symbol, values) in enumerate(shown.items()):
            axes.errorbar(
                values["field_v_per_ang"],
                values["drift_ang_per_ps"],
                values["drift_error_ang_per_ps"],
                color=_color(k),
                ecolor=INK,
                marker="o",
                ms=4,
                lw=1.2,
                elinewidth=0.8,
                label=symbol,
                zorder=3,
            )
        axes.set(title="Drift velocity", xlabel="field (V/Å)", ylabel="Å/ps", xlim=(0, None))
        axes.legend(loc="best")
    return d.figure


def _color(k: int) -> str:
    return SERIES_COLORS[k % len(SERIES_COLORS)]


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    step = max(1, len(x) // N_DRAWN)
    return np.asarray(x)[::step], np.asarray(y)[::step]
