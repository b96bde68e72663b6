"""Speed and physics of the models of a benchmark: measured after the trainings, models in turn, kept in a file."""

import hashlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from rich.console import Console

from gnnpot.apps import physics_tests as physics
from gnnpot.apps.benchmark_ase import calculator_of
from gnnpot.apps.benchmark_cells import representatives
from gnnpot.apps.benchmark_curves import bond_stretch
from gnnpot.apps.benchmark_dimers import dimer_curves, pairs_of, reference_dimers
from gnnpot.apps.benchmark_laws import energy_slopes
from gnnpot.apps.benchmark_plan import Cell, DataRecord, Entrant
from gnnpot.apps.calculator import Calculator
from gnnpot.apps.evaluate import write_json
from gnnpot.apps.foreign import predicted_by
from gnnpot.apps.structures import load_structure
from gnnpot.data.neighbors import FloatArray
from gnnpot.errors import ConfigError, GnnpotWarning

N_ATOMS = 64
"""Atoms of the structure on which speed is measured, at least, where it can be repeated."""

ROUNDS = 15
SLOW_SECONDS = 2.0
"""A model that takes longer for a step is timed over three rounds."""

STEP_ANG = 0.01
"""Root-mean-square move of a coordinate between two timed steps, as in a simulation, Å."""

MEASURES_VERSION = 2
"""Grows where something else is measured, so that what was kept of an earlier version is measured again."""

DRIFT = {"temperature": 300.0, "steps": 600, "timestep": 0.5}


def measured(
    entrants: Sequence[Entrant],
    cells: Sequence[Cell],
    records: Mapping[str, DataRecord],
    output: Path,
    console: Console,
    dimers: str | None,
) -> dict[str, Any]:
    """Speed and physics of the models on each data set; what was measured of the same models is taken from the file."""
    by_name = {entrant.name: entrant for entrant in entrants}
    found = {}
    for name, record in records.items():
        shown = representatives(cells, name)
        file = output / "data" / f"{name}-measures.json"
        mark = _fingerprint(shown, dimers)
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if known.get("fingerprint") != mark:
            with console.status(f"measuring speed and physics on {name}"):
                known = {"fingerprint": mark, **_measures(shown, by_name, record, dimers)}
            write_json(file, known)
        found[name] = {key: value for key, value in known.items() if key != "fingerprint"}
    return found


def _fingerprint(shown: Mapping[str, Cell], dimers: str | None) -> str:
    """Changes with the models that are measured."""
    digest = hashlib.sha256(f"{MEASURES_VERSION} {dimers}".encode())
    for model, cell in shown.items():
        digest.update(model.encode() + (cell.folder / "metrics.json").read_bytes())
    return digest.hexdigest()


def _measures(
    shown: Mapping[str, Cell], by_name: Mapping[str, Entrant], record: DataRecord, dimers: str | None
) -> dict[str, Any]:
    example = physics.bare(record.test[0])
    fast, exact = (
        {model: c for model, cell in shown.items() if (c := _working(by_name[model], cell, kind, example)) is not None}
        for kind in ("float32", "float64")
    )
    numbers = _numbers(record)
    references = reference_dimers(dimers, set(numbers)) if dimers else {}
    stretch, where = bond_stretch(example, exact)
    pairs, n_pairs = pairs_of(numbers, references)
    return {
        "cost": seconds_per_atom(fast, example),
        "physics": {model: _laws_or_warning(model, calculator, example) for model, calculator in exact.items()},
        "stretch": {"where": where, "models": stretch},
        "dimers": dimer_curves(exact, pairs, references),
        "dimers_left_out": n_pairs - len(pairs),
        "dimer_references": references,
        "structure": {"formula": example.get_chemical_formula(mode="metal"), "n_atoms": len(example)},
        "drift": DRIFT,
    }


def _numbers(record: DataRecord) -> list[int]:
    return sorted({int(z) for atoms in record.frames for z in atoms.numbers})


