"""A fine-tuned model beside those that it has to beat: errors of all, and which one is kept."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import torch

from gnnpot.data.labels import labels_of
from gnnpot.data.store import GraphStore
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import predict
from gnnpot.report.metrics import error_metrics
from gnnpot.training.batches import Indices
from gnnpot.training.datamodule import evaluation_batches
from gnnpot.training.evaluation import trainable_properties
from gnnpot.training.losses import LossTerm, LossUnits, total_loss
from gnnpot.training.references import energy_scale_of
from gnnpot.training.validation import error_sums

FEW = 5
"""Validation structures below which a verdict says how few there are."""

WITHOUT_LABELS = ("Give validation structures with labels, as data.val_path=FILE or a larger data.split.fractions.",)
BASE_WON = (
    "Learn longer, if the validation loss in the report was still falling: trainer.max_epochs=N.",
    "Learn more gently: a third of optimizer.lr, or layer_decay=0.7.",
    "Learn fewer weights: adapter_rank=4, or freeze=[NAMES] of the first layers.",
    "Look at the labels: `gnnpot info FILE`; energies and forces of one calculation, at converged settings.",
    "More structures that differ from each other help most.",
)
SCRATCH_WON = (
    "The data may lie far from what the checkpoint was trained on, or be enough by themselves: gnnpot fit.",
    "Learn faster: three times optimizer.lr, layer_decay=1, no freeze, no adapter_rank.",
    "Try another checkpoint, nearer to these data in elements and level of theory.",
)
HEAD_COSTS = ("Type freeze=null: the base stays as it is, and the head alone learns.",)


@dataclass(frozen=True)
class Verdict:
    """Which model is kept (``base_refitted``, ``finetuned`` or ``scratch``), why, and what to try."""

    kept: str
    text: str
    advice: tuple[str, ...] = ()


def judge(losses: Mapping[str, float | None], n_val: int, failure: str | None, has_new_head: bool) -> Verdict:
    """Which of the models to keep, by their losses on the validation structures: the lowest.

    Args:
        losses: validation loss by name: ``base_refitted``, ``finetuned``, and ``scratch`` where it was trained.
        n_val: number of validation structures.
        failure: why the fine-tuning broke off.
        has_new_head: whether the fine-tuned model has a response head that the base lacks: it is kept then.

    >>> judge({"base_refitted": 2.0, "finetuned": 1.0}, n_val=20, failure=None, has_new_head=False).text
    'The fine-tuned model is kept: its validation loss is 0.5 times that of the base with re-fitted references.'
    """
    base, tuned, scratch = (losses.get(name) for name in ("base_refitted", "finetuned", "scratch"))
    remarks = [f"The fine-tuning broke off: {failure}."] if failure else []
    if n_val < FEW and base is not None and tuned is not None:
        remarks.append(f"Only {n_val} validation structure{'s decide' if n_val > 1 else ' decides'} this.")
    if has_new_head:
        return _with_new_head(base, tuned, scratch, remarks)
    if base is None or tuned is None:
        text = "No label of a validation structure tells whether fine-tuning helped: its last weights are kept."
        return Verdict("finetuned", " ".join([text, *remarks]), WITHOUT_LABELS)
    to_base = f"{tuned / base:.3g} times that of the base with re-fitted references"
    if scratch is not None and scratch < min(tuned, base):
        text = (
            f"Training from scratch did better than fine-tuning: its validation loss is {scratch / tuned:.3g} times "
            "that of the fine-tuned model. The model from scratch is kept."
        )
        return Verdict("scratch", " ".join([text, *remarks]), SCRATCH_WON)
    if tuned >= base:
        text = "Fine-tuning did not come below the base with re-fitted references: that base is kept."
        return Verdict("base_refitted", " ".join([text, *remarks]), BASE_WON)
    to_scratch = "" if scratch is None else f", and {tuned / scratch:.3g} times that of training from scratch"
    text = f"The fine-tuned model is kept: its validation loss is {to_base}{to_scratch}."
    return Verdict("finetuned", " ".join([text, *remarks]))


def _with_new_head(base: float | None, tuned: float | None, scratch: float | None, remarks: Sequence[str]) -> Verdict:
    """The model with the head, by what the base gives too."""
    if base is None or tuned is None:
        text = "The model with the new head is kept; no validation structure has labels of what the base gives too."
        return Verdict("finetuned", " ".join([text, *remarks]))
    to_scratch = "" if scratch is None else f", and {tuned / scratch:.3g} times that of training from scratch"
    text = (
        "The model with the new head is kept: the validation loss of what the base gives too is "
        f"{tuned / base:.3g} times that of the base with re-fitted references{to_scratch}."
    )
    return Verdict("finetuned", " ".join([text, *remarks]), HEAD_COSTS if tuned > base else ())


def shared_terms(terms: Sequence[LossTerm], potentials: Iterable[Potential]) -> list[LossTerm]:
    """Terms of the loss whose property all of the models give: losses are compared by these."""
    given = [trainable_properties(potential.outputs) for potential in potentials]
    return [term for term in terms if all(term.property in names for names in given)]


def validation_loss(
    potential: Potential, store: GraphStore, val: Indices, terms: Sequence[LossTerm], units: LossUnits
) -> float | None:
    """Loss on validation structures by terms that the model gives; None without terms or labels."""
    if not terms or not len(val):
        return None
    graphs = (store.batch(batch, potential.dtype) for batch in evaluation_batches(store.n_edges, val))
    sums = error_sums(potential, graphs, terms, units)
    return float(total_loss(terms, sums, sums[:, 2])) if sums[:, 2].any() else None


def held_out_errors(potential: Potential, base: Potential, frames: Sequence[ase.Atoms]) -> dict[str, Any] | None:
    """Errors on frames of the first training, energies measured from the base's references; None for other elements.

    A change of the zero of the energies is not forgetting: what counts is what the network has kept.
    """
    numbers = {int(z) for atoms in frames for z in atoms.numbers}
    if not frames or not numbers <= set(potential.elements):
        return None
    compared = at_references(potential, base)
    labels = [labels_of(atoms) for atoms in frames]
    properties = [
        name for name in trainable_properties(base.outputs) if name in trainable_properties(potential.outputs)
    ]
    predictions = predict(compared, frames, properties)
    kinds = [atoms.info.get("config_type") for atoms in frames]
    return error_metrics(labels, predictions, [atoms.numbers for atoms in frames], kinds)


@torch.no_grad()
def at_references(potential: Potential, base: Potential) -> Potential:
    """A copy of a potential that has the reference energies of another, where both have the element."""
    found = copy.deepcopy(potential)
    new, old = energy_scale_of(found), energy_scale_of(base)
    if new is not None and old is not None:
        for row, number in enumerate(found.elements):
            if number in base.elements:
                new.reference_energies[row] = old.reference_energies[base.elements.index(number)]
    return found
