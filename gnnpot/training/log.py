"""``log.csv``: one row per validation, written as it happens."""

import csv
from collections.abc import Sequence
from pathlib import Path

from gnnpot.data.files import replacing
from gnnpot.keys import metric_name


class TrainingLog:
    """The table of a training's validations.

    Columns: epoch (epochs done), step, seconds, learning_rate, train_loss, val_loss, and for every trained
    property ``train_`` and ``val_`` mean absolute errors, named with their units as in ``metrics.json``.
    """

    def __init__(self, path: Path, properties: Sequence[str]) -> None:
        self.path = path
        errors = [metric_name(name, "mae") for name in properties]
        self.columns = ["epoch", "step", "seconds", "learning_rate", "train_loss", "val_loss"]
        self.columns += [f"{part}_{error}" for error in errors for part in ("train", "val")]

    def start(self) -> None:
        """Begin a new table."""
        with replacing(self.path) as temporary:
            temporary.write_text(",".join(self.columns) + "\n", encoding="utf-8")

    def truncate(self, epochs: int) -> None:
        """Drop the rows of epochs that a resumed training does again."""
        if not self.path.is_file():
            self.start()
            return
        with self.path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if _is_whole(row) and int(row["epoch"]) <= epochs]
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def add(self, row: dict[str, float | int]) -> None:
        """Append one validation."""
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self.columns, restval="", lineterminator="\n").writerow(row)


def _is_whole(row: dict[str, str | None]) -> bool:
    """Whether a row was written to its end (a killed training may leave half of one)."""
    return None not in row.values() and (row["epoch"] or "").isdigit()
