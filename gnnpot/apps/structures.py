"""Structures to start from, and frames to write: what md, relax and check share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory

from gnnpot.data.bundled import bundled_names, bundled_path
from gnnpot.data.files import replacing
from gnnpot.errors import ConfigError, DataError

Repeat = int | Sequence[int] | None

PLAIN = (str, int, float, np.ndarray, np.generic)
"""Kinds of entries of ``info`` that files can hold."""

SUFFIXES = {".xyz": "extxyz", ".extxyz": "extxyz", ".traj": "traj", ".cif": "cif", ".vasp": "vasp"}
"""Formats that are written, by the ends of file names."""


def load_structure(structure: Atoms | str | Path, repeat: Repeat = None) -> Atoms:
    """Structure from any file that ASE reads, without its calculator.

    Args:
        structure: atoms, or a path; ``file.xyz@3`` is frame 3 of a file, a bare path its last frame. Or the name of
            bundled data, ``Li2O`` (of its largest cells that of the lowest energy) or ``Li2O@3``.
        repeat: copies along the cell vectors, one number or three; the charge is multiplied with them.

    Raises:
        DataError: the file does not exist, or ASE cannot read it.

    >>> from ase.build import bulk
    >>> len(load_structure(bulk("Si"), repeat=2))
    16
    """
    atoms = structure.copy() if isinstance(structure, Atoms) else _read(str(structure))
    atoms.calc = None
    copies = _copies(repeat)
    if copies == (1, 1, 1):
        return atoms
    if any(n > 1 and not atoms.cell[k].any() for k, n in enumerate(copies)):
        raise ConfigError(f"repeat={list(copies)}: the structure has no cell vector to repeat along in a direction")
    repeated = atoms.repeat(copies)
    if "charge" in atoms.info:
        repeated.info["charge"] = atoms.info["charge"] * int(np.prod(copies))
    return repeated


def calmest_frame(path: Path) -> int:
    """Number of the frame that has the lowest energy among those of the largest cells, to start a simulation from.

    >>> calmest_frame(bundled_path("Li2O"))
    45
    """
    frames = ase.io.read(path, index=":")
    most = max(len(atoms) for atoms in frames)
    energies = [a.get_potential_energy() if len(a) == most else np.inf for a in frames]
    return int(np.argmin(energies))


def snapshot(atoms: Atoms) -> Atoms:
    """Copy with momenta, and the results that are known already, without constraints: a frame to write.

    Of ``info`` only plain values stay: files have no place for others. Results of a response head are there as data
    files hold them, ``polarization`` in ``info`` and ``born_effective_charges`` in nine columns; and the ``field``.
    """
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    frame = atoms.copy()
    frame.info = {key: value for key, value in atoms.info.items() if isinstance(value, PLAIN)}
    for name in ("polarization", "field"):
        frame.info.pop(name, None)
        if name in results:
            frame.info[name] = np.asarray(results[name])
    frame.arrays.pop("born_effective_charges", None)
    if "born_effective_charges" in results:
        frame.set_array("born_effective_charges", results["born_effective_charges"].reshape(len(frame), 9))
    frame.set_constraint()
    known = {k: v for k, v in results.items() if k in ("energy", "free_energy", "forces", "stress")}
    frame.calc = SinglePointCalculator(frame, **known) if known else None
    return frame


def file_format(path: Path) -> str:
    """ASE's name of the format that a file name asks for.

    >>> file_format(Path("relaxed.cif"))
    'cif'

    Raises:
        ConfigError: none that is written here.
    """
    if path.name.upper().startswith(("POSCAR", "CONTCAR")):
        return "vasp"
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"output={path}: name it .extxyz, .xyz, .traj, .cif or .vasp")
    return SUFFIXES[path.suffix.lower()]


def write_structure(path: Path, atoms: Atoms) -> None:
    """Write one frame under a temporary name and rename it, so that a file is never half there."""
    kind = file_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        ase.io.write(temporary, atoms, format=kind)


class FrameWriter:
    """Appends frames to a trajectory, extended XYZ or ASE's ``.traj``, as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kind = file_format(path)
        self._binary: Any = None

    def add(self, atoms: Atoms) -> None:
        """Append one frame."""
        if self._kind != "traj":
            ase.io.write(self._path, atoms, format=self._kind, append=True)
            return
        if self._binary is None:
            self._binary = Trajectory(self._path, "w")
        self._binary.write(atoms)

    def close(self) -> None:
        """Close the file."""
        if self._binary is not None:
            self._binary.close()


def _copies(repeat: Repeat) -> tuple[int, int, int]:
    values = [1] if repeat is None else [repeat] if isinstance(repeat, int) else list(repeat)
    if len(values) not in (1, 3) or any(int(v) != v or v < 1 for v in values):
        raise ConfigError(f"repeat={repeat}: give one positive whole number, or three as repeat=[2,2,1]")
    a, b, c = (int(v) for v in (values * 3 if len(values) == 1 else values))
    return a, b, c


def _read(text: str) -> Atoms:
    name, number = _path_and_frame(text)
    bundled = bundled_path(name)
    path = bundled or Path(name)
    if number is None:
        number = -1 if bundled is None else calmest_frame(bundled)
    if not path.exists():
        names = ", ".join(bundled_names())
        raise DataError(
            f"structure={text}: there is no such file; give a file that ASE reads, or bundled data ({names})"
        )
    try:
        atoms = ase.io.read(path, index=number, do_not_split_by_at_sign=True)
    except (IndexError, StopIteration):
        raise DataError(f"structure={text}: the file has no frame {number}") from None
    except Exception as error:
        raise DataError(f"structure={text}: ASE cannot read it as a structure ({error})") from error
    atoms.info["source"], atoms.info["frame"] = name, number
    return atoms


def _path_and_frame(text: str) -> tuple[str, int | None]:
    """``file@3`` as file and frame; an @ in the name of an existing file is left alone."""
    name, at, index = text.rpartition("@")
    if at and index.lstrip("-").isdigit() and not Path(text).exists():
        return name, int(index)
    return text, None
