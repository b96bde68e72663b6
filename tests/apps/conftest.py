"""A Lennard-Jones potential behind gnnpot's contract: the model with known answers that the tests of apps use."""

from collections.abc import Iterable, Sequence

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, edge_vectors, sum_over_neighbors
from gnnpot.models.potential import Potential
from gnnpot.nn.layers import ElementTable


class LennardJones(Potential):
    """E = ½ Σ 4ε[(σ/r)¹² - (σ/r)⁶] f(r), f falling smoothly (C²) to zero at the cutoff unless ``smooth=False``."""

    def __init__(
        self,
        elements: Sequence[int | str] | None,
        cutoff: float,
        epsilon: float = 0.0103,
        sigma: float = 3.4,
        smooth: bool = True,
    ) -> None:
        super().__init__(elements, cutoff)
        self.epsilon, self.sigma, self.smooth = epsilon, sigma, smooth
        self.element_table = ElementTable(self.elements)
        self.weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        self.element_table(graph.atomic_numbers)
        r = edge_vectors(graph).norm(dim=1)
        power = (self.sigma / r) ** 6
        x = r / self.cutoff
        envelope = 1.0 - 10.0 * x**3 + 15.0 * x**4 - 6.0 * x**5 if self.smooth else torch.ones_like(x)
        pair = 2.0 * self.epsilon * (power**2 - power) * envelope
        return {"energies": (sum_over_neighbors(pair, graph) * self.weight).double()}

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        pass


class SwirlingForces(Potential):
    """Direct forces, Σ_j (r_ij × c + r_ij) g(r_ij) with a fixed c: no gradient of anything, and not equivariant."""

    outputs = frozenset({"forces"})

    def __init__(self, elements: Sequence[int | str] | None, cutoff: float, swirl: float = 0.3) -> None:
        super().__init__(elements, cutoff)
        self.swirl = swirl
        self.weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        vectors = edge_vectors(graph)
        r = vectors.norm(dim=1, keepdim=True)
        strength = (1.0 - (r / self.cutoff) ** 2) ** 3 * (r - 0.8 * self.cutoff)
        axis = torch.tensor([0.0, 0.0, self.swirl], dtype=vectors.dtype).expand_as(vectors)
        pushes = 0.1 * strength * (vectors + torch.linalg.cross(vectors, axis)) * self.weight.to(vectors.dtype)
        return {"forces": sum_over_neighbors(pushes, graph)}

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        pass


@pytest.fixture
def argon_potential() -> LennardJones:
    """Smooth Lennard-Jones argon, cutoff 6 Å."""
    return LennardJones(["Ar"], cutoff=6.0)


@pytest.fixture
def bare_lennard_jones() -> LennardJones:
    """Lennard-Jones argon that jumps at its cutoff of 6 Å."""
    return LennardJones(["Ar"], cutoff=6.0, smooth=False)


@pytest.fixture
def swirling_forces() -> SwirlingForces:
    """A direct-force model that conserves nothing."""
    return SwirlingForces(["Ar"], cutoff=6.0)


@pytest.fixture
def argon() -> Atoms:
    """32 atoms of fcc argon, rattled."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2)
    atoms.rattle(0.08, seed=3)
    return atoms
