"""How far structures lie from the training set: inputs of a model that leave the range which they had there.

Counted in the evaluation that gives energies and forces, from the same descriptors. Models without ranges (graph
networks) have no counts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""Inputs outside their range, of every atom, ``(n_atoms,)``."""


def extrapolation_summary(counts: Sequence[Counts]) -> dict[str, Any]:
    """Structures and atoms with inputs outside their range, from the counts of every structure.

    >>> summary = extrapolation_summary([np.array([0, 0]), np.array([3, 0, 1])])
    >>> summary["n_structures"], summary["n_atoms"], summary["n_inputs"]
    (1, 2, 4)
    """
    atoms = [int(np.count_nonzero(count)) for count in counts]
    inputs = [int(count.sum()) for count in counts]
    return {
        "n_structures": sum(n > 0 for n in atoms),
        "n_atoms": sum(atoms),
        "n_inputs": sum(inputs),
        "of_structures": len(counts),
        "of_atoms": sum(len(count) for count in counts),
        "atoms_per_structure": atoms,
        "inputs_per_structure": inputs,
    }


def extrapolation_line(summary: dict[str, Any], names: Sequence[str] = ()) -> str:
    """One sentence for people; the worst structure by its name, where there are ``names``."""
    if not summary["n_atoms"]:
        return f"no extrapolation: all {summary['of_atoms']:,} atoms lie in the range of the training set"
    text = (
        f"extrapolation: {summary['n_atoms']:,} of {summary['of_atoms']:,} atoms, in {summary['n_structures']:,} of "
        f"{summary['of_structures']:,} structures, have symmetry functions outside the range of the training set "
        f"({summary['n_inputs']:,} in all)"
    )
    if names:
        worst = int(np.argmax(summary["inputs_per_structure"]))
        text += f"; most in {names[worst]}: {summary['atoms_per_structure'][worst]} atoms"
    return text
