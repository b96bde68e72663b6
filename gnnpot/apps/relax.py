"""Relaxation of positions and cells: `relax`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from rich.console import Console

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.progress import StepProgress
from gnnpot.apps.structures import Repeat, file_format, load_structure, snapshot, write_structure
from gnnpot.errors import ConfigError, DataError, SimulationError, did_you_mean
from gnnpot.models.potential import Potential
from gnnpot.report.page import Column, Table
from gnnpot.report.terminal import rich_table, say

OPTIMIZERS = ("fire", "bfgs", "lbfgs")
NAN = float("nan")


@dataclass(frozen=True)
class State:
    """A structure in figures; NaN where the model or the structure has no such quantity."""

    energy_per_atom: float
    """eV/atom."""
    max_force: float
    """Largest force on an atom that is free to move, eV/Å."""
    pressure: float
    """-tr(σ)/3, GPa."""
    max_shear: float
    """Largest component of the stress that is not pressure, GPa."""
    volume: float
    """Å³."""
    lengths: tuple[float, ...]
    """a, b, c in Å."""
    angles: tuple[float, ...]
    """α, β, γ in degrees."""


@dataclass(frozen=True)
class RelaxResult:
    """What a relaxation came to."""

    atoms: Atoms
    converged: bool
    n_steps: int
    before: State
    after: State
    output: Path

    @property
    def ok(self) -> bool:
        """Whether it converged: the command line's exit status."""
        return self.converged


def relax(
    checkpoint: str | Path | Potential,
    structure: str | Path | Atoms,
    cell: bool = False,
    pressure: float = 0.0,
    fmax: float = 0.01,
    steps: int = 1000,
    optimizer: str = "fire",
    output: str | Path = "relaxed.extxyz",
    repeat: Repeat = None,
    device: str = "cpu",
    dtype: str = "float64",
    skin: float = 0.5,
) -> RelaxResult:
    """Move atoms, and the cell if asked, until no force is left.

    With ``cell`` the enthalpy H = E + pV is minimized over positions and the logarithm of the deformation (ASE's
    FrechetCellFilter, consistent with its gradients).

    Args:
        checkpoint: path or name of a trained model, or a potential.
        structure: any file that ASE reads (``file.xyz@3``: frame 3; bare: the last), or atoms.
        cell: relax the cell too; needs three periodic directions and a model with an energy.
        pressure: GPa, with ``cell``.
        fmax: eV/Å, the largest force that may be left on an atom; with ``cell`` also the largest gradient of H by the
            deformation, per atom.
        steps: most steps to take.
        optimizer: ``fire``, ``bfgs`` or ``lbfgs``.
        output: file for the relaxed structure, with its energy, forces and stress.
        repeat: supercell, one number or three.
        device: where the model runs.
        dtype: ``float64``, or ``float32`` where fmax is above 0.01.
        skin: Å, see `Calculator`.

    Raises:
        ConfigError: a slab, wire or molecule with ``cell``, a pressure without it, an unknown optimizer.
        SimulationError: atoms fell onto each other on the way, or a force is not a number.
    """
    calculator = Calculator(checkpoint, device=device, dtype=dtype, skin=skin)
    file_format(Path(output))
    atoms = load_structure(structure, repeat)
    _check(atoms, calculator, cell, pressure, fmax, steps, optimizer)
    atoms.calc = calculator
    before = _state(atoms)
    converged, n_steps = _minimize(minimizer(atoms, cell, pressure, optimizer), atoms, fmax, steps)
    after = _state(atoms)
    final = snapshot(atoms)
    write_structure(Path(output), final)
    result = RelaxResult(final, converged, n_steps, before, after, Path(output))
    _print(result, fmax, pressure if cell else None)
    return result


def _check(
    atoms: Atoms, calculator: Calculator, cell: bool, pressure: float, fmax: float, steps: int, optimizer: str
) -> None:
    if optimizer not in OPTIMIZERS:
        raise ConfigError(f"optimizer={optimizer!r} is unknown; {did_you_mean(str(optimizer), OPTIMIZERS)}")
    if not fmax > 0.0:
        raise ConfigError(f"fmax={fmax} eV/Å: give a positive force")
    if steps < 1:
        raise ConfigError(f"steps={steps}: give 1 or more")
    if cell and not atoms.pbc.all():
        raise ConfigError(
            f"cell=true needs a structure that is periodic in three directions, and pbc is {atoms.pbc.tolist()}: the "
            "stress of a slab, wire or molecule has no volume to refer to; use cell=false"
        )
    if cell and "stress" not in calculator.implemented_properties:
        raise ConfigError(
            f"cell=true needs a stress, and {type(calculator.potential).__name__} predicts forces only; "
            "use an energy model"
        )
    if pressure != 0.0 and not cell:
        raise ConfigError(f"pressure={pressure} GPa acts on the cell: give cell=true as well")


