"""Folders that are expensive to fill: filled once, found again, safe against other runs and killed runs."""

import errno
import os
import re
import shutil
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from gnnpot.errors import DataError, GnnpotWarning

T = TypeVar("T")
Fill = Callable[[Path], None]

HOUR = 3600.0
DAY = 24 * HOUR
FREE_SHARE = 0.1
"""Share of the disk that stays free: beyond it, entries that were not used for longest go."""
ENTRY = re.compile(r"[a-z]+-[0-9a-f]{32}")
"""Names of entries; nothing else in the folder is touched."""


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/gnnpot``, else ``~/.cache/gnnpot``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "gnnpot"


def open_or_fill(folder: Path, open_folder: Callable[[Path], T], fill: Fill) -> T:
    """What ``open_folder`` makes of ``folder``, after ``fill`` made the folder where there was none.

    ``fill(place)`` writes to a place of its own, which is then renamed: of two runs at once the first one done
    wins and the other takes its folder. A folder that ``open_folder`` refuses (`DataError`) is filled anew. Where
    the folder cannot be written, the content goes to a temporary one with a `GnnpotWarning`. Where the disk fills,
    other entries beside ``folder`` make room, least recently used first.

    Raises:
        DataError: no disk has room for the content.
    """
    try:
        found = _open_intact(folder, open_folder)
        return _fill(folder, open_folder, fill) if found is None else found
    except OSError as error:
        return _fill_temporary(folder, open_folder, fill, error)


def _open_intact(folder: Path, open_folder: Callable[[Path], T]) -> T | None:
    """The opened folder, or None where there is none or a damaged one was put out of the way."""
    if not folder.exists():
        return None
    try:
        found = open_folder(folder)
    except DataError:
        _remove(folder)
        return None
    with suppress(OSError):
        os.utime(folder)
    return found


def _fill(folder: Path, open_folder: Callable[[Path], T], fill: Fill) -> T:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder.parent)
    _make_room(folder.parent)
    own = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        fill(own / "content")
        try:
            (own / "content").replace(folder)
        except OSError:
            winner = _open_intact(folder, open_folder)
            if winner is not None:
                return winner
            (own / "content").replace(folder)
        return open_folder(folder)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _fill_temporary(folder: Path, open_folder: Callable[[Path], T], fill: Fill, reason: OSError) -> T:
    place = Path(tempfile.mkdtemp(prefix="gnnpot-"))
    warnings.warn(
        f"nothing can be cached in {folder.parent} ({reason}); the content goes to {place} and is removed at the "
        "end of this run. Set XDG_CACHE_HOME to a folder that can be written",
        GnnpotWarning,
        stacklevel=4,
    )
    try:
        fill(place / "content")
        opened = open_folder(place / "content")
    except BaseException as error:
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DataError(
                f"no room for graphs and descriptors, neither in {folder.parent} nor in {place.parent}: free some of "
                "the disk, name a folder on another one with data.cache=FOLDER, or compute descriptors in every step "
                "with data.cache_limit=0"
            ) from error
        raise
    weakref.finalize(opened, _remove_if_own, place, os.getpid())
    return opened


def _remove_if_own(place: Path, process: int) -> None:
    """Remove a temporary folder, but not from a forked worker that only reads it."""
    if os.getpid() == process:
        shutil.rmtree(place, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Take a folder out of the way in one step, then delete it."""
    aside = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        folder.replace(aside / "removed")
    except FileNotFoundError:
        pass
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_leftovers(cache_dir: Path) -> None:
    """Delete what runs that were killed while filling left here more than a day ago."""
    for leftover in cache_dir.glob(".building-*"):
        try:
            if time.time() - leftover.stat().st_mtime > DAY:
                shutil.rmtree(leftover, ignore_errors=True)
        except FileNotFoundError:
            continue


def _make_room(cache_dir: Path) -> None:
    """Delete entries that nobody opened in the last hour, oldest use first, until `FREE_SHARE` of the disk is free."""
    uses: list[tuple[float, Path]] = []
    for path in cache_dir.iterdir():
        with suppress(FileNotFoundError):  # another run was faster
            uses += [(path.stat().st_mtime, path)] if ENTRY.fullmatch(path.name) else []
    for last_used, entry in sorted(uses):
        disk = shutil.disk_usage(cache_dir)
        if disk.free >= FREE_SHARE * disk.total or time.time() - last_used < HOUR:
            return
        _remove(entry)
