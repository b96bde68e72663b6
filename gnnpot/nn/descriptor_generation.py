"""Symmetry functions chosen from the data: grids between the shortest distances and the cutoff."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TypeAlias

import torch
from ase.data import covalent_radii
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather
from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.nn.descriptor_operators import fast_descriptors
from gnnpot.nn.descriptor_scaling import DescriptorStatistics
from gnnpot.nn.descriptors import DescriptorSet
from gnnpot.nn.layers import ElementTable
from gnnpot.nn.moment_functions import moment_grid
from gnnpot.nn.symmetry_functions import Kind, SymmetryFunction

MOMENTS = ("moments", "moments_by_element")
DESCRIPTORS = ("pairwise", "narrow", "weighted", "chebyshev", *MOMENTS)
"""What can be generated: functions per element and pair of elements (two kinds), of all elements with weights (two
kinds), or of every center."""

PUBLISHED_DESCRIPTORS = ("weighted_root", "chebyshev_angle")
"""As a commercial code has them, to repeat what was published with it."""

ZETAS = (1.0, 4.0, 16.0)
"""Angular resolutions; each with λ = 1 and -1."""

N_ORDERS = 5
"""Chebyshev polynomials of the angle in each generated shell."""

HIGHEST_POWER = 3
"""Of the element weights in generated wT2."""

REACH = 0.75
"""Where the last shell of generated T3 is, over the cutoff."""

LEAST_SPREAD = 1e-3
"""Functions whose standard deviation over the data is less than this share of the element's largest are dropped."""

Shells: TypeAlias = list[tuple[float, float]]
"""(R_s, η) of each."""

SHORTEST_BOND = 0.8
"""Shortest distance of two elements that never meet in the data, over the sum of their covalent radii."""


def generate_functions(
    elements: Sequence[int],
    cutoff: float,
    n_radial: int,
    n_angular: int,
    envelope: str,
    graphs: Sequence[AtomicGraph] = (),
    descriptors: str | Sequence[str] = "pairwise",
) -> list[str]:
    """Lines of symmetry functions (`gnnpot.nn.symmetry_functions.parse_function`) for all elements.

    For each center and neighbor element, ``n_radial`` G2 at equally spaced R_s from the shortest distance d of the
    two in ``graphs`` towards the cutoff, with η = 1/(2 Δ²), Δ their spacing. For each pair of neighbor elements,
    ``n_angular`` shells of G5 in the same way, each with ζ = 1, 4, 16 and λ = ±1. Functions that hardly vary in
    ``graphs`` (`LEAST_SPREAD`) are left out. Without graphs d is a share of the covalent radii.

    With ``descriptors="narrow"`` there are as many G2 and G4 with R_s = 0 instead, η = 1/(2 w²), their widths w in
    equal ratios from d (G2: d/2) to the cutoff.

    With ``descriptors="weighted"`` each center has one such set of wG2 and wG5 for the neighbors of all elements, so
    that it has as many functions with five elements as with one; d is then the center's shortest distance.
    ``"chebyshev"`` gives it T2 of the lowest ``n_radial`` orders without weights and with the powers 1 to 3 of these
    (as many as tell the elements apart), and T3, wT3 and sT3 of the lowest `N_ORDERS` in two shells for each three of
    ``n_angular``, the last at `REACH` of the cutoff: no more functions for twenty elements than for four.
    ``"moments"`` makes the same functions for every center, from the shortest distance of all
    (`gnnpot.nn.moment_functions.moment_grid`); ``"moments_by_element"`` counts distances from where the covalent
    spheres of two atoms touch, for data of many elements.

    To repeat published settings ``"weighted_root"`` makes wG2 and zG4 in the shells of ``"weighted"``, and
    ``"chebyshev_angle"`` zT2 of the lowest ``n_radial`` orders and zT3 of the lowest ``n_angular``.

    A list of these words gives each center the functions of all, each once; moments go with no others.

    Raises:
        ConfigError: a negative number of functions, or none at all, or ``descriptors`` that are unknown or do not go
            together.

    >>> len(generate_functions([14], 5.0, n_radial=8, n_angular=2, envelope="polynomial"))
    20
    """
    if min(n_radial, n_angular) < 0 or n_radial + n_angular == 0:
        raise ConfigError(
            f"model.n_radial={n_radial}, model.n_angular={n_angular}: neither may be negative, and not both zero"
        )
    words = _checked_words(descriptors)
    shortest = _shortest_distances(elements, cutoff, graphs)
    if words[0] in MOMENTS:
        grid = (float(shortest.min()), cutoff, n_radial, n_angular, envelope)
        return [str(f) for f in moment_grid(*grid, by_element=words[0] != MOMENTS[0])]
    functions: list[SymmetryFunction] = []
    for center, distances in zip(elements, shortest, strict=True):
        functions += _Grids(center, elements, distances, cutoff, n_radial, n_angular, envelope).of(words)
    return [str(function) for function in _without_constant_ones(elements, functions, graphs)]


