"""Tables of the errors in ``metrics.json``, the same for the terminal, Markdown and HTML."""

from collections.abc import Iterable, Mapping
from typing import Any

from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report.formatting import part_title, significant
from gnnpot.report.metrics import BORN_NORMS, headline_part, part_names
from gnnpot.report.page import Column, Table
from gnnpot.report.parity import COMPARED

STATISTICS = ("mae", "rmse")
COUNT_TITLES = {
    "n_structures": "structures",
    "n_atoms": "atoms",
    "n_energy": "energies",
    "n_force_components": "force components",
    "n_stress": "stress tensors",
    "n_born": "Born tensors",
    "n_polarization": "dipoles",
    "n_dielectric": "ε∞ tensors",
}

CARRIERS = {
    "n_energy": ("n_structures", 1),
    "n_force_components": ("n_atoms", 3),
    "n_stress": ("n_structures", 1),
    "n_born": ("n_atoms", 1),
    "n_polarization": ("n_structures", 1),
    "n_dielectric": ("n_structures", 1),
}
"""What carries a label, and how many labels each carries."""


def metrics_table(metrics: Mapping[str, Any]) -> Table:
    """MAE and RMSE of each property (rows) on each part of the data (columns), with units.

    `metrics` is the content of a ``metrics.json``: {part: errors by name}; missing errors are dashes.

    >>> print(metrics_table({"test": {"energy_mae_mev_per_atom": 1.234}}).markdown())
    | error | test MAE | test RMSE |
    |:---|---:|---:|
    | energy (meV/atom) | 1.23 | – |
    """
    parts = part_names(metrics)
    names = _present([metrics[part] for part in parts])
    columns = [Column("error", is_number=False)]
    columns += [Column(s.upper(), part_title(part)) for part in parts for s in STATISTICS]
    rows = tuple(
        (
            f"{PROPERTIES[name].title} ({PROPERTIES[name].report_unit})",
            *(cell for part in parts for cell in _errors(metrics[part], name)),
        )
        for name in names
    )
    return Table(tuple(columns), rows)


def element_table(metrics: Mapping[str, Any], part: str | None = None) -> Table:
    """Errors by chemical element on one part of the data (test, where there is one)."""
    return _group_table(metrics, part, "per_element", "element", ("n_atoms",))


def config_type_table(metrics: Mapping[str, Any], part: str | None = None) -> Table:
    """Errors by ``config_type`` on one part of the data (test, where there is one)."""
    return _group_table(metrics, part, "per_config_type", "config_type", ("n_structures",))


def coverage_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """How many labels each part of the data holds: {part: counts}, from `label_counts` or ``metrics["counts"]``.

    >>> print(coverage_table({"train": {"n_structures": 2, "n_atoms": 3, "n_energy": 1}}).markdown())
    | part | structures | atoms | energies |
    |:---|---:|---:|---:|
    | training | 2 | 3 | 1 (50 %) |
    """
    keys = [key for key in COUNT_TITLES if any(key in count for count in counts.values())]
    columns = (Column("part", is_number=False), *(Column(COUNT_TITLES[key]) for key in keys))
    rows = ((part_title(part), *(_coverage(count, key) for key in keys)) for part, count in counts.items())
    return Table(columns, tuple(rows))


def summary_line(metrics: Mapping[str, Any]) -> str:
    """The result in one line.

    >>> summary_line({"test": {"energy_mae_mev_per_atom": 0.81, "counts": {"n_structures": 60}}})
    'test MAE: energy 0.810 meV/atom (60 structures)'
    """
    part = headline_part(metrics)
    if part is None:
        return "no errors to report"
    errors = metrics[part]
    values = [
        f"{PROPERTIES[name].title} {significant(errors[metric_name(name, 'mae')])} {PROPERTIES[name].report_unit}"
        for name in _present([errors])
    ]
    if not values:
        return f"{part_title(part)}: no labels to compare with"
    n = errors.get("counts", {}).get("n_structures")
    count = "" if n is None else f" ({n:,} structure{'s' if n != 1 else ''})"
    return f"{part_title(part)} MAE: {', '.join(values)}{count}"


def born_norms_line(metrics: Mapping[str, Any]) -> str | None:
    """Errors of Born charges in the three norms that are in use; None where there are none.

    >>> born_norms_line({"test": {"born_rmse_e": 0.01, "born_row_rmse_e": 0.0173, "born_tensor_rmse_e": 0.03}})
    'test RMSE of Born charges: 0.0100 e per component, 0.0173 e per row (one field direction), 0.0300 e per tensor'
    """
    part = headline_part(metrics)
    errors = {} if part is None else metrics[part]
    if part is None or not {*BORN_NORMS, "born_rmse_e"} <= errors.keys():
        return None
    component, row, tensor = (significant(errors[key]) for key in ("born_rmse_e", *BORN_NORMS))
    return (
        f"{part_title(part)} RMSE of Born charges: {component} e per component, {row} e per row (one field direction), "
        f"{tensor} e per tensor"
    )


def _present(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """Properties for which at least one of the groups has an error, in the order of reports."""
    groups = list(groups)
    return [name for name in COMPARED if any(metric_name(name, "mae") in group for group in groups)]


def _errors(group: Mapping[str, Any], name: str) -> tuple[str, str]:
    return (
        significant(group.get(metric_name(name, "mae"))),
        significant(group.get(metric_name(name, "rmse"))),
    )


def _group_table(
    metrics: Mapping[str, Any], part: str | None, key: str, title: str, count_names: tuple[str, ...]
) -> Table:
    chosen = headline_part(metrics) if part is None else part
    groups: Mapping[str, Mapping[str, Any]] = metrics[chosen].get(key, {}) if chosen is not None else {}
    names = _present(groups.values())
    columns = [Column(title, is_number=False), *(Column(COUNT_TITLES[count]) for count in count_names)]
    for name in names:
        p = PROPERTIES[name]
        columns += [Column(statistic.upper(), f"{p.title} ({p.report_unit})") for statistic in STATISTICS]
    rows = tuple(
        (
            group_name,
            *(f"{group[count]:,}" if count in group else "–" for count in count_names),
            *(cell for name in names for cell in _errors(group, name)),
        )
        for group_name, group in groups.items()
    )
    return Table(tuple(columns), rows if names else ())


def _coverage(counts: Mapping[str, int], key: str) -> str:
    """A count, with the share that it covers of what could carry the label, unless it covers all."""
    value = counts.get(key, 0)
    carrier, n_per_carrier = CARRIERS.get(key, (key, 1))
    whole = n_per_carrier * counts.get(carrier, 0)
    return f"{value:,}" if value == whole or not whole else f"{value:,} ({100 * value / whole:.0f} %)"
