"""``read``: from file names to labeled frames."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ase import Atoms

from gnnpot.data.frame_layout import is_frame_store
from gnnpot.data.frame_store import FrameStore
from gnnpot.data.readers.aliases import Column, checked_keys
from gnnpot.data.readers.ase_files import (
    SQLITE_MAGIC,
    ase_format,
    checked_ase_format,
    database_units,
    read_database,
    read_with_ase,
)
from gnnpot.data.readers.border import Border
from gnnpot.data.readers.columns import LabelColumns
from gnnpot.data.readers.espresso import read_espresso
from gnnpot.data.readers.espresso_phonon import read_espresso_phonon
from gnnpot.data.readers.extended_xyz import read_extended_xyz
from gnnpot.data.readers.n2p2 import read_n2p2
from gnnpot.data.readers.phonopy_born import read_phonopy_born
from gnnpot.data.readers.sources import (
    DECOMPRESSION_ERRORS,
    PathLike,
    first_bytes,
    plain_name,
    source_files,
)
from gnnpot.data.readers.structure_json import STATED_UNITS, load_json, read_structure_json
from gnnpot.data.readers.units import Units, required_units, units_from
from gnnpot.data.readers.vasp import read_outcar, read_vasprun
from gnnpot.data.readers.vasp_hdf5 import HDF5_MAGIC, read_vaspout
from gnnpot.errors import DataError, DataWarning, did_you_mean

FRAME_STORE = "frame-store"

FrameReader = Callable[[Path], Iterator[Atoms]]


def _nothing_stated(path: Path) -> Mapping[str, str]:
    """Units of a format whose files are in eV and Å, and in ASE's order, unless the user says otherwise."""
    return {"stress_order": "ase"}


def _vasp_stress(path: Path) -> Mapping[str, str]:
    """Units of pymatgen's JSON; the order of six numbers is not agreed there."""
    return STATED_UNITS


@dataclass(frozen=True)
class Format:
    """A file format: its reader, and what it says itself about units and names."""

    read: FrameReader
    sentence: str
    has_own_units: bool = False
    """ASE's reader has converted the units already; ``data.units`` does not touch it."""
    has_own_names: bool = False
    """Labels have fixed places in the file; ``data.keys`` does not touch it."""
    needs_units: bool = False
    stated_units: Callable[[Path], Mapping[str, str]] = _nothing_stated


def _read_frame_store(path: Path) -> Iterator[Atoms]:
    """Frames of a frame store, without the place that they have in it."""
    for atoms in FrameStore(path):
        del atoms.info["source"], atoms.info["frame"]
        yield atoms


FORMATS: dict[str, Format] = {
    "extxyz": Format(read_extended_xyz, "extended XYZ (.xyz, .extxyz)"),
    "vasp-out": Format(read_outcar, "VASP OUTCAR", has_own_units=True, has_own_names=True),
    "vasp-xml": Format(read_vasprun, "VASP vasprun.xml", has_own_units=True, has_own_names=True),
    "vasp-h5": Format(read_vaspout, "VASP vaspout.h5", has_own_units=True, has_own_names=True),
    "espresso-out": Format(read_espresso, "Quantum ESPRESSO pw.x output", has_own_units=True, has_own_names=True),
    "espresso-ph": Format(
        read_espresso_phonon, "Quantum ESPRESSO ph.x output (Born charges)", has_own_units=True, has_own_names=True
    ),
    "phonopy-born": Format(read_phonopy_born, "phonopy BORN", has_own_units=True, has_own_names=True),
    "db": Format(read_database, "ASE database (.db, .json)", stated_units=database_units),
    "n2p2": Format(read_n2p2, "n2p2 or RuNNer input.data", has_own_names=True, needs_units=True),
    "structure-json": Format(
        read_structure_json, "JSON of pymatgen structures (CHGNet, MPtrj)", stated_units=_vasp_stress
    ),
    FRAME_STORE: Format(
        _read_frame_store, "a frame store (gnnpot data kind=import)", has_own_units=True, has_own_names=True
    ),
}
"""Formats read by readers of this package; every other format that ASE reads goes through ASE."""


_OTHER_NAMES: dict[str, str | None] = {"xyz": "extxyz", "json": None}
"""Names of ASE's that mean less there: plain XYZ without labels, and JSON of ASE alone."""


def read(
    paths: PathLike | Sequence[PathLike],
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Atoms]:
    """All frames of one file, of a glob pattern, or of a list of them, in any mixture of formats.

    Every frame has its labels on a calculator, in eV, Å and ASE's sign of the stress
    (:func:`gnnpot.data.labels.labels_of`), ``info["source"]`` (the path as given), ``info["frame"]`` (its number
    in that file, from 0), and keeps ``config_type``, ``charge`` and other simple entries of ``info``.

    Parameters
    ----------
    paths
        Files, compressed (.gz, .bz2, .xz) or not.
    format
        One of :data:`FORMATS` or a name of ASE's, for all files; None: seen from name and content.
    units
        Units of files whose format leaves them open, :func:`gnnpot.data.readers.units.units_from`.
    keys
        Names of the labels in the file, ``{"energy": "REF_energy"}``; common ones are known.
    progress
        Called after every frame with the number of frames read so far.

    Raises
    ------
    DataError
        For a file, a frame or a label that cannot be used, with its name and what to do.
    ConfigError
        For an unknown unit, label or key in ``units`` and ``keys``.

    >>> import ase.io, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ase.io.write(f"{folder}/h.xyz", Atoms("H", info={"energy": -0.5}))
    ...     frames = read(f"{folder}/h.xyz", units={"energy": "hartree"})
    >>> round(frames[0].get_potential_energy(), 4)
    -13.6057
    """
    frames: list[Atoms] = []
    for atoms in iterate(paths, format, units, keys):
        frames.append(atoms)
        if progress is not None:
            progress(len(frames))
    return frames


