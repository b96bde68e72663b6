"""A cutoff from the data, where the configuration leaves it to them."""

from collections.abc import Sequence

import ase
import torch

from gnnpot.data.graph import edge_vectors, graph_from_atoms
from gnnpot.nn.moment_functions import is_moment_function, parse_moment_function
from gnnpot.nn.symmetry_functions import parse_function

LONGEST = 7.0
"""Å; few atoms feel each other beyond it."""


def cutoff_for(frames: Sequence[ase.Atoms], n_neighbors: int, shortest: float) -> float:
    """Radius within which atoms have so many neighbors on average, from the shortest to 7 Å, in tenths of an Å.

    What a neighborhood can tell grows with the number of neighbors in it, and so does the time that it takes; open
    structures need a longer radius for the same number than dense ones.

    >>> from ase.build import bulk
    >>> cutoff_for([bulk("Li", "bcc", a=3.43)], 55, 4.5), cutoff_for([bulk("C", "diamond", a=3.57)], 55, 4.5)
    (5.9, 4.5)
    """
    distances = torch.cat([edge_vectors(graph_from_atoms(atoms, LONGEST)).norm(dim=1) for atoms in frames])
    wanted = n_neighbors * sum(len(atoms) for atoms in frames)
    if wanted > len(distances):
        return LONGEST
    radius = float(distances.kthvalue(wanted).values)
    return round(min(max(radius, shortest), LONGEST), 1)


def longest_cutoff(functions: Sequence[str]) -> float:
    """Of lines of symmetry functions, Å.

    >>> longest_cutoff(["G2 Si Si eta=4 cutoff=5.5 cosine", "G2 Si Si eta=1 cutoff=6 cosine"])
    6.0
    """
    return max((parse_moment_function if is_moment_function(f) else parse_function)(f).cutoff for f in functions)
