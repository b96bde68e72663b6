"""Velocities to start from, and the integrators of ASE that keep N V E, N V T or N P T."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom

from gnnpot.errors import ConfigError, did_you_mean

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("bussi", "langevin", "nose_hoover")


@dataclass(frozen=True)
class Ensemble:
    """What is kept constant, and how: temperature in K, pressure in GPa, all times in fs."""

    ensemble: str
    temperature: float
    pressure: float
    timestep: float
    thermostat: str
    thermostat_time: float
    barostat_time: float
    isotropic: bool

    def check(self, atoms: Atoms) -> None:
        """Refuse what cannot be simulated, by name.

        Raises:
            ConfigError: unknown ensemble or thermostat, a temperature, time or pressure that does not fit, NPT of a
                structure that is not fully periodic or has constraints, or fewer than two atoms.
        """
        if self.ensemble not in ENSEMBLES:
            raise ConfigError(f"ensemble={self.ensemble!r} is unknown; {did_you_mean(str(self.ensemble), ENSEMBLES)}")
        if self.thermostat not in THERMOSTATS:
            hint = did_you_mean(str(self.thermostat), THERMOSTATS)
            raise ConfigError(f"thermostat={self.thermostat!r} is unknown; {hint}")
        for name in ("timestep", "thermostat_time", "barostat_time"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"{name}={getattr(self, name)} fs: give a positive time in fs")
        if self.temperature < 0.0 or (self.temperature == 0.0 and self.ensemble != "nve"):
            raise ConfigError(f"temperature={self.temperature} K: {self.ensemble} needs a positive temperature in K")
        if self.pressure != 0.0 and self.ensemble != "npt":
            raise ConfigError(f"pressure={self.pressure} GPa acts in ensemble=npt only, and ensemble={self.ensemble}")
        if len(atoms) < 2:
            raise ConfigError("one atom has no temperature once the center of mass is at rest: give repeat=2 or more")
        if self.ensemble == "npt":
            self._check_npt(atoms)

    def _check_npt(self, atoms: Atoms) -> None:
        if not atoms.pbc.all():
            raise ConfigError(
                "ensemble=npt needs a structure that is periodic in three directions, and pbc is "
                f"{atoms.pbc.tolist()}: a slab, wire or molecule has no volume for the pressure; use ensemble=nvt"
            )
        if atoms.constraints:
            raise ConfigError("ensemble=npt moves all atoms with the cell: the structure has fixed atoms, free them")

    @property
    def keeps_rotation(self) -> bool:
        """Whether a molecule that starts without angular momentum stays without."""
        return not (self.ensemble == "nvt" and self.thermostat == "langevin")


def degrees_of_freedom(atoms: Atoms, keeps_rotation: bool) -> int:
    """Number of momenta that carry temperature.

    3N, less 3 for the center of mass at rest, less 3 (2 for a line of atoms) for a molecule that does not turn; with
    fixed atoms, what their constraints leave.

    >>> from ase.build import molecule
    >>> degrees_of_freedom(molecule("H2O"), keeps_rotation=True), degrees_of_freedom(molecule("CO2"), True)
    (3, 4)
    """
    if _is_anchored(atoms):
        return int(atoms.get_number_of_degrees_of_freedom())
    free = 3 * len(atoms) - 3
    if keeps_rotation and not atoms.pbc.any():
        free -= int(np.linalg.matrix_rank(_inertia(atoms), tol=1e-6 * float(np.trace(_inertia(atoms)) + 1e-30)))
    return max(free, 1)


def temperature_of(atoms: Atoms, n_free: int) -> float:
    """2 E_kin / (k_B n_free), K."""
    return float(2.0 * atoms.get_kinetic_energy() / (units.kB * n_free))


def set_velocities(atoms: Atoms, temperature: float, n_free: int, rng: np.random.Generator) -> None:
    """Draw momenta from the Maxwell-Boltzmann distribution, exactly at ``temperature`` (K).

    The center of mass is at rest; so is the rotation of a structure that is periodic in no direction.
    """
    masses = atoms.get_masses()[:, None]
    momenta = rng.standard_normal((len(atoms), 3)) * np.sqrt(masses * units.kB * temperature)
    if not _is_anchored(atoms):
        momenta -= masses * momenta.sum(axis=0) / masses.sum()
        if not atoms.pbc.any():
            momenta -= _rotation(atoms, momenta)
    atoms.set_momenta(momenta)
    kinetic = atoms.get_kinetic_energy()
    if kinetic > 0.0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / temperature_of(atoms, n_free)))


def integrator(atoms: Atoms, ensemble: Ensemble, n_free: int, rng: np.random.Generator) -> Any:
    """ASE's integrator of an ensemble, ready to run.

    NVE: velocity Verlet. NVT: ``bussi`` (stochastic rescaling, J. Chem. Phys. 126, 014101 (2007)), ``langevin`` or
    ``nose_hoover`` (a chain of three). NPT: Martyna-Tobias-Klein, the cell's shape kept with ``isotropic``.
    """
    return _BUILDERS[ensemble.ensemble, ensemble.thermostat](atoms, ensemble, n_free, rng)


def conserved_energy(dynamics: Any, total_energy: float) -> float | None:
    """The quantity that an exact integrator would keep, eV; None for Langevin dynamics, which has none."""
    if hasattr(dynamics, "get_conserved_energy"):
        return float(dynamics.get_conserved_energy())
    if hasattr(dynamics, "transferred_energy"):
        return float(total_energy - dynamics.transferred_energy)
    return None if hasattr(dynamics, "fr") else total_energy


def _verlet(atoms: Atoms, ensemble: Ensemble, n_free: int, rng: np.random.Generator) -> Any:
    from ase.md.verlet import VelocityVerlet

    return VelocityVerlet(atoms, ensemble.timestep * units.fs)


def _bussi(atoms: Atoms, ensemble: Ensemble, n_free: int, rng: np.random.Generator) -> Any:
    from ase.md.bussi import Bussi

    dynamics = Bussi(
        atoms,
        ensemble.timestep * units.fs,
        temperature_K=ensemble.temperature,
        taut=ensemble.thermostat_time * units.fs,
        rng=rng,
    )
    dynamics.ndof = n_free
    dynamics.target_kinetic_energy = 0.5 * n_free * units.kB * ensemble.temperature
    return dynamics


def _langevin(atoms: Atoms, ensemble: Ensemble, n_free: int, rng: np.random.Generator) -> Any:
    from ase.md.langevin import Langevin

    if not _is_anchored(atoms):
        atoms.set_constraint(FixCom())
    return Langevin(
        atoms,
        ensemble.timestep * units.fs,
        temperature_K=ensemble.temperature,
        friction=1.0 / (ensemble.thermostat_time * units.fs),
        fixcm=False,
        rng=rng,
    )


def _nose_hoover(atoms: Atoms, ensemble: Ensemble, n_free: int, rng: np.random.Generator) -> Any:
    from ase.md.nose_hoover_chain import NoseHooverChainNVT

    return NoseHooverChainNVT(
        atoms,
        ensemble.timestep * units.fs,
        temperature_K=_counting_all(atoms, ensemble, n_free),
        tdamp=ensemble.thermostat_time * units.fs,
    )


def _martyna_tobias_klein(atoms: Atoms, ensemble: Ensemble, n_free: int, rng: np.random.Generator) -> Any:
    from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT

    return (IsotropicMTKNPT if ensemble.isotropic else MTKNPT)(
        atoms,
        ensemble.timestep * units.fs,
        temperature_K=_counting_all(atoms, ensemble, n_free),
        pressure_au=ensemble.pressure * units.GPa,
        tdamp=ensemble.thermostat_time * units.fs,
        pdamp=ensemble.barostat_time * units.fs,
    )


Builder = Callable[[Atoms, Ensemble, int, np.random.Generator], Any]

_BUILDERS: dict[tuple[str, str], Builder] = {
    **{("nve", thermostat): _verlet for thermostat in THERMOSTATS},
    **{("npt", thermostat): _martyna_tobias_klein for thermostat in THERMOSTATS},
    ("nvt", "bussi"): _bussi,
    ("nvt", "langevin"): _langevin,
    ("nvt", "nose_hoover"): _nose_hoover,
}


def _counting_all(atoms: Atoms, ensemble: Ensemble, n_free: int) -> float:
    """Temperature to ask of ASE's Nosé-Hoover chains, which count 3N momenta although the center of mass rests."""
    return ensemble.temperature * n_free / (3 * len(atoms))


def _is_anchored(atoms: Atoms) -> bool:
    """Whether fixed atoms, and not the center of mass, hold the structure in place."""
    return any(not isinstance(constraint, FixCom) for constraint in atoms.constraints)


def _inertia(atoms: Atoms) -> np.ndarray:
    arms = atoms.positions - atoms.get_center_of_mass()
    squares = (arms**2).sum(axis=1)[:, None, None] * np.eye(3)
    return (atoms.get_masses()[:, None, None] * (squares - arms[:, :, None] * arms[:, None, :])).sum(axis=0)


def _rotation(atoms: Atoms, momenta: np.ndarray) -> np.ndarray:
    """Momenta of the rigid rotation in ``momenta``."""
    arms = atoms.positions - atoms.get_center_of_mass()
    angular_velocity = np.linalg.pinv(_inertia(atoms), rcond=1e-9) @ np.cross(arms, momenta).sum(axis=0)
    return atoms.get_masses()[:, None] * np.cross(angular_velocity, arms)