def iterate(
    paths: PathLike | Sequence[PathLike],
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
) -> Iterator[Atoms]:
    """The frames of `read` one by one, so that files may be larger than the memory."""
    stated, columns_by_label = dict(units or {}), checked_keys(keys)
    units_from(stated)
    all_columns: list[LabelColumns] = []
    formats: list[Format] = []
    for path in source_files(paths):
        kind = _format_of(path, format)
        columns = LabelColumns({} if kind.has_own_names else columns_by_label, _units_of_file(path, kind, stated))
        yield from _frames_of(path, kind, columns)
        all_columns.append(columns)
        formats.append(kind)
    _check_all_used(stated, columns_by_label, formats, all_columns)


def _frames_of(path: Path, kind: Format, columns: LabelColumns) -> Iterator[Atoms]:
    border = Border(path, columns)
    try:
        for atoms in kind.read(path):
            yield border.admit(atoms)
    except DECOMPRESSION_ERRORS as error:
        raise DataError(f"{path} is cut off or damaged inside its compression: {error}") from error
    if border.n_frames == 0:
        raise DataError(f"{path} holds no frames ({kind.sentence})")
    border.report()


def _units_of_file(path: Path, kind: Format, stated: Mapping[str, str]) -> Units:
    if kind.has_own_units:
        return Units()
    if kind.needs_units:
        required_units(stated, path)
    return units_from({**kind.stated_units(path), **stated})


def _format_of(path: Path, name: str | None) -> Format:
    """The named format, or the one that the name and the first bytes of the file show."""
    if is_frame_store(path):
        return FORMATS[FRAME_STORE]
    found = _OTHER_NAMES.get(name, name) if name is not None else None
    if found is None:
        found = _format_name(path)
    elif found not in FORMATS:
        found = checked_ase_format(found, tuple(FORMATS))
    if found in FORMATS:
        return FORMATS[found]
    if found is None:
        supported = "; ".join(f"{kind.sentence} (format={key})" for key, kind in FORMATS.items())
        raise DataError(
            f"the format of '{path}' is not recognized. Read are: {supported}; and what ASE reads (`ase info"
            " --formats`). If it is one of them, name it: data.format=NAME"
        )
    return Format(partial(read_with_ase, format_name=found), f"ASE's {found}")


def _format_name(path: Path) -> str | None:
    name, start = plain_name(path).lower(), first_bytes(path)
    text = start.decode("utf-8", errors="replace")
    if not start.strip():
        raise DataError(f"'{path}' is empty")
    if name.endswith((".xyz", ".extxyz")):
        return "extxyz"
    if name.endswith(".json") or text.lstrip().startswith(("{", "[")):
        return "db" if _is_json_database(path, text) else "structure-json"
    if start.startswith(SQLITE_MAGIC):
        return "db"
    if start.startswith(HDF5_MAGIC):
        return "vasp-h5"
    if b"<modeling>" in start:
        return "vasp-xml"
    if text.lstrip().startswith("vasp.") or name.startswith("outcar"):
        return "vasp-out"
    if "Program PWSCF" in text:
        return "espresso-out"
    if "Program PHONON" in text:
        return "espresso-ph"
    if name.startswith("born"):
        return "phonopy-born"
    if text.split(maxsplit=1)[0].lower() == "begin":
        return "n2p2"
    return ase_format(path)


def _is_json_database(path: Path, start: str) -> bool:
    """ASE's JSON databases number their rows and list the numbers at the end, as "ids" and "nextid"."""
    if not re.match(r'\s*\{\s*"\d+"', start):
        return False
    content = load_json(path)
    return isinstance(content, dict) and {"ids", "nextid"} <= content.keys()


def _check_all_used(
    stated: Mapping[str, str],
    keys: Mapping[str, Column],
    formats: Sequence[Format],
    all_columns: Sequence[LabelColumns],
) -> None:
    """Refuse names that no file has, and say when units or names were stated for files that have their own."""
    if stated and all(kind.has_own_units for kind in formats):
        warnings.warn(
            f"data.units={dict(stated)} has no effect: {formats[0].sentence} states its units itself",
            DataWarning,
            stacklevel=3,
        )
    if keys and all(kind.has_own_names for kind in formats):
        warnings.warn(
            f"data.keys has no effect: in {formats[0].sentence} every label has its fixed place",
            DataWarning,
            stacklevel=3,
        )
        return
    seen = {name for columns in all_columns for name in columns.seen}
    found = {label for columns in all_columns for label in columns.found_keys}
    for label, column in keys.items():
        if label not in found:
            raise DataError(
                f"data.keys={{{label}: {column.name}}}: no frame has a column '{column.name}':"
                f" {did_you_mean(column.name, seen)}"
            )
