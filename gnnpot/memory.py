"""How the process treats the memory of arrays that it has done with."""

import ctypes
import functools

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's ``mallopt``."""

LARGEST = 2**31 - 1
"""Bytes, the largest value that ``mallopt`` takes."""


@functools.cache
def keep_freed_arrays() -> bool:
    """Let the process keep arrays of up to 2 GB for the next step, instead of giving them back to the system.

    A system gives pages back zeroed, one fault each, which takes a fifth of a step of molecular dynamics of 100,000
    atoms. Where the C library is another than glibc nothing happens.

    Returns:
        whether the C library took it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, LARGEST))