def checked_dimers(path: str, records: Mapping[str, DataRecord]) -> None:
    """See, before hours of training, that a file holds labeled pairs of the elements of the data.

    Raises:
        ConfigError: it holds none.
        DataError: it cannot be read.
    """
    if not any(reference_dimers(path, set(_numbers(record))) for record in records.values()):
        raise ConfigError(
            f"dimers={path}: no structure of two atoms with an energy whose elements are those of the data; name "
            "a file that has some, or leave dimers=null"
        )


def _working(entrant: Entrant, cell: Cell, dtype: str, example: Atoms) -> Any:
    """The calculator of a model; None, with a warning, for one that does not compute the structure."""
    try:
        calculator = _trained(cell, dtype) if entrant.is_trained else calculator_of(entrant)
        predicted_by(calculator, example)
    except Exception as error:
        _warn(entrant.name, error)
        return None
    return calculator


def _trained(cell: Cell, dtype: str) -> Calculator:
    """The calculator of a model trained here; it need not say that dimers lie outside its training data."""
    calculator = Calculator(cell.folder, dtype=dtype)
    calculator.warns_of_extrapolation = False
    return calculator


def _warn(model: str, error: Exception) -> None:
    """Hours of training are not lost because a measurement fails; it is said, and left out of the page."""
    text = f"{model}: speed or physics cannot be measured ({type(error).__name__}: {error})"
    warnings.warn(text, GnnpotWarning, stacklevel=2)


def seconds_per_atom(calculators: Mapping[str, Any], example: Atoms) -> dict[str, Any]:
    """Least processor time of forces per atom and step, s, the models in turn in one process on one thread.

    The structure is repeated to at least `N_ATOMS` atoms where it is periodic; between the steps its atoms move as
    far as in a simulation, so that neighbor lists are used as they are there.
    """
    copies = 1
    while copies**3 * len(example) < N_ATOMS and example.pbc.all():
        copies += 1
    atoms = load_structure(example, copies)
    fastest: dict[str, float] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for model, calculator in calculators.items():
            try:
                fastest[model] = min(_timed(calculator, atoms, 0), _timed(calculator, atoms, 1))
            except Exception as error:
                _warn(model, error)
        for k in range(2, ROUNDS):
            for model in fastest:
                if k < 3 or fastest[model] < SLOW_SECONDS:
                    fastest[model] = min(fastest[model], _timed(calculators[model], atoms, k))
    finally:
        torch.set_num_threads(threads)
    return {
        "n_atoms": len(atoms),
        "rounds": ROUNDS,
        "s_per_atom_step": {model: seconds / len(atoms) for model, seconds in fastest.items()},
    }


def _timed(calculator: Any, atoms: Atoms, k: int) -> float:
    moved = atoms.copy()
    moved.positions += np.random.default_rng(k).normal(scale=STEP_ANG, size=moved.positions.shape)
    moved.calc = calculator
    started = time.process_time()
    moved.get_forces()
    return time.process_time() - started


def _laws_or_warning(model: str, calculator: Any, example: Atoms) -> dict[str, float | None]:
    try:
        return _laws(calculator, example)
    except Exception as error:
        _warn(model, error)
        return {}


def _laws(calculator: Any, example: Atoms) -> dict[str, float | None]:
    """Net force, asymmetry of the force Jacobian, and slopes of the total energy and of kinetic energy less work.

    None for what a model does not give: that of direct forces has no total energy.
    """
    given = predicted_by(calculator, example)
    if "forces" not in given:
        return {}

    def forces_of(frames: list[Atoms]) -> list[FloatArray]:
        return [predicted_by(calculator, frame)["forces"] for frame in frames]

    rng = np.random.default_rng(0)
    asymmetry = physics.jacobian_asymmetry(forces_of, example, rng)
    settings = (DRIFT["temperature"], int(DRIFT["steps"]), DRIFT["timestep"])
    total, from_forces = energy_slopes(calculator, example, rng, *settings, has_energy="energy" in given)
    return {
        "net_force": float(np.linalg.norm(given["forces"].mean(axis=0))),
        "nonconservativeness": asymmetry,
        "drift": None if total is None else abs(total),
        "drift_of_forces": None if from_forces is None else abs(from_forces),
    }
