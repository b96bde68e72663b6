"""VASP's OUTCAR and vasprun.xml, through ASE, which converts kbar and the sign of the stress.

The label is the free energy, to which the forces belong; energy(σ→0) is kept as ``info["energy_sigma0"]``.
Born charges are field first in both files, except those of IBRION=7 and 8, which are transposed here.
"""

import re
import warnings
import xml.etree.ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.io import ParseError
from ase.io.vasp import read_vasp_xml
from ase.io.vasp_parsers.vasp_outcar_parsers import OutcarHeaderParser, outcarchunks

from gnnpot.data.readers.sources import open_binary, open_text
from gnnpot.errors import DataError, DataWarning

_STEP_END = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
_FORCE_FIRST_IBRION = (7, 8)
_PARSE_ERRORS = (ParseError, ValueError, IndexError, KeyError, AttributeError, TypeError, StopIteration)


class _Unnamed(StringIO):
    """Text of an OUTCAR for ASE, which asks for a name to look for a POSCAR beside it."""

    name = "OUTCAR"


@dataclass
class _OutcarNotes:
    """What ASE does not read from an OUTCAR."""

    ended: bool = False
    ibrion: int = -1
    converged: list[bool] = field(default_factory=list)
    born: tuple[int, np.ndarray] | None = None
    dielectric: tuple[int, np.ndarray] | None = None


def read_outcar(path: Path) -> Iterator[Atoms]:
    """All ionic steps of an OUTCAR.

    Warns (:class:`DataWarning`) of a run that did not come to its end and of steps that are not converged.
    """
    frames = _outcar_steps(path)
    notes = _outcar_notes(path, len(frames[0]) if frames else 0)
    if not frames:
        raise DataError(f"{path} ends before its first ionic step: there is nothing to read")
    for label, found in (("born_effective_charges", notes.born), ("dielectric_tensor", notes.dielectric)):
        if found is not None:
            frames[found[0]].calc.results[label] = found[1]
    warn_of_state(path, notes.ended, [step for step, is_good in enumerate(notes.converged) if not is_good])
    for atoms in frames:
        _take_free_energy(atoms, notes.ibrion)
        yield atoms


def read_vasprun(path: Path) -> Iterator[Atoms]:
    """All complete ionic steps of a vasprun.xml.

    Warns (:class:`DataWarning`) of a file that is cut off and of steps that are not converged.
    """
    ended, unconverged = _vasprun_state(path)
    frames: list[Atoms] = []
    with open_binary(path) as file:
        try:
            frames.extend(read_vasp_xml(file, index=slice(None)))
        except xml.etree.ElementTree.ParseError as error:
            raise DataError(f"{path} is cut off or no vasprun.xml: {error}") from error
        except _PARSE_ERRORS as error:
            raise DataError(f"{path}, frame {len(frames)} is broken or cut off: {error!r}") from error
    frames = [atoms for atoms in frames if atoms.calc is not None]
    if not frames:
        raise DataError(f"{path} ends before its first ionic step: there is nothing to read")
    warn_of_state(path, ended, [step for step in unconverged if step < len(frames)])
    for atoms in frames:
        _take_free_energy(atoms, int(atoms.calc.parameters.get("ibrion") or -1))
        yield atoms


def _outcar_steps(path: Path) -> list[Atoms]:
    frames: list[Atoms] = []
    with open_text(path) as file:
        text = _Unnamed(file.read())
    try:
        for chunk in outcarchunks(text, header_parser=OutcarHeaderParser(workdir=None)):
            frames.append(chunk.build())
    except _PARSE_ERRORS as error:
        raise DataError(f"{path}, frame {len(frames)} is broken or cut off: {error!r}") from error
    return frames


def _take_free_energy(atoms: Atoms, ibrion: int) -> None:
    """Make the free energy the energy, and the Born charges field first."""
    results = atoms.calc.results
    if results.get("free_energy") is not None:
        if results.get("energy") is not None:
            atoms.info["energy_sigma0"] = float(results["energy"])
        results["energy"] = results["free_energy"]
    if ibrion in _FORCE_FIRST_IBRION and results.get("born_effective_charges") is not None:
        results["born_effective_charges"] = np.swapaxes(results["born_effective_charges"], -1, -2)


def _outcar_notes(path: Path, n_atoms: int) -> _OutcarNotes:
    notes = _OutcarNotes()
    is_converged = False
    with open_text(path) as file:
        for line in file:
            if "EDIFF is reached" in line:
                is_converged = True
            elif _STEP_END in line:
                notes.converged.append(is_converged)
                is_converged = False
            elif match := re.match(r"\s*IBRION\s*=\s*(-?\d+)", line):
                notes.ibrion = int(match[1])
            elif "General timing and accounting" in line:
                notes.ended = True
            elif not notes.converged:
                continue
            elif "MACROSCOPIC STATIC DIELECTRIC TENSOR (including local field effects in DFT)" in line:
                notes.dielectric = (len(notes.converged) - 1, _numbers(file, path, 1, 0, 3))
            elif "BORN EFFECTIVE CHARGES (" in line:
                rows = [_numbers(file, path, 2 if atom == 0 else 1, 1, 3) for atom in range(n_atoms)]
                notes.born = (len(notes.converged) - 1, np.array(rows))
    return notes


def _numbers(file: TextIO, path: Path, n_skipped: int, first_column: int, n_rows: int) -> np.ndarray:
    """Three numbers of each of the next rows."""
    rows = list(islice(file, n_skipped, n_skipped + n_rows))
    try:
        return np.array([[float(word) for word in row.split()[first_column:][:3]] for row in rows]).reshape(3, 3)
    except ValueError:
        raise DataError(
            f"{path} is cut off or damaged in its linear response, near {''.join(rows)!r}: delete that section"
        ) from None


def _vasprun_state(path: Path) -> tuple[bool, list[int]]:
    """Whether the file is closed, and the ionic steps that used up all NELM electronic steps."""
    ended, n_allowed, n_electronic, step = False, 0, 0, -1
    unconverged: list[int] = []
    with open_text(path) as file:
        for line in file:
            if match := re.search(r'name="NELM">\s*(\d+)', line):
                n_allowed = int(match[1])
            elif "<calculation>" in line:
                step, n_electronic = step + 1, 0
            elif "<scstep>" in line:
                n_electronic += 1
            elif "</calculation>" in line and 1 < n_allowed <= n_electronic:
                unconverged.append(step)
            elif "</modeling>" in line:
                ended = True
    return ended, unconverged


def warn_of_state(path: Path, ended: bool, unconverged: Sequence[int]) -> None:
    """Warn of a run that did not come to its end, and of ionic steps that are not converged."""
    if not ended:
        warnings.warn(
            f"{path} has no end: the run was stopped or the file is cut; its complete ionic steps are read",
            DataWarning,
            stacklevel=3,
        )
    if len(unconverged):
        warnings.warn(
            f"{path}: the electrons of {len(unconverged)} ionic steps are not converged (first: frame"
            f" {unconverged[0]}); their labels may be wrong",
            DataWarning,
            stacklevel=3,
        )
