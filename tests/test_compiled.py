"""Compiling loops, with and without a place for the machine code."""

import os
from types import SimpleNamespace

import numba
import numpy as np

from gnnpot.compiled import _drop_stale, compiled
from gnnpot.nn.descriptor_rows import dot_row, exponential_constants, exponential_row


def total(values):
    """Sum of an array."""
    result = 0.0
    for value in values:
        result += value
    return result


def test_without_a_cache_folder_it_still_compiles(monkeypatch):
    def no_cache(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr("gnnpot.compiled.numba", SimpleNamespace(njit=no_cache))
    assert compiled()(total)(np.arange(4.0)) == 6.0


def test_machine_code_older_than_a_source_is_dropped(tmp_path):
    sources, cache = tmp_path / "sources", tmp_path / "cache"
    for folder in (sources, cache):
        folder.mkdir()
    (sources / "kernels.py").write_text("")
    for name, age in (("old.nbi", 3600), ("new.nbi", -3600)):
        (cache / name).write_text("")
        time = (sources / "kernels.py").stat().st_mtime - age
        os.utime(cache / name, (time, time))
    _drop_stale(sources, cache)
    assert [path.name for path in cache.iterdir()] == ["new.nbi"]


def test_sums_keep_nan():
    row = np.array([1.0, np.nan, 2.0])
    assert np.isnan(dot_row(row, row, 3))


def test_exponentials_to_the_last_digits():
    for kind, tolerance in ((np.float64, 4e-16), (np.float32, 3e-7)):
        constants, integers = exponential_constants(kind)
        y = -np.linspace(0.0, 80.0, 1001).astype(kind)
        work, value = np.empty_like(y), np.empty_like(y)
        exponential_row(y, len(y), constants, integers, work, value)
        np.testing.assert_allclose(value, np.exp(y.astype(np.float64)), rtol=tolerance)


def test_machine_code_older_than_loops_of_another_floor_is_dropped(tmp_path):
    floors = tmp_path / "data", tmp_path / "nn"
    cache = tmp_path / "cache"
    for folder in (*floors, cache):
        folder.mkdir()
    (cache / "old.nbi").write_text("")
    (floors[1] / "sums.py").write_text("")
    os.utime(floors[1] / "sums.py", (0, 0))
    (floors[0] / "edge_kernels.py").write_text("")
    long_ago = (cache / "old.nbi").stat().st_mtime - 3600
    os.utime(cache / "old.nbi", (long_ago, long_ago))
    _drop_stale(floors[1], cache)
    assert not list(cache.glob("*.nbi"))
