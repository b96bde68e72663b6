"""Matrix products inside of compiled code."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gnnpot.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]

SMALL_PRODUCT = 2**18
"""Multiplications up to which OpenBLAS uses one thread. More of them gain little beside loops that run in one, and on
a busy machine they wait for each other many times as long as the product takes."""


@compiled()
def write_product(left: Array, right: Array, out: Array) -> None:
    """Write the matrix product to ``out``, a few rows after the other: so few that BLAS stays with one thread."""
    step = max(16, SMALL_PRODUCT // right.size)
    for start in range(0, len(left), step):
        stop = min(start + step, len(left))
        np.dot(left[start:stop], right, out[start:stop])
