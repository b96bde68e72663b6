"""Sections of reports, each built from files alone; None where there is nothing to show."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import duration, part_title, significant
from gnnpot.report.metrics import headline_part, part_names
from gnnpot.report.page import Block, Card, Cards, Figure, Folded, Gallery, Listing, Section
from gnnpot.report.parity import ParityData
from gnnpot.report.tables import born_norms_line, config_type_table, coverage_table, element_table, metrics_table
from gnnpot.report.worst import worst_table

Parts = Mapping[str, ParityData]

DISTRIBUTED = ("forces", "energy", "born_effective_charges")
"""Properties whose errors are drawn as a distribution, where there are any."""


def result_section(metrics: Mapping[str, Any], parts: Parts) -> Section:
    """Headline cards, errors of all parts, how many labels stand behind them."""
    blocks: list[Block] = []
    cards = _headline_cards(metrics, parts)
    if cards:
        blocks.append(Cards(cards))
    blocks.append(replace(metrics_table(metrics), caption=born_norms_line(metrics) or ""))
    counts = {part: metrics[part]["counts"] for part in part_names(metrics) if "counts" in metrics[part]}
    if counts:
        table = coverage_table(counts)
        blocks.append(Folded("Labels behind these errors", (table,)))
    return Section("Result", tuple(blocks))


def _headline_cards(metrics: Mapping[str, Any], parts: Parts) -> tuple[Card, ...]:
    """Mean absolute errors on the part that speaks for the model, beside RMSE and the spread of the labels."""
    part = headline_part(metrics)
    if part is None:
        return ()
    cards = []
    for name, p in PROPERTIES.items():
        mae, rmse = (metrics[part].get(metric_name(name, s)) for s in ("mae", "rmse"))
        if mae is None:
            continue
        remark = f"RMSE {significant(rmse)}"
        if part in parts and name in parts[part].properties:
            spread = float(np.std(parts[part].points(name)[0])) * p.report_factor
            remark += f"\nlabels spread by {significant(spread)}"
        label = f"{p.title.capitalize()}, {part_title(part)} MAE"
        cards.append(Card(label, significant(mae), p.report_unit, remark))
    seconds = metrics.get("timing", {}).get("training_s")
    if isinstance(seconds, int | float):
        cards.append(Card("Training", duration(float(seconds)), remark=_hardware(metrics.get("provenance", {}))))
    return tuple(cards)


def _hardware(provenance: Mapping[str, Any]) -> str:
    """What the training ran on: the accelerator, or the processor and the number of its threads."""
    device, threads = provenance.get("device", "cpu"), provenance.get("threads")
    if device != "cpu":
        return str(device)
    return f"{provenance.get('cpu', 'CPU')}" + (f"\n{threads} thread{'s' if threads != 1 else ''}" if threads else "")


def learning_section(log: Mapping[str, NDArray[np.float64]]) -> Section | None:
    """Learning curves from the columns of ``log.csv``."""
    from gnnpot.report.plots import learning_curves

    figures = learning_curves(log) if log else ()
    caption = "Logarithmic scales. The dot marks the lowest validation value."
    return Section("Learning curves", (Gallery(figures, caption=caption),)) if figures else None


def parity_section(metrics: Mapping[str, Any], parts: Parts) -> Section | None:
    """Prediction against label: the headline part in sight, the others folded."""
    from gnnpot.report.plots import parity_figure

    galleries = {
        part: tuple(f for name in data.properties if (f := parity_figure(data, name, part)) is not None)
        for part, data in parts.items()
    }
    shown = _spoken_for(metrics, parts)
    if shown is None or not galleries[shown]:
        return None
    others = [part for part in parts if part != shown and galleries[part]]
    folded = (Folded(f"Also on {part_title(part)} data", (Gallery(galleries[part]),)) for part in others)
    return Section("Prediction against reference", (Gallery(galleries[shown]), *folded))


def detail_section(metrics: Mapping[str, Any], parts: Parts) -> Section | None:
    """Force error against the size of the force; distribution of force and energy errors on all parts."""
    from gnnpot.report.plots import error_distribution, force_error_figure

    shown = _spoken_for(metrics, parts)
    if shown is None:
        return None
    figures = [force_error_figure(parts[shown], shown), *(error_distribution(parts, n) for n in DISTRIBUTED)]
    present: tuple[Figure, ...] = tuple(figure for figure in figures if figure is not None)
    return Section("Errors in detail", (Gallery(present),)) if present else None


def group_section(metrics: Mapping[str, Any]) -> Section | None:
    """Errors by element and by kind of structure."""
    from gnnpot.report.plots import bars

    part = headline_part(metrics)
    if part is None:
        return None
    blocks: list[Block] = []
    figures = []
    kinds = (("per_element", "element", element_table), ("per_config_type", "config_type", config_type_table))
    for key, word, build in kinds:
        groups = metrics[part].get(key)
        if not groups:
            continue
        table = build(metrics, part)
        blocks.append(Folded(f"All {len(groups)} by {word}", (table,)) if len(groups) > 30 else table)
        for name, title in (("forces", "Force"), ("born_effective_charges", "Born charge")):
            figure = bars(f"{title} error by {word}", PROPERTIES[name].report_unit, _error_bars(groups, name))
            figures += [figure] if figure is not None else []
    if figures:
        blocks.append(Gallery(tuple(figures), caption=f"Errors on the {part_title(part)} data."))
    return Section("By element and kind", tuple(blocks)) if blocks else None


def _error_bars(groups: Mapping[str, Mapping[str, float]], prop: str) -> dict[str, dict[str, float]]:
    series = {"MAE": metric_name(prop, "mae"), "RMSE": metric_name(prop, "rmse")}
    return {
        name: {title: float(group[key]) for title, key in series.items()}
        for name, group in groups.items()
        if series["MAE"] in group and series["RMSE"] in group
    }


def worst_section(metrics: Mapping[str, Any], parts: Parts) -> Section | None:
    """The structures with the largest errors."""
    shown = _spoken_for(metrics, parts)
    if shown is None:
        return None
    table = worst_table(parts[shown])
    table = replace(table, caption=f"The largest errors on the {part_title(shown)} data; largest: of one atom.")
    return Section("Worst structures", (table,)) if table.rows else None


def facts_section(title: str, facts: Mapping[str, Any]) -> Section | None:
    """Names and values, as of timing or provenance."""
    return Section(title, (facts_table(facts),)) if facts else None


def config_section(text: str) -> Section | None:
    """The configuration as it was composed."""
    return Section("Configuration", (Folded("config.yaml", (Listing(text.strip()),)),)) if text.strip() else None


def data_facts(config: Mapping[str, Any], split: Mapping[str, Any]) -> dict[str, Any]:
    """File names of the data, and the split with the number of structures in each part."""
    names = data_file_names(config)
    facts: dict[str, Any] = {"files": names} if names else {}
    for key, value in split.items():
        if key == "format_version":
            continue
        is_indices = key in ("train", "val", "test") and isinstance(value, list)
        facts[f"{part_title(key)} structures" if is_indices else key] = len(value) if is_indices else value
    return facts


def data_file_names(config: Mapping[str, Any]) -> list[str]:
    """Names, without folders, of the files that a configuration trains on."""
    data = config.get("data")
    if not isinstance(data, Mapping):
        return []
    paths: list[str] = []
    for key in ("path", "train_path", "val_path", "test_path"):
        value = data.get(key)
        entries = value if isinstance(value, list) else [value]
        paths += [str(entry) for entry in entries if entry]
    return [PurePath(path).name for path in dict.fromkeys(paths)]


def _spoken_for(metrics: Mapping[str, Any], parts: Parts) -> str | None:
    """The headline part if its predictions were kept, else the last part that has some."""
    part = headline_part(metrics)
    return part if part in parts else next(reversed(list(parts)), None)
