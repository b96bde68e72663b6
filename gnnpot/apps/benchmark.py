"""``gnnpot benchmark``: which potential for my data, and at what cost? Models trained alike, compared on one page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from gnnpot.apps.benchmark_ase import evaluate_calculator, refuse_other_errors
from gnnpot.apps.benchmark_cells import (
    FAILED,
    FINISHED,
    checked_launcher,
    command_of,
    each_safely,
    failure_of,
    run_cells,
    slurm_executor,
    status_of,
)
from gnnpot.apps.benchmark_measure import checked_dimers, measured
from gnnpot.apps.benchmark_plan import (
    Cell,
    DataRecord,
    Entrant,
    cells_of,
    data_of,
    entrants_of,
    own_settings,
    typed_settings,
)
from gnnpot.apps.benchmark_results import collected
from gnnpot.apps.evaluate import write_json
from gnnpot.config import compose, flatten, nearest_key
from gnnpot.data.splits import Split
from gnnpot.errors import ConfigError, DataError, TrainingError, did_you_mean
from gnnpot.report.benchmark_page import read_results, write_pages
from gnnpot.report.benchmark_tables import summary_sentences, terminal_tables
from gnnpot.report.formatting import duration
from gnnpot.report.terminal import rich_table, say
from gnnpot.training.assembly import budget_of
from gnnpot.training.dataset import SPLIT_FILE, read_dataset
from gnnpot.training.provenance import provenance
from gnnpot.training.resume import CONFIG_FILE, completed, merged, save_config
from gnnpot.training.settings import checked_settings

RESULTS_FILE = "benchmark.json"
SHARED = ("data", "trainer", "optimizer", "loss")
"""Sections of `fit` that the benchmark sets for all models."""

GROUPS = (*SHARED, "search", "matrix")
BUDGET = ("max_epochs", "max_time")

MAY_DIFFER = (
    "run_dir",
    "resume",
    "trainer.progress",
    "trainer.devices",
    "trainer.accelerator",
    "trainer.threads",
    "data.cache",
    "data.cache_limit",
    "data.level_of_theory",
)
"""Keys that say how and where a training runs, not what is learned from what."""


@dataclass(frozen=True)
class BenchmarkResult:
    """Where a benchmark left its files, and what stands in ``benchmark.json``."""

    output: Path
    results: dict[str, Any]

    @property
    def report(self) -> Path:
        """The page."""
        return self.output / "report.html"


def benchmark(config: Mapping[str, Any]) -> BenchmarkResult | None:
    """Train models on the same splits with the same budget, and write one report of accuracy, cost and physics.

    Every cell (model, data set, number of training structures, seed) is a `gnnpot fit` process in a folder of its
    own. Cells that are finished are not run again, stopped ones go on, failed ones are reported and tried again by
    the next call. Jobs of Slurm outlive an interruption, and the next call waits for them. Writes ``report.html``,
    ``report.md``, ``benchmark.json`` (from which both can be written again), the worst structures as extended XYZ, and
    ``cells/`` into the output folder.

    Args:
        config: the keys of ``configs/benchmark.yaml``; those left out take their defaults, and a group may be named,
            as ``{"models": ["hdnnp", "schnet"], "data": {"path": "mine.extxyz"}, "loss": "mse"}``.

    Returns None for ``dry_run``, which only says what would be run.

    Raises:
        ConfigError: a key or value that does not fit, or settings that changed since a cell was run.
        DataError: data that cannot be used.
        TrainingError: not a single cell is finished.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    settings = completed_benchmark(config)
    output = Path(settings["output"]).expanduser()
    console = Console()
    if settings["render"]:
        return _rendered(output, read_results(output / RESULTS_FILE), console)
    checked_launcher(settings["launcher"], int(settings["jobs"]))
    entrants = entrants_of(settings["models"], settings["overrides"])
    if settings["dimers"] and not settings["measure"]:
        raise ConfigError("dimers= asks for curves, and measure=false leaves all of them out: leave one of them away")
    data = data_of(settings)
    cells = cells_of(entrants, data, settings["sizes"], settings["seeds"], output)
    if settings["dry_run"]:
        _tell(settings, cells, output, console)
        return None
    records = {name: _record(name, section, output) for name, section in data.items()}
    if settings["dimers"]:
        checked_dimers(settings["dimers"], records)
    if settings.get("search"):
        entrants = _searched(settings, entrants, next(iter(records.values())), output, console)
    _prepare(settings, entrants, records, cells, output)
    _run(settings, entrants, cells, records, console)
    if not any(status_of(cell.folder) == FINISHED for cell in cells):
        raise TrainingError(_nothing_finished(cells))
    measures = measured(entrants, cells, records, output, console, settings["dimers"]) if settings["measure"] else {}
    found = collected(settings, entrants, cells, records, measures, _shared_facts(settings, entrants, data), output)
    write_json(output / RESULTS_FILE, found)
    return _rendered(output, found, console)


