"""The report of a training run: ``report.html``, rendered from the files of the run directory alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnnpot._version import __version__
from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report import sections
from gnnpot.report.finetuning import finetuning_sections
from gnnpot.report.formatting import part_title, significant
from gnnpot.report.metrics import headline_part
from gnnpot.report.page import Page
from gnnpot.report.rundir import RunRecord, read_run


def write_report(run_dir: str | Path) -> Path:
    """Write ``report.html`` into a run directory, from the files in it; returns its path.

    One self-contained file: figures and style inside, no scripts, nothing loaded from elsewhere. It can be written
    again at any time without the model. Raises DataError when ``metrics.json`` is absent or a file is unreadable.
    """
    return run_page(read_run(run_dir)).write(Path(run_dir) / "report.html")


def run_page(record: RunRecord) -> Page:
    """The page that tells one training run."""
    metrics, parts = record.metrics, record.parts
    candidates = (
        sections.result_section(metrics, parts),
        *finetuning_sections(metrics, record.log, record.scratch_log),
        sections.learning_section(record.log),
        sections.parity_section(metrics, parts),
        sections.detail_section(metrics, parts),
        sections.group_section(metrics),
        sections.worst_section(metrics, parts),
        sections.facts_section("Data and split", sections.data_facts(record.config, record.split)),
        sections.facts_section("Cost", metrics.get("timing", {})),
        sections.facts_section("Provenance", metrics.get("provenance", {})),
        sections.config_section(record.config_text),
    )
    shown = tuple(section for section in candidates if section is not None)
    footer = (
        f"gnnpot {__version__}, run {record.name}. Energies in eV (errors in meV/atom), forces in eV/Å (errors in "
        "meV/Å), stress in GPa, tension positive, Born charges in e, field first. MAE: mean absolute error; RMSE: root "
        "mean square error."
    )
    return Page(_title(record), _lead(metrics), shown, footer)


def _title(record: RunRecord) -> str:
    model, files = _model_name(record), sections.data_file_names(record.config)
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    if model and files:
        return f"{model} on {files[0]}{more}"
    return model or f"Training run {record.name}"


def _model_name(record: RunRecord) -> str:
    """The model by the name in the provenance, else by the class in the configuration."""
    stated = record.metrics.get("provenance", {}).get("model")
    if isinstance(stated, str):
        return stated
    model = record.config.get("model")
    target = model.get("_target_", "") if isinstance(model, Mapping) else ""
    return str(target).rpartition(".")[2]


def _lead(metrics: Mapping[str, Any]) -> str:
    """One sentence that says how large the errors are, and on what."""
    part = headline_part(metrics)
    if part is None:
        return "This run has no errors to report."
    values = [
        f"{significant(metrics[part][key])} {p.report_unit} in {p.title}"
        for name, p in PROPERTIES.items()
        if (key := metric_name(name, "mae")) in metrics[part]
    ]
    n = metrics[part].get("counts", {}).get("n_structures")
    structures = f"the {n:,} {part_title(part)} structures" if isinstance(n, int) else f"the {part_title(part)} data"
    if not values:
        return f"There are no labels to compare with on {structures}."
    listed = values[0] if len(values) == 1 else f"{', '.join(values[:-1])} and {values[-1]}"
    unseen = ", which were not used for training" if part == "test" else ""
    verdict = metrics.get("finetuning", {}).get("verdict", "")
    return f"Mean absolute errors on {structures}{unseen}: {listed}. {verdict}".strip()
