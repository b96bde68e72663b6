"""Output of Quantum ESPRESSO's pw.x, through ASE, which converts Ry, bohr and the sign of the stress."""

import warnings
from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from ase.io.espresso import read_espresso_out

from gnnpot.data.readers.sources import open_text
from gnnpot.errors import DataError, DataWarning


def read_espresso(path: Path) -> Iterator[Atoms]:
    """All ionic steps of a pw.x output that have an energy.

    Warns (:class:`DataWarning`) of a file that ends before "JOB DONE", of steps whose self-consistency was not
    reached, and of steps without energy, which are left out.
    """
    done, n_unconverged = _state_of(path)
    frames: list[Atoms] = []
    n_without_energy = 0
    with open_text(path) as file:
        try:
            for atoms in read_espresso_out(file, index=slice(None)):
                if atoms.calc.results.get("energy") is None:
                    n_without_energy += 1
                else:
                    frames.append(atoms)
        except (ValueError, IndexError, KeyError, AssertionError) as error:
            raise DataError(f"{path}, frame {len(frames)} is broken or cut off: {error}") from error
    if not done:
        warnings.warn(
            f"{path} ends before 'JOB DONE': the run was stopped or the file is cut; {len(frames)} steps are read",
            DataWarning,
            stacklevel=2,
        )
    if n_unconverged or n_without_energy:
        warnings.warn(
            f"{path}: {n_unconverged} steps are not converged electronically, {n_without_energy} have no energy"
            " and are left out",
            DataWarning,
            stacklevel=2,
        )
    yield from frames


def _state_of(path: Path) -> tuple[bool, int]:
    """Whether the run came to its end, and how many self-consistencies were not reached."""
    done, n_unconverged = False, 0
    with open_text(path) as file:
        for line in file:
            done = done or "JOB DONE" in line
            n_unconverged += "convergence NOT achieved" in line
    return done, n_unconverged
