"""A look at the data before anything is learned from them: what is labelled, what is left out, what looks wrong."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from gnnpot.data.born_checks import born_warnings
from gnnpot.data.checks import consistency_warnings, near_duplicates, require_labels, suspicious_frames
from gnnpot.data.labels import frame_name, labels_of
from gnnpot.errors import DataError, DataWarning
from gnnpot.keys import RESPONSE, TRAINABLE
from gnnpot.report.metrics import COUNT_NAMES, label_counts
from gnnpot.report.tables import coverage_table
from gnnpot.report.terminal import rich_table, say
from gnnpot.training.dataset import Dataset

EXPECTED = ("energy", "forces")
"""Labels that every data set is expected to hold, unless their loss has no weight; a stress may be absent."""


def inspect_data(
    dataset: Dataset, loss: Mapping[str, Any], console: Console, learnable: Collection[str] = TRAINABLE
) -> None:
    """Show how many labels every part holds; refuse data without those asked for, warn of what would spoil the result.

    Args:
        dataset: the frames and their split.
        loss: weight of each property; energies and forces with a weight are asked for.
        console: where the table goes.
        learnable: labels that the model can learn from.

    Raises:
        DataError: no training frame has a label that is asked for.
    """
    shown = [name for name in TRAINABLE if name in learnable or name not in RESPONSE]
    labels = [{name: x for name, x in labels_of(atoms).items() if name in shown} for atoms in dataset.frames]
    counts = {
        part: label_counts([labels[k] for k in indices], [dataset.frames[k].numbers for k in indices])
        for part, indices in dataset.parts.items()
    }
    console.print(rich_table(coverage_table(counts)))
    say(console, f"split: {dataset.split.reason}")
    asked_for = [name for name in EXPECTED if name in learnable and float(loss[name]["weight"]) > 0.0]
    require_labels([dataset.frames[k] for k in dataset.parts["train"]], asked_for)
    _look_at_labels(dataset, labels)
    _look_at_validation(counts, asked_for)
    born = born_warnings(dataset.frames) if set(RESPONSE) & set(learnable) else []
    for text in (*consistency_warnings(dataset.frames), *suspicious_frames(dataset.frames), *born):
        warnings.warn(text, DataWarning, stacklevel=2)
    _warn_of_twins(dataset)


def _look_at_labels(dataset: Dataset, labels: list[dict[str, Any]]) -> None:
    train = dataset.parts["train"]
    if not any(labels[k] for k in train):
        raise DataError(
            f"none of the {len(train)} training frames has an energy, forces, a stress or another label to learn "
            f"from (the first: "
            f"{frame_name(dataset.frames[train[0]])}). Name the labels of the files, as "
            "data.keys={energy: REF_energy, forces: REF_forces}"
        )
    bare = [k for k, one in enumerate(labels) if not one]
    if bare:
        warnings.warn(
            f"{len(bare)} of {len(labels)} frames have no label at all and take no part, the first: "
            f"{frame_name(dataset.frames[bare[0]])}",
            DataWarning,
            stacklevel=3,
        )


def _look_at_validation(counts: Mapping[str, Mapping[str, int]], asked_for: Sequence[str]) -> None:
    """Warn where the validation frames cannot tell which weights are best."""
    missing = [name for name in asked_for if not counts.get("val", {}).get(COUNT_NAMES[name])]
    if "val" in counts and missing:
        warnings.warn(
            f"none of the {counts['val']['n_structures']} validation frames has {' or '.join(missing)}, so that the "
            "best weights are not chosen by it: give labeled frames as data.val_path, or draw another split "
            "(data.split.seed=1)",
            DataWarning,
            stacklevel=3,
        )


def frames_without_twins(dataset: Dataset) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    """Mask of the test frames that have no twin of the same energy in the training part; None where all have none."""
    train = [dataset.frames[k] for k in dataset.parts["train"]]
    test = [dataset.frames[k] for k in dataset.parts.get("test", ())]
    mask = np.ones(len(test), dtype=bool)
    mask[[twin.index for twin in near_duplicates(test, train) if twin.same_energy]] = False
    return None if mask.all() or not mask.any() else mask


def _warn_of_twins(dataset: Dataset) -> None:
    """Warn where test or validation frames stand in the training part too, or nearly."""
    train = [dataset.frames[k] for k in dataset.parts["train"]]
    for part in ("test", "val"):
        frames = [dataset.frames[k] for k in dataset.parts.get(part, ())]
        twins = near_duplicates(frames, train)
        if twins:
            first = twins[0]
            warnings.warn(
                f"{len(twins)} of {len(frames)} {part} frames stand in the training part too, or nearly: their errors "
                f"look better than they are. The first: {frame_name(frames[first.index])} and "
                f"{frame_name(train[first.reference])}. Keep such frames together with data.split.kind=grouped "
                "data.split.group_by=KEY, or take one of each out",
                DataWarning,
                stacklevel=3,
            )
