"""A cutoff from the data, where the configuration leaves it to them."""

from collections.abc import Sequence

import ase
import torch

from gnnpot.data.graph import edge_vectors, graph_from_atoms

SHORTEST, LONGEST = 4.5, 7.0
"""Å. Covalent crystals have their second shell within the shortest; few atoms feel each other beyond the longest."""


def cutoff_for(frames: Sequence[ase.Atoms], n_neighbors: int) -> float:
    """Radius within which atoms have so many neighbors on average, from 4.5 to 7 Å, in tenths of an Å.

    What a neighborhood can tell grows with the number of neighbors in it, and so does the time that it takes; open
    structures need a longer radius for the same number than dense ones.

    >>> from ase.build import bulk
    >>> cutoff_for([bulk("Li", "bcc", a=3.43)], 55), cutoff_for([bulk("Cu", "fcc", a=3.61)], 55)
    (5.9, 5.7)
    """
    distances = torch.cat([edge_vectors(graph_from_atoms(atoms, LONGEST)).norm(dim=1) for atoms in frames])
    wanted = n_neighbors * sum(len(atoms) for atoms in frames)
    if wanted > len(distances):
        return LONGEST
    radius = float(distances.kthvalue(wanted).values)
    return round(min(max(radius, SHORTEST), LONGEST), 1)
