"""Where frames are written to: extended XYZ, n2p2's ``input.data``, or a frame store, told by the name."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np

from gnnpot.data.files import replacing
from gnnpot.data.frame_writer import write_frames
from gnnpot.data.labels import frame_name, labels_of
from gnnpot.data.writers import extxyz_path, write_extxyz
from gnnpot.errors import DataError
from gnnpot.keys import ANGSTROM_PER_BOHR, EV_PER_HARTREE

N2P2_COMMENT = "bohr, hartree; written by gnnpot"


def write_data(output: str | Path, frames: Iterable[ase.Atoms], description: Mapping[str, Any]) -> Path:
    """Write frames with their labels, one after another, whole or not at all.

    Args:
        output: ``NAME.xyz`` or ``NAME.extxyz`` (``.gz`` behind it to compress), ``NAME.data`` for n2p2, or a name
            without a suffix, the folder of a new frame store.
        frames: structures with labels.
        description: of a frame store.

    Raises:
        DataError: another suffix, something that exists in the place of a frame store, or a frame without energy or
            forces for n2p2.
    """
    path = Path(output).expanduser()
    if path.suffix == ".data":
        return write_n2p2(path, frames)
    if path.suffix == "":
        return write_frames(path, frames, description)
    return write_extxyz(extxyz_path(path), frames)


def write_n2p2(path: Path, frames: Iterable[ase.Atoms]) -> Path:
    """Write ``input.data`` of n2p2, in bohr and hartree (n2p2 manual, "File formats").

    n2p2 learns from energy and forces; other labels have no place there.

    Raises:
        DataError: a frame without an energy or forces, or periodic in one or two directions, which n2p2 does not know.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for atoms in frames:
            file.write(_block(atoms))
    return path


def _block(atoms: ase.Atoms) -> str:
    labels = labels_of(atoms)
    missing = [name for name in ("energy", "forces") if name not in labels]
    if missing:
        raise DataError(f"{frame_name(atoms)} has no {' and no '.join(missing)}, which input.data of n2p2 asks for")
    if atoms.pbc.any() != atoms.pbc.all():
        raise DataError(f"{frame_name(atoms)}: pbc is {atoms.pbc.tolist()}; n2p2 knows crystals and molecules only")
    lines = ["begin", f"comment {N2P2_COMMENT}; {frame_name(atoms)}"]
    if atoms.pbc.all():
        lines += [f"lattice {_row(vector / ANGSTROM_PER_BOHR)}" for vector in atoms.cell.array]
    forces = labels["forces"] * ANGSTROM_PER_BOHR / EV_PER_HARTREE
    rows = zip(atoms.get_chemical_symbols(), atoms.positions / ANGSTROM_PER_BOHR, forces, strict=True)
    lines += [f"atom {_row(position)} {symbol} 0.0 0.0 {_row(force)}" for symbol, position, force in rows]
    lines += [f"energy {labels['energy'] / EV_PER_HARTREE!r}", f"charge {float(atoms.info.get('charge') or 0.0)!r}"]
    return "\n".join([*lines, "end"]) + "\n"


def _row(numbers: np.ndarray) -> str:
    return " ".join(repr(float(number)) for number in numbers)
