"""The loss: a weighted sum over the properties that have labels.

    L = Σ_p w_p / n_p Σ_k ρ_p(e_pk / s)

e_pk are the errors of property p (`errors`): energy per atom in eV, force components in eV/Å, and of the stress
the virial per atom V/N (σ - σ_label) in eV. These are divided by s, the root mean square of the training forces
(eV/Å, and 1 Å for the energies), so that a loss of 1 means "nothing learned" in any data set. Born charges, in e,
are divided by their root-mean-square deviation z from the mean tr Z/3 of each element, the polarization, folded to
the branch nearest to the label, by z √N Å. n_p is the number of labels in the whole batch, over all processes. Labels
that are missing (NaN) take no part.

Of a model that differentiates a polarization, Born charges are compared along one random direction e of the field per
structure and step, Σ_a e_a (Z - Z_label)[a, b]: its square is on average a third of that of the whole tensor, for one
backward pass instead of three.

ρ(x) is x² (mse), |x| (mae), or Huber's over its δ: x²/2δ below δ, |x| - δ/2 above (huber), so that mae and huber
take the same weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from ase.data import chemical_symbols
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, gather
from gnnpot.data.polarization import nearest_branch
from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.keys import PROPERTIES, TRAINABLE, metric_name
from gnnpot.models.heads import BornScale

LossKind = Literal["mse", "mae", "huber"]
LOSS_KINDS = ("mse", "mae", "huber")


@dataclass(frozen=True)
class LossTerm:
    """Weight w_p and form ρ_p of one property's part of the loss."""

    property: str
    weight: float
    kind: LossKind
    delta: float
    final_weight: float | None = None
    """Weight at the end of the training, which grows towards it in equal ratios; None: that of the start."""

    def __post_init__(self) -> None:
        where = f"loss.{self.property}"
        if self.kind not in LOSS_KINDS:
            raise ConfigError(f"{where}.kind={self.kind!r} is unknown; {did_you_mean(self.kind, LOSS_KINDS)}")
        if self.weight < 0.0:
            raise ConfigError(f"{where}.weight={self.weight} must not be negative")
        if self.final_weight is not None and self.final_weight <= 0.0:
            raise ConfigError(
                f"{where}.final_weight={self.final_weight} must be above 0; {where}.weight=0 leaves it out"
            )
        if self.kind == "huber" and self.delta <= 0.0:
            raise ConfigError(f"{where}.delta={self.delta} must be positive")

    def weight_at(self, progress: float) -> float:
        """Weight at a progress p from 0 to 1: w (w_final / w)^p; 0 stays 0.

        >>> LossTerm("energy", 1.0, "mse", 0.1, final_weight=100.0).weight_at(0.5)
        10.0
        """
        if self.final_weight is None or self.weight == 0.0:
            return self.weight
        return self.weight * (self.final_weight / self.weight) ** progress

    def of(self, errors: Tensor) -> Tensor:
        """ρ of every error (already divided by s), same shape.

        >>> LossTerm("forces", 1.0, "huber", delta=1.0).of(torch.tensor([0.5, -3.0]))
        tensor([0.1250, 2.5000])
        """
        if self.kind == "mse":
            return errors**2
        if self.kind == "mae":
            return errors.abs()
        return torch.nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none", beta=self.delta)


def loss_terms(config: Mapping[str, Any], labelled: Iterable[str]) -> tuple[LossTerm, ...]:
    """Terms of the properties that have a weight and labels.

    Args:
        config: the configuration ``loss``: {property: {weight, final_weight, kind, delta}}.
        labelled: properties that the training data and the model both have.

    Raises:
        ConfigError: no term is left, or a property that cannot be trained.
    """
    present = set(labelled)
    terms = []
    for name, entry in config.items():
        if name not in TRAINABLE:
            raise ConfigError(f"loss.{name} is no property to train; {did_you_mean(name, TRAINABLE)}")
        final = entry["final_weight"]
        term = LossTerm(
            name,
            float(entry["weight"]),
            entry["kind"],
            float(entry["delta"]),
            None if final is None else float(final),
        )
        if term.weight > 0.0 and name in present:
            terms.append(term)
    if not terms:
        raise ConfigError(
            f"nothing to learn: the labels that model and data share are {sorted(present) or 'none'}, and none of "
            f"them has a weight; set one of {', '.join(f'loss.{name}.weight' for name in TRAINABLE)}"
        )
    return tuple(terms)


def errors(name: str, predicted: Mapping[str, Tensor], graph: AtomicGraph) -> tuple[Tensor, Tensor]:
    """Errors of one property, and which of them have a label.

    Returns:
        errors: energy ``(n_structures,)`` eV/atom, forces ``(n_atoms, 3)`` eV/Å, stress ``(n_structures, 3, 3)``
            eV/Å³, Born charges ``(n_atoms, 3, 3)`` e, or ``(n_atoms, 3)`` along the ``direction`` ``(n_structures, 3)``
            where the prediction holds them so, polarization ``(n_structures, 3)`` e·Å; zero, with zero gradient, where
            there is no label.
        known: mask of the same shape.
    """
    label, known = getattr(graph, name), labelled(name, graph, along_direction="direction" in predicted)
    if name == "born_effective_charges" and "direction" in predicted:
        value = predicted["born_along_direction"]
        label = torch.einsum("na,nab->nb", gather(predicted["direction"], graph.batch).to(label), label)
    else:
        value = predicted[name]
    zero = torch.zeros((), dtype=value.dtype, device=value.device)
    if name == "polarization":
        value = nearest_branch(value, torch.where(known, label, value.detach()), graph.cell, graph.pbc)
    difference = torch.where(known, value - label, zero)
    if name == "energy":
        difference = difference / structure_sizes(graph).to(difference.dtype)
    return difference, known