def _checked_words(descriptors: str | Sequence[str]) -> list[str]:
    words = list(dict.fromkeys([descriptors] if isinstance(descriptors, str) else descriptors))
    known = (*DESCRIPTORS, *PUBLISHED_DESCRIPTORS)
    for word in words:
        if word not in known:
            raise ConfigError(f"model.descriptors={word!r} is unknown; {did_you_mean(str(word), known)}")
    if not words:
        raise ConfigError(f"model.descriptors=[]: give one or more of {', '.join(known)}")
    of_every_center = [word for word in words if word in MOMENTS]
    if of_every_center and len(words) > 1:
        raise ConfigError(
            f"model.descriptors=[{','.join(words)}]: {of_every_center[0]} are functions of every center and go with no "
            f"others; take them out of the list, or set model.descriptors={of_every_center[0]}"
        )
    return words


def count_generated(n_elements: int, n_radial: int, n_angular: int, descriptors: str | Sequence[str]) -> dict[str, int]:
    """Functions of each element by kind, as `generate_functions` makes them for some number of elements.

    >>> count_generated(4, n_radial=12, n_angular=6, descriptors="pairwise")
    {'G2': 48, 'G5': 360}
    """
    words = _checked_words(descriptors)
    if words[0] in MOMENTS:
        return dict(Counter(function.kind for function in moment_grid(1.0, 5.0, n_radial, n_angular, "polynomial")))
    elements = range(1, n_elements + 1)
    grids = _Grids(1, elements, torch.ones(n_elements), 5.0, n_radial, n_angular, "polynomial")
    return dict(Counter(function.kind for function in grids.of(words)))


