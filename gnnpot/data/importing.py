"""Importing large collections of frames into a frame store: in bounded memory, going on where it was interrupted."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import ase

from gnnpot.data.frame_store import FrameStore
from gnnpot.data.frame_writer import FrameWriter
from gnnpot.errors import DataError

Progress = Callable[[int, int], None]
"""Called with (how much of the source was read, frames so far)."""

N_NAMED = 5
"""Frames left out whose errors are kept."""


class RawFrame(Protocol):
    """A frame as its source holds it."""

    def atoms(self) -> ase.Atoms:
        """The frame with its labels; raises `DataError` where it cannot be used."""


@dataclass(frozen=True)
class Batch:
    """Frames that belong together, as those of one material, and the place in the source behind them."""

    frames: Iterator[RawFrame]
    position: Mapping[str, Any]


class Source(Protocol):
    """Where frames come from."""

    noun: ClassVar[str]
    """What its size is counted in."""

    @property
    def size(self) -> int:
        """How much there is to read."""

    def describe(self) -> dict[str, Any]:
        """What the frames are and which files they come from: plain values that identify the source."""

    def batches(self, position: Mapping[str, Any], progress: Callable[[int], None]) -> Iterator[Batch]:
        """Batches behind a position (empty: all of them); ``progress`` is told how much of the size was read."""


@dataclass
class _Skipped:
    """Frames that could not be used and were left out."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, error: DataError) -> None:
        self.count += 1
        if len(self.first) < N_NAMED:
            self.first.append(str(error))

    def facts(self) -> dict[str, Any]:
        return {"skipped": self.count, "first_skipped": list(self.first)} if self.count else {}


def import_frames(
    source: Source, folder: str | Path, skip_broken: bool = False, progress: Progress | None = None
) -> FrameStore:
    """Write all frames of a source into a frame store and open it.

    Shards are written whole, one after another, and end with a batch. After an interruption or an error the same call
    goes on behind the last whole shard, and ends with the same bytes as an uninterrupted one.

    Args:
        source: of the frames.
        folder: of the store; a finished one of the same source is opened as it is.
        skip_broken: leave out frames that cannot be used, count them and keep their first errors in the index; else the
            first one is an error.
        progress: called behind each batch.

    Raises:
        DataError: a frame or file that cannot be used, no frames at all, or a folder that holds something else.
    """
    target = Path(folder)
    description = {**source.describe(), "skip_broken": skip_broken}
    finished = _finished(target, description)
    if finished is not None:
        return finished
    writer = FrameWriter(target, description)
    started = writer.n_frames > 0
    try:
        _copy(source, writer, skip_broken, progress)
    except BaseException:
        if not started and not writer.has_shards:
            shutil.rmtree(target, ignore_errors=True)
        raise
    return FrameStore(target)


def _copy(source: Source, writer: FrameWriter, skip_broken: bool, progress: Progress | None) -> None:
    position = writer.position
    skipped = _Skipped(position.pop("skipped", 0), position.pop("first_skipped", []))
    last: Mapping[str, Any] = position

    def report(done: int) -> None:
        if progress is not None:
            progress(done, writer.n_frames)

    for batch in source.batches(position, report):
        for raw in batch.frames:
            try:
                writer.append(raw.atoms())
            except DataError as error:
                if not skip_broken:
                    raise
                skipped.note(error)
        last = batch.position
        if writer.is_full:
            writer.commit({**last, **skipped.facts()})
    writer.close({**last, **skipped.facts()})


def _finished(folder: Path, description: Mapping[str, Any]) -> FrameStore | None:
    """The store, where this very import is complete already."""
    try:
        store = FrameStore(folder)
    except DataError:
        return None
    return store if store.contents.description == dict(description) else None
