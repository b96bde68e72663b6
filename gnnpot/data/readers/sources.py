"""From what a user typed to files that exist and can be opened, compressed or not."""

import bz2
import difflib
import gzip
import lzma
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path
from typing import IO, Any, TextIO, cast

from gnnpot.data.frame_layout import is_frame_store
from gnnpot.errors import DataError

PathLike = str | os.PathLike[str]

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz")

DECOMPRESSION_ERRORS = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
"""What a truncated or damaged compressed file raises while it is read."""

_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


def source_files(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """Files that ``paths`` stands for: one path, a glob pattern, or a list of both, in the given order.

    Raises :class:`DataError` for a missing or empty file, a folder, and a pattern that matches nothing.
    """
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise DataError("no data file given: data.path=FILE, or a list, data.path=[FILE1,FILE2]")
    return [file for entry in listed for file in _files_of(entry)]


def _files_of(entry: PathLike) -> list[Path]:
    path = Path(entry).expanduser()
    if is_frame_store(path):
        return [path]
    if path.is_dir():
        raise DataError(
            f"'{entry}' is a folder: name its files, data.path='{path / '*.xyz'}' (quoted, so that the shell"
            " leaves the pattern alone)"
        )
    if path.exists():
        if path.stat().st_size == 0:
            raise DataError(f"'{entry}' is empty")
        return [path]
    if has_magic(str(path)):
        pattern = str(path.relative_to(path.anchor)) if path.anchor else str(path)
        matches = sorted(Path(path.anchor or ".").glob(pattern))
        if files := [match for match in matches if match.is_file()]:
            return [file for match in files for file in _files_of(match)]
        raise DataError(f"no file matches '{entry}' (looked in {Path.cwd()})")
    raise DataError(f"there is no file '{entry}'{_nearest_file(path)}")


def _nearest_file(path: Path) -> str:
    """Hint after the name of a missing file."""
    if not path.parent.is_dir():
        return f": the folder '{path.parent}' does not exist either"
    names = [file.name for file in path.parent.iterdir() if file.is_file()]
    nearest = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f": did you mean '{path.parent / nearest[0]}'?" if nearest else f" (working folder: {Path.cwd()})"


def plain_name(path: Path) -> str:
    """Name of the file without the suffix of a compression.

    >>> plain_name(Path("runs/OUTCAR.hot.gz"))
    'OUTCAR.hot'
    """
    return path.stem if path.suffix.lower() in COMPRESSED_SUFFIXES else path.name


def open_binary(path: Path) -> IO[bytes]:
    """The decompressed bytes of a file; what it is compressed with is seen from its first bytes."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return cast(IO[bytes], opener(path, "rb"))
    return path.open("rb")


def decompressing(file: IO[bytes]) -> IO[bytes]:
    """The decompressed bytes of an open file, whose own position tells how much of it has been read."""
    start = file.read(6)
    file.seek(0)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return cast(IO[bytes], opener(file, "rb"))
    return file


def open_text(path: Path) -> TextIO:
    """The decompressed text of a file."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return cast(TextIO, opener(path, "rt", encoding="utf-8", errors="replace"))
    return path.open(encoding="utf-8", errors="replace")


def first_bytes(path: Path, n_bytes: int = 4096) -> bytes:
    """Start of the decompressed file."""
    with open_binary(path) as file:
        try:
            return file.read(n_bytes)
        except DECOMPRESSION_ERRORS as error:
            raise DataError(f"'{path}' cannot be decompressed: {error}") from error


@contextmanager
def decompressed(path: Path) -> Iterator[Path]:
    """``path`` itself, or a temporary decompressed copy under the plain name, for readers that need a path."""
    if path.suffix.lower() not in COMPRESSED_SUFFIXES:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="gnnpot-") as folder:
        copy = Path(folder) / plain_name(path)
        with open_binary(path) as packed, copy.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        yield copy
