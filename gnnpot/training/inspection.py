"""A look at the data before anything is learned from them: what is labelled, what is left out, what looks wrong."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from gnnpot.data.born_checks import born_warnings
from gnnpot.data.checks import MANY, consistency_warnings, near_duplicates, require_labels, sampled, suspicious_frames
from gnnpot.data.frames import FORMULA, IntArray, Mask, atom_counts, labelled, selected
from gnnpot.data.labels import frame_name
from gnnpot.errors import DataError, DataWarning
from gnnpot.keys import PROPERTIES, RESPONSE, TRAINABLE
from gnnpot.report.metrics import COUNT_NAMES
from gnnpot.report.tables import coverage_table
from gnnpot.report.terminal import rich_table, say
from gnnpot.training.dataset import Dataset

EXPECTED = ("energy", "forces")
"""Labels that every data set is expected to hold, unless their loss has no weight; a stress may be absent."""

WITHOUT_TWINS = (FORMULA, "composition")
"""Groups by which parts share no formula, so that no frame has a twin in another part."""
COMPARED = 500
"""Frames of a part that are looked up in the training part, where there are more than `MANY` frames."""


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
    masks, n_atoms = labelled(dataset.frames, shown), atom_counts(dataset.frames)
    counts = {
        part: _label_counts({name: mask[indices] for name, mask in masks.items()}, n_atoms[indices])
        for part, indices in dataset.parts.items()
    }
    console.print(rich_table(coverage_table(counts)))
    say(console, f"split: {dataset.split.reason}")
    asked_for = [name for name in EXPECTED if name in learnable and float(loss[name]["weight"]) > 0.0]
    require_labels(selected(dataset.frames, dataset.parts["train"]), asked_for)
    _look_at_labels(dataset, np.logical_or.reduce(list(masks.values())))
    _look_at_validation(counts, asked_for)
    sample = sampled(dataset.frames)
    if len(sample) < len(dataset.frames):
        say(console, f"units, forces and distances are looked at in {len(sample):,} of {len(dataset.frames):,} frames")
    born = born_warnings(sample) if set(RESPONSE) & set(learnable) else []
    for text in (*consistency_warnings(sample), *suspicious_frames(sample), *born):
        warnings.warn(text, DataWarning, stacklevel=2)
    _warn_of_twins(dataset)


def _label_counts(masks: Mapping[str, Mask], n_atoms: IntArray) -> dict[str, int]:
    """Structures, atoms and labels of a part: force components one by one, tensors as a whole."""
    counts = {"n_structures": len(n_atoms), "n_atoms": int(n_atoms.sum())}
    for name, mask in masks.items():
        per_frame = n_atoms if PROPERTIES[name].level == "atom" else np.ones_like(n_atoms)
        per_row = 3 if name == "forces" else 1
        if mask.any():
            counts[COUNT_NAMES[name]] = int(per_frame[mask].sum()) * per_row
    return counts


def _look_at_labels(dataset: Dataset, has_label: Mask) -> None:
    train = dataset.parts["train"]
    if not has_label[train].any():
        raise DataError(
            f"none of the {len(train)} training frames has an energy, forces, a stress or another label to learn "
            f"from (the first: "
            f"{frame_name(dataset.frames[train[0]])}). Name the labels of the files, as "
            "data.keys={energy: REF_energy, forces: REF_forces}"
        )
    bare = np.flatnonzero(~has_label)
    if len(bare):
        warnings.warn(
            f"{len(bare)} of {len(has_label)} frames have no label at all and take no part, the first: "
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
    """Mask of the test frames that have no twin of the same energy in the training part; None where all have none.

    None too where no two parts share a formula, and for more frames than are compared one by one (`MANY`).
    """
    if dataset.split.group_by in WITHOUT_TWINS or len(dataset.frames) > MANY:
        return None
    train = selected(dataset.frames, dataset.parts["train"])
    test = selected(dataset.frames, dataset.parts.get("test", ()))
    mask = np.ones(len(test), dtype=bool)
    mask[[twin.index for twin in near_duplicates(test, train) if twin.same_energy]] = False
    return None if mask.all() or not mask.any() else mask


def _warn_of_twins(dataset: Dataset) -> None:
    """Warn where test or validation frames stand in the training part too, or nearly."""
    if dataset.split.group_by in WITHOUT_TWINS:
        return
    train = selected(dataset.frames, dataset.parts["train"])
    for part in ("test", "val"):
        frames = selected(dataset.frames, dataset.parts.get(part, ()))
        if len(dataset.frames) > MANY:
            evenly = np.linspace(0, len(frames) - 1, min(COMPARED, len(frames)))
            frames = selected(frames, evenly.astype(int))
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
