"""The energy account of a simulation in a field: work of the field, heat of the thermostat, and what is conserved."""

from dataclasses import astuple
from typing import Any

import numpy as np
from ase import Atoms, units

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.electric_field import LARGEST
from gnnpot.apps.ensembles import conserved_energy
from gnnpot.apps.thermo import FieldSample, Sample
from gnnpot.errors import ConfigError

NAN = float("nan")
HOP = 3.0
"""Å; length of an ion's hop in the estimate of what a field does to its barrier."""


class FieldAccount:
    """Energies from the first sample on: K + U changes by the work of the field less the heat that the thermostat took.

    Conserved by an exact integrator is K + U - W + heat; with a constant field and a polarization this is K + H + heat
    and a constant. In a field in time dH/dt = -P·dE/dt, which W = ∫ E·dP takes into account. Heat is what the
    thermostat itself has counted; Langevin dynamics counts nothing, and its heat is the balance W - Δ(K + U).
    """

    def __init__(self, atoms: Atoms, dynamics: Any) -> None:
        self._atoms = atoms
        self._dynamics = dynamics
        self._start: tuple[float, float] | None = None

    def completed(self, sample: Sample) -> FieldSample:
        """A sample with the columns of the field, its energies those without the field (U, and K + U)."""
        results = self._atoms.calc.results
        energy, internal = results.get("energy", NAN), results.get("internal_energy", NAN)
        work = float(results["field_work"])
        counted = conserved_energy(self._dynamics, sample.kinetic_eV + energy)
        stored = 0.0 if counted is None else counted - (sample.kinetic_eV + energy)
        total = sample.kinetic_eV + internal
        if self._start is None:
            self._start = (total - work, stored)
        heat = stored - self._start[1] if counted is not None else self._start[0] - (total - work)
        conserved = NAN if counted is None else self._conserved(energy, internal, work, counted)
        n_atoms = len(self._atoms)
        bare = Sample(
            sample.step,
            sample.time_ps,
            sample.temperature_K,
            internal,
            sample.kinetic_eV,
            total / n_atoms,
            conserved / n_atoms,
            NAN,
            sample.volume_A3,
            sample.extrapolating_atoms,
        )
        dipole = results.get("polarization", np.full(3, NAN))
        enthalpy = energy if "polarization" in results else NAN
        values: tuple[Any, ...] = (*astuple(bare), *results["field"].tolist(), *dipole.tolist(), enthalpy, work, heat)
        return FieldSample(*values)

    def _conserved(self, energy: float, internal: float, work: float, counted: float) -> float:
        """What an exact integrator keeps: K + H + heat, and in a field in time the work that changes H."""
        if self._atoms.calc.field.is_constant:
            return counted
        return counted + (internal - work - energy)


def refuse_unfit(ensemble: str, field: Any) -> None:
    """Refuse a simulation in a field that is not defined.

    Raises:
        ConfigError: constant pressure.
    """
    if field is not None and ensemble == "npt":
        raise ConfigError(
            f"ensemble=npt with field={field}: the stress in a field is not defined here, it depends on how the field "
            "follows the strain; use ensemble=nvt, in the cell that npt without a field gives"
        )


def field_facts(calculator: Calculator, temperature: float) -> dict[str, Any]:
    """What ``md.json`` says of a field: itself, its largest value and Q E there, what ``energy`` is."""
    field = calculator.field
    if field is None:
        return {}
    strength = float(np.linalg.norm(calculator.largest_field))
    return {
        "field": field.described(),
        "field_is_constant": field.is_constant,
        "largest_field_v_per_ang": calculator.largest_field.tolist(),
        "energy_is": calculator.energy_is,
        "remove_net_force": calculator.remove_net_force,
        "net_force_ev_per_ang": calculator.largest_net_force.tolist(),
        "linear_response": linear_response_note(strength, temperature),
    }


def linear_response_note(strength: float, temperature: float) -> str | None:
    """A sentence where a field is no small perturbation of the hops of ions; None where it is.

    >>> linear_response_note(0.1, 300.0)
    'a field of 0.1 V/Å gives an ion of 1 e 0.15 eV, 5.8 kT, on its way to the saddle of a 3 Å hop: drift is not \
proportional to the field; repeat with smaller fields and compare before quoting a mobility'
    """
    gain = 0.5 * strength * HOP
    ratio = gain / (units.kB * temperature) if temperature > 0.0 else np.inf
    if ratio <= 1.0 and strength <= LARGEST:
        return None
    return (
        f"a field of {strength:.3g} V/Å gives an ion of 1 e {gain:.3g} eV, {ratio:.2g} kT, on its way to the saddle of "
        f"a {HOP:g} Å hop: drift is not proportional to the field; repeat with smaller fields and compare before "
        "quoting a mobility"
    )
