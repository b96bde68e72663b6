"""The ``input.data`` of n2p2 and RuNNer: numbers without units."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from gnnpot.data.readers.sources import open_text
from gnnpot.errors import DataError

_N_ATOM_WORDS = 9
"""x y z element charge energy fx fy fz"""


def read_n2p2(path: Path) -> Iterator[Atoms]:
    """Structures of an ``input.data``, in the file's own units.

    Blocks from ``begin`` to ``end`` of ``comment``, ``lattice`` (three lines, or none for a molecule), ``atom x
    y z element charge energy fx fy fz``, ``energy`` and ``charge`` (n2p2 manual, "File formats"). The atomic
    charges and energies are not read.
    """
    block: list[tuple[int, list[str]]] | None = None
    frame = 0
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            keyword = words[0].lower()
            if keyword == "begin" and block is None:
                block = []
            elif keyword == "end" and block is not None:
                yield _atoms_of(block, path, frame)
                block, frame = None, frame + 1
            elif block is None or keyword == "begin":
                raise DataError(f"{path}, line {number}: '{words[0]}' before the 'end' or after it")
            else:
                block.append((number, words))
    if block is not None:
        raise DataError(f"{path}, frame {frame} is cut off: the file stops before its 'end'")


def _atoms_of(block: list[tuple[int, list[str]]], path: Path, frame: int) -> Atoms:
    where = f"{path}, frame {frame}"
    lattice: list[list[float]] = []
    symbols: list[str] = []
    rows: list[list[float]] = []
    info: dict[str, str | float] = {}
    for number, words in block:
        try:
            match words[0].lower():
                case "comment":
                    info["comment"] = " ".join(words[1:])
                case "lattice":
                    lattice.append([float(word) for word in words[1:4]])
                case "atom":
                    symbols.append(words[4])
                    rows.append([float(words[i]) for i in (1, 2, 3, 7, 8, 9)])
                case "energy" | "charge":
                    info[words[0].lower()] = float(words[1])
                case other:
                    raise DataError(f"{where}, line {number}: '{other}' is no keyword of input.data")
        except (ValueError, IndexError):
            raise DataError(
                f"{where}, line {number}: '{' '.join(words)}' should be {words[0]} followed by"
                f" {_N_ATOM_WORDS if words[0] == 'atom' else 'its'} values"
            ) from None
    return _assembled(symbols, np.array(rows), lattice, info, where)


def _assembled(
    symbols: list[str], rows: np.ndarray, lattice: list[list[float]], info: dict[str, str | float], where: str
) -> Atoms:
    if not symbols:
        raise DataError(f"{where} has no atoms")
    if len(lattice) not in (0, 3):
        raise DataError(f"{where} has {len(lattice)} lattice lines instead of 3 (or none for a molecule)")
    for symbol in symbols:
        if symbol not in atomic_numbers:
            raise DataError(f"{where}: unknown element symbol '{symbol}'")
    atoms = Atoms(symbols, positions=rows[:, :3], cell=lattice or None, pbc=bool(lattice), info=info)
    atoms.arrays["forces"] = rows[:, 3:].copy()
    return atoms
