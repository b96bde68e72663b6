"""The page and the tables of simulations in an electric field, from the records of `gnnpot.apps.field_analysis`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gnnpot._version import __version__
from gnnpot.report import field_plots
from gnnpot.report.formatting import significant
from gnnpot.report.page import Block, Card, Cards, Column, Gallery, Page, Section, Table, Text

Record = Mapping[str, Any]
MOBILITY = "10⁻⁴ cm²/Vs"
"""Unit of mobilities in tables; Å²/(V ps)."""


def field_page(runs: Sequence[Record], scan: Record) -> Page:
    """One section for each run, and one for the scan over field strengths where there are several."""
    sections = [Section(_title(run), _run_blocks(run)) for run in runs]
    if len(runs) > 1:
        sections.insert(0, Section("Scan over field strengths", _scan_blocks(scan)))
    footer = (
        f"gnnpot {__version__}. Displacements are relative to the center of mass; errors are standard errors from five "
        "blocks of a run. Born charges field first; forces in the field F + Σ_a E_a Z[a, b]."
    )
    return Page(f"{runs[0]['n_atoms']} atoms in an electric field", field_lead(runs), tuple(sections), footer)


def field_lead(runs: Sequence[Record]) -> str:
    """One sentence with the drift of every element in the strongest field, at the temperature that there was.

    >>> run = {"field_strength_v_per_ang": 0.1, "temperature_K": 600.0, "duration_ps": 1.0, "species": {}}
    >>> field_lead([run | {"mean_temperature_K": 310.0}])
    '0.1 V/Å at 310 K for 1 ps: too few frames for a drift.'
    """
    run = max(runs, key=lambda r: float(r["field_strength_v_per_ang"]))
    kelvin = run["temperature_K"] if run.get("mean_temperature_K") is None else run["mean_temperature_K"]
    head = f"{run['field_strength_v_per_ang']:.3g} V/Å at {kelvin:.3g} K for {run['duration_ps']:.3g} ps"
    drifts = [
        f"{symbol} {with_error(values['drift_ang_per_ps'], values['drift_error_ang_per_ps'])}"
        for symbol, values in _elements(run)
        if values["drift_ang_per_ps"] is not None
    ]
    return (
        f"{head}: drift along the field {', '.join(drifts)} Å/ps." if drifts else f"{head}: too few frames for a drift."
    )


def with_error(value: float | None, error: float | None) -> str:
    """A value and its standard error.

    >>> with_error(0.1234, 0.02)
    '0.123 ± 0.020'
    """
    return significant(value) if error is None else f"{significant(value)} ± {significant(error, 2)}"


def _mobility(value: float | None, error: float | None) -> str:
    """Of cm²/Vs, in `MOBILITY`."""
    return with_error(*(None if x is None else 1e4 * x for x in (value, error)))


def species_table(run: Record) -> Table:
    """Drift, mobility, diffusion and response of every element."""
    columns = (
        Column("element", is_number=False),
        Column("atoms"),
        Column("drift (Å/ps)"),
        Column(f"v/E ({MOBILITY})"),
        Column("along", "diffusion (Å²/ps)"),
        Column("across", "diffusion (Å²/ps)"),
        Column("charge along E (e)"),
        Column("force across E (%)"),
    )
    response = run["response"].get("species", {})
    rows = []
    for symbol, values in _elements(run):
        seen = response.get(symbol, {})
        share = seen.get("perpendicular_share")
        rows.append(
            (
                symbol,
                str(values["n_atoms"]),
                with_error(values["drift_ang_per_ps"], values["drift_error_ang_per_ps"]),
                _mobility(values["apparent_mobility_cm2_per_v_s"], values["apparent_mobility_error_cm2_per_v_s"]),
                significant(values["diffusion_along_ang2_per_ps"]),
                significant(values["diffusion_across_ang2_per_ps"]),
                significant(seen.get("charge_along_field_e")),
                significant(None if share is None else 100.0 * share),
            )
        )
    caption = (
        "Diffusion along the field with the drift taken out; none is given where the displacements do not grow as "
        "those of diffusion do. Force across E: root mean square of the part of E·Z "
        "that is perpendicular to the field, over that of all of it."
    )
    return Table(columns, tuple(rows), caption=caption)


def scan_table(scan: Record) -> Table:
    """Drift at every field strength, and mobility at zero field."""
    columns = (
        Column("element", is_number=False), Column("E (V/Å)"), Column("drift (Å/ps)"), Column(f"v/E ({MOBILITY})")
    )  # fmt: skip
    rows = []
    for symbol, values in scan.items():
        points = zip(
            values["field_v_per_ang"], values["drift_ang_per_ps"], values["drift_error_ang_per_ps"], strict=True
        )
        for strength, drift, error in points:
            rows.append((symbol, significant(strength), with_error(drift, error), significant(drift / strength)))
        mobility = values["zero_field_mobility_cm2_per_v_s"]
        if mobility is not None:
            text = _mobility(mobility, values["zero_field_mobility_error_cm2_per_v_s"])
            rows.append((symbol, "→ 0", "", text))
    caption = "→ 0: from v/E = μ + c E², weighted with the errors."
    if all(values["zero_field_mobility_cm2_per_v_s"] is None for values in scan.values()):
        caption = "Constant fields of two strengths or more give the mobility at zero field."
    return Table(columns, tuple(rows), caption=caption)


def _run_blocks(run: Record) -> tuple[Block, ...]:
    blocks: list[Block] = [Cards(_cards(run)), species_table(run)]
    figures = [
        field_plots.drift_figure(run),
        field_plots.displacement_figure(run),
        field_plots.energy_figure(run["energy"]),
    ]
    blocks.append(Gallery(tuple(figure for figure in figures if figure is not None)))
    blocks += [Text(note[:1].upper() + note[1:] + ".") for note in run["notes"]]
    return tuple(blocks)


def _scan_blocks(scan: Record) -> tuple[Block, ...]:
    figure = field_plots.scan_figure(scan)
    return (scan_table(scan),) if figure is None else (scan_table(scan), figure)


def _cards(run: Record) -> tuple[Card, ...]:
    field = ", ".join(significant(x) for x in run["field_v_per_ang"])
    kind = "constant" if run["field_is_constant"] else "amplitude of a field in time"
    cards = [Card("Field", significant(run["field_strength_v_per_ang"]), "V/Å", f"({field})\n{kind}")]
    if any(run["net_force_ev_per_ang"]):
        cards.append(_net_force_card(run))
    energy, response = run["energy"], run["response"]
    if energy:
        heat, rest = significant(energy["final_heat_eV"]), significant(energy["unaccounted_eV"])
        balance = f"heat taken {heat} eV\nunaccounted {rest} eV"
        cards.append(Card("Work of the field", significant(energy["final_work_eV"]), "eV", balance))
        drift = energy["conserved_drift_mev_per_atom_per_ps"]
        if drift is not None:
            spread = f"standard deviation {significant(energy['conserved_spread_mev_per_atom'])} meV/atom"
            hint = f"of K + U less work plus heat\n{spread}"
            cards.append(Card("Drift of the account", significant(drift), "meV/atom/ps", hint))
    if response:
        residual = significant(response["sum_rule_residual_e_per_atom"])
        cards.append(Card("|ΣZ - Q| per atom", residual, "e", f"largest of {response['n_frames']} frames"))
    return tuple(cards)


def _net_force_card(run: Record) -> Card:
    """Q E, by which the field pushes a charged cell as a whole."""
    force = run["net_force_ev_per_ang"]
    kept = "taken from all atoms by mass" if run["net_force_is_removed"] else "kept: the cell accelerates"
    when = "" if run["field_is_constant"] else "largest value in time\n"
    hint = f"({', '.join(significant(x) for x in force)})\n{when}{kept}"
    return Card("Net force Q E", significant(math.hypot(*force)), "eV/Å", hint)


def _title(run: Record) -> str:
    return f"{run['name']}, {run['field_strength_v_per_ang']:.3g} V/Å"


def _elements(run: Record) -> list[tuple[str, Record]]:
    return [(symbol, values) for symbol, values in run["species"].items() if symbol != "time_ps"]
