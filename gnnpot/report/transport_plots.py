"""Figures of transport and spectra: mean squared displacements, Arrhenius lines, absorption."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnpot.report import page
from gnnpot.report.formatting import significant
from gnnpot.report.style import INK, MUTED, SERIES_COLORS, drawing, plain_log_ticks

FloatArray = NDArray[np.float64]
N_LABELED_PEAKS = 6


def displacement_figure(
    title: str,
    unit: str,
    curves: Mapping[str, tuple[FloatArray, FloatArray]],
    fits: Mapping[str, tuple[float, float]],
) -> page.Figure:
    """Mean squared displacements against the lag; the range of the straight line is thick.

    Args:
        title: what moves.
        unit: of the squared displacement.
        curves: lags (ps) and values by name.
        fits: range in ps by the same names.
    """
    with drawing(3.7, 3.0, f"{title}: mean squared displacement against time", "Thick: range of the fit.") as d:
        axes = d.canvas.add_subplot()
        for k, (name, (lags, values)) in enumerate(curves.items()):
            color = SERIES_COLORS[k % len(SERIES_COLORS)]
            axes.plot(lags, values, color=color, lw=1.0, label=name)
            inside = (lags >= fits[name][0] - 1e-9) & (lags <= fits[name][1] + 1e-9)
            axes.plot(lags[inside], values[inside], color=color, lw=2.8, alpha=0.55)
        top = max(float(values.max()) for _, values in curves.values()) * (1.1 + 0.1 * len(curves))
        axes.set(title=title, xlabel="time (ps)", ylabel=unit, xlim=(0, None), ylim=(0, top or 1.0))
        axes.legend(loc="upper left")
    return d.figure


def arrhenius_figure(
    title: str, unit: str, series: Mapping[str, Mapping[str, Any]], with_temperature: bool = False
) -> page.Figure:
    """Values with errors against 1000/T on a logarithmic scale, and the fitted lines.

    Args:
        title: what is activated.
        unit: of the values.
        series: by name ``temperatures``, ``values``, ``errors`` and, where there is a fit, ``energy_ev`` and
            ``prefactor``.
        with_temperature: the fit is that of value times temperature.
    """
    words = "; ".join(f"{name} {significant(s['energy_ev'])} eV" for name, s in series.items() if "energy_ev" in s)
    with drawing(4.4, 3.2, f"{title} against 1000/T. Activation energies: {words or 'none'}") as d:
        axes = d.canvas.add_subplot()
        drawn = []
        for k, (name, points) in enumerate(series.items()):
            color = SERIES_COLORS[k % len(SERIES_COLORS)]
            t, y, e = (np.array(points[key]) for key in ("temperatures", "values", "errors"))
            y, e = (y * t, e * t) if with_temperature else (y, e)
            shown = y > 0
            if not shown.any():
                continue
            lower = np.minimum(e[shown], 0.9 * y[shown])
            label = f"{name}, {points['energy_ev']:.3g} eV" if "energy_ev" in points else name
            axes.errorbar(1000 / t[shown], y[shown], (lower, e[shown]), fmt="o", ms=4.5, color=color, label=label)
            drawn += [*y[shown]]
            if "energy_ev" in points:
                line = np.linspace(1000 / t.max(), 1000 / t.min(), 40)
                slope = points["energy_ev"] / 8.617333262e-5 / 1000
                axes.plot(line, points["prefactor"] * np.exp(-slope * line), color=color, lw=1.1)
        axes.set(title=title, xlabel="1000/T (1/K)", ylabel=f"{unit} K" if with_temperature else unit, yscale="log")
        if drawn:
            plain_log_ticks(axes.yaxis, min(drawn), max(drawn))
            axes.legend()
    return d.figure


def spectrum_figure(
    wavenumbers: FloatArray, absorption: FloatArray, errors: FloatArray | None, peaks: Sequence[tuple[float, float]]
) -> page.Figure:
    """Absorption α·n against the wavenumber, with the spread of the blocks."""
    words = ", ".join(f"{place:.0f}" for place, _ in peaks) or "none"
    caption = "Band: standard error of the blocks." if errors is not None else ""
    with drawing(7.4, 3.3, f"Infrared absorption; highest peaks at {words} cm⁻¹", caption) as d:
        axes = d.canvas.add_subplot()
        axes.plot(wavenumbers, absorption, color=SERIES_COLORS[0], lw=1.4, zorder=3)
        if errors is not None:
            band = (np.maximum(absorption - errors, 0.0), absorption + errors)
            axes.fill_between(wavenumbers, *band, color=SERIES_COLORS[0], alpha=0.2, lw=0)
        for place, height in peaks[:N_LABELED_PEAKS]:
            axes.annotate(
                f"{place:.0f}", (place, height), (0, 3), textcoords="offset points", ha="center", fontsize=8, color=INK
            )
        axes.axhline(0, color=MUTED, lw=0.8, zorder=1)
        axes.set(
            title="Infrared absorption", xlabel="wavenumber (cm⁻¹)", ylabel="α n (cm⁻¹)", xlim=(0, wavenumbers[-1])
        )
        axes.margins(y=0.12)
        axes.set_ylim(0.0, None)
    return d.figure
