"""phonopy's BORN files: the dielectric tensor and the Born charges of the independent atoms of a primitive cell.

Field first, as everywhere here. A BORN file names no atoms: the cell is taken from the file of phonopy beside it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import ArrayLike

from gnnpot.data.files import replacing
from gnnpot.data.readers.sources import open_text
from gnnpot.errors import DataError

CELL_FILES = ("phonopy.yaml", "phonopy_disp.yaml", "phonopy_params.yaml", "POSCAR-unitcell", "POSCAR")
"""Where the cell of a BORN file is looked for, in its folder."""


def read_phonopy_born(path: Path) -> Iterator[Atoms]:
    """The primitive cell of the phonopy run in the folder of a BORN file, with the tensors of all its atoms.

    phonopy spreads the tensors over equivalent atoms by symmetry and makes them add up to zero.

    Raises:
        DataError: no cell beside the file, or one that the file does not fit to.
    """
    from phonopy.exception import BORNFileParseError
    from phonopy.file_IO import parse_BORN_from_strings

    file = next((path.parent / name for name in CELL_FILES if (path.parent / name).is_file()), None)
    if file is None:
        raise DataError(
            f"{path} names no atoms: put the cell that it belongs to beside it, as one of {', '.join(CELL_FILES)}"
        )
    cell = _cell(file)
    with open_text(path) as stream:
        text = stream.read()
    try:
        found: Any = parse_BORN_from_strings(text, cell)
    except (BORNFileParseError, RuntimeError, ValueError, IndexError) as error:
        raise DataError(f"{path} does not fit to the {len(cell)} atoms of {file.name}: {error}") from None
    if found is None:
        raise DataError(f"{path} does not fit to the {len(cell)} atoms of {file.name}")
    atoms = Atoms(cell.symbols, scaled_positions=cell.scaled_positions, cell=cell.cell, pbc=True)
    results = {"born_effective_charges": np.array(found["born"]), "dielectric_tensor": np.array(found["dielectric"])}
    atoms.calc = SinglePointCalculator(atoms, **results)
    yield atoms


def write_phonopy_born(path: str | Path, atoms: Atoms, born: ArrayLike, dielectric: ArrayLike) -> Path:
    """Write a BORN file for a primitive cell: phonopy symmetrizes the tensors and keeps those of independent atoms.

    Args:
        path: the file, ``BORN`` for phonopy to find it.
        atoms: the primitive cell.
        born: Z ``(n_atoms, 3, 3)``, e, field first.
        dielectric: ε∞ ``(3, 3)``.
    """
    from phonopy.file_IO import get_BORN_lines
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(), scaled_positions=atoms.get_scaled_positions(), cell=atoms.cell.array
    )
    lines = get_BORN_lines(cell, np.array(born, dtype=np.float64), np.array(dielectric, dtype=np.float64))
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def _cell(file: Path) -> Any:
    """Primitive cell of phonopy's own files, or the cell of a POSCAR."""
    from phonopy.interface.phonopy_yaml import PhonopyYaml
    from phonopy.interface.vasp import read_vasp

    try:
        if file.suffix != ".yaml":
            return read_vasp(file)
        content = PhonopyYaml()
        content.read(file)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(f"{file} cannot be read by phonopy: {error!r}") from None
    cell = content.primitive if content.primitive is not None else content.unitcell
    if cell is None:
        raise DataError(f"{file} holds no unit cell")
    return cell
