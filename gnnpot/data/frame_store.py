"""A frame store as a sequence of frames: memory-mapped, a frame is made when it is asked for."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import ase
import numpy as np
import numpy.typing as npt
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.data.frame_layout import (
    LABELS,
    MAGMOMS,
    NUMBERS_PER_FRAME,
    FrameIndex,
    ShardEntry,
    array_path,
)
from gnnpot.data.frames import PROVENANCE, Frames, IntArray, Mask
from gnnpot.data.hashing import joined_sha256
from gnnpot.data.labels import voigt_vector
from gnnpot.errors import DataError

Array = npt.NDArray[Any]


class FrameStore(Frames):
    """Frames of a folder that `gnnpot.data.frame_writer.FrameWriter` wrote.

    Opening one reads its index; the arrays of a shard are mapped when a frame of it is asked for. A frame carries its
    labels on a calculator, its provenance and other entries in ``info``; its name is that of the store and its number.

    Args:
        folder: of the store.
        charge: total charge in e of frames that state none; None leaves them without.

    Raises:
        DataError: not a frame store, or one whose import was interrupted and not gone on with.

    >>> import tempfile
    >>> from gnnpot.data.frame_writer import write_frames
    >>> folder = write_frames(Path(tempfile.mkdtemp()) / "store", [ase.Atoms("H", info={"energy": -13.6})], {})
    >>> store = FrameStore(folder)
    >>> len(store), store[0].get_potential_energy(), store[0].info["reduced_formula"]
    (1, -13.6, 'H')
    """

    def __init__(self, folder: str | Path, charge: float | None = None) -> None:
        self.folder = Path(folder)
        self.charge = charge
        self.contents = FrameIndex.read(self.folder)
        if not self.contents.complete:
            raise DataError(
                f"{self.folder}: the import of this frame store was interrupted after {self.contents.n_frames:,} "
                "frames; the same command goes on with it"
            )
        self._first = np.cumsum([0, *(shard.n_frames for shard in self.contents.shards)])
        self._shards = [_Shard(self.folder / entry.name, entry) for entry in self.contents.shards]

    def __len__(self) -> int:
        return self.contents.n_frames

    def __repr__(self) -> str:
        return f"FrameStore({str(self.folder)!r}, {len(self):,} frames)"

    def __reduce__(self) -> tuple[type["FrameStore"], tuple[Path, float | None]]:
        return FrameStore, (self.folder, self.charge)

    def frame(self, number: int) -> ase.Atoms:
        """One frame."""
        shard, row = self._place(number)
        atoms = shard.atoms(row)
        atoms.info["source"], atoms.info["frame"] = str(self.folder), number
        if self.charge is not None and "charge" not in atoms.info:
            atoms.info["charge"] = float(self.charge)
        results = shard.results(row)
        atoms.calc = SinglePointCalculator(atoms, **results) if results else None
        return atoms

    def numbers(self, number: int) -> Array:
        """Atomic numbers of one frame."""
        shard, row = self._place(number)
        return shard.rows("numbers", row).astype(np.int64)

    @cached_property
    def n_atoms(self) -> IntArray:
        """Atoms of every frame."""
        return np.concatenate([np.diff(shard.array("first_atom")) for shard in self._shards])

    def entries(self, key: str) -> list[Any]:
        """Entry of ``info`` of every frame; None where a frame lacks it."""
        if key == "source":
            return [str(self.folder)] * len(self)
        if key == "frame":
            return list(range(len(self)))
        found = [entry for shard in self._shards for entry in shard.entries(key)]
        if key == "charge" and self.charge is not None:
            return [self.charge if entry is None else entry for entry in found]
        return found

    def labelled(self, name: str) -> Mask:
        """Which frames carry a label."""
        bit = 1 << LABELS.index(name)
        return np.concatenate([(np.asarray(shard.array("labels")) & bit).astype(bool) for shard in self._shards])

    @property
    def sha256(self) -> str:
        """Fingerprint of the stored content, and of the charge given to frames without one."""
        stored = self.contents.sha256
        return stored if self.charge is None else joined_sha256([stored, f"{self.charge:g} e"])

    def _place(self, number: int) -> tuple["_Shard", int]:
        k = int(np.searchsorted(self._first, number, side="right")) - 1
        return self._shards[k], number - int(self._first[k])


class _Shard:
    """Arrays of one shard, mapped at first use."""

    def __init__(self, folder: Path, entry: ShardEntry) -> None:
        self.folder = folder
        self.entry = entry
        self._arrays: dict[str, Array | None] = {}

    def array(self, name: str) -> Array:
        """One array.

        Raises:
            DataError: it is missing, or its file is damaged.
        """
        found = self.optional(name)
        if found is None:
            raise DataError(f"{array_path(self.folder, name)} is missing: the frame store is damaged; import it anew")
        return found

    def optional(self, name: str) -> Array | None:
        """One array, or None where no frame of the shard has such an entry."""
        if name not in self._arrays:
            path = array_path(self.folder, name)
            try:
                self._arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
            except FileNotFoundError:
                self._arrays[name] = None
            except (OSError, ValueError) as error:
                raise DataError(f"{path} is damaged ({error}): import the frame store anew") from error
        return self._arrays[name]

    def rows(self, name: str, row: int) -> Array:
        """Rows of the atoms of one frame."""
        first = self.array("first_atom")
        return np.array(self.array(name)[int(first[row]) : int(first[row + 1])])

    def atoms(self, row: int) -> ase.Atoms:
        """Atoms of one frame, with ``info`` and magnetic moments, without labels."""
        numbers, positions = self.rows("numbers", row).astype(np.int64), self.rows("positions", row)
        cell, pbc = np.array(self.array("cell")[row]), np.array(self.array("pbc")[row])
        atoms = ase.Atoms(numbers, positions=positions, cell=cell, pbc=pbc, info=self._info(row))
        if self.optional(MAGMOMS) is not None:
            magmoms = self.rows(MAGMOMS, row)
            if not np.isnan(magmoms).all():
                atoms.arrays[MAGMOMS] = magmoms
        return atoms

    def results(self, row: int) -> dict[str, Any]:
        """Labels of one frame, as ASE's calculators hold them."""
        bits = int(self.array("labels")[row])
        results: dict[str, Any] = {}
        for k, name in enumerate(LABELS):
            if not bits >> k & 1:
                continue
            if name in ("forces", "born_effective_charges"):
                results[name] = self.rows(name, row)
            else:
                results[name] = np.array(self.array(name)[row])
        if "energy" in results:
            results["energy"] = results["free_energy"] = float(results["energy"])
        if "stress" in results:
            results["stress"] = voigt_vector(results["stress"])
        return results

    def entries(self, key: str) -> list[Any]:
        """Entry of ``info`` of every frame; None where a frame lacks it."""
        if key in PROVENANCE:
            return [word.decode() or None for word in self.array(key).tolist()]
        if key in (*NUMBERS_PER_FRAME, "charge"):
            column = self.optional(key)
            values = [np.nan] * self.entry.n_frames if column is None else column.tolist()
            return [None if value != value else value for value in values]
        if key not in self.entry.info_keys:
            return [None] * self.entry.n_frames
        return [self._other(row).get(key) for row in range(self.entry.n_frames)]

    def _info(self, row: int) -> dict[str, Any]:
        info: dict[str, Any] = {}
        for name in PROVENANCE:
            word = bytes(self.array(name)[row]).decode()
            if word:
                info[name] = word
        for name in (*NUMBERS_PER_FRAME, "charge"):
            column = self.optional(name)
            if column is not None and not np.isnan(column[row]):
                info[name] = float(column[row])
        for name, value in self._other(row).items():
            info[name] = np.array(value) if _is_numeric(value) else value
        return info

    def _other(self, row: int) -> dict[str, Any]:
        """Entries of ``info`` without a column of their own."""
        first = self.optional("first_info")
        if first is None or first[row] == first[row + 1]:
            return {}
        found: dict[str, Any] = json.loads(bytes(self.array("info")[int(first[row]) : int(first[row + 1])]))
        return found


def _is_numeric(value: Any) -> bool:
    return isinstance(value, list) and np.array(value).dtype.kind in "iuf"
