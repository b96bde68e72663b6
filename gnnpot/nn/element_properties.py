"""Elements as a few numbers of order one, by which functions of all elements tell their neighbors apart.

Every property has mean 0 and variance 1 over the elements 1 to 103. They are fixed: what they say of an element that
the training set hardly holds is what they say of its relatives.
"""

import bisect
import functools
from collections.abc import Sequence

import numpy as np
import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from gnnpot.errors import ConfigError
from gnnpot.nn.elements import NOBLE_GASES, group_of

HEAVIEST = 103
LANTHANIDES_AND_ACTINIDES = 3
"""Their group here."""

MANY = 10
"""Elements from which on their vectors begin related: relatives help those of few atoms."""

KINSHIP, RANGE = 0.9, 1.0
"""Share of the covariance that comes from properties, and the distance in them at which it has fallen to 0.6."""

ELECTRONEGATIVITIES = (
    2.20, 4.16,
    0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, 4.79,
    0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16, 3.24,
    0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83, 1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96, 3.00,
    0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 1.90, 2.20, 2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66, 2.60,
    0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 1.13, 1.17, 1.20, 1.20, 1.10, 1.22, 1.23, 1.24, 1.25, 1.10, 1.27,
    1.30, 1.50, 2.36, 1.90, 2.20, 2.20, 2.28, 2.54, 2.00, 1.62, 2.33, 2.02, 2.00, 2.20, 2.20,
    0.70, 0.90, 1.10, 1.30, 1.50, 1.38, 1.36, 1.28, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30,
)  # fmt: skip
"""Pauling's, of the elements 1 to 103, where he gives none, a neighbor's or (He, Ne, Ar) that of L. C. Allen,
J. Am. Chem. Soc. 111, 9003 (1989)."""


def period_of(z: int) -> int:
    """Row of the periodic table.

    >>> [period_of(z) for z in (1, 2, 3, 26, 64)]
    [1, 1, 2, 4, 6]
    """
    return bisect.bisect_left(NOBLE_GASES, z)


@functools.cache
def _table() -> dict[str, Tensor]:
    numbers = range(1, HEAVIEST + 1)
    columns = {
        "radius": [float(covalent_radii[z]) for z in numbers],
        "electronegativity": list(ELECTRONEGATIVITIES),
        "group": [float(g if g <= 18 else LANTHANIDES_AND_ACTINIDES) for g in map(group_of, numbers)],
        "period": [float(period_of(z)) for z in numbers],
    }
    found = {"one": torch.ones(HEAVIEST + 1, dtype=torch.float64)}
    for name, column in columns.items():
        values = np.array(column)
        scaled = (values - values.mean()) / values.std()
        found[name] = torch.from_numpy(np.concatenate([[0.0], scaled]))
    return found


PROPERTIES = ("one", "radius", "electronegativity", "group", "period")
"""Names: 1 for all, covalent radius (B. Cordero et al., Dalton Trans. 2832 (2008)), electronegativity, place in the
periodic table."""


def element_properties(elements: Sequence[int], names: Sequence[str] = PROPERTIES) -> Tensor:
    """Properties of the elements, ``(n_elements, n_properties)``, float64.

    Raises:
        ConfigError: an element beyond the 103rd.

    >>> element_properties([3, 8], ["one", "period"]).round(decimals=2).tolist()
    [[1.0, -1.91], [1.0, -1.91]]
    """
    if max(elements) > HEAVIEST:
        raise ConfigError(
            f"model.elements: properties are known of the elements 1 to {HEAVIEST}, not of {max(elements)}"
        )
    return torch.stack([_table()[name][list(elements)] for name in names], dim=1)


def element_embedding(elements: Sequence[int], n_features: int) -> nn.Embedding:
    """A vector of each element, normal of variance 1 in the beginning; those of `MANY` elements are drawn together.

    The covariance of elements a and b is then 0.9 exp(-|p_a - p_b|²/2) + 0.1 δ_ab with their properties p (a Gaussian
    process): an element that few training atoms have begins near those that behave like it.

    >>> torch.manual_seed(0)
    <torch._C.Generator object at ...>
    >>> vectors = element_embedding(range(1, 90), 1000).weight
    >>> cos = torch.nn.functional.cosine_similarity
    >>> bool(cos(vectors[36], vectors[54], dim=0) > 0.6 > 0.3 > cos(vectors[36], vectors[8], dim=0))
    True
    """
    embedding = nn.Embedding(len(elements), n_features)
    if len(elements) >= MANY and max(elements) <= HEAVIEST:
        properties = element_properties(elements, PROPERTIES[1:])
        kinship = torch.exp(-0.5 * (torch.cdist(properties, properties) / RANGE).square())
        covariance = KINSHIP * kinship + (1.0 - KINSHIP) * torch.eye(len(elements), dtype=torch.float64)
        with torch.no_grad():
            embedding.weight.copy_(torch.linalg.cholesky(covariance).to(embedding.weight) @ embedding.weight)
    return embedding
