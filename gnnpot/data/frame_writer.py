"""Writing a frame store: frames stream in, memory stays bounded, shards appear whole, an interrupted one goes on."""

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from gnnpot.data.compositions import reduced_formula
from gnnpot.data.frame_layout import (
    INDEX,
    LABELS,
    MAGMOMS,
    NUMBERS_PER_FRAME,
    PARTIAL,
    FrameIndex,
    ShardEntry,
    array_path,
    shard_sha256,
)
from gnnpot.data.frames import FORMULA, FUNCTIONAL, PROVENANCE, UNKNOWN
from gnnpot.data.labels import frame_name, labels_of
from gnnpot.errors import DataError, DataWarning
from gnnpot.keys import PROPERTIES

FRAMES_PER_SHARD = 10_000
ATOMS_PER_SHARD = 400_000
"""A shard is closed when it holds as many frames or atoms; 400,000 atoms with forces are 20 MB."""

KEPT_ARRAYS = {"numbers", "positions", MAGMOMS}
PLACE = ("source", "frame")
"""Entries of ``info`` that name the place of a frame; in the store it has another."""


class FrameWriter:
    """Appends frames to a frame store, shard by shard; `commit` makes what was appended part of it.

    A folder that holds an unfinished store of the same description is gone on with: `position` is what the last
    `commit` was told. What an interrupted process left behind a commit is removed.

    Args:
        folder: of the store; made where there is none.
        description: where the frames come from and what their energies are, plain values.

    Raises:
        DataError: the folder holds something else, a finished store, or one of another description.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "store"
    >>> writer = FrameWriter(folder, {"energy": "uncorrected"})
    >>> writer.append(ase.Atoms("H", info={"energy": -13.6}))
    >>> writer.close({"record": 1})
    >>> FrameIndex.read(folder).n_frames
    1
    """

    def __init__(self, folder: str | Path, description: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._index = self._opened(dict(description))
        self._shard = _Shard()
        self._dropped: set[str] = set()

    @property
    def position(self) -> dict[str, Any]:
        """How far the source was read when the last shard was closed; empty at the start."""
        return dict(self._index.position)

    @property
    def n_frames(self) -> int:
        """Frames appended so far, those of an earlier process included."""
        return self._index.n_frames + self._shard.n_frames

    @property
    def has_shards(self) -> bool:
        """Whether any shard has been written."""
        return bool(self._index.shards)

    @property
    def is_full(self) -> bool:
        """Whether the open shard should be closed."""
        return self._shard.n_frames >= FRAMES_PER_SHARD or self._shard.n_atoms >= ATOMS_PER_SHARD

    def append(self, atoms: ase.Atoms) -> None:
        """Add one frame with its labels, its charge and the entries of ``info``.

        Raises:
            DataError: a label of a wrong shape or with single NaN.
        """
        self._dropped |= set(atoms.arrays) - KEPT_ARRAYS - set(PROPERTIES) - self._dropped
        self._shard.append(atoms)

    def commit(self, position: Mapping[str, Any]) -> None:
        """Write the open shard, then name it in the index; an interrupted process goes on from ``position``."""
        if self._shard.n_frames:
            name = f"shard-{len(self._index.shards):05d}"
            self._index.shards.append(self._shard.write(self.folder, name))
            self._shard = _Shard()
        self._index.position = dict(position)
        self._index.write(self.folder)

    def close(self, position: Mapping[str, Any] | None = None) -> None:
        """Write what is left, and mark the store as complete.

        Raises:
            DataError: the store would be empty; its folder is removed.
        """
        if self.n_frames == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise DataError(f"{self.folder}: there was no frame to write")
        self._index.complete = True
        self.commit(self.position if position is None else position)
        if self._dropped:
            warnings.warn(
                f"{self.folder}: the columns {', '.join(sorted(self._dropped))} of the atoms are not kept in a frame "
                "store",
                DataWarning,
                stacklevel=2,
            )

    def _opened(self, description: dict[str, Any]) -> FrameIndex:
        if not (self.folder / INDEX).is_file():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise DataError(f"{self.folder} holds something else: name another folder, output=FOLDER")
            self.folder.mkdir(parents=True, exist_ok=True)
            index = FrameIndex(description)
            index.write(self.folder)
            return index
        index = FrameIndex.read(self.folder)
        if index.complete:
            raise DataError(
                f"{self.folder} holds a finished frame store of {index.n_frames:,} frames: name another folder, or "
                "delete it; several stores are read together, data.path=[STORE1,STORE2]"
            )
        for key, value in description.items():
            if index.description.get(key) != value:
                raise DataError(
                    f"{self.folder} was begun with {key}={_short(index.description.get(key))}, now it is "
                    f"{_short(value)}: give what it was begun with to go on, or another folder"
                )
        named = {shard.name for shard in index.shards}
        for path in self.folder.iterdir():
            if path.is_dir() and (path.name.startswith(PARTIAL) or path.name not in named):
                shutil.rmtree(path)
        return index


def write_frames(folder: str | Path, frames: Iterable[ase.Atoms], description: Mapping[str, Any]) -> Path:
    """Write frames into a new frame store, in bounded memory, whole or not at all.

    >>> import tempfile
    >>> folder = write_frames(Path(tempfile.mkdtemp()) / "one", [ase.Atoms("H")], {})
    >>> FrameIndex.read(folder).n_atoms
    1
    """
    if (Path(folder) / INDEX).is_file() and not FrameIndex.read(Path(folder)).complete:
        raise DataError(f"{folder} holds an unfinished frame store: delete it, or name another folder")
    writer = FrameWriter(folder, description)
    try:
        for atoms in frames:
            writer.append(atoms)
            if writer.is_full:
                writer.commit({"frames": writer.n_frames})
        writer.close({"frames": writer.n_frames})
    except BaseException:
        shutil.rmtree(writer.folder, ignore_errors=True)
        raise
    return writer.folder


class _Shard:
    """Frames that wait to be written."""

    def __init__(self) -> None:
        self.n_atoms = 0
        self._counts: list[int] = []
        self._labels: list[dict[str, Any]] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in ("numbers", "positions", "cell", "pbc", "charge")}
        self._numbers: dict[str, list[Any]] = {name: [] for name in NUMBERS_PER_FRAME}
        self._words: dict[str, list[Any]] = {name: [] for name in PROVENANCE}
        self._magmoms: list[npt.NDArray[np.float64] | None] = []
        self._info: list[dict[str, Any]] = []

    @property
    def n_frames(self) -> int:
        """Frames so far."""
        return len(self._counts)

    def append(self, atoms: ase.Atoms) -> None:
        """Take in one frame."""
        labels = labels_of(atoms)
        info = {key: value for key, value in atoms.info.items() if key not in PLACE and key not in PROPERTIES}
        charge = info.pop("charge", None)
        info[FORMULA] = reduced_formula(atoms.numbers)
        info[FUNCTIONAL] = info.get(FUNCTIONAL) or UNKNOWN
        words = {name: str(info.pop(name, None) or "") for name in PROVENANCE}
        numbers = {name: _number(name, info.pop(name, None), atoms) for name in NUMBERS_PER_FRAME}
        rows = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, np.nan if charge is None else charge)
        for columns, values in ((self._words, words), (self._numbers, numbers)):
            for name, value in values.items():
                columns[name].append(value)
        for column, row in zip(self._columns.values(), rows, strict=True):
            column.append(np.array(row))
        magmoms = atoms.arrays.get(MAGMOMS)
        self._magmoms.append(None if magmoms is None else np.array(magmoms, dtype=np.float64))
        self._labels.append(labels)
        self._info.append(info)
        self._counts.append(len(atoms))
        self.n_atoms += len(atoms)

    def write(self, folder: Path, name: str) -> ShardEntry:
        """Write the arrays into a folder of another name, then give it its own."""
        partial = folder / f"{PARTIAL}{name}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for array, values in self._arrays().items():
            np.save(array_path(partial, array), values)
        digest = shard_sha256(partial)
        shutil.rmtree(folder / name, ignore_errors=True)
        partial.replace(folder / name)
        elements = Counter(z for numbers in self._columns["numbers"] for z in set(numbers.tolist()))
        return ShardEntry(
            name,
            self.n_frames,
            self.n_atoms,
            digest,
            {label: n for label in LABELS if (n := sum(label in labels for labels in self._labels))},
            dict(sorted(Counter(self._words[FUNCTIONAL]).items())),
            {chemical_symbols[z]: n for z, n in sorted(elements.items())},
            sorted({key for info in self._info for key in info}),
        )

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {
            "first_atom": np.cumsum([0, *self._counts], dtype=np.int64),
            "numbers": np.concatenate(self._columns["numbers"]).astype(np.uint8),
            "positions": np.concatenate(self._columns["positions"]),
            "cell": np.stack(self._columns["cell"]),
            "pbc": np.stack(self._columns["pbc"]),
            "charge": np.array(self._columns["charge"], dtype=np.float64),
            "labels": np.array([sum(1 << k for k, n in enumerate(LABELS) if n in x) for x in self._labels], np.uint8),
        }
        arrays |= {name: self._label(name) for name in LABELS if any(name in labels for labels in self._labels)}
        arrays |= {name: np.array(x) for name, x in self._numbers.items() if not np.isnan(x).all()}
        if any(magmoms is not None for magmoms in self._magmoms):
            rows = zip(self._magmoms, self._counts, strict=True)
            arrays[MAGMOMS] = np.concatenate([np.full(n, np.nan) if x is None else x for x, n in rows])
        arrays |= {name: np.char.encode(np.array(words, dtype=str), "utf-8") for name, words in self._words.items()}
        if any(self._info):
            texts = [json.dumps(_plain(info)).encode() if info else b"" for info in self._info]
            arrays["info"] = np.frombuffer(b"".join(texts), dtype=np.uint8)
            arrays["first_info"] = np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64)
        return arrays

    def _label(self, name: str) -> npt.NDArray[np.float64]:
        """One label of all frames, NaN where a frame lacks it."""
        quantity = PROPERTIES[name]
        if quantity.level == "structure":
            missing = np.full(quantity.shape, np.nan)
            return np.stack([np.asarray(labels.get(name, missing)) for labels in self._labels])
        rows = zip(self._labels, self._counts, strict=True)
        return np.concatenate([labels.get(name, np.full((n, *quantity.shape), np.nan)) for labels, n in rows])


def _number(name: str, value: Any, atoms: ase.Atoms) -> float:
    try:
        return np.nan if value is None else float(value)
    except (TypeError, ValueError):
        raise DataError(f"{frame_name(atoms)}: {name} should be a number, not {value!r}") from None


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of ``info`` as JSON holds them."""
    return {
        str(key): value.tolist() if isinstance(value, np.ndarray | np.generic) else value for key, value in info.items()
    }


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 120 else text[:117] + "..."
