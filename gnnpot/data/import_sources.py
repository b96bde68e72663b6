"""Sources of an import: JSON files of the published layouts, and files of every format that is read."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import ase

from gnnpot.data.frames import FRAME, FUNCTIONAL, MATERIAL, UNKNOWN
from gnnpot.data.importing import Batch
from gnnpot.data.mp_layouts import LAYOUTS, UNCORRECTED, functional_of
from gnnpot.data.readers import iterate
from gnnpot.data.readers.json_stream import json_records
from gnnpot.data.readers.sources import PathLike, first_bytes, plain_name, source_files
from gnnpot.errors import ConfigError, DataError, did_you_mean

PICKLES = re.compile(r"\.(p|pkl|pickle|pck)$", re.IGNORECASE)
PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
HEAD = 1 << 20
"""Bytes by whose SHA-256 a file is known again, together with its size."""

MATERIAL_NAMES = ("mp_id", "mp-id", "mpid", "mptrj_traj_id", "alexandria_id", "original_mp_id")
FRAME_NAMES = ("mptrj_snapshot_id", "snapshot_id", "matpes_id", "internal_id", "json_key")
FUNCTIONAL_NAMES = ("run_type", "calc_type")
"""Names under which entries of ``info`` stand in published files."""


@dataclass(frozen=True)
class JsonSource:
    """JSON files of a published layout, record by record.

    Args:
        paths: the files, compressed or not.
        format: one of `LAYOUTS`.
        energy: "uncorrected" or, where the layout has it, "corrected".

    Raises:
        ConfigError: an unknown layout, or an energy that it does not hold.
        DataError: a missing file, or a pickle.
    """

    noun: ClassVar[str] = "bytes"
    paths: Sequence[Path]
    format: str
    energy: str = UNCORRECTED

    def __post_init__(self) -> None:
        if self.format not in LAYOUTS:
            raise ConfigError(f"format={self.format}: {did_you_mean(self.format, LAYOUTS)}")
        layout = LAYOUTS[self.format]
        if self.energy not in layout.energies:
            raise ConfigError(
                f"energy={self.energy}: {layout.title} holds {' and '.join(layout.energies)} energies only; type "
                f"energy={layout.energies[0]}"
            )
        for path in self.paths:
            _refuse_pickle(path)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.paths)

    def describe(self) -> dict[str, Any]:
        """Layout, energies and files."""
        layout = LAYOUTS[self.format]
        return {
            "title": layout.title,
            "format": self.format,
            "energy": self.energy,
            "level_of_theory": layout.level_of_theory,
            "files": [_known_again(path) for path in self.paths],
        }

    def batches(self, position: Mapping[str, Any], progress: Callable[[int], None]) -> Iterator[Batch]:
        """One batch for each record."""
        layout = LAYOUTS[self.format]
        begun = int(position.get("file", 0))
        before = sum(path.stat().st_size for path in self.paths[:begun])
        for k, path in enumerate(self.paths[begun:], start=begun):
            start, number = (position.get("byte", 0), position.get("record", 0)) if k == begun else (0, 0)
            read = _Meter(before)
            for record in json_records(path, int(start), int(number), read):
                where = f"{path}, record {record.number}" + (f" ({record.key})" if record.key else "")
                place = {"file": k, "byte": record.end, "record": record.number + 1}
                yield Batch(layout.frames(record, where, self.energy), place)
                progress(read.n_bytes)
            before += path.stat().st_size
            progress(before)


@dataclass(frozen=True)
class FileSource:
    """Files of every format that `gnnpot.data.readers.read` reads, frame by frame.

    Entries of ``info`` that published files use (``mp_id``, ``mptrj_traj_id``, ``matpes_id``, ...) become the material,
    the frame and the functional.
    """

    noun: ClassVar[str] = "files"
    paths: PathLike | Sequence[PathLike]
    format: str | None = None
    units: Mapping[str, str] | None = None
    keys: Mapping[str, str] | None = None
    _files: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", source_files(self.paths))
        for path in self._files:
            _refuse_pickle(path)

    @property
    def size(self) -> int:
        """Number of files."""
        return len(self._files)

    def describe(self) -> dict[str, Any]:
        """Files, and how they are read."""
        return {
            "title": ", ".join(path.name for path in self._files[:3]) + (", ..." if len(self._files) > 3 else ""),
            "format": self.format or "recognized",
            "energy": "as in the files",
            "level_of_theory": UNKNOWN,
            "units": dict(self.units or {}),
            "keys": dict(self.keys or {}),
            "files": [_known_again(path) for path in self._files],
        }

    def batches(self, position: Mapping[str, Any], progress: Callable[[int], None]) -> Iterator[Batch]:
        """One batch for each frame."""
        done = int(position.get("frames", 0))
        files: dict[str, int] = {}
        for k, atoms in enumerate(iterate(self._files, self.format, self.units, self.keys)):
            files.setdefault(atoms.info["source"], len(files))
            if k >= done:
                yield Batch(iter([_ReadFrame(atoms)]), {"frames": k + 1})
                progress(len(files) - 1)


@dataclass(frozen=True)
class _ReadFrame:
    """A frame that a reader has checked already."""

    frame: ase.Atoms

    def atoms(self) -> ase.Atoms:
        """The frame, with its provenance under the names of the store."""
        info = self.frame.info
        for name, known in ((MATERIAL, MATERIAL_NAMES), (FRAME, FRAME_NAMES)):
            if name not in info:
                found = next((key for key in known if key in info), None)
                if found is not None:
                    info[name] = str(info.pop(found))
        info[FUNCTIONAL] = functional_of(info)
        for name in FUNCTIONAL_NAMES:
            info.pop(name, None)
        return self.frame


class _Meter:
    """Remembers how many bytes have been read."""

    def __init__(self, before: int) -> None:
        self._before = before
        self.n_bytes = before

    def __call__(self, n_bytes: int) -> None:
        self.n_bytes = self._before + n_bytes


def _known_again(path: Path) -> dict[str, Any]:
    """Name, size and hash of the beginning of a file, by which an interrupted import knows it again."""
    if path.is_dir():
        return {"name": path.name}
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD)).hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256_of_first_mib": head}


def _refuse_pickle(path: Path) -> None:
    """Refuse pickles by name and by their first bytes: opening one runs whatever code it holds."""
    if path.is_dir():
        return
    if PICKLES.search(plain_name(path)) or first_bytes(path, 2) in PICKLE_MAGIC:
        raise DataError(
            f"{path} is a pickle, and opening a pickle runs the code in it: gnnpot reads none. If you trust the file, "
            'make JSON of it once, where pymatgen is installed: python -c "import pickle, json, monty.json; '
            "json.dump(pickle.load(open('block_0.p', 'rb')), open('block_0.json', 'w'), cls=monty.json.MontyEncoder)\""
        )
