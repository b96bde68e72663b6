"""The physics section of a benchmark: laws that a force field obeys, and two atoms alone beside their labels."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gnnpot.report.benchmark_plots import dimer_figure, stretch_figure
from gnnpot.report.benchmark_tables import at_largest, physics_table
from gnnpot.report.formatting import MISSING, significant
from gnnpot.report.page import Block, Column, Figure, Folded, Gallery, Section, Table, Text

Results = Mapping[str, Any]

N_SHOWN = 6
"""Figures that stand open; further ones are unfolded."""


def physics_section(results: Results, data: str, colors: Mapping[str, str]) -> Section | None:
    """Table of laws, stretch of a bond, dimers and their deviation from labels; None where nothing was measured."""
    table = physics_table(results, data)
    if table is None:
        return None
    measures = results["measures"][data]
    found = [stretch_figure(measures["stretch"]["models"], measures["stretch"]["where"], colors)]
    references = measures["dimer_references"]
    found += [dimer_figure(pair, dimer, references.get(pair), colors) for pair, dimer in measures["dimers"].items()]
    figures = tuple(figure for figure in found if figure is not None)
    blocks: list[Block] = [replace(table, caption=_caption(measures)), *_galleries(figures)]
    missing = missing_dimers(measures)
    blocks += [Text(missing)] if missing else []
    deviations = deviation_table(measures, list(at_largest(results, data)))
    blocks += [deviations] if deviations is not None else []
    return Section("Physics", tuple(blocks))


def _galleries(figures: tuple[Figure, ...]) -> list[Block]:
    note = "Dimers lie far from most data: what a model says of them tells how it ends, not how accurate it is. Of a "
    note += "direct-force model the work of the force is drawn."
    rest = figures[N_SHOWN:]
    folded = [Folded(f"{len(rest)} further pairs of elements", (Gallery(rest),))] if rest else []
    return [Gallery(figures[:N_SHOWN], caption=note), *folded]


def _caption(measures: Mapping[str, Any]) -> str:
    drift, structure = measures["drift"], measures["structure"]
    return (
        f"On {structure['formula']} ({structure['n_atoms']} atoms) of the test set, in float64. ‖J−Jᵀ‖/‖J‖: asymmetry "
        "of the force Jacobian, zero where forces are the gradient of an energy. Drift: "
        f"{drift['steps'] * drift['timestep'] / 1000:g} ps from {drift['temperature']:g} K in steps of "
        f"{drift['timestep']:g} fs. A direct-force model has no total energy; kinetic less work, of all models, is the "
        "kinetic energy less the work of the forces along straight lines from the first positions to the present "
        "ones: the total energy up to a constant where forces are the gradient of one, and elsewhere its drift is what "
        "the atoms gain from nowhere. Roughness: largest deviation of the force from a cubic through its neighbors "
        "0.01 Å apart. Repels down to: the shortest distance, of the worst pair of elements, to which the energy of "
        "two atoms alone rises from 0.8 bond lengths (sums of covalent radii) inward; they were followed down to 0.35."
    )


def missing_dimers(measures: Mapping[str, Any]) -> str:
    """Which dimers are not drawn and why, and which were computed in a cell; empty where nothing is to be said.

    >>> dimers = {"O-O": {"missing": {"eam": "no oxygen"}, "in_box": []}, "O-Mg": {"missing": {"eam": "no oxygen"}}}
    >>> missing_dimers({"dimers": dimers, "dimers_left_out": 3})
    'No dimers of eam for O-O, O-Mg: no oxygen. 3 further pairs of elements are not drawn.'
    """
    pairs: dict[tuple[str, str], list[str]] = {}
    boxed: dict[str, None] = {}
    for pair, dimer in measures["dimers"].items():
        for refusal in dimer.get("missing", {}).items():
            pairs.setdefault(refusal, []).append(pair)
        boxed |= dict.fromkeys(dimer.get("in_box", []))
    said = [f"No dimers of {model} for {', '.join(found)}: {reason}." for (model, reason), found in pairs.items()]
    if boxed:
        said.append(f"{', '.join(boxed)}: the two atoms lie in a large periodic cell whose total charge is zero.")
    n_left = measures.get("dimers_left_out", 0)
    said += [f"{n_left:,} further pair{'s' if n_left > 1 else ''} of elements are not drawn."] if n_left else []
    return " ".join(said)


def deviation_table(measures: Mapping[str, Any], models: list[str]) -> Table | None:
    """Deviation of the dimer curves from the labels, a row for each pair of elements; None without labels."""
    references = measures["dimer_references"]
    labelled = {pair: dimer for pair, dimer in measures["dimers"].items() if dimer.get("deviation")}
    if not labelled:
        return None
    columns = [Column("pair", is_number=False), Column("labels"), Column("range (Å)")]
    columns += [Column(model, "whole range, RMS (eV)") for model in models]
    columns += [Column(model, "beyond 0.8 bond lengths, RMS (eV)") for model in models]
    lines = tuple(
        (
            pair,
            str(len(references[pair]["distance"])),
            f"{references[pair]['distance'][0]:.2f} to {references[pair]['distance'][-1]:.2f}",
            *(
                significant(dimer["deviation"][model][part]) if model in dimer["deviation"] else MISSING
                for part in ("all", "outer")
                for model in models
            ),
        )
        for pair, dimer in labelled.items()
    )
    caption = (
        "Root-mean-square deviation of the energy of two atoms alone from the labels, both zero at the longest labeled "
        "distance. The whole range is ruled by the shortest distances, where energies are tens of eV."
    )
    return Table(tuple(columns), lines, "Dimers against labels", caption)
