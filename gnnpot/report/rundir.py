"""The files of a run directory that a report is made from."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from gnnpot.errors import DataError
from gnnpot.report.metrics import in_order
from gnnpot.report.parity import ParityData, load_parity

PREDICTIONS_FILE = "predictions.npz"


@dataclass(frozen=True)
class RunRecord:
    """What a run left behind: errors, log, configuration, split, labels beside predictions.

    All but the errors may be empty: the report leaves out what it has no file for.
    """

    name: str
    metrics: Mapping[str, Any]
    log: Mapping[str, NDArray[np.float64]]
    config: Mapping[str, Any]
    config_text: str
    split: Mapping[str, Any]
    parts: Mapping[str, ParityData]
    scratch_log: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Of the training from scratch that a fine-tuning compares itself with."""


def read_run(run_dir: str | Path) -> RunRecord:
    """Read ``metrics.json`` and, where they exist, ``log.csv config.yaml split.json predictions.npz``.

    Raises DataError when the folder has no metrics, or one of the files cannot be read.
    """
    folder = Path(run_dir)
    if not (folder / "metrics.json").is_file():
        raise DataError(
            f"{folder} has no metrics.json: name a run directory that `gnnpot fit` has finished "
            "(an interrupted one goes on with `gnnpot fit resume=DIR`)"
        )
    config_text = _text(folder / "config.yaml")
    predictions = folder / PREDICTIONS_FILE
    parts = load_parity(predictions) if predictions.is_file() else {}
    return RunRecord(
        name=folder.resolve().name,
        metrics=_json(folder / "metrics.json"),
        log=read_log(folder / "log.csv"),
        config=_config(folder / "config.yaml", config_text),
        config_text=config_text,
        split=_json(folder / "split.json"),
        parts={part: parts[part] for part in in_order(parts)},
        scratch_log=read_log(folder / "scratch" / "log.csv"),
    )


def read_log(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a ``log.csv``, (n_rows,) each; what is empty or not a number is NaN. No file: no columns.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> _ = path.write_text("epoch,val_loss\\n0,\\n1,0.5\\n")
    >>> read_log(path)["val_loss"].tolist()
    [nan, 0.5]
    """
    path = Path(path)
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, restkey="", restval=""))
    names = [name for name in (rows[0] if rows else ()) if name]
    return {name: np.array([_number(row[name]) for row in rows]) for name in names}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__} instead of an object with named entries")
    return content


def _config(path: Path, text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not valid YAML: {error}") from error
    return content if isinstance(content, dict) else {}
