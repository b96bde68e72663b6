"""Molecular dynamics from a checkpoint: `md`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from rich.console import Console

from gnnpot._version import __version__
from gnnpot.apps.calculator import Calculator
from gnnpot.apps.electric_field import ElectricField, FieldLike
from gnnpot.apps.ensembles import (
    Ensemble,
    conserved_energy,
    degrees_of_freedom,
    integrator,
    set_velocities,
    temperature_of,
)
from gnnpot.apps.evaluate import write_json
from gnnpot.apps.field_account import FieldAccount, field_facts, refuse_unfit
from gnnpot.apps.field_report import report_run
from gnnpot.apps.guard import Limits
from gnnpot.apps.progress import StepProgress
from gnnpot.apps.structures import FrameWriter, Repeat, load_structure, snapshot, write_structure
from gnnpot.apps.thermo import COLUMNS, FIELD_COLUMNS, Sample, ThermoLog, slope_after_first_tenth
from gnnpot.errors import ConfigError, DataError, SimulationError
from gnnpot.keys import MEV_PER_EV, RESPONSE
from gnnpot.models.potential import Potential
from gnnpot.report.terminal import say

NAN = float("nan")
VELOCITIES = ("new", "keep")


@dataclass(frozen=True)
class MDResult:
    """What a simulation left behind."""

    output: Path
    """Folder with ``thermo.csv``, the trajectory, ``last.extxyz`` and ``md.json``."""
    atoms: Atoms
    """Last frame, with momenta."""
    samples: list[Sample] = field(repr=False)
    """Lines of ``thermo.csv``."""
    drift: float | None
    """Slope of `drift_of` after the first tenth of the time, meV/atom/ps."""
    drift_of: str
    """The quantity that should be constant: total energy, conserved quantity, or kinetic energy."""
    mean_temperature: float
    """K, after the first tenth."""
    steps_per_second: float
    n_neighbor_searches: int
    extrapolation: dict[str, int] | None
    """Steps with atoms outside the range of the training set, and the most such atoms in one; None without ranges."""


def md(
    checkpoint: str | Path | Potential,
    structure: str | Path | Atoms,
    ensemble: str = "nvt",
    temperature: float = 300.0,
    pressure: float = 0.0,
    timestep: float = 1.0,
    steps: int = 1000,
    seed: int = 0,
    output: str | Path = "md",
    overwrite: bool = False,
    repeat: Repeat = None,
    velocities: str = "new",
    thermostat: str = "bussi",
    thermostat_time: float = 100.0,
    barostat_time: float = 1000.0,
    isotropic: bool = True,
    field: FieldLike | ElectricField | None = None,
    remove_net_force: bool | None = None,
    trajectory: str | None = "trajectory.extxyz",
    trajectory_interval: int = 10,
    born_every: int = 10,
    log_interval: int = 10,
    max_temperature: float = 20000.0,
    max_force: float = 200.0,
    min_distance: float = 0.3,
    device: str = "cpu",
    dtype: str = "float32",
    skin: float = 0.5,
) -> MDResult:
    """Run molecular dynamics, with a progress bar, a trajectory and a thermodynamic log.

    Args:
        checkpoint: path or name of a trained model, or a potential; ``device``, ``dtype``, ``skin``: see `Calculator`.
        structure: any file that ASE reads (``file.xyz@3``: frame 3; bare: the last), or atoms.
        ensemble: ``nve``, ``nvt`` or ``npt``.
        temperature, pressure: K (of the first velocities in ``nve``), GPa (in ``npt``).
        timestep: fs.
        steps: number of steps.
        seed: of velocities and thermostat.
        output: folder for ``thermo.csv``, the trajectory, ``last.extxyz`` (to go on from) and ``md.json``.
        overwrite: replace an earlier simulation in ``output``.
        repeat: supercell, one number or three.
        velocities: ``new`` (Maxwell-Boltzmann), or ``keep`` those of the file, to go on from ``last.extxyz``; a field
            in time goes on too, at the ``time_ps`` of the file.
        thermostat: ``bussi``, ``langevin`` or ``nose_hoover`` (``nvt``).
        thermostat_time, barostat_time: relaxation times, fs.
        isotropic: ``npt`` keeps the shape of the cell.
        field: electric field, V/Å (`Calculator`); ``thermo.csv`` has polarization, enthalpy, work and heat then, and
            ``field_report.html`` and ``.json`` what the field did.
        remove_net_force: of a charged cell in a field (`Calculator`).
        trajectory: file name in ``output``, ``.extxyz`` or ``.traj``; null writes none. Positions are unwrapped.
        trajectory_interval: steps between its frames.
        born_every: of the frames, every how many carry Born charges and polarization, with a response head.
        log_interval: steps between the lines of ``thermo.csv``.
        max_temperature, max_force, min_distance: K, eV/Å, Å; the simulation stops beyond them (`Limits`).

    Raises:
        ConfigError: a setting that does not fit the structure or another setting.
        DataError: an unreadable structure, one with unknown elements, or with atoms on top of each other.
        SimulationError: it blew up; the offending frame is in ``output/blown_up.extxyz``.
    """
    refuse_unfit(ensemble, field)
    calculator = Calculator(checkpoint, device, dtype, skin, field, remove_net_force)
    calculator.warns_of_extrapolation = False
    atoms = load_structure(structure, repeat)
    integration = (timestep, thermostat, thermostat_time, barostat_time)
    settings = Ensemble(ensemble, temperature, pressure, *integration, isotropic)
    settings.check(atoms)
    limits = Limits(max_temperature, max_force, min_distance)
    schedule = _Schedule(steps, log_interval, trajectory_interval, born_every, trajectory, velocities)
    start = _first_forces(atoms, calculator, velocities)
    folder = _prepared_folder(Path(output), schedule, overwrite)
    result = _Run(atoms, settings, limits, schedule, folder, np.random.default_rng(seed), start).go()
    origin = _origin(checkpoint, structure, repeat, seed, dtype) | field_facts(calculator, temperature)
    _write_summary(result, settings, limits, schedule, origin)
    _print_summary(result, settings, schedule)
    if field is not None:
        report_run(folder, schedule.trajectory)
    return result


def _first_forces(atoms: Atoms, calculator: Calculator, velocities: str) -> float:
    """Evaluate the structure where the simulation starts; return the time, fs, at which a field is then."""
    start = 1000.0 * float(atoms.info.get("time_ps", 0.0)) if velocities == "keep" else 0.0
    if calculator.field is not None:
        calculator.time = start
    atoms.calc = calculator
    atoms.get_forces()
    return start


@dataclass(frozen=True)
class _Schedule:
    steps: int
    log_interval: int
    trajectory_interval: int
    born_every: int
    trajectory: str | None
    velocities: str

    def __post_init__(self) -> None:
        for name in ("steps", "log_interval", "trajectory_interval", "born_every"):
            value = getattr(self, name)
            if int(value) != value or value < 1:
                raise ConfigError(f"{name}={value}: give a whole number, 1 or more")
        if self.velocities not in VELOCITIES:
            raise ConfigError(f"velocities={self.velocities!r}: new or keep")
        if self.trajectory is not None and not self.trajectory.endswith((".extxyz", ".xyz", ".traj")):
            raise ConfigError(f"trajectory={self.trajectory}: name it .extxyz or .traj, or null for none")


class _Run:
    """One simulation, from the first velocities to the last frame."""

    def __init__(
        self,
        atoms: Atoms,
        settings: Ensemble,
        limits: Limits,
        schedule: _Schedule,
        folder: Path,
        rng: np.random.Generator,
        start: float,
    ) -> None:
        self.start = start
        self.atoms, self.limits, self.schedule, self.folder = atoms, limits, schedule, folder
        self.has_energy = "energy" in atoms.calc.implemented_properties
        self.n_free = degrees_of_freedom(atoms, settings.keeps_rotation)
        if schedule.velocities == "new":
            set_velocities(atoms, settings.temperature, self.n_free, rng)
        elif not atoms.has("momenta"):
            raise DataError("velocities=keep, but the structure has none; take last.extxyz of a simulation, or new")
        self.step_fs = settings.timestep
        self.dynamics = integrator(atoms, settings, self.n_free, rng)
        atoms.calc.follow(self.dynamics, start)
        self.account = FieldAccount(atoms, self.dynamics) if atoms.calc.field is not None else None
        self.console = Console()
        self.extrapolating = 0
        self.extrapolation: dict[str, int] | None = None

    def go(self) -> MDResult:
        """Run all steps, and draw the conclusions."""
        return self._finish(self._steps())

    def _steps(self) -> tuple[list[Sample], float]:
        """Run all steps; return the samples and the steps per second."""
        log = ThermoLog(self.folder / "thermo.csv", COLUMNS if self.account is None else FIELD_COLUMNS)
        frames = FrameWriter(self.folder / self.schedule.trajectory) if self.schedule.trajectory else None
        try:
            with StepProgress("molecular dynamics", self.schedule.steps, self.console) as progress:
                self._loop(log, frames, progress)
                return log.samples, self.schedule.steps / max(progress.seconds, 1e-9)
        finally:
            log.close()
            if frames is not None:
                frames.close()

    def _loop(self, log: ThermoLog, frames: FrameWriter | None, progress: StepProgress) -> None:
        step = 0
        try:
            for step, _ in enumerate(self.dynamics.irun(self.schedule.steps)):
                self._count_extrapolations()
                self.limits.check(self.atoms, temperature_of(self.atoms, self.n_free), step)
                last = step == self.schedule.steps
                if last or step % self.schedule.log_interval == 0:
                    log.add(self._sample(step))
                if frames is not None and (last or step % self.schedule.trajectory_interval == 0):
                    frames.add(self._frame(step))
                if progress.wants_figures(step):
                    progress.update(step, self._figures(step))
        except KeyboardInterrupt:
            self._write_last(step)
            say(self.console, f"stopped after step {step}; {self.folder / 'last.extxyz'} goes on with velocities=keep")
            raise
        except SimulationError as error:
            raise self._blown_up(str(error)) from None
        except DataError as error:
            raise self._blown_up(f"after step {step}: {error}") from None

    def _frame(self, step: int) -> Atoms:
        """Frame of the trajectory: with its time, and now and then with the response to a field."""
        calculator: Calculator = self.atoms.calc
        if step // self.schedule.trajectory_interval % self.schedule.born_every == 0:
            for name in RESPONSE:
                if name in calculator.implemented_properties:
                    calculator.get_property(name, self.atoms)
        frame = snapshot(self.atoms)
        frame.info["time_ps"] = step * self.step_fs / 1000.0
        return frame

    def _write_last(self, step: int) -> Atoms:
        """The frame to go on from, with the time since the first of the simulations that went on."""
        last = snapshot(self.atoms)
        last.info["time_ps"] = (self.start + step * self.step_fs) / 1000.0
        write_structure(self.folder / "last.extxyz", last)
        return last

    def _count_extrapolations(self) -> None:
        counts = self.atoms.calc.extrapolations
        if counts is not None:
            self.extrapolating = int(np.count_nonzero(counts))
            tally = self.extrapolation or {"n_steps": 0, "n_steps_outside": 0, "most_atoms": 0}
            tally["n_steps"] += 1
            tally["n_steps_outside"] += self.extrapolating > 0
            tally["most_atoms"] = max(tally["most_atoms"], self.extrapolating)
            self.extrapolation = tally

    def _blown_up(self, reason: str) -> SimulationError:
        path = self.folder / "blown_up.extxyz"
        write_structure(path, snapshot(self.atoms))
        return SimulationError(
            f"{reason}. The frame is in {path}, the path to it in {self.folder}. Look at it first; then a shorter "
            "timestep, a relaxed start (gnnpot relax), or training data of such configurations"
        )

    def _sample(self, step: int) -> Sample:
        n_atoms, periodic = len(self.atoms), bool(self.atoms.pbc.all())
        kinetic = float(self.atoms.get_kinetic_energy())
        potential = float(self.atoms.get_potential_energy()) if self.has_energy else NAN
        conserved = conserved_energy(self.dynamics, potential + kinetic) if self.has_energy else None
        pressure = NAN
        if periodic and self.has_energy and self.account is None:
            pressure = -float(self.atoms.get_stress(include_ideal_gas=True)[:3].mean()) / units.GPa
        sample = Sample(
            step,
            step * self.step_fs / 1000.0,
            temperature_of(self.atoms, self.n_free),
            potential,
            kinetic,
            (potential + kinetic) / n_atoms,
            NAN if conserved is None else conserved / n_atoms,
            pressure,
            float(self.atoms.get_volume()) if periodic else NAN,
            NAN if self.extrapolation is None else self.extrapolating,
        )
        return sample if self.account is None else self.account.completed(sample)

    def _figures(self, step: int) -> str:
        figures = f"{step * self.step_fs / 1000.0:.2f} ps  T {temperature_of(self.atoms, self.n_free):.0f} K"
        if self.has_energy:
            figures += f"  E {self.atoms.get_potential_energy() / len(self.atoms):.4f} eV/atom"
        return figures

    def _finish(self, ran: tuple[list[Sample], float]) -> MDResult:
        """Write the last frame, and read the drift."""
        samples, rate = ran
        last = self._write_last(self.schedule.steps)
        time = [sample.time_ps for sample in samples]
        drift, drift_of = None, "nothing (Langevin dynamics conserves no quantity)"
        if not self.has_energy:
            drift = slope_after_first_tenth(time, [s.kinetic_eV / len(last) for s in samples])
            drift_of = "kinetic energy (the model has no potential energy)"
        elif not np.isnan(samples[-1].conserved_eV_per_atom):
            drift = slope_after_first_tenth(time, [s.conserved_eV_per_atom for s in samples])
            drift_of = "total energy" if type(self.dynamics).__name__ == "VelocityVerlet" else "conserved quantity"
            drift_of += "" if self.account is None else " with the work of the field"
        late = [s.temperature_K for s in samples if s.time_ps >= 0.1 * time[-1]]
        searches = self.atoms.calc.neighbors.n_searches
        temperature = float(np.mean(late))
        return MDResult(self.folder, last, samples, drift, drift_of, temperature, rate, searches, self.extrapolation)


def _prepared_folder(folder: Path, schedule: _Schedule, overwrite: bool) -> Path:
    names = [
        "thermo.csv",
        "last.extxyz",
        "md.json",
        "blown_up.extxyz",
        "field_report.html",
        "field_report.json",
        *([schedule.trajectory] if schedule.trajectory else []),
    ]
    there = [folder / name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise ConfigError(
            f"output={folder} holds an earlier simulation ({there[0].name}): choose another output=, or overwrite=true"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path in there:
        path.unlink()
    return folder


def _origin(
    checkpoint: str | Path | Potential, structure: str | Path | Atoms, repeat: Repeat, seed: int, dtype: str
) -> dict[str, Any]:
    """Where a simulation came from, as plain values."""
    return {
        "gnnpot_version": __version__,
        "checkpoint": type(checkpoint).__name__ if isinstance(checkpoint, Potential) else str(checkpoint),
        "structure": structure.get_chemical_formula() if isinstance(structure, Atoms) else str(structure),
        "repeat": repeat if repeat is None or isinstance(repeat, int) else list(repeat),
        "seed": seed,
        "dtype": dtype,
    }


def _write_summary(
    result: MDResult, settings: Ensemble, limits: Limits, schedule: _Schedule, origin: dict[str, Any]
) -> None:
    summary = {
        **origin,
        **asdict(settings),
        **asdict(schedule),
        **asdict(limits),
        "units": "K, GPa, fs, eV/Å, Å",
        "n_atoms": len(result.atoms),
        "mean_temperature_K": result.mean_temperature,
        "drift_mev_per_atom_per_ps": result.drift,
        "drift_of": result.drift_of,
        "steps_per_second": result.steps_per_second,
        "n_neighbor_searches": result.n_neighbor_searches,
        "extrapolation": result.extrapolation,
    }
    write_json(result.output / "md.json", summary)


def _print_summary(result: MDResult, settings: Ensemble, schedule: _Schedule) -> None:
    time = schedule.steps * settings.timestep / 1000.0
    text = (
        f"{settings.ensemble.upper()} of {result.atoms.get_chemical_formula()} ({len(result.atoms)} atoms), "
        f"{time:g} ps: mean temperature {result.mean_temperature:.0f} K"
    )
    if result.drift is not None:
        text += f", drift of the {result.drift_of} {result.drift:+.4f} meV/atom/ps"
    elif "Langevin" not in result.drift_of:
        text += ", too few samples for a drift"
    if result.drift is not None and not np.isnan(result.samples[-1].conserved_eV_per_atom):
        spread = np.std([s.conserved_eV_per_atom for s in result.samples]) * MEV_PER_EV
        text += f" (its standard deviation {spread:.3f} meV/atom)"
    text += f"; {result.steps_per_second:.1f} steps/s. Written to {result.output}"
    say(Console(), text)
    if result.extrapolation is not None:
        say(Console(), _extrapolation_line(result.extrapolation, len(result.atoms)))


def _extrapolation_line(tally: dict[str, int], n_atoms: int) -> str:
    if not tally["most_atoms"]:
        return "no extrapolation: all atoms stayed in the range of the training set"
    return (
        f"extrapolation: in {tally['n_steps_outside']:,} of {tally['n_steps']:,} steps atoms had symmetry functions "
        f"outside the range of the training set, at most {tally['most_atoms']:,} of {n_atoms:,} at once"
    )
