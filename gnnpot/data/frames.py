"""Collections of frames, in memory or on disk, and columns of them that are read without making every frame.

A list of frames answers from its frames. A collection on disk (`Frames`) makes a frame when it is asked for one, and
answers questions about all of them from its columns.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import ase
import numpy as np
import numpy.typing as npt

from gnnpot.data.compositions import cell_formula, reduced_formula
from gnnpot.data.hashing import data_sha256, joined_sha256
from gnnpot.data.labels import frame_name, labels_of, named_frame
from gnnpot.errors import DataError
from gnnpot.keys import PROPERTIES

IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MATERIAL = "material_id"
FRAME = "frame_id"
FUNCTIONAL = "functional"
FORMULA = "reduced_formula"
ORIGIN = "source_in_file"
PROVENANCE = (MATERIAL, FRAME, FUNCTIONAL, FORMULA, ORIGIN)
"""Entries of ``atoms.info`` that tell where a frame comes from: the material's identifier, the frame's own, the
functional or run type, the reduced formula, and the collection."""
N_LISTED = 8
"""Values of an entry that a message lists."""

UNKNOWN = "unknown"
"""Functional of frames whose file does not say."""


class Frames(Sequence[ase.Atoms]):
    """Frames that are made when they are asked for; what concerns all of them comes from columns."""

    @overload
    def __getitem__(self, index: int) -> ase.Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> "Frames": ...

    def __getitem__(self, index: int | slice) -> "ase.Atoms | Frames":
        if isinstance(index, slice):
            return SelectedFrames(self, np.arange(len(self))[index])
        number = int(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)}")
        return self.frame(number % len(self))

    @abstractmethod
    def frame(self, number: int) -> ase.Atoms:
        """One frame, with its labels attached; a new object at each call."""

    @abstractmethod
    def numbers(self, number: int) -> npt.NDArray[Any]:
        """Atomic numbers of one frame, ``(n_atoms,)``."""

    @property
    @abstractmethod
    def n_atoms(self) -> IntArray:
        """Atoms of every frame, ``(n_frames,)``."""

    @abstractmethod
    def entries(self, key: str) -> list[Any]:
        """Entry of ``info`` of every frame; None where a frame lacks it."""

    @abstractmethod
    def labelled(self, name: str) -> Mask:
        """Which frames carry a label."""

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Fingerprint of the content."""


class SelectedFrames(Frames):
    """Some frames of a collection, in a given order."""

    def __init__(self, frames: Frames, chosen: npt.ArrayLike) -> None:
        self._frames = frames
        self._chosen = np.asarray(chosen, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._chosen)

    def frame(self, number: int) -> ase.Atoms:
        """One frame."""
        return self._frames.frame(int(self._chosen[number]))

    def numbers(self, number: int) -> npt.NDArray[Any]:
        """Atomic numbers of one frame."""
        return self._frames.numbers(int(self._chosen[number]))

    @property
    def n_atoms(self) -> IntArray:
        """Atoms of every frame."""
        return self._frames.n_atoms[self._chosen]

    def entries(self, key: str) -> list[Any]:
        """Entry of ``info`` of every frame."""
        every = self._frames.entries(key)
        return [every[k] for k in self._chosen.tolist()]

    def labelled(self, name: str) -> Mask:
        """Which frames carry a label."""
        return self._frames.labelled(name)[self._chosen]

    @property
    def sha256(self) -> str:
        """Fingerprint of the collection and of what is chosen from it."""
        return joined_sha256([self._frames.sha256, *(str(k) for k in self._chosen.tolist())])