def minimizer(atoms: Atoms, cell: bool, pressure: float, optimizer: str) -> Any:
    """Optimizer of ASE on positions, and on the cell under pressure (GPa) if asked, that prints nothing."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS, FIRE, LBFGS

    target = FrechetCellFilter(atoms, scalar_pressure=pressure * units.GPa) if cell else atoms
    dynamics = {"fire": FIRE, "bfgs": BFGS, "lbfgs": LBFGS}[optimizer](target, logfile=None)
    dynamics.log = lambda gradient: None
    return dynamics


def _minimize(dynamics: Any, atoms: Atoms, fmax: float, steps: int) -> tuple[bool, int]:
    """Whether it converged, and after how many steps."""
    step, converged = 0, False
    with StepProgress("relaxation", steps) as progress:
        try:
            for step, done in enumerate(dynamics.irun(fmax=fmax, steps=steps)):
                converged = bool(done)
                largest = _largest_force(atoms)
                if not np.isfinite(largest):
                    raise SimulationError(f"step {step}: a force is not a number; look at the structure")
                if progress.wants_figures(step):
                    progress.update(step, f"largest force {largest:.4f} eV/Å")
        except DataError as error:
            raise SimulationError(f"after step {step} of the relaxation: {error}. Try fmax larger first") from None
    return converged, step


def _largest_force(atoms: Atoms) -> float:
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max(initial=0.0))


def _state(atoms: Atoms) -> State:
    has_energy = "energy" in atoms.calc.implemented_properties
    periodic = bool(atoms.pbc.all())
    pressure = shear = NAN
    if has_energy and periodic:
        stress = atoms.get_stress(voigt=False) / units.GPa
        pressure = -float(np.trace(stress)) / 3.0
        shear = float(np.abs(stress + pressure * np.eye(3)).max())
    return State(
        float(atoms.get_potential_energy()) / len(atoms) if has_energy else NAN,
        _largest_force(atoms),
        pressure,
        shear,
        float(atoms.get_volume()) if periodic else NAN,
        tuple(float(x) for x in atoms.cell.lengths()),
        tuple(float(x) for x in atoms.cell.angles()),
    )


def _print(result: RelaxResult, fmax: float, pressure: float | None) -> None:
    before, after = result.before, result.after
    rows = [
        ("energy", "eV/atom", before.energy_per_atom, after.energy_per_atom, 6),
        ("largest force", "eV/Å", before.max_force, after.max_force, 5),
        ("pressure", "GPa", before.pressure, after.pressure, 4),
        ("stress beside pressure", "GPa", before.max_shear, after.max_shear, 4),
        ("volume", "Å³", before.volume, after.volume, 4),
    ]
    rows += [(x, "Å", before.lengths[k], after.lengths[k], 5) for k, x in enumerate("abc") if before.lengths[k]]
    rows += [(x, "°", before.angles[k], after.angles[k], 3) for k, x in enumerate("αβγ") if all(before.lengths)]
    columns = (Column("relaxation", is_number=False), Column("before"), Column("after"))
    known = [row for row in rows if not np.isnan(row[2])]
    lines = tuple((f"{name} ({unit})", f"{old:.{n}f}", f"{new:.{n}f}") for name, unit, old, new, n in known)
    console = Console()
    console.print(rich_table(Table(columns, lines)))
    target = "" if pressure is None else f" at {pressure:g} GPa"
    verdict = "converged" if result.converged else "not converged"
    steps = f"{result.n_steps} step{'s' if result.n_steps != 1 else ''}"
    text = f"{result.atoms.get_chemical_formula()} {verdict}{target} to fmax={fmax:g} eV/Å in {steps}"
    if not result.converged:
        text += ": give more steps, or a larger fmax"
    say(console, f"{text}. Written to {result.output}")
