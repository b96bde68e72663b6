"""Phonons from a checkpoint: `phonon`."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console

from gnnpot._version import __version__
from gnnpot.apps import lattice_dynamics as dynamics
from gnnpot.apps.calculator import Calculator
from gnnpot.apps.evaluate import write_json
from gnnpot.apps.nonanalytic import Electric, dielectric_label, electric_of, ionic_dielectric
from gnnpot.apps.progress import StepProgress
from gnnpot.apps.relax import minimizer
from gnnpot.apps.structures import load_structure
from gnnpot.data.files import replacing
from gnnpot.data.readers.phonopy_born import write_phonopy_born
from gnnpot.errors import ConfigError, DataError, DataWarning, PropertyNotAvailableError, SimulationError
from gnnpot.keys import COULOMB_CONSTANT
from gnnpot.models.potential import Potential
from gnnpot.report.phonons import gamma_table, phonon_page, sentences
from gnnpot.report.terminal import rich_table, say

FILES = ("phonon.json", "report.html", "bands.svg", "thermal.svg", "phonopy.yaml", "BORN")
MOST_RELAXATION_STEPS = 3000
NEARBY = 0.01
"""Å, a tolerance within which a relaxed crystal has the symmetry that it is meant to have."""
RESIDUAL_FORCE = 0.02
"""eV/Å on an atom at its place, above which the expansion is not about a minimum."""

UNSTABLE = -0.1
"""THz, below which a mode is called unstable: the acoustic ones scatter about zero by less."""


@dataclass(frozen=True)
class PhononResult:
    """What a lattice-dynamics calculation found."""

    output: Path
    """Folder with ``phonon.json``, ``report.html``, figures, ``phonopy.yaml`` and ``BORN``."""
    atoms: Atoms
    """The structure that the displacements are about, relaxed if asked."""
    primitive: Atoms
    """Its primitive cell: the order of modes and Born charges."""
    gamma: np.ndarray
    """Frequencies at Γ without the correction for polar modes, THz, ``(n_modes,)``; imaginary ones negative."""
    longitudinal: dict[str, np.ndarray]
    """With it, for q → 0 along x, y, z; empty without a correction."""
    born: np.ndarray | None
    """Born charges ``(n_atoms, 3, 3)``, e, field first, or None."""
    record: dict[str, Any] = field(repr=False)
    """What ``phonon.json`` holds."""


def phonon(
    checkpoint: str | Path | Potential,
    structure: str | Path | Atoms,
    supercell: int | Sequence[int] = (2, 2, 2),
    displacement: float = 0.01,
    relax: bool = False,
    cell: bool = False,
    fmax: float = 0.0001,
    nac: bool = True,
    dielectric: float | Sequence[float] | None = None,
    mesh: float = 50.0,
    points: int = 51,
    t_max: float = 1000.0,
    t_step: float = 10.0,
    symprec: float = 0.0001,
    output: str | Path = "phonon",
    overwrite: bool = False,
    device: str = "cpu",
) -> PhononResult:
    """Bands, density of states and thermal properties by finite displacements in float64, with phonopy.

    A model with a response head also gives the field of polar modes (LO-TO splitting): Born charges are predicted for
    the primitive cell, ε∞ comes from ``dielectric`` or from the label of the structure.

    Args:
        checkpoint: path or name of a trained model, or a potential.
        structure: any file that ASE reads (``file.xyz@3``: frame 3; bare: the last), or atoms; periodic in three
            directions.
        supercell: copies of the structure: one number, three, or the nine of a matrix.
        displacement: Å.
        relax, cell: relax the positions first, and with ``cell`` the cell too.
        fmax: eV/Å, of the relaxation.
        nac: correct for the electric field of polar modes where the model predicts Born charges.
        dielectric: ε∞, a number, three or nine; None takes the label of the structure.
        mesh: Å; the mesh of the density of states is that of the Γ point of a crystal of this size.
        points: q points between two special points of a band.
        t_max: K, end of the thermal properties.
        t_step: K.
        symprec: Å, tolerance of symmetries.
        output: folder for ``phonon.json``, ``report.html``, figures, ``phonopy.yaml`` and, where Z is used, ``BORN``.
        overwrite: replace an earlier calculation in ``output``.
        device: where the model runs.

    Raises:
        ConfigError: a setting that does not fit; Born charges without ε∞, or ε∞ without Born charges.
        DataError: an unreadable structure, or one that is not periodic in three directions.
        PropertyNotAvailableError: a model without energy and forces.
        SimulationError: the relaxation did not converge.
    """
    _check(
        displacement=displacement, fmax=fmax, mesh=mesh, points=points - 1, t_max=t_max, t_step=t_step, symprec=symprec
    )
    matrix = dynamics.supercell_matrix(supercell)
    if cell and not relax:
        raise ConfigError("cell=true belongs to a relaxation: give relax=true as well")
    atoms = _crystal(structure)
    label = dielectric_label(structure, atoms) if nac and dielectric is None else None
    folder = _prepared_folder(Path(output), overwrite)
    calculator = Calculator(checkpoint, device=device, dtype="float64")
    potential = calculator.potential
    _refuse_models_without_forces(potential)
    steps = _relaxed(atoms, calculator, cell, fmax) if relax else 0
    residual = float(np.linalg.norm(_forces(calculator, atoms), axis=1).max())
    crystal = dynamics.lattice(atoms, matrix, displacement, symprec)
    primitive = dynamics.ase_atoms(crystal.primitive)
    electric = electric_of(potential, atoms, primitive, dielectric, label, steps > 0, symprec) if nac else None
    asymmetry = _force_constants(crystal, calculator, atoms)
    record = {
        **_origin(checkpoint, structure, potential),
        **_crystal_facts(crystal, potential.cutoff, displacement, symprec),
        "relaxation": {"relaxed": relax, "cell": cell, "fmax_ev_per_ang": fmax, "steps": steps},
        "residual_force_ev_per_ang": residual,
        "asymmetry": asymmetry,
        **_spectra(crystal, primitive, electric, points, mesh, t_max, t_step),
    }
    result = _result(folder, atoms, primitive, electric, record)
    _write(result, crystal)
    _warn(result)
    _print(result)
    return result


def _check(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ConfigError(f"{name}={value}: give a positive number")


def _crystal(structure: str | Path | Atoms) -> Atoms:
    atoms = load_structure(structure)
    if not atoms.pbc.all():
        raise DataError(f"phonons need a structure periodic in three directions, and pbc is {atoms.pbc.tolist()}")
    return atoms


def _origin(
    checkpoint: str | Path | Potential, structure: str | Path | Atoms, potential: Potential
) -> dict[str, str | bool]:
    return {
        "gnnpot_version": __version__,
        "checkpoint": type(checkpoint).__name__ if isinstance(checkpoint, Potential) else str(checkpoint),
        "model": potential.title,
        "direct_forces": "energies" not in potential.outputs,
        "structure": structure.get_chemical_formula() if isinstance(structure, Atoms) else str(structure),
    }


def _prepared_folder(folder: Path, overwrite: bool) -> Path:
    there = [folder / name for name in FILES if (folder / name).exists()]
    if there and not overwrite:
        raise ConfigError(
            f"output={folder} holds an earlier calculation ({there[0].name}): choose another output=, or overwrite=true"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _refuse_models_without_forces(potential: Potential) -> None:
    if not potential.outputs & {"energies", "forces"}:
        raise PropertyNotAvailableError(
            f"{potential.title} was trained on Born charges alone and gives no forces; train it on energies and forces "
            "too, or put its head on a potential: gnnpot fit head=polarization checkpoint=POTENTIAL"
        )


def _relaxed(atoms: Atoms, calculator: Calculator, cell: bool, fmax: float) -> int:
    """Relax in place; the number of steps."""
    if cell and "stress" not in calculator.implemented_properties:
        raise ConfigError("cell=true needs a stress, and the model predicts forces only; use an energy model")
    atoms.calc = calculator
    dynamics_of_minimum = minimizer(atoms, cell, 0.0, "fire")
    converged = False
    with StepProgress("relaxation", MOST_RELAXATION_STEPS) as progress:
        for step, done in enumerate(dynamics_of_minimum.irun(fmax=fmax, steps=MOST_RELAXATION_STEPS)):
            converged = bool(done)
            if progress.wants_figures(step):
                progress.update(step, f"largest force {np.linalg.norm(atoms.get_forces(), axis=1).max():.5f} eV/Å")
    atoms.calc = None
    if not converged:
        raise SimulationError(
            f"the relaxation did not come to fmax={fmax:g} eV/Å in {MOST_RELAXATION_STEPS} steps; give fmax larger, or "
            "relax first with gnnpot relax and look at the structure"
        )
    return int(dynamics_of_minimum.nsteps)


def _forces(calculator: Calculator, atoms: Atoms) -> np.ndarray:
    found: np.ndarray = calculator.get_property("forces", atoms)
    return found


def _force_constants(crystal: Any, calculator: Calculator, atoms: Atoms) -> float:
    """Take the forces of all displaced supercells; the asymmetry of the force constants."""
    n_supercells = len(crystal.supercells_with_displacements)
    charge = atoms.info.get("charge")
    with StepProgress("displacements", n_supercells, noun="supercells") as progress:
        done = 0

        def forces_of(supercell: Atoms) -> np.ndarray:
            nonlocal done
            if charge is not None:
                supercell.info["charge"] = charge * (len(supercell) // len(atoms))
            forces = _forces(calculator, supercell)
            done += 1
            if progress.wants_figures(done):
                progress.update(done, f"{len(supercell)} atoms each")
            return forces

        return dynamics.learn_force_constants(crystal, forces_of)


def _crystal_facts(crystal: Any, cutoff: float, displacement: float, symprec: float) -> dict[str, Any]:
    box = Atoms(cell=crystal.supercell.cell, pbc=True).cell
    heights = 1.0 / np.linalg.norm(box.reciprocal(), axis=1)
    return {
        "formula": dynamics.ase_atoms(crystal.primitive).get_chemical_formula("metal", empirical=True),
        "primitive_formula": dynamics.ase_atoms(crystal.primitive).get_chemical_formula("metal"),
        "space_group": str(crystal.symmetry.get_international_table()),
        "nearby": {"symprec_ang": NEARBY, "space_group": dynamics.space_group(crystal, NEARBY)},
        "supercell": np.asarray(crystal.supercell_matrix).tolist(),
        "n_atoms_supercell": len(crystal.supercell),
        "n_displaced_supercells": len(crystal.supercells_with_displacements),
        "displacement_ang": displacement,
        "symprec_ang": symprec,
        "supercell_half_width_ang": float(heights.min()) / 2.0,
        "cutoff_ang": cutoff,
        "primitive": {
            "cell_ang": np.asarray(crystal.primitive.cell).tolist(),
            "symbols": list(crystal.primitive.symbols),
            "scaled_positions": np.asarray(crystal.primitive.scaled_positions).tolist(),
            "masses_amu": np.asarray(crystal.primitive.masses).tolist(),
        },
    }


def _spectra(
    crystal: Any, primitive: Atoms, electric: Electric | None, points: int, mesh: float, t_max: float, t_step: float
) -> dict[str, Any]:
    """Everything that follows from the force constants, as plain values."""
    lines = dynamics.band_path(primitive, points)
    dynamics.set_correction(crystal, None, None)
    gamma = dynamics.gamma_modes(crystal)
    record: dict[str, Any] = {"gamma": {"frequencies_THz": gamma.frequencies.tolist(), "longitudinal_THz": {}}}
    plain = None
    if electric is not None:
        plain = dynamics.bands(crystal, lines)
        dynamics.set_correction(crystal, electric.born, electric.dielectric)
        split = {name: dynamics.gamma_modes(crystal, along) for name, along in dynamics.DIRECTIONS.items()}
        record["gamma"]["longitudinal_THz"] = {name: modes.frequencies.tolist() for name, modes in split.items()}
        record["gamma"]["without_field_THz"] = {
            name: dynamics.without_field(modes, gamma).tolist() for name, modes in split.items()
        }
        record["electric"] = _electric_facts(electric, gamma, primitive)
    corrected = dynamics.bands(crystal, lines)
    record["bands"] = [
        {
            "from": band.start,
            "to": band.end,
            "q": band.q.tolist(),
            "distances_per_ang": band.distances.tolist(),
            "frequencies_THz": band.frequencies.tolist(),
            **({} if plain is None else {"uncorrected_THz": plain[k].frequencies.tolist()}),
        }
        for k, band in enumerate(corrected)
    ]
    frequencies, states, numbers = dynamics.density_of_states(crystal, mesh)
    lowest = min(float(np.min(crystal.mesh.frequencies)), min(float(band.frequencies.min()) for band in corrected))
    record["dos"] = {"mesh": list(numbers), "frequencies_THz": frequencies.tolist(), "states_per_THz": states.tolist()}
    record["lowest_frequency_THz"] = lowest
    record["thermal"] = dynamics.thermal_properties(crystal, t_max, t_step)
    return record


def _electric_facts(electric: Electric, gamma: dynamics.GammaModes, primitive: Atoms) -> dict[str, Any]:
    lattice_part = ionic_dielectric(
        gamma.frequencies, gamma.eigenvectors, primitive.get_masses(), electric.born, abs(primitive.get_volume())
    )
    return {
        "born_effective_charges_e": electric.born.tolist(),
        "dielectric_electronic": electric.dielectric.tolist(),
        "dielectric_from": electric.dielectric_from,
        "dielectric_static": (electric.dielectric + lattice_part).tolist(),
        "born_changed_by_symmetrization_e": electric.symmetrized_by,
        "method": "gonze",
        "factor_ev_ang": COULOMB_CONSTANT,
    }


def _result(
    folder: Path, atoms: Atoms, primitive: Atoms, electric: Electric | None, record: dict[str, Any]
) -> PhononResult:
    gamma = record["gamma"]
    longitudinal = {name: np.array(values) for name, values in gamma["longitudinal_THz"].items()}
    born = None if electric is None else electric.born
    return PhononResult(folder, atoms, primitive, np.array(gamma["frequencies_THz"]), longitudinal, born, record)


def _write(result: PhononResult, crystal: Any) -> None:
    write_json(result.output / "phonon.json", result.record)
    page, figures = phonon_page(result.record)
    for name, figure in figures.items():
        with replacing(result.output / f"{name}.svg") as temporary:
            temporary.write_bytes(figure.image)
    with replacing(result.output / "phonopy.yaml") as temporary:
        crystal.save(temporary)
    _write_born(result)
    page.write(result.output / "report.html")


def _write_born(result: PhononResult) -> None:
    """phonopy takes up a ``BORN`` that it finds: none of an earlier calculation stays."""
    if result.born is None:
        (result.output / "BORN").unlink(missing_ok=True)
        return
    dielectric = result.record["electric"]["dielectric_electronic"]
    write_phonopy_born(result.output / "BORN", result.primitive, result.born, dielectric)


def _warn(result: PhononResult) -> None:
    record = result.record
    if record["residual_force_ev_per_ang"] > RESIDUAL_FORCE:
        warnings.warn(
            f"a force of {record['residual_force_ev_per_ang']:.3f} eV/Å is left on an atom at its place: these are not "
            "the phonons of a minimum; give relax=true",
            DataWarning,
            stacklevel=3,
        )
    if record["lowest_frequency_THz"] < UNSTABLE:
        warnings.warn(
            f"the lowest mode is imaginary ({record['lowest_frequency_THz']:.2f} THz): the structure is unstable in "
            "this model, not relaxed, or the supercell too small; such modes are left out of the thermal properties",
            DataWarning,
            stacklevel=3,
        )


def _print(result: PhononResult) -> None:
    record = result.record
    console = Console()
    console.print(rich_table(gamma_table(record)))
    for sentence in sentences(record):
        say(console, sentence)
    files = "report.html, phonon.json, bands.svg, phonopy.yaml" + ("" if result.born is None else ", BORN")
    say(console, f"Written to {result.output}: {files}")