def completed_benchmark(config: Mapping[str, Any]) -> dict[str, Any]:
    """A whole configuration from one that gives only some keys.

    Raises:
        ConfigError: a key that does not exist.
    """
    named = [f"{key}={value}" for key, value in config.items() if key in GROUPS and isinstance(value, str)]
    whole = compose("benchmark", named)
    given = {key: value for key, value in config.items() if not (key in GROUPS and isinstance(value, str))}
    for key in given:
        if key not in whole and key != "search":
            raise ConfigError(f"unknown key {key!r} for gnnpot benchmark; {nearest_key(key, flatten(whole))}")
    if isinstance(given.get("search"), Mapping):
        given["search"] = {**compose("benchmark", ["search=default"])["search"], **given["search"]}
    return merged(whole, given)


def cell_settings(config: Mapping[str, Any], entrant: Entrant, data: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Configuration of `fit` for one cell: what all share, then what the model has to itself.

    Raises:
        ConfigError: a key or value that `fit` does not take.
    """
    overrides = [*config["overrides"], *entrant.overrides]
    composed, default = compose("fit", overrides), compose("fit")
    for section in SHARED:
        shared = dict(data) if section == "data" else dict(config[section])
        own = typed_settings(overrides, composed, default, section)
        composed[section] = composed[section] if own is None else merged(shared, own)
    composed["trainer"] |= {key: config["trainer"][key] for key in BUDGET} | {"progress": False}
    return checked_settings(completed({**composed, "seed": int(seed)}))


def _prepare(
    config: Mapping[str, Any],
    entrants: Sequence[Entrant],
    records: Mapping[str, DataRecord],
    cells: Sequence[Cell],
    output: Path,
) -> None:
    """Lay out the folder of every cell, with configuration and split, once all of them are known to be right."""
    by_name = {entrant.name: entrant for entrant in entrants}
    settings = {
        (entrant.name, name): cell_settings(config, entrant, record.settings, 0)
        for entrant in entrants
        if entrant.is_trained
        for name, record in records.items()
    }
    laid_out = [
        (cell, {**settings[cell.model, cell.data], "seed": cell.seed}, _subset(records[cell.data], cell.size))
        for cell in cells
        if by_name[cell.model].is_trained
    ]
    for cell in cells:
        if not by_name[cell.model].is_trained:
            refuse_other_errors(by_name[cell.model], records[cell.data], cell.folder)
    for cell, of_cell, split in laid_out:
        _lay_out(cell.folder, of_cell, split)
    for name, record in records.items():
        record.split.save(output / "data" / f"{name}-{SPLIT_FILE}")


def _record(name: str, section: Mapping[str, Any], output: Path) -> DataRecord:
    """Frames of a data set, and their split."""
    dataset = read_dataset({"data": dict(section), "resume": None}, output)
    if not len(dataset.split.test):
        raise DataError(f"{name}: there are no test structures to compare models on; see data.split.fractions")
    return DataRecord(name, dataset.frames, dataset.split, section, dataset.level_of_theory)


def _subset(record: DataRecord, size: int | None) -> Split:
    """The split with only so many training structures; those of a smaller number are among them."""
    split = record.split
    if size is None:
        return split
    if size > len(split.train):
        raise ConfigError(
            f"sizes: {size} training structures, but {record.name} has {len(split.train)} (after validation and test "
            "are set aside); give smaller numbers, or null for all"
        )
    order = np.random.default_rng(split.seed).permutation(len(split.train))
    chosen = np.sort(split.train[order[:size]])
    return replace(split, train=chosen, reason=f"{split.reason}; {size} of {len(split.train)} to train on")


def _searched(
    config: Mapping[str, Any], entrants: Sequence[Entrant], record: DataRecord, output: Path, console: Console
) -> list[Entrant]:
    """The models with settings that were searched on the (first) data set, without a look at its test structures."""
    from gnnpot.apps.benchmark_search import SEARCH_KEYS, SearchPlan, searched

    search = config["search"]
    for key in search:
        if key not in SEARCH_KEYS:
            raise ConfigError(f"search.{key} is unknown; {did_you_mean(str(key), SEARCH_KEYS)}")
    budget = {key: search[key] for key in BUDGET}
    own = any(value is not None for value in budget.values())
    of_trials = {**config, "trainer": {**config["trainer"], **(budget if own else {})}}
    untested = replace(_subset(record, search["size"]), test=np.zeros(0, dtype=np.int64))

    def lay_out(entrant: Entrant, folder: Path) -> None:
        settings = cell_settings(of_trials, entrant, record.settings, int(search["seed"]))
        _lay_out(folder, settings, untested, f"delete {output / 'search'} to search anew")

    plan = SearchPlan(
        int(search["trials"]),
        int(search["seed"]),
        int(config["jobs"]),
        config["launcher"],
        config["slurm"],
        output / "search",
    )
    return searched(entrants, search["spaces"], plan, lay_out, console)


def _lay_out(
    folder: Path, settings: dict[str, Any], split: Split, instead: str = "delete that folder to train it anew"
) -> None:
    """Write configuration and split of a training, or see that those it was begun with are the same."""
    settings = {**settings, "run_dir": str(folder), "resume": None}
    if (folder / CONFIG_FILE).is_file() and (folder / SPLIT_FILE).is_file():
        _refuse_changes(folder, settings, split, instead)
        return
    folder.mkdir(parents=True, exist_ok=True)
    split.save(folder / SPLIT_FILE)
    save_config(settings, folder)


def _refuse_changes(folder: Path, settings: dict[str, Any], split: Split, instead: str) -> None:
    """Raise ConfigError where a training was begun with other settings, other data or another split."""
    saved = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    old, new = flatten(saved), flatten(settings)
    keys = [key for key in (*new, *(k for k in old if k not in new)) if key not in MAY_DIFFER]
    rows = [
        f"  {key}: {old.get(key, 'not set')} there, {new.get(key, 'not set')} now"
        for key in keys
        if old.get(key) != new.get(key)
    ]
    content = json.loads((folder / SPLIT_FILE).read_text(encoding="utf-8"))
    now = split.to_json()
    rows += [f"  {part}: other frames" for part in ("train", "val", "test") if content.get(part) != now[part]]
    if content.get("data_sha256") != now["data_sha256"]:
        rows.append(f"  the data: sha256 {str(content.get('data_sha256'))[:12]} there, {now['data_sha256'][:12]} now")
    if rows:
        raise ConfigError(
            f"{folder} was begun with other settings, and errors of both would be mixed:\n"
            + "\n".join(rows)
            + f"\nSet them back, choose another output=, or {instead}"
        )


def _run(
    config: Mapping[str, Any],
    entrants: Sequence[Entrant],
    cells: Sequence[Cell],
    records: Mapping[str, DataRecord],
    console: Console,
) -> None:
    """Run what is not finished, and say how each ended."""
    open_cells = {cell.folder: cell for cell in cells if status_of(cell.folder) != FINISHED}
    by_name = {entrant.name: entrant for entrant in entrants}
    n_done = len(cells) - len(open_cells)
    if n_done:
        say(console, f"{n_done} of {len(cells)} runs are finished already")
    trained = [folder for folder, cell in open_cells.items() if by_name[cell.model].is_trained]
    finished = [folder for folder in open_cells if folder not in trained]

    def evaluate(folder: Path) -> None:
        cell = open_cells[folder]
        evaluate_calculator(by_name[cell.model], records[cell.data], folder)

    slurm_logs = Path(config["output"]).expanduser() / "slurm"
    runs = run_cells(trained, int(config["jobs"]), config["launcher"], config["slurm"], slurm_logs)
    for endings in (runs, each_safely(finished, evaluate)):
        for folder, status in endings:
            n_done += status == FINISHED
            last = failure_of(folder).splitlines()[-2:-1] if status == FAILED else []
            reason = "".join(f" ({line})" for line in last)
            say(console, f"[{n_done}/{len(cells)}] {open_cells[folder].title}: {status}{reason}")


def _nothing_finished(cells: Sequence[Cell]) -> str:
    first = next((cell for cell in cells if status_of(cell.folder) == FAILED), cells[0])
    said = failure_of(first.folder) or "it was stopped before its end"
    return f"none of the {len(cells)} runs finished. {first.title} ({first.folder}):\n{said}"


def _shared_facts(
    config: Mapping[str, Any], entrants: Sequence[Entrant], data: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """What all cells have in common, for the page (budget, loss, optimizer, hardware), and what models have apart."""
    facts: dict[str, Any] = {}
    trained = [entrant for entrant in entrants if entrant.is_trained]
    for name, section in data.items():
        if trained:
            budget = budget_of(cell_settings(config, trained[0], section, 0))
            ends = [f"{budget.max_epochs} epochs"] if budget.max_epochs else []
            ends += [duration(budget.max_seconds)] if budget.max_seconds else []
            facts[f"budget of a training on {name}"] = " or ".join(ends)
    for group in ("loss", "optimizer"):
        facts[group] = {k: v for k, v in flatten(config[group]).items() if k != "_target_"}
    facts["precision"] = config["trainer"]["precision"]
    section = next(iter(data.values()))
    shared = flatten(cell_settings(config, Entrant("shared"), section, 0))
    differences = {e.name: own_settings(flatten(cell_settings(config, e, section, 0)), shared) for e in trained}
    return {"settings": facts, "differences": differences, "environment": provenance("", 0)}


def _tell(config: Mapping[str, Any], cells: Sequence[Cell], output: Path, console: Console) -> None:
    """Say what would be run."""
    if config["launcher"] == "submitit":
        slurm_executor({**config["slurm"], "cluster": "local"}, output / "slurm")
        say(console, f"jobs of Slurm with {config['slurm'] or 'its defaults'}")
    for cell in cells:
        command = " ".join(["gnnpot", *command_of(cell.folder)[3:]])
        say(console, f"{cell.title}: {status_of(cell.folder)}   {command}")
    say(console, f"{len(cells)} runs, {config['jobs']} at a time; nothing was started (dry_run=true)")


def _rendered(output: Path, results: dict[str, Any], console: Console) -> BenchmarkResult:
    """Write the pages of results, and print the tables and the conclusion."""
    write_pages(output, results)
    for table in terminal_tables(results):
        console.print(rich_table(table))
    for sentence in summary_sentences(results):
        say(console, sentence)
    say(console, f"report: {output / 'report.html'}")
    return BenchmarkResult(output, results)
