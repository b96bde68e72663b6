"""Reference energies of a trained model, fitted anew to data of another level of theory or another zero."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, cast, scatter_sum, sum_per_structure
from gnnpot.models.potential import Potential
from gnnpot.nn.scaling import EnergyScale

SMALLEST_SINGULAR = 1e-7
"""Singular values of the compositions below this share of the largest count as zero."""


@dataclass(frozen=True)
class ElementShift:
    """Reference energy of an element before and after, eV; whether the compositions of the data determine it."""

    symbol: str
    base: float
    refitted: float
    is_determined: bool

    @property
    def shift(self) -> float:
        """Change, eV."""
        return self.refitted - self.base


@dataclass(frozen=True)
class Refit:
    """Shifts of the elements in the data, and what is left of the energy errors.

    ``rms_before`` and ``rms_after`` are in eV per atom, over ``n_structures`` with a label.
    """

    shifts: tuple[ElementShift, ...]
    n_structures: int
    rms_before: float
    rms_after: float
    charge_terms: tuple[float, ...] = ()
    """What is added to the coefficients of Q_sys and Q_sys² of every atom, eV, as far as the data determine them."""

    @property
    def undetermined(self) -> tuple[str, ...]:
        """Elements whose shifts the compositions do not determine one by one."""
        return tuple(shift.symbol for shift in self.shifts if not shift.is_determined)

    def of(self, symbol: str) -> float:
        """Shift of an element, eV; 0 for one that the data do not hold."""
        return next((shift.shift for shift in self.shifts if shift.symbol == symbol), 0.0)


def fit_references(potential: Potential, graphs: Iterable[AtomicGraph]) -> Refit | None:
    """Shifts δ of the reference energies, by least squares in double precision; the potential stays as it is.

    Σ_s [(E_s - E_s^model - Σ_Z n_sZ δ_Z) / N_s]² is least, n_sZ atoms of element Z among the N_s of structure s. Where
    the compositions leave combinations of the δ open, these are taken nearest to one shift for all atoms: energies
    are right, and no element stands out for no reason. Elements that no structure holds stay. Isolated atoms count for
    elements that no other structure holds: their energies say nothing of the bonds in the rest.

    Returns:
        None for a model without energies or data without energy labels.
    """
    scale = energy_scale_of(potential)
    rows = None if scale is None else _Rows.of(potential, scale, graphs)
    if scale is None or rows is None:
        return None
    present = rows.compositions.any(dim=0).nonzero()[:, 0]
    shares = rows.compositions[:, present] / rows.sizes[:, None]
    columns = torch.cat([shares, rows.powers_of_charge], dim=1)
    errors = rows.errors / rows.sizes
    found, is_determined = _nearest_to_common(columns, len(present), errors)
    shifts = found[: len(present)]
    symbols = [chemical_symbols[potential.elements[k]] for k in present.tolist()]
    base = scale.reference_energies.cpu()[present]
    return Refit(
        tuple(
            ElementShift(symbol, *values)
            for symbol, *values in zip(
                symbols, base.tolist(), (base + shifts).tolist(), is_determined.tolist(), strict=True
            )
        ),
        len(errors),
        float(errors.square().mean().sqrt()),
        float((errors - columns @ found).square().mean().sqrt()),
        tuple(found[len(present) :].tolist()),
    )


@torch.no_grad()
def apply_references(potential: Potential, refit: Refit) -> None:
    """Give the potential the reference energies of a fit."""
    scale = energy_scale_of(potential)
    if scale is None:
        return
    for shift in refit.shifts:
        number = chemical_symbols.index(shift.symbol)
        scale.reference_energies[potential.elements.index(number)] = shift.refitted
    for power, term in enumerate(refit.charge_terms):
        scale.charge_coefficients[power] += term


def energy_scale_of(potential: Potential) -> EnergyScale | None:
    """What holds the reference energies; None of a model without energies."""
    found: Any = getattr(potential, "energy_scale", None) if "energies" in potential.outputs else None
    return found if isinstance(found, EnergyScale) else None


@dataclass(frozen=True)
class _Rows:
    """Compositions ``(n_structures, n_elements)``, energy errors ``(n_structures,)``, charges ``(n_structures, 2)``.

    All in double precision. Charges are Q_sys and Q; of a model that does not take them there are no columns.
    """

    compositions: Tensor
    errors: Tensor
    charges: Tensor

    @property
    def sizes(self) -> Tensor:
        """Number of atoms, ``(n_structures,)``."""
        return self.compositions.sum(dim=1)

    @property
    def powers_of_charge(self) -> Tensor:
        """Q_sys and Q_sys² ``(n_structures, 0 to 2)``: as many as the states of charge in the data determine."""
        if not self.charges.shape[1]:
            return self.charges
        relative, charges = self.charges.unbind(dim=1)
        n_states = len(charges.mul(1000.0).round().unique())
        return torch.stack([relative, relative**2], dim=1)[:, : n_states - 1]

    @classmethod
    @torch.no_grad()
    def of(cls, potential: Potential, scale: EnergyScale, graphs: Iterable[AtomicGraph]) -> "_Rows | None":
        compositions, errors, charges, alone = [], [], [], []
        system_charge: Any = getattr(potential, "backbone", potential).system_charge
        n_elements = len(potential.elements)
        for graph in graphs:
            types = scale.element_table(graph.atomic_numbers)
            one_hot = torch.nn.functional.one_hot(types, n_elements).double()
            composition = scatter_sum(one_hot, graph.batch, graph.n_structures)
            predicted = potential.evaluate(cast(graph, potential.dtype), ["energies"])["energies"]
            error = graph.energy.double() - sum_per_structure(predicted.double(), graph)
            known = torch.isfinite(error)
            compositions.append(composition[known])
            errors.append(error[known])
            pair = [] if system_charge is None else [system_charge(graph), graph.charge.double()]
            charges.append(torch.stack(pair, dim=1)[known] if pair else error.new_zeros(int(known.sum()), 0))
            alone.append(((composition.sum(dim=1) == 1.0) & ~graph.pbc.any(dim=1))[known])
        found = cls(torch.cat(compositions), torch.cat(errors), torch.cat(charges))
        return found._without_isolated(torch.cat(alone)) if len(found.errors) else None

    def _without_isolated(self, alone: Tensor) -> "_Rows":
        elsewhere = self.compositions[~alone].any(dim=0)
        kept = ~alone | (self.compositions[:, ~elsewhere] > 0.0).any(dim=1)
        return _Rows(self.compositions[kept], self.errors[kept], self.charges[kept])


def _nearest_to_common(columns: Tensor, n_elements: int, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares coefficients, of all solutions the nearest to one shift of all elements, and which are unique.

    The first ``n_elements`` columns ``(n_structures, n_columns)`` are shares of elements, which add up to 1.

    >>> gallium_nitride = torch.full((3, 2), 0.5, dtype=torch.float64)
    >>> errors = torch.full((3,), -2.0, dtype=torch.float64)
    >>> shifts, is_determined = _nearest_to_common(gallium_nitride, 2, errors)
    >>> shifts.round(decimals=9).tolist(), is_determined.tolist()
    ([-2.0, -2.0], [False, False])
    """
    common = errors.mean()
    left, singular, right = torch.linalg.svd(columns, full_matrices=False)
    seen = singular > SMALLEST_SINGULAR * singular[0]
    left, singular, right = left[:, seen], singular[seen], right[seen]
    found = right.T @ ((left.T @ (errors - common)) / singular)
    found[:n_elements] += common
    return found, (right**2).sum(dim=0)[:n_elements] > 1.0 - SMALLEST_SINGULAR
