"""Self-diffusion from mean squared displacements: `analyze kind=diffusion`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gnnpot._version import __version__
from gnnpot.apps.analysis import Analysis, Request, facts_of, with_error
from gnnpot.apps.arrhenius import fit_arrhenius
from gnnpot.apps.correlations import Einstein, einstein
from gnnpot.apps.trajectories import Trajectory
from gnnpot.errors import ConfigError
from gnnpot.keys import CM2_PER_S
from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import significant
from gnnpot.report.page import Block, Column, Figure, Gallery, Page, Section, Table, Text

DIFFUSIVE = (0.7, 1.4)
"""Growth exponents of a mean squared displacement whose slope is a diffusion coefficient: below, atoms are caged;
above, they still fly."""


def diffusion(request: Request) -> Analysis:
    """D = lim d<|r(t) - r(0)|²>/dt / 6 of every element, the center of mass at rest.

    Raises:
        ConfigError: an element that is not there, or a fit that does not fit.
        DataError: too few frames.
    """
    from gnnpot.report.transport_plots import displacement_figure

    trajectories = request.trajectories()
    found = {t.name: _of_elements(t, request) for t in trajectories}
    activation = activations(trajectories, found, request.seed)
    record = {
        "gnnpot_version": __version__,
        "kind": "diffusion",
        "units": {"diffusion": "cm²/s", "msd": "Å²", "time": "ps", "energy": "eV"},
        "blocks": request.blocks,
        "trajectories": [
            {**facts_of(t), "elements": {name: _figures(e) for name, e in found[t.name].items()}} for t in trajectories
        ],
        "activation": activation,
    }
    figures = {}
    for k, t in enumerate(trajectories):
        curves = {name: (e.lags, e.squared) for name, e in found[t.name].items()}
        fits = {name: e.fit for name, e in found[t.name].items()}
        key = "msd" if len(trajectories) == 1 else f"msd_{k + 1}"
        figures[key] = displacement_figure(f"{t.temperature:.0f} K", "MSD (Å²)", curves, fits)
    tables = (diffusion_table(trajectories, found), *activation_tables(activation, "D at 300 K (cm²/s)"))
    sentences = _sentences(trajectories, found, request.blocks)
    page = _page(record, tables, sentences, figures, activation)
    if activation:
        figures["arrhenius"] = _arrhenius_figure(activation)
    return Analysis(record, _columns(trajectories, found), tables, sentences, page, figures)


def diffuses(exponent: float) -> bool:
    """Whether a mean squared displacement that grows with this power of time is one of diffusion."""
    return DIFFUSIVE[0] <= exponent <= DIFFUSIVE[1]


def _of_elements(trajectory: Trajectory, request: Request) -> dict[str, Einstein]:
    symbols = trajectory.symbols
    elements = list(dict.fromkeys(symbols.tolist()))
    for name in request.species or ():
        if name not in elements:
            raise ConfigError(f"species: {trajectory.name} holds {', '.join(elements)}, and no {name!r}")
    return {
        name: einstein(trajectory.positions[:, symbols == name], trajectory.interval, request.blocks, request.fit)
        for name in (request.species or elements)
    }


def _figures(e: Einstein) -> dict[str, Any]:
    factor = CM2_PER_S / 6.0
    return {
        "diffusion_cm2_per_s": factor * e.slope,
        "error_cm2_per_s": factor * e.error,
        "blocks_cm2_per_s": (factor * e.block_slopes).tolist(),
        "fit_ps": list(e.fit),
        "growth_exponent": e.exponent,
    }


def activations(
    trajectories: Sequence[Trajectory], found: Mapping[str, Mapping[str, Einstein]], seed: int
) -> dict[str, dict[str, Any]]:
    """Arrhenius fits of D by element, of those that can be fitted."""
    result: dict[str, dict[str, Any]] = {}
    factor = CM2_PER_S / 6.0
    names = dict.fromkeys(name for t in trajectories for name in found[t.name])
    for name in names:
        known = [(t.temperature, found[t.name][name]) for t in trajectories if name in found[t.name]]
        if not all(diffuses(e.exponent) for _, e in known):
            continue
        temperatures = [temperature for temperature, _ in known]
        values = [factor * e.slope for _, e in known]
        fit = fit_arrhenius(temperatures, values, [factor * e.block_slopes for _, e in known], seed)
        if fit is not None:
            points = {
                "temperatures": temperatures,
                "values": values,
                "errors": [factor * e.error for _, e in known],
            }
            result[name] = points | arrhenius_facts(asdict(fit))
    return result


def arrhenius_facts(fit: Mapping[str, Any]) -> dict[str, Any]:
    """A fit in plain values with their units."""
    return {
        "energy_ev": fit["energy"],
        "energy_error_ev": fit["energy_error"],
        "energy_95_percent_ev": list(fit["energy_interval"]),
        "prefactor": fit["prefactor"],
        "at_300_K": fit["at_room"],
        "at_300_K_95_percent": list(fit["at_room_interval"]),
    }


def activation_tables(activation: Mapping[str, Mapping[str, Any]], title: str) -> tuple[Table, ...]:
    """Activation energies with their errors, and what they say about 300 K."""
    if not activation:
        return ()
    columns = (
        Column("", is_number=False),
        Column("activation energy (eV)"),
        Column("95 % of the bootstrap (eV)"),
        Column(title),
        Column("95 %"),
    )
    rows = []
    for name, facts in activation.items():
        low, high = facts["energy_95_percent_ev"]
        bottom, top = facts["at_300_K_95_percent"]
        error = significant(facts["energy_error_ev"], 2)
        rows.append(
            (
                name,
                f"{facts['energy_ev']:.3f} ± {error}",
                f"{low:.3f} to {high:.3f}",
                significant(facts["at_300_K"]),
                f"{significant(bottom, 2)} to {significant(top, 2)}",
            )
        )
    return (Table(columns, tuple(rows), title="Arrhenius fit"),)


def diffusion_table(trajectories: Sequence[Trajectory], found: Mapping[str, Mapping[str, Einstein]]) -> Table:
    """D of every element and temperature."""
    columns = (
        Column("element", is_number=False),
        Column("T (K)"),
        Column("D (cm²/s)"),
        Column("fit (ps)"),
        Column("MSD ∝ t^"),
        Column("MSD at its end (Å²)"),
    )
    rows = []
    for t in trajectories:
        for name, e in found[t.name].items():
            end = float(np.interp(e.fit[1], e.lags, e.squared))
            rows.append(
                (
                    name,
                    f"{t.temperature:.0f}",
                    with_error(CM2_PER_S * e.slope / 6, CM2_PER_S * e.error / 6),
                    f"{e.fit[0]:.3g} to {e.fit[1]:.3g}",
                    f"{e.exponent:.2f}",
                    significant(end),
                )
            )
    return Table(columns, tuple(rows), title="Self-diffusion")


def _sentences(
    trajectories: Sequence[Trajectory], found: Mapping[str, Mapping[str, Einstein]], blocks: int
) -> tuple[str, ...]:
    said = [
        f"Errors are standard errors of {blocks} blocks of each trajectory; the center of mass is held at rest; the "
        "size of the cell is not corrected for."
    ]
    still = [
        f"{name} at {t.temperature:.0f} K"
        for t in trajectories
        for name, e in found[t.name].items()
        if not diffuses(e.exponent)
    ]
    if still:
        said.append(
            f"No diffusion is seen of {', '.join(still)}: the mean squared displacement does not grow in proportion to "
            "time (its power stands in the table), and the slope of those rows is no diffusion coefficient; they take "
            "part in no Arrhenius fit."
        )
    said += [f"{t.name}: {note}" for t in trajectories for note in t.notes]
    return tuple(said)


def _columns(trajectories: Sequence[Trajectory], found: Mapping[str, Mapping[str, Einstein]]) -> dict[str, np.ndarray]:
    rows = [(k, t, name, e) for k, t in enumerate(trajectories) for name, e in found[t.name].items()]
    return {
        "trajectory": np.concatenate([np.full(len(e.lags), k + 1) for k, _, _, e in rows]),
        "temperature_K": np.concatenate([np.full(len(e.lags), t.temperature) for _, t, _, e in rows]),
        "element": np.concatenate([np.full(len(e.lags), name) for _, _, name, e in rows]),
        "time_ps": np.concatenate([e.lags for *_, e in rows]),
        "msd_A2": np.concatenate([e.squared for *_, e in rows]),
    }


def _arrhenius_figure(activation: Mapping[str, Mapping[str, Any]]) -> Figure:
    from gnnpot.report.transport_plots import arrhenius_figure

    return arrhenius_figure("Diffusion coefficients", "D (cm²/s)", activation)


def _page(
    record: Mapping[str, Any],
    tables: Sequence[Table],
    sentences: Sequence[str],
    figures: Mapping[str, Figure],
    activation: Mapping[str, Mapping[str, Any]],
) -> Page:
    result: list[Block] = [*tables, *(Text(sentence) for sentence in sentences)]
    sections = [Section("Result", tuple(result))]
    if activation:
        sections.append(Section("Activation", (_arrhenius_figure(activation),)))
    sections.append(Section("Mean squared displacements", (Gallery(tuple(figures.values())),)))
    facts = [{k: v for k, v in t.items() if k not in ("elements", "notes")} for t in record["trajectories"]]
    sections.append(Section("Trajectories", tuple(facts_table(f) for f in facts)))
    mobile = [
        f"{name} {significant(e['diffusion_cm2_per_s'])} cm²/s at {t['temperature_K']:.0f} K"
        for t in record["trajectories"]
        for name, e in t["elements"].items()
        if diffuses(e["growth_exponent"])
    ]
    lead = f"Diffusion coefficients: {'; '.join(mobile)}." if mobile else "No element diffuses on this time scale."
    return Page("Self-diffusion", lead, tuple(sections), f"gnnpot {__version__}. D from the slope of the MSD over 6.")
