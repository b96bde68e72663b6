"""What a fine-tuning forgets, plain and with replay: force error on old held-out frames after over before.

    python benchmarks/finetune/forgetting.py CHECKPOINT FOLDER --held-out OLD.extxyz --replay TRAINED_ON.extxyz

Each system of `data_efficiency.py` is learned twice from N labeled structures, in as many steps with as many new
structures in each; with replay a step holds as many old structures besides. Without the two files: those that come with
a shipped checkpoint. The same command goes on where it was stopped. Writes FOLDER/forgetting.md.
"""

import argparse
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_efficiency import SYSTEMS, run_cells

from gnnpot.report.formatting import significant
from gnnpot.report.page import Column, Table
from gnnpot.training.replay import SHIPPED

WAYS = ("plain", "with replay")


def table_of(cells: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Forgetting ratio and force error on the new structures, by system, without and with replay, and the means.

    >>> cell = {"system": "Si", "forgetting": 1.5, "test": {"finetuned": {"forces": 80.0}}}
    >>> table_of({"plain": [cell], "with replay": [{**cell, "forgetting": 1.1}]}).rows
    (('Si', '1.50', '1.10', '80.0', '80.0'), ('mean', '1.50', '1.10', '', ''))
    """
    systems = list(dict.fromkeys(cell["system"] for way in WAYS for cell in cells[way]))

    def mean(way: str, value: Any) -> dict[str, float]:
        return {s: statistics.fmean(map(value, of_s)) for s in systems if (of_s := _of(cells[way], s))}

    ratios = {way: mean(way, lambda cell: cell["forgetting"]) for way in WAYS}
    errors = {way: mean(way, lambda cell: cell["test"]["finetuned"]["forces"]) for way in WAYS}
    columns = (
        Column("system", is_number=False),
        *(Column(way, "forgetting ratio") for way in WAYS),
        *(Column(way, "force MAE on new structures (meV/Å)") for way in WAYS),
    )
    rows = [(s, *(significant(found[way].get(s)) for found in (ratios, errors) for way in WAYS)) for s in systems]
    means = (significant(statistics.fmean(ratios[way].values()) if ratios[way] else None) for way in WAYS)
    return Table(columns, (*rows, ("mean", *means, "", "")))


def _of(cells: Sequence[Mapping[str, Any]], system: str) -> list[Mapping[str, Any]]:
    return [cell for cell in cells if cell["system"] == system and cell["forgetting"] is not None]


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default=os.environ.get("GNNPOT_DATA", "."))
    parser.add_argument("--held-out", default=SHIPPED, help="frames that the checkpoint was not trained on")
    parser.add_argument("--replay", default=SHIPPED, help="frames that it was trained on")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    names = [(f"{system}-{asked.n}-{seed}", system, asked.n, seed) for system in asked.systems for seed in asked.seeds]
    cells = {}
    for way in WAYS:
        folder = asked.folder / way.replace(" ", "_")
        replay = asked.replay if way != WAYS[0] else None
        options = {"folder": folder, "replay": replay, "forgetting": asked.held_out, "scratch": False}
        cells[way] = run_cells(names, argparse.Namespace(**{**vars(asked), **options}))
    text = table_of(cells).markdown()
    (asked.folder / "forgetting.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
