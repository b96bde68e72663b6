"""Rows of a large file: read as they were written, or an error that names the file."""

from pathlib import Path

import numpy as np
import pytest

from gnnpot.data.bulk_rows import BulkRows


@pytest.fixture
def values(tmp_path: Path) -> np.ndarray:
    made = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    (tmp_path / "x.array").write_bytes(made.tobytes())
    return made


@pytest.mark.parametrize(
    "ranges", [[(0, 50)], [(7, 9), (3, 3), (0, 2), (49, 50)], [(5, 5)]], ids=["all", "some", "none"]
)
def test_ranges_come_one_after_the_other(tmp_path: Path, values: np.ndarray, ranges: list[tuple[int, int]]) -> None:
    rows = BulkRows(tmp_path / "x.array", np.dtype(np.float32), (3, 2))
    first, last = np.array(ranges).T
    rows.announce(first, last)
    wanted = np.concatenate([values[a:b] for a, b in ranges])
    assert np.array_equal(rows.read(first, last), wanted)


def test_a_file_that_became_shorter_is_named(tmp_path: Path, values: np.ndarray) -> None:
    rows = BulkRows(tmp_path / "x.array", np.dtype(np.float32), (3, 2))
    (tmp_path / "x.array").write_bytes(values[:40].tobytes())
    with pytest.raises(OSError, match=r"x\.array ends before byte"):
        rows.read(np.array([30]), np.array([45]))
