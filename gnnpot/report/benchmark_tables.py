"""Tables and sentences of a benchmark, from the content of ``benchmark.json`` alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report.benchmark_statistics import STATISTICS, mean_and_error
from gnnpot.report.formatting import MISSING, duration, significant
from gnnpot.report.page import Column, Table
from gnnpot.report.parity import COMPARED

Results = Mapping[str, Any]
Row = Mapping[str, Any]

MICRO = 1e6


def finished(results: Results, data: str) -> list[Row]:
    """Cells of a data set that have errors."""
    return [cell for cell in results["cells"] if cell["data"] == data and cell["status"] == "finished"]


def size_of(cell: Row) -> float:
    """Number of training structures to sort by: all is the most."""
    return float("inf") if cell["size"] is None else float(cell["size"])


def n_training(results: Results, cell: Row) -> int:
    """Number of structures that a cell was trained on."""
    n_all = int(results["data"][cell["data"]]["split"]["n_train"])
    return n_all if cell["size"] is None else int(cell["size"])


def at_largest(results: Results, data: str) -> dict[str, list[Row]]:
    """For each model the cells, one for each seed, with the most training structures; the most accurate model first."""
    found: dict[str, list[Row]] = {}
    for cell in finished(results, data):
        known = found.get(cell["model"])
        if known is None or size_of(cell) > size_of(known[0]):
            found[cell["model"]] = [cell]
        elif size_of(cell) == size_of(known[0]):
            known.append(cell)
    return dict(sorted(found.items(), key=lambda item: accuracy_order(item[1])))


def at_size(results: Results, data: str, size: int | None) -> dict[str, list[Row]]:
    """The same for one number of training structures."""
    found: dict[str, list[Row]] = {}
    for cell in finished(results, data):
        if cell["size"] == size and results["models"][cell["model"]]["kind"] == "trained":
            found.setdefault(cell["model"], []).append(cell)
    return dict(sorted(found.items(), key=lambda item: accuracy_order(item[1])))


def trained_on_fewer(results: Results, data: str) -> dict[str, int]:
    """Models whose runs with the most training structures are missing, and how many they were trained on instead."""
    sizes = {
        model: n_training(results, cells[0])
        for model, cells in at_largest(results, data).items()
        if results["models"][model]["kind"] == "trained"
    }
    return {model: n for model, n in sizes.items() if n < max(sizes.values())}


def in_words(fewer: Mapping[str, int]) -> str:
    """As "hdnnp (20 structures)".

    >>> in_words({"hdnnp": 20, "gnnff": 1})
    'hdnnp (20 structures), gnnff (1 structure)'
    """
    return ", ".join(f"{model} ({n:,} structure{'s' if n > 1 else ''})" for model, n in fewer.items())


def accuracy_order(cells: Sequence[Row]) -> tuple[float, float]:
    """By mean absolute error of the forces; without them, by that of the energy."""
    forces, energy = (mean_of(cells, metric_name(name, "mae")) for name in ("forces", "energy"))
    return (float("inf") if forces is None else forces, float("inf") if energy is None else energy)


def mean_of(cells: Iterable[Row], key: str) -> float | None:
    """Mean of an error over seeds; None where no cell has it."""
    values = [float(cell["errors"][key]) for cell in cells if key in cell["errors"]]
    return mean_and_error(values)[0] if values else None


def properties_of(cells: Iterable[Row]) -> list[str]:
    """Properties for which any cell has errors, in the order of reports."""
    cells = list(cells)
    return [name for name in COMPARED if any(metric_name(name, "mae") in cell["errors"] for cell in cells)]


def with_error(values: Sequence[float]) -> str:
    """Mean ± standard error, to digits that mean something.

    >>> with_error([1.0, 3.0]), with_error([0.8124]), with_error([])
    ('2.00 ± 1.0', '0.812', '–')
    """
    if not values:
        return MISSING
    mean, error = mean_and_error(values)
    return significant(mean) if error is None else f"{significant(mean)} ± {significant(error, 2)}"


def differences_of(results: Results, model: str) -> dict[str, Any]:
    """Settings in which the training of a model is unlike that of the others, by key; without losses of no concern.

    The loss of a property concerns nobody where no model is tested on it.

    >>> loss = {"own": "mse", "shared": "huber"}
    >>> row = {"differences": {"loss.forces.kind": loss, "loss.polarization.kind": loss}}
    >>> cells = [{"status": "finished", "errors": {"forces_mae_mev_per_ang": 1.0}}]
    >>> list(differences_of({"models": {"a": row}, "cells": cells}, "a"))
    ['loss.forces.kind']
    """
    tested = properties_of(cell for cell in results["cells"] if cell["status"] == "finished")
    untested = tuple(f"loss.{name}." for name in PROPERTIES if name not in tested)
    own = results["models"][model].get("differences", {})
    return {key: value for key, value in own.items() if not key.startswith(untested)}


def accuracy_table(rows: Mapping[str, Sequence[Row]], title: str = "") -> Table:
    """MAE and RMSE of every property for every model, mean ± standard error over seeds."""
    cells = [cell for group in rows.values() for cell in group]
    names = properties_of(cells)
    columns = [Column("model", is_number=False), Column("seeds")]
    for name in names:
        p = PROPERTIES[name]
        columns += [Column(statistic.upper(), f"{p.title} ({p.report_unit})") for statistic in STATISTICS]
    lines = tuple(
        (
            model,
            str(len(group)),
            *(with_error(_values(group, metric_name(name, s))) for name in names for s in ("mae", "rmse")),
        )
        for model, group in rows.items()
    )
    return Table(tuple(columns), lines, title)


def _values(cells: Iterable[Row], key: str) -> list[float]:
    return [float(cell["errors"][key]) for cell in cells if key in cell["errors"]]


def terminal_tables(results: Results) -> list[Table]:
    """For each data set the MAE ± standard error of every model and the RMSE, narrow enough for a terminal."""
    return [
        _narrow(rows, f"{data}: MAE and RMSE on {split_size(results, data, 'test')}")
        for data in results["data"]
        if (rows := at_largest(results, data))
    ]


def _narrow(rows: Mapping[str, Sequence[Row]], title: str) -> Table:
    names = properties_of(cell for group in rows.values() for cell in group)
    columns = [Column("model", is_number=False)]
    for name in names:
        p = PROPERTIES[name]
        columns += [Column(statistic.upper(), f"{p.title} {p.report_unit}") for statistic in STATISTICS]
    lines = tuple(
        (
            model,
            *(
                cell
                for name in names
                for cell in (
                    with_error(_values(group, metric_name(name, "mae"))),
                    significant(mean_of(group, metric_name(name, "rmse"))),
                )
            ),
        )
        for model, group in rows.items()
    )
    return Table(tuple(columns), lines, title)


def split_size(results: Results, data: str, part: str) -> str:
    """As "60 test structures"."""
    n = int(results["data"][data]["split"][f"n_{part}"])
    return f"{n:,} {part} structure{'s' if n != 1 else ''}"


def difference_table(results: Results, data: str) -> Table | None:
    """Paired bootstrap of every pair of models; the better one is named where the interval does not hold zero."""
    rows = [c for c in results["comparisons"] if c["data"] == data]
    if not rows:
        return None
    columns = (
        Column("compared", is_number=False),
        Column("error", is_number=False),
        Column("difference"),
        Column("95 % interval"),
        Column("lower error", is_number=False),
    )
    order = {model: k for k, model in enumerate(at_largest(results, data))}
    lines = []
    for c in sorted(rows, key=lambda c: (COMPARED.index(c["property"]), c["statistic"])):
        a, b, sign = (c["a"], c["b"], 1.0) if order[c["a"]] < order[c["b"]] else (c["b"], c["a"], -1.0)
        value, ends = sign * c["difference"], sorted((sign * c["low"], sign * c["high"]))
        is_clear = ends[0] > 0.0 or ends[1] < 0.0
        p = PROPERTIES[c["property"]]
        lines.append(
            (
                f"{b} less {a}",
                f"{p.title} {c['statistic'].upper()} ({p.report_unit})",
                significant(value),
                f"{significant(ends[0])} to {significant(ends[1])}",
                (a if value > 0.0 else b) if is_clear else "cannot be told",
            )
        )
    return Table(columns, tuple(lines))


def group_table(rows: Mapping[str, Sequence[Row]], key: str, word: str, statistic: str) -> Table | None:
    """Errors of every model by element or ``config_type``, mean over seeds; None where there are no groups."""
    groups: dict[str, int] = {}
    count = "n_atoms" if key == "per_element" else "n_structures"
    for group in rows.values():
        for name, errors in group[0]["errors"].get(key, {}).items():
            groups.setdefault(name, int(errors.get(count, 0)))
    if not groups:
        return None
    names = [
        name
        for name in COMPARED
        if any(metric_name(name, "mae") in e for g in rows.values() for e in g[0]["errors"].get(key, {}).values())
    ]
    columns = [Column(word, is_number=False), Column(count.removeprefix("n_"))]
    for name in names:
        p = PROPERTIES[name]
        columns += [Column(model, f"{p.title} {statistic.upper()} ({p.report_unit})") for model in rows]
    lines = tuple(
        (
            group,
            f"{n:,}",
            *(significant(_of_group(rows[m], key, group, name, statistic)) for name in names for m in rows),
        )
        for group, n in groups.items()
    )
    return Table(tuple(columns), lines)


def _of_group(cells: Sequence[Row], key: str, group: str, name: str, statistic: str) -> float | None:
    metric = metric_name(name, "mae" if statistic == "mae" else "rmse")
    values = [float(e[metric]) for c in cells if metric in (e := c["errors"].get(key, {}).get(group, {}))]
    return mean_and_error(values)[0] if values else None


def costs_of(results: Results, data: str) -> dict[str, dict[str, float | None]]:
    """For each model: times of training and of its longest run, memory, parameters, time of a step per atom.

    A run of any size or seed counts for the longest one: symmetry functions are computed in the first and then kept.
    """
    speed = results["measures"].get(data, {}).get("cost", {}).get("s_per_atom_step", {})
    found: dict[str, dict[str, float | None]] = {}
    for model, cells in at_largest(results, data).items():
        found[model] = {key: _mean_timing(cells, key) for key in ("training_cpu_s", "training_s", "peak_memory_mb")}
        parameters = cells[0]["provenance"].get("n_parameters")
        found[model] |= {"n_parameters": parameters, "s_per_atom_step": speed.get(model)}
        timings = [cell["timing"] for cell in finished(results, data) if cell["model"] == model]
        found[model]["longest_run_s"] = max((t["total_s"] for t in timings if "total_s" in t), default=None)
    return found


def _mean_timing(cells: Sequence[Row], key: str) -> float | None:
    values = [float(cell["timing"][key]) for cell in cells if cell["timing"].get(key) is not None]
    return mean_and_error(values)[0] if values else None


def cost_table(results: Results, data: str) -> Table:
    """What every model costs to train and to run."""
    columns = (
        Column("model", is_number=False),
        Column("parameters"),
        Column("processor", "training"),
        Column("clock", "training"),
        Column("longest whole run, clock", "training"),
        Column("peak memory (MB)", "training"),
        Column("µs per atom and step", "forces"),
        Column("steps a day, 1,000 atoms", "forces"),
    )
    times = ("training_cpu_s", "training_s", "longest_run_s")
    lines = []
    for model, cost in costs_of(results, data).items():
        step, n = cost["s_per_atom_step"], cost["n_parameters"]
        lines.append(
            (
                model,
                MISSING if n is None else f"{int(n):,}",
                *(MISSING if (s := cost[key]) is None else duration(s) for key in times),
                significant(cost["peak_memory_mb"]),
                MISSING if step is None else significant(step * MICRO),
                MISSING if step is None else significant(86_400.0 / (1000.0 * step)),
            )
        )
    return Table(columns, tuple(lines))


def physics_table(results: Results, data: str) -> Table | None:
    """How far every model is from the laws that a force field obeys."""
    measures = results["measures"].get(data)
    if not measures:
        return None
    columns = (
        Column("model", is_number=False),
        Column("meV/Å per atom", "net force"),
        Column("‖J−Jᵀ‖/‖J‖", "curl of forces"),
        Column("total energy", "NVE drift (meV/atom/ps)"),
        Column("kinetic less work", "NVE drift (meV/atom/ps)"),
        Column("meV/Å", "roughness"),
        Column("bond lengths", "repels down to"),
    )
    lines = []
    for model in at_largest(results, data):
        found = measures["physics"].get(model, {})
        rough = measures["stretch"]["models"].get(model, {}).get("roughness")
        reach = [d["repels_down_to"][model] / d["bond"] for d in measures["dimers"].values() if model in d["energy"]]
        net = found.get("net_force")
        lines.append(
            (
                model,
                significant(None if net is None else 1000.0 * net, 2),
                significant(found.get("nonconservativeness"), 2),
                significant(found.get("drift"), 2),
                significant(found.get("drift_of_forces"), 2),
                significant(None if rough is None else 1000.0 * rough, 2),
                significant(max(reach), 2) if reach else MISSING,
            )
        )
    return Table(columns, tuple(lines))


def open_runs_table(results: Results) -> Table | None:
    """Runs that failed or are not finished, and why; None where all are."""
    rows = [cell for cell in results["cells"] if cell["status"] != "finished"]
    columns = (
        *(Column(title, is_number=False) for title in ("data", "model")),
        Column("structures"),
        Column("seed"),
        *(Column(title, is_number=False) for title in ("status", "last line")),
    )
    lines = tuple(
        (
            cell["data"],
            cell["model"],
            "all" if cell["size"] is None else f"{cell['size']:,}",
            str(cell["seed"]),
            cell["status"],
            next((line for line in reversed(cell["failure"].splitlines()) if not line.startswith("exit status")), "–"),
        )
        for cell in rows
    )
    return Table(columns, lines) if lines else None


def summary_sentences(results: Results) -> list[str]:
    """The answer of every data set in a sentence: the most accurate model, and the cheapest."""
    return [sentence for data in results["data"] if (sentence := _summary(results, data))]


def _summary(results: Results, data: str) -> str:
    rows = at_largest(results, data)
    if not rows:
        return f"{data}: no run is finished."
    best = next(iter(rows))
    text = f"{data}: {best} is the most accurate ({_headline(rows[best])})"
    rivals = [m for m in list(rows)[1:2] if _cannot_be_told(results, data, best, m)]
    text += f", though {rivals[0]} cannot be told from it by these test structures" if rivals else ""
    costs = costs_of(results, data)
    speeds = {model: s for model, cost in costs.items() if (s := cost["s_per_atom_step"]) is not None}
    if len(speeds) > 1:
        fastest = min(speeds, key=lambda model: speeds[model])
        at = f"{significant(speeds[fastest] * MICRO)} µs per atom and step"
        if fastest == best:
            text += f", and the fastest ({at})"
        else:
            ratio = significant(speeds[best] / speeds[fastest], 2) if best in speeds else None
            times = f", {ratio} times as fast" if ratio else ""
            text += f"; {fastest} is the cheapest to run at {at}{times} ({_headline(rows[fastest])})"
    fewer = trained_on_fewer(results, data)
    return text + (f". Trained on fewer structures than the others: {in_words(fewer)}." if fewer else ".")


def _headline(cells: Sequence[Row]) -> str:
    values = []
    for name in properties_of(cells)[:2]:
        mean = mean_of(cells, metric_name(name, "mae"))
        values.append(f"{PROPERTIES[name].title} {significant(mean)} {PROPERTIES[name].report_unit}")
    return ", ".join(values)


def _cannot_be_told(results: Results, data: str, a: str, b: str) -> bool:
    """Whether the interval of the difference in force (or energy) MAE of two models holds zero."""
    pairs = [c for c in results["comparisons"] if c["data"] == data and {c["a"], c["b"]} == {a, b}]
    for name in ("forces", "energy"):
        for c in pairs:
            if c["property"] == name and c["statistic"] == "mae":
                return bool(c["low"] <= 0.0 <= c["high"])
    return False
