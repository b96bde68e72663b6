"""How a benchmark was done: data, settings of all and of each model, hardware, versions, hashes, the command."""

from collections.abc import Mapping
from typing import Any

from gnnpot.report.benchmark_tables import differences_of, n_training
from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import MISSING, significant
from gnnpot.report.page import Block, Column, Folded, Listing, Section, Table

Results = Mapping[str, Any]


def procedure_sections(results: Results) -> list[Section]:
    """How it was done: data and splits, settings of all and of each model, hardware and versions, the command."""
    own = {name: differences_of(results, name) for name in results["models"]}
    models = _models_table(results, own)
    title = "Settings that all share" + (", but for those in the table above" if any(own.values()) else "")
    data_rows = {
        name: {
            "level of theory": row["level_of_theory"],
            "elements": row["elements"],
            "structures": row["n_structures"],
            "split": row["split"]["reason"],
            **{f"{part} structures": row["split"][f"n_{key}"] for key, part in _PARTS.items()},
            "split seed": row["split"]["seed"],
            "sha256": row["sha256"],
        }
        for name, row in results["data"].items()
    }
    seeds = sorted({cell["seed"] for cell in results["cells"]})
    shared = {**results["settings"], "seeds": seeds, "trainings at a time": results["jobs"]}
    return [
        Section("Data and splits", (facts_table(data_rows if len(data_rows) > 1 else next(iter(data_rows.values()))),)),
        Section(
            "Models and settings",
            (models, *_search_blocks(results), Folded(title, (facts_table(shared),))),
        ),
        Section("Environment", tuple(_environment_blocks(results))),
        Section("Command", (Listing(results["command"]),)),
    ]


def _models_table(results: Results, own: Mapping[str, Mapping[str, Any]]) -> Table:
    """Settings of every model, and where its training differs from those of the others."""
    caption = "All else is the default of the model, and the same for all: splits, reference energies, "
    apart = [name for name, differences in own.items() if differences]
    if apart:
        caption += f"budget, and what the last column does not name: {', '.join(apart)} learned otherwise."
    else:
        caption += "loss, optimizer, budget."
    columns = [Column("model", is_number=False), Column("settings", is_number=False)]
    columns += [Column("unlike the others", is_number=False)] if apart else []
    lines = tuple(
        (name, _settings_of(row), *([_in_words(own[name]) or MISSING] if apart else []))
        for name, row in results["models"].items()
    )
    return Table(tuple(columns), lines, caption=caption)


def _in_words(differences: Mapping[str, Mapping[str, Any]]) -> str:
    """As "loss.forces.kind=mse (others: huber)"."""
    return ", ".join(f"{key}={_value(d['own'])} (others: {_value(d['shared'])})" for key, d in differences.items())


def _value(value: Any) -> str:
    return "none" if value is None else str(value)


def _environment_blocks(results: Results) -> list[Block]:
    """Hardware and versions, those of the calculators of others included, and the hashes of what was trained."""
    cells = [cell for cell in results["cells"] if cell["status"] == "finished"]
    packages = {
        f"of {cell['model']}": ", ".join(f"{name} {version}" for name, version in found.items())
        for cell in cells
        if (found := cell["provenance"].get("packages"))
    }
    columns = (
        *(Column(title, is_number=False) for title in ("data", "model")),
        Column("structures"),
        Column("seed"),
        Column("SHA-256 of model.safetensors", is_number=False),
    )
    lines = tuple(
        (c["data"], c["model"], f"{n_training(results, c):,}", str(c["seed"]), c["weights_sha256"])
        for c in cells
        if "weights_sha256" in c
    )
    weights = (Folded("Trained weights", (Table(columns, lines),)),) if lines else ()
    return [facts_table({**results["environment"], **packages}), *weights]


def _search_blocks(results: Results) -> list[Block]:
    """What the search of hyperparameters found, and in which spaces."""
    search = results.get("search")
    if not search:
        return []
    columns = (
        Column("model", is_number=False),
        Column("trainings"),
        Column("as given"),
        Column("best"),
        Column("settings found", is_number=False),
    )
    rows = tuple(
        (
            m,
            str(f["trials"]),
            significant(f["as_given"]),
            significant(f["value"]),
            ", ".join(f["overrides"]) or "as given",
        )
        for m, f in search["models"].items()
    )
    where = f", on {search['data']}" if len(results["data"]) > 1 and "data" in search else ""
    caption = f"{search['objective']}{where}. Test structures had no say; all models here had as many trainings."
    spaces = {model: found["space"] for model, found in search["models"].items()}
    table = Table(columns, rows, "Search of settings", caption)
    return [table, Folded("Spaces that were searched", (facts_table(spaces),))]


_PARTS = {"train": "training", "val": "validation", "test": "test"}


def _settings_of(row: Mapping[str, Any]) -> str:
    if row["kind"] == "trained":
        return ", ".join(row["overrides"])
    arguments = ", ".join(f"{key}={value}" for key, value in row["arguments"].items())
    return f"{row['calculator']}({arguments})"
