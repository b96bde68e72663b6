"""Formulas of structures, computed from their atoms, so that they agree over all sources."""

from functools import lru_cache
from math import gcd

import numpy as np
from ase.data import chemical_symbols
from ase.symbols import Symbols
from numpy.typing import ArrayLike


def reduced_formula(numbers: ArrayLike) -> str:
    """Formula divided by the greatest common divisor of its counts, symbols in alphabetical order.

    It is made of the atoms alone, never of what a file says, so that the frames of a material share it whatever their
    cell and their source.

    >>> reduced_formula([8, 3, 3, 8, 3, 3])
    'Li2O'
    >>> reduced_formula([14, 14])
    'Si'
    """
    elements, counts = np.unique(np.asarray(numbers), return_counts=True)
    return _reduced(tuple(elements.tolist()), tuple(counts.tolist()))


@lru_cache(maxsize=65536)
def _reduced(elements: tuple[int, ...], counts: tuple[int, ...]) -> str:
    divisor = gcd(*counts) if counts else 1
    parts = sorted((chemical_symbols[z], n // divisor) for z, n in zip(elements, counts, strict=True))
    return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in parts)


def cell_formula(numbers: ArrayLike) -> str:
    """Formula of all atoms, in the order of Hill, as ASE writes it.

    >>> cell_formula([8, 3, 3])
    'Li2O'
    """
    return str(Symbols(np.asarray(numbers)).get_chemical_formula())
