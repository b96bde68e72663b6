"""Rows of a large array on disk, read into memory of ours.

A mapped file costs a page fault for every 4 kB, during which no other thread of Python runs; a read costs a copy.
"""

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]

SMALLEST = 2**16
"""Mean bytes of a structure from which on reading is worth its calls."""


class BulkRows:
    """Rows ``first[k]`` to ``last[k]`` of a raw file, for many k.

    Args:
        path: the file.
        dtype: of the numbers in it.
        row_shape: of a row.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> None:
        self.path = path
        self.dtype = dtype
        self.row_shape = row_shape
        self._row_bytes = dtype.itemsize * int(np.prod(row_shape))
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def read(self, first: IntArray, last: IntArray) -> Array:
        """The rows of all ranges, one after the other.

        Raises:
            OSError: the file is shorter than it was, or the disk fails.
        """
        out = np.empty((int((last - first).sum()), *self.row_shape), self.dtype)
        target, done = memoryview(out.reshape(-1).view(np.uint8).data), 0
        for a, b in zip(first.tolist(), last.tolist(), strict=True):
            end = done + (b - a) * self._row_bytes
            self._fill(target[done:end], a * self._row_bytes)
            done = end
        return out

    def announce(self, first: IntArray, last: IntArray) -> None:
        """Tell the system that these ranges will be read soon, so that the disk is at work meanwhile."""
        if hasattr(os, "posix_fadvise"):
            for a, b in zip(first.tolist(), last.tolist(), strict=True):
                start, length = a * self._row_bytes, (b - a) * self._row_bytes
                os.posix_fadvise(self._file, start, length, os.POSIX_FADV_WILLNEED)

    def _fill(self, target: memoryview, start: int) -> None:
        done = 0
        while done < len(target):
            n = os.preadv(self._file, [target[done:]], start + done)
            if n == 0:
                raise OSError(f"{self.path} ends before byte {start + len(target)}: delete its folder, it is rebuilt")
            done += n