class JoinedFrames(Frames):
    """Several collections behind each other, lists of frames among them."""

    def __init__(self, parts: Sequence[Sequence[ase.Atoms]]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._first = np.cumsum([0, *(len(part) for part in self._parts)])

    def __len__(self) -> int:
        return int(self._first[-1])

    def frame(self, number: int) -> ase.Atoms:
        """One frame."""
        part, index = self._place(number)
        return part[index]

    def numbers(self, number: int) -> npt.NDArray[Any]:
        """Atomic numbers of one frame."""
        part, index = self._place(number)
        return numbers_of(part, index)

    @property
    def n_atoms(self) -> IntArray:
        """Atoms of every frame."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(atom_counts(part) for part in self._parts)])

    def entries(self, key: str) -> list[Any]:
        """Entry of ``info`` of every frame."""
        return [entry for part in self._parts for entry in entries_of(part, key)]

    def labelled(self, name: str) -> Mask:
        """Which frames carry a label."""
        return np.concatenate([np.zeros(0, dtype=bool), *(labelled(part, (name,))[name] for part in self._parts)])

    @property
    def sha256(self) -> str:
        """Fingerprint of all parts in their order."""
        return joined_sha256([fingerprint(part) for part in self._parts])

    def _place(self, number: int) -> tuple[Sequence[ase.Atoms], int]:
        k = int(np.searchsorted(self._first, number, side="right")) - 1
        return self._parts[k], number - int(self._first[k])


def joined(parts: Sequence[Sequence[ase.Atoms]]) -> Sequence[ase.Atoms]:
    """All frames behind each other: a list where all parts are lists, else a collection that copies none."""
    if any(isinstance(part, Frames) for part in parts):
        return parts[0] if len(parts) == 1 else JoinedFrames(parts)
    return [atoms for part in parts for atoms in part]


def selected(frames: Sequence[ase.Atoms], chosen: npt.ArrayLike) -> Sequence[ase.Atoms]:
    """Some frames, in the order asked for; those of a collection on disk stay there."""
    if isinstance(frames, Frames):
        return SelectedFrames(frames, chosen)
    return [frames[k] for k in np.asarray(chosen).tolist()]


def where(frames: Sequence[ase.Atoms], entries: Mapping[str, Any]) -> Sequence[ase.Atoms]:
    """Frames whose entries of ``info`` have the given values, compared as text.

    Raises:
        DataError: no frame has such an entry, or none has these values; the message lists those that there are.

    >>> frames = [ase.Atoms("H", info={"functional": name}) for name in ("GGA", "GGA+U", "GGA")]
    >>> len(where(frames, {"functional": "GGA"}))
    2
    """
    if not entries:
        return frames
    kept = np.ones(len(frames), dtype=bool)
    for key, wanted in entries.items():
        found = entries_of(frames, key)
        kept &= np.array([value is not None and str(value) == str(wanted) for value in found], dtype=bool)
        if not kept.any():
            counts = Counter(str(value) for value in found if value is not None).most_common(N_LISTED)
            listed = ", ".join(f"{value} ({n:,} frames)" for value, n in counts) or "no frame has that entry"
            raise DataError(f"where: no frame is left with {key}={wanted}; {key}: {listed}")
    return selected(frames, np.flatnonzero(kept))


def atom_counts(frames: Sequence[ase.Atoms]) -> IntArray:
    """Atoms of every frame, ``(n_frames,)``."""
    return frames.n_atoms if isinstance(frames, Frames) else np.array([len(atoms) for atoms in frames], dtype=np.int64)


def numbers_of(frames: Sequence[ase.Atoms], number: int) -> npt.NDArray[Any]:
    """Atomic numbers of one frame, ``(n_atoms,)``."""
    return frames.numbers(number) if isinstance(frames, Frames) else np.asarray(frames[number].numbers)


def entries_of(frames: Sequence[ase.Atoms], key: str) -> list[Any]:
    """Entry of ``info`` of every frame; None where a frame lacks it.

    >>> entries_of([ase.Atoms("H", info={"phase": "gas"}), ase.Atoms("H")], "phase")
    ['gas', None]
    """
    return frames.entries(key) if isinstance(frames, Frames) else [atoms.info.get(key) for atoms in frames]


def labelled(frames: Sequence[ase.Atoms], names: Iterable[str] = tuple(PROPERTIES)) -> dict[str, Mask]:
    """Which frames carry each of the labels, ``{name: (n_frames,)}``.

    >>> labelled([ase.Atoms("H", info={"energy": -13.6}), ase.Atoms("H")], ["energy"])["energy"].tolist()
    [True, False]
    """
    if isinstance(frames, Frames):
        return {name: frames.labelled(name) for name in names}
    found = [labels_of(atoms).keys() for atoms in frames]
    return {name: np.array([name in keys for keys in found], dtype=bool) for name in names}


def frame_names(frames: Sequence[ase.Atoms]) -> list[str]:
    """Name of every frame in messages: its file and its number there.

    >>> frame_names([ase.Atoms("H2", info={"source": "h2.xyz", "frame": 3})])
    ['h2.xyz, frame 3']
    """
    if not isinstance(frames, Frames):
        return [frame_name(atoms) for atoms in frames]
    places = zip(frames.entries("source"), frames.entries("frame"), strict=True)
    return [named_frame(source, number) for source, number in places]


def cell_formulas(frames: Sequence[ase.Atoms]) -> list[str]:
    """Formula of all atoms of every frame."""
    return [cell_formula(numbers_of(frames, k)) for k in range(len(frames))]


def reduced_formulas(frames: Sequence[ase.Atoms]) -> list[str]:
    """Reduced formula of every frame, from its atoms.

    >>> reduced_formulas([ase.Atoms("Li4O2"), ase.Atoms("OLi2")])
    ['Li2O', 'Li2O']
    """
    if isinstance(frames, Frames):
        known = frames.entries(FORMULA)
        return [reduced_formula(frames.numbers(k)) if name is None else name for k, name in enumerate(known)]
    return [reduced_formula(atoms.numbers) for atoms in frames]


def fingerprint(frames: Sequence[ase.Atoms]) -> str:
    """SHA-256 of the content: of every frame of a list, of the stored columns of a collection on disk."""
    return frames.sha256 if isinstance(frames, Frames) else data_sha256(frames)
