"""Sections of a benchmark's page, each from ``benchmark.json`` alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report.benchmark_functions import functions_section
from gnnpot.report.benchmark_physics import physics_section
from gnnpot.report.benchmark_plots import (
    efficiency_figure,
    force_error_medians,
    model_colors,
    pareto_figure,
    structure_picture,
)
from gnnpot.report.benchmark_tables import (
    MICRO,
    accuracy_table,
    at_largest,
    at_size,
    cost_table,
    costs_of,
    difference_table,
    differences_of,
    finished,
    group_table,
    in_words,
    mean_of,
    n_training,
    open_runs_table,
    properties_of,
    split_size,
    trained_on_fewer,
    with_error,
)
from gnnpot.report.formatting import significant
from gnnpot.report.page import Block, Card, Cards, Figure, Folded, Gallery, Listing, Section, Table, Text
from gnnpot.report.parity import ParityData
from gnnpot.report.plots import SINGULAR, bars, error_distribution, force_error_figure, parity_figure
from gnnpot.report.worst import worst_table

Results = Mapping[str, Any]
Parts = Mapping[str, ParityData]

N_PICTURES = 3


def data_sections(results: Results, data: str, parts: Parts, suffix: str) -> list[Section]:
    """All sections of one data set; ``suffix`` ends their titles where there are several."""
    if not at_largest(results, data):
        return []
    colors = model_colors(list(results["models"]))
    ordered = {model: parts[model] for model in at_largest(results, data) if model in parts}
    found = (
        _accuracy(results, data),
        _differences(results, data),
        _efficiency(results, data, colors),
        _cost(results, data, colors),
        _parity(ordered, int(results["data"][data]["split"]["n_test"])),
        _details(ordered, colors),
        _groups(results, data, colors),
        functions_section(results, data),
        physics_section(results, data, colors),
        _worst(results, data, ordered),
    )
    return [replace(section, title=section.title + suffix) for section in found if section is not None]


def _accuracy(results: Results, data: str) -> Section:
    rows = at_largest(results, data)
    size = max(n_training(results, cells[0]) for cells in rows.values())
    table = accuracy_table(rows)
    caption = (
        f"Errors on the same {split_size(results, data, 'test')}, the most accurate forces first; trained on {size:,} "
        "structures. Mean ± standard error over seeds, where there are several."
    )
    fixed = [m for m in rows if results["models"][m]["kind"] == "finished"]
    if fixed:
        caption += (
            f" {', '.join(fixed)}: not trained here; reference energies per element were fitted to the training "
            "structures, all else is as published."
        )
    if fewer := trained_on_fewer(results, data):
        caption += f" Trained on fewer, for their larger runs are missing: {in_words(fewer)}."
    own = [m for m in rows if differences_of(results, m)]
    caption += f" {', '.join(own)}: not trained as the others, see Models and settings." if own else ""
    blocks: list[Block] = [Cards(_cards(results, data)), replace(table, caption=caption)]
    sizes = [s for s in results["data"][data]["sizes"] if s is not None and s != rows[next(iter(rows))][0]["size"]]
    smaller = [
        replace(accuracy_table(at_size(results, data, s)), title=f"{s:,} training structures")
        for s in sizes
        if at_size(results, data, s)
    ]
    blocks += [Folded("With fewer training structures", tuple(smaller))] if smaller else []
    return Section("Accuracy", tuple(blocks))


def _cards(results: Results, data: str) -> tuple[Card, ...]:
    """The best model in each respect."""
    rows, cards = at_largest(results, data), []
    for name in properties_of(c for group in rows.values() for c in group):
        p, key = PROPERTIES[name], metric_name(name, "mae")
        having = {model: value for model, group in rows.items() if (value := mean_of(group, key)) is not None}
        best = min(having, key=lambda model: having[model])
        values = [float(c["errors"][key]) for c in rows[best] if key in c["errors"]]
        cards.append(Card(f"Lowest {SINGULAR.get(name, p.title)} MAE", with_error(values), p.report_unit, best))
    speeds = {m: s for m, c in costs_of(results, data).items() if (s := c["s_per_atom_step"]) is not None}
    if speeds:
        fastest = min(speeds, key=lambda model: speeds[model])
        cards.append(Card("Fastest forces", significant(speeds[fastest] * MICRO), "µs per atom", fastest))
    return tuple(cards)


def _differences(results: Results, data: str) -> Section | None:
    table = difference_table(results, data)
    if table is None:
        return None
    first = next(c for c in results["comparisons"] if c["data"] == data)
    units = "groups of test structures (those of one group together)" if first["is_grouped"] else "test structures"
    text = (
        f"Paired bootstrap: {first['n_units']:,} {units} were drawn with replacement 2,000 times, the same for both "
        "models, and the errors of all seeds averaged. The interval says how far the difference depends on which "
        "structures were tested; where it holds zero, these data cannot tell the two models apart."
    )
    shown, rest = _split_rows(table, "MAE")
    folded = (Folded("Differences in RMSE", (rest,)),) if rest.rows else ()
    return Section("Differences between models", (Text(text), shown, *folded))


def _split_rows(table: Table, word: str) -> tuple[Table, Table]:
    """Rows whose second cell holds a word, and the others."""
    chosen = tuple(row for row in table.rows if word in row[1])
    return replace(table, rows=chosen), replace(table, rows=tuple(row for row in table.rows if row not in chosen))


def _efficiency(results: Results, data: str, colors: Mapping[str, str]) -> Section | None:
    cells = finished(results, data)
    figures = []
    for name in properties_of(cells):
        key = metric_name(name, "mae")
        points: dict[str, dict[float, list[float]]] = {}
        references: dict[str, float] = {}
        for cell in cells:
            if key not in cell["errors"]:
                continue
            if results["models"][cell["model"]]["kind"] == "finished":
                references[cell["model"]] = cell["errors"][key]
            else:
                curve = points.setdefault(cell["model"], {})
                curve.setdefault(n_training(results, cell), []).append(cell["errors"][key])
        figure = efficiency_figure(name, dict(sorted(points.items())), references, colors)
        figures += [figure] if figure is not None else []
    caption = "Logarithmic scales; small training sets are part of the larger ones. Bars: standard error over seeds."
    return Section("Learning from more data", (Gallery(tuple(figures), caption=caption),)) if figures else None


def _cost(results: Results, data: str, colors: Mapping[str, str]) -> Section:
    rows, costs = at_largest(results, data), costs_of(results, data)
    names = properties_of(c for group in rows.values() for c in group)
    name = "forces" if "forces" in names else names[0]
    p = PROPERTIES[name]
    errors = {m: v for m, g in rows.items() if (v := mean_of(g, metric_name(name, "mae"))) is not None}
    panels = (
        ("Time per atom and step", "µs", "s_per_atom_step", MICRO),
        ("Training time, processor", "s", "training_cpu_s", 1.0),
        ("Peak memory of training", "MB", "peak_memory_mb", 1.0),
        ("Parameters", "", "n_parameters", 1.0),
    )
    label = f"{SINGULAR.get(name, p.title)} MAE ({p.report_unit})"
    figures = []
    for title, unit, key, factor in panels:
        values = {m: float(c[key] or 0.0) * factor for m, c in costs.items() if c[key] is not None}
        figure = pareto_figure(title, unit, values, errors, label, colors)
        figures += [figure] if figure is not None else []
    table = replace(cost_table(results, data), caption=_cost_caption(results, data))
    blocks: list[Block] = [table]
    if figures:
        blocks.append(
            Gallery(tuple(figures), caption="Lower left is better; the line joins models that none beats in both.")
        )
    return Section("Accuracy against cost", tuple(blocks))


def _cost_caption(results: Results, data: str) -> str:
    cost = results["measures"].get(data, {}).get("cost")
    text = f"Means over seeds; {results['jobs']} training{'s' if results['jobs'] != 1 else ''} ran at a time."
    text += (
        " Training is that of the epochs, which the budget counts. A whole run also reads the data, computes symmetry "
        "functions (in the first run of a model on these data; later ones find them) and tests the model."
    )
    if cost:
        text += (
            f" Forces: processor time of {cost['n_atoms']} atoms on one thread, the least of {cost['rounds']} steps, "
            "the models in turn in one process."
        )
    return text


def _parity(parts: Parts, n_test: int) -> Section | None:
    galleries: dict[str, tuple[Figure, ...]] = {}
    for name in dict.fromkeys(n for part in parts.values() for n in part.properties):
        figures = [parity_figure(part, name, model) for model, part in parts.items() if name in part.properties]
        galleries[name] = tuple(figure for figure in figures if figure is not None)
    blocks: list[Block] = []
    for name, gallery in galleries.items():
        title = PROPERTIES[name].title.capitalize()
        blocks.append(Gallery(gallery, title) if name in ("energy", "forces") else Folded(title, (Gallery(gallery),)))
    caption = "The first seed of each model. On the line prediction and reference are equal."
    n_drawn = min((len(part.n_atoms) for part in parts.values()), default=n_test)
    caption += f" Drawn for {n_drawn:,} of the {n_test:,} test structures." if n_drawn < n_test else ""
    return Section("Prediction against reference", (Text(caption), *blocks)) if blocks else None


def _details(parts: Parts, colors: Mapping[str, str]) -> Section | None:
    figures = [force_error_medians(parts, colors)]
    figures += [error_distribution(parts, name, colors) for name in ("forces", "energy")]
    clouds = [force_error_figure(part, model) for model, part in parts.items()]
    shown, folded = (tuple(f for f in some if f is not None) for some in (figures, clouds))
    if not shown:
        return None
    blocks = (Folded("Every atom, model by model", (Gallery(folded),)),) if folded else ()
    return Section("Errors in detail", (Gallery(shown), *blocks))


def _groups(results: Results, data: str, colors: Mapping[str, str]) -> Section | None:
    rows = at_largest(results, data)
    blocks: list[Block] = []
    for key, word in (("per_element", "element"), ("per_config_type", "config_type")):
        table = group_table(rows, key, word, "mae")
        if table is None or not table.rows:
            continue
        blocks.append(Folded(f"All {len(table.rows)} by {word}", (table,)) if len(table.rows) > 30 else table)
        squared = group_table(rows, key, word, "rmse")
        figure = _group_bars(rows, key, word, colors)
        blocks += [Gallery((figure,))] if figure is not None else []
        blocks += [Folded(f"RMSE by {word}", (squared,))] if squared is not None else []
    return Section("By element and kind", tuple(blocks)) if blocks else None


def _group_bars(rows: Mapping[str, Any], key: str, word: str, colors: Mapping[str, str]) -> Figure | None:
    metric = metric_name("forces", "mae")
    groups: dict[str, dict[str, float]] = {}
    for model, cells in rows.items():
        for name in cells[0]["errors"].get(key, {}):
            values = [c["errors"][key][name][metric] for c in cells if metric in c["errors"].get(key, {}).get(name, {})]
            if values:
                groups.setdefault(name, {})[model] = sum(values) / len(values)
    if not groups:
        return None
    shades = [colors[model] for model in dict.fromkeys(m for group in groups.values() for m in group)]
    return bars(f"Force MAE by {word}", PROPERTIES["forces"].report_unit, groups, shades)


def _worst(results: Results, data: str, parts: Parts) -> Section | None:
    found = results["worst"].get(data)
    if not found or found["model"] not in parts:
        return None
    table = worst_table(parts[found["model"]], len(found["rows"]))
    names = [row[0] for row in table.rows]
    pictures = tuple(
        structure_picture(structure, f"Worst structure {k + 1}", name)
        for k, (structure, name) in enumerate(zip(found["structures"][:N_PICTURES], names, strict=False))
    )
    caption = (
        f"The largest errors of {found['model']}; largest: of one atom. The structures with labels and predictions are "
        f"in {found['file']}."
    )
    rings = "Rings: the twelfth of the atoms with the largest force errors."
    return Section("Worst structures", (replace(table, caption=caption), Gallery(pictures, caption=rings)))


def open_runs_section(results: Results) -> Section | None:
    """Runs that failed or were stopped, with the end of what they said."""
    table = open_runs_table(results)
    if table is None:
        return None
    text = (
        f"{len(table.rows)} of {len(results['cells'])} runs are not in the tables below. The same command goes on with "
        "them; finished ones are not run again."
    )
    failures = [cell for cell in results["cells"] if cell["status"] == "failed"]
    folded = tuple(
        Folded(f"{cell['folder']}: last lines", (Listing(cell["failure"]),)) for cell in failures if cell["failure"]
    )
    return Section("Runs that are missing", (Text(text), table, *folded))
