"""Label efficiency from the cells of `data_efficiency.py`: curves, interpolation, tables, a figure.

    python benchmarks/finetune/efficiency.py

checks the interpolation on curves whose crossing is known.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gnnpot.report.formatting import duration, significant
from gnnpot.report.page import Column, Figure, Table

REFERENCE_N = 100
SMALL_N = 20
LABELS = {"scratch": "from scratch", "finetuned": "fine-tuned", "base_refitted": "base, re-fitted"}

Curve = list[tuple[int, float]]


def summary_of(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over seeds by system, N and model, and the label efficiency of every system."""
    values: dict[str, dict[int, dict[str, dict[str, list[float]]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    )
    for cell in cells:
        for model, errors in cell["test"].items():
            for name, value in errors.items():
                if value is not None:
                    values[cell["system"]][cell["n"]][model][name].append(value)
    systems = {
        system: {
            str(n): {m: {name: _mean(v) for name, v in errors.items()} for m, errors in models.items()}
            for n, models in sorted(by_n.items())
        }
        for system, by_n in values.items()
    }
    efficiency = {system: efficiency_of(by_n, REFERENCE_N) for system, by_n in systems.items()}
    known = [e["ratio"] for e in efficiency.values() if e["ratio"] is not None]
    kept: dict[str, int] = defaultdict(int)
    for cell in cells:
        kept[cell["kept"]] += 1
    return {
        "systems": systems,
        "efficiency": efficiency,
        "at_small_n": at_small_n(systems, SMALL_N, REFERENCE_N),
        "median_efficiency": statistics.median(known) if known else None,
        "kept": dict(kept),
        "forgetting": {system: _forgetting(cells, system) for system in systems},
        "checkpoint": cells[0]["checkpoint"],
        "steps": sorted({cell["steps"] for cell in cells}),
        "longest_training_s": max(cell.get("training_s", 0.0) for cell in cells),
    }


def _forgetting(cells: Sequence[Mapping[str, Any]], system: str) -> dict[str, float | int] | None:
    """Mean over the runs of a system of the force error on old frames after, over before."""
    ratios = [cell["forgetting"] for cell in cells if cell["system"] == system and cell.get("forgetting") is not None]
    return _mean(ratios) if ratios else None


def _mean(values: list[float]) -> dict[str, float | int]:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "error": error, "seeds": len(values)}


def efficiency_of(by_n: Mapping[str, Any], reference_n: int) -> dict[str, Any]:
    """N_scratch / N_finetuned at the force error that training from scratch reaches with ``reference_n``.

    ``bound`` is ``>`` where the fine-tuned model is below that error at its smallest N already, ``<`` where it never
    comes there: the ratio is then a bound.
    """
    scratch, tuned = curve_of(by_n, "scratch"), curve_of(by_n, "finetuned")
    level = dict(scratch).get(reference_n)
    if level is None or not tuned:
        return {"force_error": level, "ratio": None, "bound": ""}
    n, bound = crossing(tuned, level)
    return {"force_error": level, "ratio": reference_n / n, "bound": bound}


def curve_of(by_n: Mapping[str, Any], model: str) -> Curve:
    """Mean force error by N."""
    points = ((int(n), models.get(model, {}).get("forces")) for n, models in by_n.items())
    return sorted((n, point["mean"]) for n, point in points if point is not None)


def crossing(curve: Curve, level: float) -> tuple[float, str]:
    """N at which a curve of errors first comes down to a level, by linear interpolation of the logarithms.

    >>> crossing([(10, 100.0), (1000, 1.0)], 10.0)
    (100.0, '')
    >>> crossing([(5, 9.0), (50, 3.0)], 10.0), crossing([(5, 30.0), (50, 20.0)], 10.0)
    ((5, '>'), (50, '<'))
    """
    if curve[0][1] <= level:
        return curve[0][0], ">"
    for (n_0, error_0), (n_1, error_1) in pairwise(curve):
        if error_1 <= level:
            share = math.log(error_0 / level) / math.log(error_0 / error_1)
            return round(math.exp(math.log(n_0) + share * math.log(n_1 / n_0)), 6), ""
    return curve[-1][0], "<"


def at_small_n(systems: Mapping[str, Any], n: int, reference_n: int) -> dict[str, Any]:
    """Errors of the model fine-tuned on n structures over those of the model from scratch, by system and property.

    Returns:
        {system: {property: {"same_n": ratio, "reference_n": ratio}}}, None where a cell is missing.

    >>> cell = {"finetuned": {"forces": {"mean": 50.0}}, "scratch": {"forces": {"mean": 100.0}}}
    >>> at_small_n({"Si": {"20": cell, "100": {"scratch": {"forces": {"mean": 40.0}}}}}, 20, 100)["Si"]["forces"]
    {'same_n': 0.5, 'reference_n': 1.25}
    """

    def ratio(by_n: Mapping[str, Any], name: str, of_n: int) -> float | None:
        tuned = by_n.get(str(n), {}).get("finetuned", {}).get(name)
        scratch = by_n.get(str(of_n), {}).get("scratch", {}).get(name)
        return None if tuned is None or scratch is None else tuned["mean"] / scratch["mean"]

    return {
        system: {
            name: {"same_n": ratio(by_n, name, n), "reference_n": ratio(by_n, name, reference_n)}
            for name in ("forces", "energy")
        }
        for system, by_n in systems.items()
    }


def small_n_table(at_n: Mapping[str, Any]) -> Table:
    """`at_small_n` as a table, and whether fine-tuning is better on every system."""
    kinds = {"same_n": f"from scratch at N = {SMALL_N}", "reference_n": f"from scratch at N = {REFERENCE_N}"}
    columns = (
        Column("system", is_number=False),
        *(Column(name, title) for title in kinds.values() for name in ("forces", "energy")),
    )
    cells = {s: [r[name][kind] for kind in kinds for name in ("forces", "energy")] for s, r in at_n.items()}
    rows = [(system, *(significant(value) for value in values)) for system, values in cells.items()]
    verdicts = []
    for values in zip(*cells.values(), strict=True):
        known = [value for value in values if value is not None]
        verdicts.append(f"{sum(value < 1.0 for value in known)} of {len(values)}")
    return Table(columns, (*rows, ("better on", *verdicts)))


def tables_of(summary: Mapping[str, Any]) -> str:
    """Markdown: the efficiency of every system, and the errors of all."""
    titles = ("force error (meV/Å)", "label efficiency", "forgetting")
    columns = (Column("system", is_number=False), *(Column(title) for title in titles))
    rows = []
    for system, e in summary["efficiency"].items():
        ratio = "–" if e["ratio"] is None else f"{e['bound']} {e['ratio']:.1f}".strip()
        rows.append((system, significant(e["force_error"]), ratio, _cell(summary["forgetting"][system])))
    median = summary["median_efficiency"]
    rows.append(("median", "", "–" if median is None else f"{median:.1f}", ""))
    parts = [Table(columns, tuple(rows)).markdown()]
    title = f"Error of the model fine-tuned on {SMALL_N} structures over that of the model"
    parts.append(f"{title}\n\n{small_n_table(summary['at_small_n']).markdown()}")
    for name, unit in (("forces", "meV/Å"), ("energy", "meV/atom")):
        columns = (Column("system", is_number=False), Column("N"), *(Column(title) for title in LABELS.values()))
        lines = tuple(
            (system, n, *(_cell(models.get(model, {}).get(name)) for model in LABELS))
            for system, by_n in summary["systems"].items()
            for n, models in by_n.items()
        )
        parts.append(
            f"Test MAE, {name} ({unit}), mean over seeds ± standard error\n\n{Table(columns, lines).markdown()}"
        )
    kept = ", ".join(f"{LABELS[model]} {n}" for model, n in summary["kept"].items())
    parts.append(
        f"Kept by the validation loss: {kept}. Steps of a run: {', '.join(map(str, summary['steps']))}; the longest "
        f"fine-tuning took {duration(summary['longest_training_s'])}."
    )
    return "\n\n".join(parts) + "\n"


def _cell(value: Mapping[str, float] | None) -> str:
    if value is None:
        return "–"
    return significant(value["mean"]) + (f" ± {significant(value['error'], 2)}" if value["seeds"] > 1 else "")


def curves_figure(summary: Mapping[str, Any]) -> Figure:
    """Force error against N, one panel for each system."""
    from gnnpot.report.style import MUTED, SERIES_COLORS, drawing, plain_log_ticks

    systems = summary["systems"]
    colors = dict(zip(("finetuned", "scratch", "base_refitted"), SERIES_COLORS, strict=False))
    with drawing(2.9 * len(systems), 3.0, "Force error against the number of labeled structures") as d:
        d.canvas.subplots_adjust(wspace=0.25)
        for axes, (system, by_n) in zip(
            d.canvas.subplots(1, len(systems), squeeze=False)[0], systems.items(), strict=True
        ):
            errors = []
            for model, color in colors.items():
                curve = curve_of(by_n, model)
                if not curve:
                    continue
                n, values = zip(*curve, strict=True)
                spread = [by_n[str(k)][model]["forces"]["error"] for k in n]
                style = {"ls": "--"} if model == "base_refitted" else {"marker": "o", "ms": 4}
                axes.errorbar(n, values, spread, color=color, label=LABELS[model], **style)
                errors += values
            level = summary["efficiency"][system]["force_error"]
            if level is not None:
                axes.axhline(level, color=MUTED, lw=0.8, ls=":")
            axes.set(title=system, xscale="log", yscale="log", xlabel="labeled structures")
            plain_log_ticks(axes.xaxis, min(int(n) for n in by_n), max(int(n) for n in by_n))
            plain_log_ticks(axes.yaxis, min(errors), max(errors))
            if system == next(iter(systems)):
                axes.set(ylabel="force MAE (meV/Å)")
        handles, labels = axes.get_legend_handles_labels()
        d.canvas.legend(handles, labels, loc="upper right", ncols=len(labels))
    return d.figure


if __name__ == "__main__":
    import doctest

    doctest.testmod()
