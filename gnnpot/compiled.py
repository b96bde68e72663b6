"""Compiles loops with Numba on their first call, and keeps the machine code where a cache folder is writable."""

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

SUMS = frozenset({"reassoc", "contract"})
"""Freedom that a sum needs to run in vector registers. NaN and infinity keep their meaning."""


def compiled(*, sums: bool = False, inline: bool = False) -> Callable[[Function], Function]:
    """Decorate a loop: compiled at its first call for the types it is given, without the interpreter lock.

    Args:
        sums: the function adds up long rows and may do so in any order (`SUMS`). Never for code that relies on
            the order of floating-point operations.
        inline: the function is written into the compiled loops that call it, where a call costs as much as its work.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": set(SUMS) if sums else False}
    options["forceinline"] = inline

    def decorate(function: Function) -> Function:
        try:
            dispatcher = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder to write the cache to: compile again in every process
            return numba.njit(**options)(function)
        _drop_stale(Path(function.__code__.co_filename).parent, Path(dispatcher.stats.cache_path))
        return dispatcher

    return decorate


@functools.cache
def _drop_stale(sources: Path, cache: Path) -> None:
    """Forget machine code that is older than a source beside it, or than loops of another floor that it may contain.

    Numba looks only at a function's own file.
    """
    with suppress(OSError):
        files = [*sources.glob("*.py"), *sources.parent.glob("*/*_kernels.py")]
        newest = max(path.stat().st_mtime for path in files)
        for index in cache.glob("*.nbi"):
            if index.stat().st_mtime < newest:
                index.unlink(missing_ok=True)
