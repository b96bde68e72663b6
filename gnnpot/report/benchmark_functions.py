"""How the error of an HDNNP falls with the number of its symmetry functions, where a benchmark has several numbers."""

from collections.abc import Mapping
from typing import Any

from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report.benchmark_plots import functions_figure
from gnnpot.report.benchmark_tables import Row, at_largest, mean_of, n_training, properties_of, with_error
from gnnpot.report.page import Column, Gallery, Section, Table

Results = Mapping[str, Any]


def functions_section(results: Results, data: str) -> Section | None:
    """Table and figures of error against number of functions; None with less than two numbers of them."""
    rows = _with_functions(results, data)
    if len({_mean_number(cells[0]) for cells in rows.values()}) < 2:
        return None
    names = properties_of(cell for cells in rows.values() for cell in cells)[:2]
    families = {model: family_of(results["models"][model]["overrides"]) for model in rows}
    figures = []
    for name in names:
        points: dict[str, dict[float, float]] = {}
        for model, cells in rows.items():
            error = mean_of(cells, metric_name(name, "mae"))
            if error is not None:
                points.setdefault(families[model], {})[_mean_number(cells[0])] = error
        figures += [functions_figure(name, points)]
    caption = "Mean over the elements; a line joins models that differ in nothing else. Errors: means over seeds."
    return Section(
        "Error against the number of symmetry functions",
        (_table(rows, names), Gallery(tuple(figures), caption=caption)),
    )


def _with_functions(results: Results, data: str) -> dict[str, list[Row]]:
    """Cells of each HDNNP whose functions are known, with the most training structures of all; the fewest first."""
    rows = {
        model: [cell for cell in cells if cell.get("n_functions")] for model, cells in at_largest(results, data).items()
    }
    known = {model: cells for model, cells in rows.items() if cells}
    most = max((n_training(results, cells[0]) for cells in known.values()), default=0)
    same = {model: cells for model, cells in known.items() if n_training(results, cells[0]) == most}
    return dict(sorted(same.items(), key=lambda item: _mean_number(item[1][0])))


def _mean_number(cell: Row) -> float:
    counts = cell["n_functions"].values()
    return float(sum(counts) / len(counts))


def family_of(overrides: list[str]) -> str:
    """Settings of a model but for the number of its functions: what a line of the figure has in common.

    >>> family_of(["model=hdnnp", "model.descriptors=chebyshev", "model.n_functions=32"]), family_of(["model=hdnnp"])
    ('descriptors=chebyshev', 'as given')
    """
    words = [word for word in overrides if word != "model=hdnnp" and not word.startswith("model.n_functions=")]
    return ", ".join(word.removeprefix("model.") for word in words) or "as given"


def _table(rows: Mapping[str, list[Row]], names: list[str]) -> Table:
    columns = [Column("model", is_number=False), Column("functions of each element", is_number=False)]
    columns += [Column("MAE", f"{PROPERTIES[name].title} ({PROPERTIES[name].report_unit})") for name in names]
    lines = tuple(
        (
            model,
            ", ".join(f"{symbol} {n:,}" for symbol, n in cells[0]["n_functions"].items()),
            *(with_error(_errors(cells, metric_name(name, "mae"))) for name in names),
        )
        for model, cells in rows.items()
    )
    return Table(tuple(columns), lines)


def _errors(cells: list[Row], key: str) -> list[float]:
    return [float(cell["errors"][key]) for cell in cells if key in cell["errors"]]
