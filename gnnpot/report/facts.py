"""Facts as a table: nested names and values (timing, provenance, split), as people read them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from gnnpot.report.formatting import MISSING, duration
from gnnpot.report.page import Column, Table

UNIT_SUFFIXES = {
    "_mb": "MB", "_gb": "GB", "_mib": "MiB", "_gib": "GiB", "_ev_per_ang": "eV/Å", "_ang": "Å", "_ev": "eV"
}  # fmt: skip
"""The first that a name ends in is its unit."""
N_LISTED = 12


def facts_table(facts: Mapping[str, Any]) -> Table:
    """One row for each value of a nested mapping; names that end in ``_s`` or begin with ``s_per_`` are seconds.

    >>> print(facts_table({"training_s": 150.0, "data": {"n_structures": 300}}).markdown())
    |  |  |
    |:---|:---|
    | training | 2 min 30 s |
    | data: structures | 300 |
    """
    columns = (Column("", is_number=False), Column("", is_number=False))
    return Table(columns, tuple(_rows(facts, "")))


def _rows(facts: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        name = str(key)
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{_title(name)}: ")
        elif name.endswith(("_s", "_seconds")) and _is_number(value):
            yield prefix + _title(name.rpartition("_")[0]), duration(float(value))
        elif name.startswith(("s_per_", "seconds_per_")) and _is_number(value):
            yield f"{prefix}time per {_title(name.partition('_per_')[2])}", duration(float(value))
        else:
            suffix = next((s for s in UNIT_SUFFIXES if name.endswith(s)), "")
            unit = f" {UNIT_SUFFIXES[suffix]}" if suffix else ""
            yield prefix + _title(name.removesuffix(suffix)), _text(value) + unit


def _title(name: str) -> str:
    return name.removeprefix("n_").replace("_", " ").strip()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """A value as people read it; long lists by their length."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else MISSING
    if isinstance(value, list | tuple):
        if len(value) > N_LISTED:
            return f"{len(value):,} entries"
        return ", ".join(_text(item) for item in value) if value else "none"
    return str(value)
