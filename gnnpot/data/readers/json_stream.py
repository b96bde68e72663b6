"""Large JSON files, one record at a time: bounded memory, and the byte at which each record ends.

A record is a member of the object, or an element of the list, that the file consists of; in JSON lines (``.jsonl``) it
is a line. The standard decoder reads each from a window that moves over the file, so that only one record at a time is
in memory, and reading can go on from the end of any record.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gnnpot.data.readers.sources import DECOMPRESSION_ERRORS, decompressing, plain_name
from gnnpot.errors import DataError

BLOCK = 4 << 20
"""Bytes read at a time."""
LARGEST_RECORD = 512 << 20
"""Characters; a longer record is another layout than was announced, and would not fit into memory."""
NEAR_THE_END = 1 << 16
"""Characters; an error of decoding nearer to the end of the window than this may be a record that goes on behind it."""

LINES = (".jsonl", ".ndjson")
_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Record:
    """One record: its key (empty in a list), its value, its number, and the byte behind it (decompressed)."""

    key: str
    value: Any
    number: int
    end: int


def json_records(
    path: Path, start: int = 0, number: int = 0, progress: Callable[[int], None] | None = None
) -> Iterator[Record]:
    """Records of a JSON file, compressed or not, from the byte ``start`` behind an earlier record.

    Args:
        path: of the file.
        start: byte of the decompressed file behind the last record that was used; 0 begins.
        number: of the first record from there.
        progress: called with the bytes of the file, as it lies on disk, that have been read.

    Raises:
        DataError: broken or truncated JSON, with the record and the byte.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.json"
    >>> _ = file.write_text('{"mp-1": [1], "mp-2": [2]}')
    >>> first, second = json_records(file)
    >>> second.key, second.value, second.number
    ('mp-2', [2], 1)
    >>> [record.key for record in json_records(file, first.end, 1)]
    ['mp-2']
    """
    with path.open("rb") as raw:
        window = _Window(path, raw, progress)
        try:
            yield from window.records(start, number)
        except DECOMPRESSION_ERRORS as error:
            raise window.error(f"cut off or damaged inside its compression ({error})") from error
        except UnicodeDecodeError as error:
            raise window.error(f"not UTF-8 ({error})") from error


class _Window:
    """The part of a file that is being decoded."""

    def __init__(self, path: Path, raw: IO[bytes], progress: Callable[[int], None] | None) -> None:
        self._path = path
        self._raw = raw
        self._file = decompressing(raw)
        self._progress = progress
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._at = 0
        """Next character of the window."""
        self._marked = 0
        """Character of the window behind the last record,"""
        self._byte = 0
        """and the byte of the file that it is."""
        self._number = 0
        self._has_ended = False

    def records(self, start: int, number: int) -> Iterator[Record]:
        """All records from a byte on."""
        self._number = number
        opening = "" if plain_name(self._path).lower().endswith(LINES) else self._peek()
        if opening not in ("{", "[", ""):
            raise self.error(f"expected an object or a list, found {opening!r}")
        closing = {"{": "}", "[": "]"}.get(opening, "")
        self._at += len(opening)
        if start:
            self._jump(start)
        is_first = start == 0
        while (character := self._peek()) != closing:
            if opening and not is_first:
                self._take(",")
            elif not character:
                raise self.error("the file is cut off")
            yield self._record(has_key=opening == "{")
            is_first = False
        self._at += len(closing)
        if self._peek():
            raise self.error("something follows the end of the JSON")

    def error(self, what: str) -> DataError:
        """An error that names the record and the byte."""
        byte = self._byte + _n_bytes(self._text[self._marked : self._at])
        return DataError(f"{self._path}, record {self._number}, byte {byte:,}: {what}")

    def _record(self, has_key: bool) -> Record:
        key = ""
        if has_key:
            key = self._value()
            if not isinstance(key, str):
                raise self.error(f"expected a name in quotes, found {str(key)[:40]}")
            self._take(":")
        value = self._value()
        self._byte += _n_bytes(self._text[self._marked : self._at])
        self._marked = self._at
        record = Record(key, value, self._number, self._byte)
        self._number += 1
        return record

    def _value(self) -> Any:
        """The value that begins here, read on until it is whole."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                goes_on = error.pos > len(self._text) - NEAR_THE_END or error.msg.startswith("Unterminated string")
                if self._has_ended or not goes_on:
                    cut = "the file is cut off" if self._has_ended and goes_on else "broken JSON"
                    self._at = min(error.pos, len(self._text))
                    raise self.error(f"{cut} ({error.msg})") from None
            else:
                if end < len(self._text) or self._has_ended:
                    self._at = end
                    return value
            if len(self._text) - self._at > LARGEST_RECORD:
                raise self.error(
                    f"the record is longer than {LARGEST_RECORD >> 20} MiB: is the file of the layout that format= "
                    "names?"
                )
            self._fill(len(self._text))

    def _peek(self) -> str:
        """The next character that is no space, empty at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or self._has_ended:
                return self._text[self._at : self._at + 1]
            self._fill(BLOCK)

    def _take(self, expected: str) -> None:
        found = self._peek()
        if found != expected:
            raise self.error(f"expected {expected!r}, found {found!r}" if found else "the file is cut off")
        self._at += 1

    def _fill(self, n_bytes: int) -> None:
        """Forget what was decoded, and read on."""
        block = self._file.read(max(n_bytes, BLOCK))
        self._has_ended = not block
        self._text = self._text[self._marked :] + self._decode(block, self._has_ended)
        self._at -= self._marked
        self._marked = 0
        if self._progress is not None:
            self._progress(self._raw.tell())

    def _jump(self, byte: int) -> None:
        self._file.seek(byte)
        self._text, self._at, self._marked, self._byte, self._has_ended = "", 0, 0, byte, False
        self._decode = codecs.getincrementaldecoder("utf-8")().decode


def _n_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