@dataclass(frozen=True)
class _Grids:
    """Functions of one center."""

    center: int
    elements: Sequence[int]
    shortest: Tensor
    """Distance to each element, ``(n_elements,)``."""
    cutoff: float
    n_radial: int
    n_angular: int
    envelope: str

    def of(self, words: Sequence[str]) -> list[SymmetryFunction]:
        """Functions of all these methods, each once."""
        return list(dict.fromkeys(function for word in words for function in getattr(self, word)()))

    def pairwise(self) -> list[SymmetryFunction]:
        """G2 for each neighbor element, G5 for each two of them."""
        radial = [f for x in self._groups(1) for f in self._radial("G2", x, self._shells(x, self.n_radial))]
        return radial + [
            f for pair in self._groups(2) for f in self._angular("G5", pair, self._shells(pair, self.n_angular))
        ]

    def narrow(self) -> list[SymmetryFunction]:
        """G2 for each neighbor element, G4 for each two of them, all with R_s = 0."""
        radial = [f for x in self._groups(1) for f in self._radial("G2", x, self._widths(x, self.n_radial, 0.5))]
        return radial + [
            f for pair in self._groups(2) for f in self._angular("G4", pair, self._widths(pair, self.n_angular, 1.0))
        ]

    def weighted(self) -> list[SymmetryFunction]:
        """wG2 and wG5, for the neighbors of all elements."""
        radial = self._radial("wG2", (), self._shells((), self.n_radial))
        return radial + self._angular("wG5", (), self._shells((), self.n_angular))

    def weighted_root(self) -> list[SymmetryFunction]:
        """wG2 and zG4, for the neighbors of all elements."""
        radial = self._radial("wG2", (), self._shells((), self.n_radial))
        return radial + self._angular("zG4", (), self._shells((), self.n_angular))

    def chebyshev_angle(self) -> list[SymmetryFunction]:
        """zT2 and zT3, for the neighbors of all elements."""
        radial = [self._function("zT2", order=order) for order in range(self.n_radial)]
        return radial + [self._function("zT3", order=order) for order in range(self.n_angular)]

    def chebyshev(self) -> list[SymmetryFunction]:
        """T2 and T3, for the neighbors of all elements, without and with weights."""
        powers = range(1, min(HIGHEST_POWER + 1, len(self.elements)))
        radial = [self._function("T2", order=order) for order in range(self.n_radial)]
        radial += [self._function("wT2", order=order, power=p) for p in powers for order in range(self.n_radial)]
        kinds: tuple[Kind, ...] = ("T3", "wT3", "sT3") if powers else ("T3",)
        return radial + [
            self._function(kind, eta=eta, shift=shift, order=order)
            for kind in kinds
            for shift, eta in self._wide_shells()
            for order in range(N_ORDERS)
        ]

    def _wide_shells(self) -> Shells:
        """(R_s, η) of the shells of T3: near the cutoff the product of two envelopes would leave nothing of them."""
        n = -(-2 * self.n_angular // 3)
        start = self._shortest(())
        spacing = (REACH * self.cutoff - start) / max(n - 1, 1)
        eta = float(f"{0.5 / spacing**2:.4g}")
        return [(round(start + k * spacing, 3), eta) for k in range(n)]

    def _groups(self, n: int) -> list[tuple[int, ...]]:
        """Places of each element (1), or of each two elements (2)."""
        return list(combinations_with_replacement(range(len(self.elements)), n))

    def _radial(self, kind: Kind, neighbors: tuple[int, ...], shells: Shells) -> list[SymmetryFunction]:
        return [self._function(kind, neighbors, eta=eta, shift=shift) for shift, eta in shells]

    def _angular(self, kind: Kind, neighbors: tuple[int, ...], shells: Shells) -> list[SymmetryFunction]:
        return [
            self._function(kind, neighbors, eta=eta, shift=shift, zeta=zeta, lambda_=sign)
            for shift, eta in shells
            for zeta in ZETAS
            for sign in (-1, 1)
        ]

    def _function(
        self, kind: Kind, neighbors: tuple[int, ...] = (), *, eta: float = 0.0, shift: float = 0.0,
        zeta: float = 1.0, lambda_: int = 1, order: int = 0, power: int = 1
    ) -> SymmetryFunction:  # fmt: skip
        chosen = tuple(self.elements[x] for x in neighbors)
        return SymmetryFunction(
            kind, self.center, chosen, eta, self.cutoff, shift, zeta, lambda_, self.envelope, order, power
        )

    def _shells(self, neighbors: tuple[int, ...], n: int) -> Shells:
        """(R_s, η) of n shells from the shortest distance to these neighbors, or to any, towards the cutoff."""
        start = self._shortest(neighbors)
        spacing = (self.cutoff - start) / max(n, 1)
        eta = float(f"{0.5 / spacing**2:.4g}")
        return [(round(start + k * spacing, 3), eta) for k in range(n)]

    def _widths(self, neighbors: tuple[int, ...], n: int, share: float) -> Shells:
        """(0, η) of n widths from a share of the shortest distance to these neighbors to the cutoff."""
        start = share * self._shortest(neighbors)
        ratio = (self.cutoff / start) ** (1.0 / max(n - 1, 1))
        return [(0.0, float(f"{0.5 / (start * ratio**k) ** 2:.4g}")) for k in range(n)]

    def _shortest(self, neighbors: tuple[int, ...]) -> float:
        return float(self.shortest[list(neighbors)].min() if neighbors else self.shortest.min())


def _shortest_distances(elements: Sequence[int], cutoff: float, graphs: Sequence[AtomicGraph]) -> Tensor:
    """Shortest distance of each two elements, at most 0.7 of the cutoff, ``(n_elements, n_elements)``, Å."""
    n = len(elements)
    table = ElementTable(elements)
    shortest = torch.full((n * n,), torch.inf, dtype=torch.float64)
    for graph in graphs:
        distances = edge_vectors(graph).norm(dim=1).double()
        types = table(graph.atomic_numbers)
        pairs = gather(types, graph.centers) * n + gather(types, graph.neighbors)
        shortest = shortest.scatter_reduce(0, pairs, distances, "amin")
    radii = torch.tensor([covalent_radii[z] for z in elements], dtype=torch.float64)
    usual = SHORTEST_BOND * (radii[:, None] + radii[None, :])
    shortest = shortest.reshape(n, n)
    return torch.where(shortest < cutoff, shortest, usual).clamp(max=0.7 * cutoff)


def _without_constant_ones(
    elements: Sequence[int], functions: list[SymmetryFunction], graphs: Sequence[AtomicGraph]
) -> list[SymmetryFunction]:
    descriptor_set = DescriptorSet(elements, functions)
    statistics = DescriptorStatistics(len(elements), descriptor_set.n_functions)
    table = ElementTable(elements)
    for graph in graphs:
        types = table(graph.atomic_numbers)
        statistics.add(fast_descriptors(descriptor_set, graph, types), types, graph)
    spread = statistics.spread()
    keep = spread >= LEAST_SPREAD * spread.amax(dim=1, keepdim=True)
    types_of_functions = [elements.index(f.center) for f in functions]
    return [
        function
        for function, t, column in zip(functions, types_of_functions, descriptor_set.columns, strict=True)
        if keep[t, column]
    ]
