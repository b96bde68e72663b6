"""Watches a simulation, and stops it where its numbers no longer mean anything."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from gnnpot.apps.calculator import Calculator
from gnnpot.errors import ConfigError, SimulationError


@dataclass(frozen=True)
class Limits:
    """The range in which a simulation is believed."""

    max_temperature: float
    """K."""
    max_force: float
    """eV/Å, on any atom."""
    min_distance: float
    """Å, between any two atoms."""

    def __post_init__(self) -> None:
        for name, unit in (("max_temperature", "K"), ("max_force", "eV/Å")):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"{name}={getattr(self, name)} {unit}: give a positive limit")
        if not self.min_distance >= 0.0:
            raise ConfigError(f"min_distance={self.min_distance} Å: give a distance that is not negative")

    def check(self, atoms: Atoms, temperature: float, step: int) -> None:
        """Raise `SimulationError` if the atoms have left the range; the message names step, atom and figure."""
        calculator: Calculator = atoms.calc
        forces = atoms.get_forces(apply_constraint=False)
        if not (np.isfinite(forces).all() and np.isfinite(atoms.positions).all()):
            atom = int(np.argmin(np.isfinite(forces).all(axis=1)))
            raise SimulationError(f"step {step}: the force on {_name(atoms, atom)} is not a number")
        strength = np.linalg.norm(forces, axis=1)
        atom = int(strength.argmax())
        if strength[atom] > self.max_force:
            raise SimulationError(
                f"step {step}: the force on {_name(atoms, atom)} is {strength[atom]:.1f} eV/Å, beyond "
                f"max_force={self.max_force} eV/Å"
            )
        if temperature > self.max_temperature:
            raise SimulationError(
                f"step {step}: the temperature is {temperature:.0f} K, beyond "
                f"max_temperature={self.max_temperature:.0f} K"
            )
        shortest = calculator.neighbors.shortest_distance
        if shortest < self.min_distance:
            raise SimulationError(
                f"step {step}: two atoms are {shortest:.3f} Å apart, closer than min_distance={self.min_distance} Å"
            )


def _name(atoms: Atoms, atom: int) -> str:
    return f"{atoms.symbols[atom]} (atom {atom})"
