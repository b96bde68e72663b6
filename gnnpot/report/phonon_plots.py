"""Figures of lattice dynamics: bands beside the density of states, thermal properties, LO-TO splitting."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gnnpot.keys import WAVENUMBER_PER_THZ
from gnnpot.report import page
from gnnpot.report.style import INK, MUTED, SERIES_COLORS, drawing

Record = Mapping[str, Any]
GREEK = {"G": "Γ"}
LIFTED = 0.01
"""THz; a mode that the field raises by more is drawn in another color."""


def band_figure(record: Record) -> page.Figure:
    """Bands along the path, and the density of states on the same axis."""
    bands = record["bands"]
    corrected = "uncorrected_THz" in bands[0]
    caption = "Gray, dashed: without the electric field of polar modes." if corrected else ""
    highest = max(max(max(row) for row in band["frequencies_THz"]) for band in bands)
    description = f"Phonon bands of {record['formula']} up to {highest:.2f} THz, with the density of states"
    with drawing(7.4, 4.0, description, caption) as d:
        left, right = d.canvas.subplots(1, 2, sharey=True, width_ratios=(4.2, 1))
        d.canvas.subplots_adjust(wspace=0.06, right=1 - 0.75 / 7.4)
        for band in bands:
            x = band["distances_per_ang"]
            if corrected:
                left.plot(x, band["uncorrected_THz"], color=MUTED, lw=0.8, ls=(0, (3, 2)), zorder=2)
            left.plot(x, band["frequencies_THz"], color=SERIES_COLORS[0], lw=1.3, zorder=3)
        places, names = _special_points(bands)
        left.set_xticks(places, names)
        left.tick_params(axis="x", length=0, labelcolor=INK)
        left.grid(visible=False, axis="y")
        left.axhline(0, color=MUTED, lw=0.8, zorder=1)
        left.set(title=f"Phonons of {record['formula']}", ylabel="frequency (THz)", xlim=(places[0], places[-1]))
        dos = record["dos"]
        right.plot(dos["states_per_THz"], dos["frequencies_THz"], color=SERIES_COLORS[0], lw=1.1)
        right.fill_betweenx(dos["frequencies_THz"], 0, dos["states_per_THz"], color=SERIES_COLORS[0], alpha=0.15, lw=0)
        right.set(xlabel="states (1/THz)", xlim=(0, None))
        right.grid(visible=False, axis="y")
        wavenumbers = right.secondary_yaxis(
            "right", functions=(lambda f: f * WAVENUMBER_PER_THZ, lambda w: w / WAVENUMBER_PER_THZ)
        )
        wavenumbers.set_ylabel("cm⁻¹")
        low = min(0.0, record["lowest_frequency_THz"])
        left.set_ylim(low * 1.08 if low < -0.05 else 0.0, 1.05 * highest)
    return d.figure


def thermal_figure(record: Record) -> page.Figure:
    """Heat capacity, entropy and free energy against temperature."""
    thermal = record["thermal"]
    x = thermal["temperatures_K"]
    description = f"Harmonic heat capacity, entropy and free energy up to {x[-1]:g} K"
    caption = f"Per mole of primitive cells ({record['primitive_formula']}), harmonic, at the volume computed."
    with drawing(7.4, 2.9, description, caption) as d:
        left, right = d.canvas.subplots(1, 2)
        d.canvas.subplots_adjust(wspace=0.28)
        left.plot(x, thermal["heat_capacity_J_per_K_per_mol"], color=SERIES_COLORS[0], label="heat capacity")
        left.plot(x, thermal["entropy_J_per_K_per_mol"], color=SERIES_COLORS[1], label="entropy")
        limit = 3 * len(record["primitive"]["symbols"]) * 8.31446261815324
        left.axhline(limit, color=MUTED, lw=0.9, ls=(0, (3, 2)), zorder=1, label="Dulong-Petit")
        left.set(title="Heat capacity and entropy", xlabel="temperature (K)", ylabel="J/(K mol)", xlim=(0, x[-1]))
        left.legend()
        right.plot(x, thermal["free_energy_kJ_per_mol"], color=SERIES_COLORS[0])
        right.set(title="Free energy", xlabel="temperature (K)", ylabel="kJ/mol", xlim=(0, x[-1]))
    return d.figure


def splitting_figure(record: Record) -> page.Figure | None:
    """Frequencies at Γ without the field of polar modes, and with it along x, y and z; None where it is not known."""
    gamma = record["gamma"]
    if not gamma["longitudinal_THz"]:
        return None
    columns = {"transverse": gamma["frequencies_THz"]}
    columns |= {f"q → 0 along {name}": values for name, values in gamma["longitudinal_THz"].items()}
    rises = [[0.0] * len(gamma["frequencies_THz"])]
    rises += [np.subtract(v, gamma["without_field_THz"][name]) for name, v in gamma["longitudinal_THz"].items()]
    caption = "Orange: modes that the field lifts."
    with drawing(5.4, 3.4, "Frequencies at Γ without and with the electric field of polar modes", caption) as d:
        axes = d.canvas.add_subplot()
        for k, (values, of_values) in enumerate(zip(columns.values(), rises, strict=True)):
            for value, rise in zip(values, of_values, strict=True):
                color = SERIES_COLORS[1 if rise > LIFTED else 0]
                axes.plot([k - 0.32, k + 0.32], [value, value], color=color, lw=2)
        axes.set_xticks(range(len(columns)), list(columns))
        axes.tick_params(axis="x", length=0, labelcolor=INK)
        axes.grid(visible=False, axis="x")
        axes.set(title="LO-TO splitting at Γ", ylabel="frequency (THz)", xlim=(-0.6, len(columns) - 0.4))
    return d.figure


def _special_points(bands: list[dict[str, Any]]) -> tuple[list[float], list[str]]:
    """Places and names on the axis; two points where the path jumps share one place."""
    places = [bands[0]["distances_per_ang"][0]]
    names = [_name(bands[0]["from"])]
    for k, band in enumerate(bands):
        if k and bands[k - 1]["to"] != band["from"]:
            names[-1] = f"{names[-1]}|{_name(band['from'])}"
        places.append(band["distances_per_ang"][-1])
        names.append(_name(band["to"]))
    return places, names


def _name(point: str) -> str:
    return GREEK.get(point, point)
