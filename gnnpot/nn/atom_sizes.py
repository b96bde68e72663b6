"""Distances counted from where the covalent spheres of two atoms touch, for models of many elements."""

from collections.abc import Sequence

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from gnnpot.errors import ConfigError, did_you_mean

BY_ELEMENT = "by_element"
WAYS = ("shared", BY_ELEMENT)
LARGEST_RADIUS, SMALLEST_RADIUS = 2.6, 0.2
"""Of all elements, Å."""
FURTHEST = 2.0 * (LARGEST_RADIUS - SMALLEST_RADIUS)
"""What the smallest atoms add to their distance, Å."""
OVERLAP = 0.8
"""How deep the spheres of bonded atoms reach into each other at the most, Å."""
DEEPEST = 2.0 * LARGEST_RADIUS - OVERLAP


def is_by_element(name: str, value: str) -> bool:
    """What the setting ``model.name`` of a configuration asks for.

    Raises:
        ConfigError: neither ``shared`` nor ``by_element``.

    >>> is_by_element("filters", "by_element")
    True
    """
    if value not in WAYS:
        raise ConfigError(f"model.{name}={value!r} is unknown; {did_you_mean(str(value), WAYS)}")
    return value == BY_ELEMENT


class AtomSizes(nn.Module):
    """s_i = 2.6 Å - R_i with the covalent radius R_i (B. Cordero et al., Dalton Trans. 2832 (2008)).

    u_ij = r_ij + s_i + s_j = r_ij - R_i - R_j + 5.2 Å is never negative, and about 5.2 Å for bonds of any atoms.

    >>> sizes = AtomSizes([1, 55]).double()
    >>> sizes.added_to(torch.tensor([0.74, 5.1]), torch.tensor([0, 1]), torch.tensor([[0, 1], [0, 1]]))
    tensor([5.3200, 5.4200], dtype=torch.float64)
    """

    hundredths: Tensor
    """Of Å: whole numbers, so that no change of precision rounds them."""

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        sizes = 100.0 * (LARGEST_RADIUS - torch.tensor(covalent_radii[list(elements)]))
        self.register_buffer("hundredths", sizes.round().to(torch.get_default_dtype()), persistent=False)

    def forward(self) -> Tensor:
        """s of each element, ``(n_elements,)``, Å."""
        return self.hundredths / 100.0

    def added_to(self, distances: Tensor, types: Tensor, atoms: Tensor) -> Tensor:
        """u ``(n,)`` of pairs at these distances, Å, between the ``atoms`` ``(2, n)`` of these types."""
        return distances + self()[types[atoms]].sum(dim=0)