def labelled(name: str, graph: AtomicGraph, along_direction: bool = False) -> Tensor:
    """Mask of the components of a label that a graph has, as `errors` compares them.

    No stress counts where it is not fully periodic, no Born charge of which a component is missing, and no
    polarization of a charged cell, which depends on the origin.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> int(labelled("forces", graph_from_atoms(bulk("Si"), 3.0)).sum())
    0
    """
    known = ~torch.isnan(getattr(graph, name))
    if name == "stress":
        return known & graph.pbc.all(dim=1)[:, None, None]
    if name == "born_effective_charges":
        whole = known.flatten(1).all(dim=1)
        return whole[:, None].expand(-1, 3) if along_direction else known & whole[:, None, None]
    return known & (graph.charge.nan_to_num() == 0.0)[:, None] if name == "polarization" else known


def structure_sizes(graph: AtomicGraph) -> Tensor:
    """Number of atoms of every structure, ``(n_structures,)``."""
    return torch.bincount(graph.batch, minlength=graph.n_structures)


@dataclass(frozen=True)
class LossUnits:
    """What errors are divided by: s of the forces, eV/Å, and z of the Born charges, e."""

    forces: float = 1.0
    born: float = 1.0

    def scaled(self, name: str, errors: Tensor, graph: AtomicGraph) -> Tensor:
        """Errors of one property over their unit, same shape."""
        if name == "stress":
            volumes = torch.linalg.det(graph.cell).abs() / structure_sizes(graph)
            return errors * volumes[:, None, None] / self.forces
        if name == "polarization":
            return errors / (self.born * structure_sizes(graph)[:, None].to(errors.dtype).sqrt())
        return errors / (self.born if name == "born_effective_charges" else self.forces)


def loss_sums(
    terms: Sequence[LossTerm], predicted: Mapping[str, Tensor], graph: AtomicGraph, units: LossUnits
) -> Tensor:
    """Sums over the labels of a graph: Σρ(e/s), Σ|error| and the number of labels, ``(n_terms, 3)``, float64.

    The first column carries the gradient; the second is in the units of `errors`; the stress enters the first as
    virial per atom.
    """
    rows = []
    for term in terms:
        error, known = errors(term.property, predicted, graph)
        scaled = units.scaled(term.property, error, graph)
        rows += [term.of(scaled).sum().double(), error.detach().abs().sum().double(), known.sum().double()]
    return torch.stack(rows).reshape(len(terms), 3)


def label_counts(terms: Sequence[LossTerm], graph: AtomicGraph, along_direction: bool) -> Tensor:
    """Number of labels of every term, the third column of `loss_sums`, before anything is predicted: ``(n_terms,)``."""
    return torch.stack([labelled(term.property, graph, along_direction).sum().double() for term in terms])


def total_loss(terms: Sequence[LossTerm], sums: Tensor, counts: Tensor, progress: float = 1.0) -> Tensor:
    """L = Σ_p w_p Σρ / n_p from the sums ``(n_terms, 3)`` and label counts n_p ``(n_terms,)`` (0 counts as 1).

    The weights are those at a progress of the training; losses that are compared with each other take the final ones.
    """
    weights = torch.tensor([term.weight_at(progress) for term in terms], dtype=sums.dtype, device=sums.device)
    return (weights * sums[:, 0] / counts.clamp(min=1.0)).sum()


def mean_errors(terms: Sequence[LossTerm], sums: Tensor) -> dict[str, float]:
    """Mean absolute error of every property with labels, in the units of reports, named as in ``metrics.json``.

    >>> term = LossTerm("forces", 1.0, "mae", 0.1)
    >>> mean_errors([term], torch.tensor([[0.0, 0.5, 10.0]]))
    {'forces_mae_mev_per_ang': 50.0}
    """
    found = {}
    for term, (_, absolute, count) in zip(terms, sums.tolist(), strict=True):
        if count:
            factor = PROPERTIES[term.property].report_factor
            found[metric_name(term.property, "mae")] = factor * absolute / count
    return found


@dataclass
class LabelStatistics:
    """Numbers of labels, and the size of the forces and Born charges, of a set of graphs."""

    counts: dict[str, int]
    force_square_sum: float = 0.0
    born_scale: float = 1.0

    @classmethod
    def of(cls, graphs: Iterable[AtomicGraph]) -> "LabelStatistics":
        """Count in one pass."""
        found = cls(dict.fromkeys(TRAINABLE, 0))
        born = BornScale(range(len(chemical_symbols)))
        for graph in born.watching(graphs):
            for name in TRAINABLE:
                found.counts[name] += int(labelled(name, graph).sum())
            found.force_square_sum += float((graph.forces.double().nan_to_num() ** 2).sum())
        found.born_scale = float(born.scale)
        return found

    def completed_by(self, other: "LabelStatistics") -> "LabelStatistics":
        """These, and of ``other`` the kinds of labels that are missing here."""
        counts = {name: n or other.counts[name] for name, n in self.counts.items()}
        of_forces, of_born = (self if self.counts[name] else other for name in ("forces", "born_effective_charges"))
        return LabelStatistics(counts, of_forces.force_square_sum, of_born.born_scale)

    @property
    def units(self) -> LossUnits:
        """s and z; 1 where no label is known or all are equal."""
        known = self.force_square_sum > 0.0
        return LossUnits((self.force_square_sum / self.counts["forces"]) ** 0.5 if known else 1.0, self.born_scale)
