"""A set of symmetry functions for several elements, and its evaluation in plain, twice differentiable torch.

The plain way is the definition that the compiled loops (`gnnpot.nn.descriptor_operators`) are tested against, and
what runs where they cannot: on an accelerator, and for derivatives of derivatives by positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
import torch
from ase.data import chemical_symbols
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather, scatter_sum
from gnnpot.data.triplets import edge_pairs
from gnnpot.errors import ConfigError
from gnnpot.nn.radial import build_envelope
from gnnpot.nn.symmetry_functions import SymmetryFunction

NEAR_STRAIGHT = 1e-7
"""So close (sin θ) an angle is taken as 0 or π, and the derivative of its polynomials as 0."""


@dataclass(frozen=True)
class Group:
    """Functions of one center that run over the same edges (one neighbor type) or pairs of edges (two)."""

    center: int
    neighbors: tuple[int, ...]
    narrow: bool
    functions: tuple[SymmetryFunction, ...]
    columns: tuple[int, ...]
    weights: tuple[float, ...]
    """Factor of each function's terms: by the neighbors' elements for the weighted ones, else 1."""


class DescriptorSet:
    """Symmetry functions of all elements; column f of an atom is the f-th function of its element.

    Elements may have different numbers of functions: ``n_functions`` is the largest, and the columns that an
    element lacks are 0. In the stored derivative by an edge, only functions in which the neighbor's element takes
    part have a *slot*, in the order of their columns; ``n_slots`` is the largest number of them.

    >>> from gnnpot.nn.symmetry_functions import parse_function
    >>> functions = [parse_function(f"G2 Si Si eta={eta} cutoff=5 cosine") for eta in (0.1, 1.0)]
    >>> DescriptorSet([14], functions).n_functions
    2

    Raises:
        ConfigError: an element of a function that the model does not have, an element without functions, or
            a function that is given twice.
    """

    def __init__(self, elements: Sequence[int], functions: Sequence[SymmetryFunction]) -> None:
        self.elements = tuple(elements)
        self.functions = tuple(functions)
        self._check()
        self.columns = [self._functions_before(k) for k in range(len(self.functions))]
        self.n_of_element = [sum(f.center == z for f in self.functions) for z in self.elements]
        self.n_functions = max(self.n_of_element)
        self.cutoff = max(f.cutoff for f in self.functions)

    def _check(self) -> None:
        known = set(self.elements)
        for function in self.functions:
            strange = {function.center, *function.neighbors} - known
            if strange:
                names = ", ".join(chemical_symbols[z] for z in sorted(strange))
                raise ConfigError(f"'{function}' is about {names}, which is not in model.elements")
        if len(set(self.functions)) < len(self.functions):
            twice = next(f for k, f in enumerate(self.functions) if f in self.functions[:k])
            raise ConfigError(f"model.functions: '{twice}' is given twice")
        for function in self.functions:
            if not any(self._weight(function, neighbors) for neighbors in self._neighbors_of(function)):
                raise ConfigError(
                    f"'{function}' is zero in a model of one element: T2 and T3 alone tell something there"
                )
        missing = known - {f.center for f in self.functions}
        if missing:
            names = ", ".join(chemical_symbols[z] for z in sorted(missing))
            raise ConfigError(f"model.functions has none with {names} as the center; leave it null to generate them")

    def _functions_before(self, k: int) -> int:
        return sum(f.center == self.functions[k].center for f in self.functions[:k])

    @cached_property
    def groups(self) -> list[Group]:
        """Functions grouped by center, neighbors, and whether r_jk counts; those of all elements are in many.

        A function without weight there is left out: one of Artrith's weights is zero for an odd number of elements.
        """
        members: dict[tuple[int, tuple[int, ...], bool], list[int]] = {}
        for k, function in enumerate(self.functions):
            center = self.elements.index(function.center)
            for neighbors in self._neighbors_of(function):
                if self._weight(function, neighbors) != 0.0:
                    members.setdefault((center, neighbors, function.is_narrow), []).append(k)
        return [self._group(key, ks) for key, ks in sorted(members.items())]

    def _neighbors_of(self, function: SymmetryFunction) -> list[tuple[int, ...]]:
        if function.is_of_all_elements:
            return list(combinations_with_replacement(range(len(self.elements)), function.n_neighbors))
        return [tuple(self.elements.index(z) for z in function.neighbors)]

    def _group(self, key: tuple[int, tuple[int, ...], bool], members: list[int]) -> Group:
        members = sorted(members, key=lambda k: self._factors_of(self.functions[k]))
        functions = tuple(self.functions[k] for k in members)
        weights = tuple(self._weight(function, key[1]) for function in functions)
        return Group(*key, functions, tuple(self.columns[k] for k in members), weights)

    def _weight(self, function: SymmetryFunction, neighbors: tuple[int, ...]) -> float:
        return function.weight(tuple(self.elements[n] for n in neighbors), self.elements)

    @staticmethod
    def _factors_of(f: SymmetryFunction) -> tuple[float | str, ...]:
        """What functions that differ in their weights alone have in common; these become neighbors."""
        return (f.cutoff, f.envelope, f.eta, f.shift, f.is_chebyshev, f.is_of_angle, f.order, f.zeta, f.lambda_)

    @cached_property
    def involved(self) -> npt.NDArray[np.int64]:
        """Column of every slot, ``(n_types, n_types, n_slots)``, padded with ``n_functions``."""
        n_types = len(self.elements)
        columns: list[list[set[int]]] = [[set() for _ in range(n_types)] for _ in range(n_types)]
        for group in self.groups:
            for neighbor in group.neighbors:
                columns[group.center][neighbor].update(group.columns)
        n_slots = max(len(found) for row in columns for found in row)
        table = np.full((n_types, n_types, n_slots), self.n_functions, dtype=np.int64)
        for center, row in enumerate(columns):
            for neighbor, found in enumerate(row):
                table[center, neighbor, : len(found)] = sorted(found)
        return table

    @property
    def n_slots(self) -> int:
        """Most functions that an edge's vector acts on."""
        return int(self.involved.shape[2])

    def gradient_bytes(self, n_edges: int, item_size: int = 4) -> int:
        """Size of the stored derivatives of ``n_edges`` edges."""
        return n_edges * 3 * self.n_slots * item_size


def plain_descriptors(descriptor_set: DescriptorSet, graph: AtomicGraph, types: Tensor) -> Tensor:
    """Descriptors of every atom, ``(n_atoms, n_functions)``, differentiable as often as one likes.

    Args:
        descriptor_set: the functions.
        graph: with all edges up to the set's cutoff.
        types: position of every atom's element in the set's elements ``(n_atoms,)``.
    """
    vectors = edge_vectors(graph)
    distances = torch.linalg.vector_norm(vectors, dim=1)
    pairs = edge_pairs(graph, distances < descriptor_set.cutoff)
    angular_geometry = _pair_geometry(vectors, distances, pairs)
    out = vectors.new_zeros(graph.n_atoms, descriptor_set.n_functions)
    center_types, neighbor_types = gather(types, graph.centers), gather(types, graph.neighbors)
    for group in descriptor_set.groups:
        mine = center_types == group.center
        if len(group.neighbors) == 1:
            edges = (mine & (neighbor_types == group.neighbors[0])).nonzero()[:, 0]
            values = _radial_values(group, distances[edges])
            atoms = graph.centers[edges]
        else:
            chosen = _pairs_of_group(group, mine, neighbor_types, pairs)
            values = _angular_values(group, angular_geometry[chosen])
            atoms = graph.centers[pairs[chosen, 0]]
        columns = torch.tensor(group.columns, device=out.device)
        values = values * values.new_tensor(group.weights)
        out = out.index_add(1, columns, scatter_sum(values, atoms, graph.n_atoms))
    return out


def _pair_geometry(vectors: Tensor, distances: Tensor, pairs: Tensor) -> Tensor:
    """Columns r_ij, r_ik, r_jk, cos θ."""
    first, second = vectors[pairs[:, 0]], vectors[pairs[:, 1]]
    r_ij, r_ik = distances[pairs[:, 0]], distances[pairs[:, 1]]
    r_jk = torch.linalg.vector_norm(second - first, dim=1)
    return torch.stack([r_ij, r_ik, r_jk, (first * second).sum(1) / (r_ij * r_ik)], dim=1)


def _pairs_of_group(group: Group, mine: Tensor, neighbor_types: Tensor, pairs: Tensor) -> Tensor:
    x, y = group.neighbors
    a, b = neighbor_types[pairs[:, 0]], neighbor_types[pairs[:, 1]]
    fits = ((a == x) & (b == y)) | ((a == y) & (b == x))
    return (fits & mine[pairs[:, 0]]).nonzero()[:, 0]


def chebyshev_polynomials(x: Tensor, order: int) -> list[Tensor]:
    """T_0, ..., T_order of x: T_0 = 1, T_1 = x, T_{n+1} = 2 x T_n - T_{n-1}.

    >>> [float(t) for t in chebyshev_polynomials(torch.tensor(0.5), 3)]
    [1.0, 0.5, -0.5, -1.0]
    """
    found = [torch.ones_like(x), x]
    for _ in range(order - 1):
        found.append(2.0 * x * found[-1] - found[-2])
    return found[: order + 1]


def angles_of(cosines: Tensor) -> Tensor:
    """Angles (radian) of cosines; within 1e-7 of 0 and π, where the derivative has no limit, exactly these.

    >>> x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    >>> torch.autograd.grad(angles_of(x).sum(), x)[0]
    tensor([ 0., -1.,  0.])
    """
    inside = (1.0 - cosines) * (1.0 + cosines) > NEAR_STRAIGHT**2
    bent = torch.where(inside, cosines, torch.zeros_like(cosines))
    return torch.where(inside, torch.acos(bent), math.pi * (cosines < 0.0).to(cosines.dtype))


def _radial_factor(function: SymmetryFunction, distances: Tensor) -> Tensor:
    envelope = build_envelope(function.envelope, function.cutoff)
    if function.is_chebyshev and not function.eta:
        return envelope(distances)
    return torch.exp(-function.eta * (distances - function.shift) ** 2) * envelope(distances)


def _radial_values(group: Group, distances: Tensor) -> Tensor:
    values = []
    polynomials: dict[float, list[Tensor]] = {}
    for function in group.functions:
        value = _radial_factor(function, distances)
        if function.is_chebyshev:
            if function.cutoff not in polynomials:
                x = 2.0 * distances.clamp(max=function.cutoff) / function.cutoff - 1.0
                polynomials[function.cutoff] = chebyshev_polynomials(x, _highest_order(group))
            value = value * polynomials[function.cutoff][function.order]
        values.append(value)
    return torch.stack(values, dim=1)


def _highest_order(group: Group) -> int:
    return max(function.order for function in group.functions)


def _angular_values(group: Group, geometry: Tensor) -> Tensor:
    values = []
    cosines, order = geometry[:, 3], _highest_order(group)
    polynomials = {False: chebyshev_polynomials(cosines, order)}
    if any(function.is_of_angle for function in group.functions):
        polynomials[True] = chebyshev_polynomials(2.0 / math.pi * angles_of(cosines) - 1.0, order)
    for function in group.functions:
        sides = geometry[:, :3] if group.narrow else geometry[:, :2]
        radial = _radial_factor(function, sides).prod(dim=1)
        if function.is_chebyshev:
            values.append(polynomials[function.is_of_angle][function.order] * radial)
            continue
        base = 1.0 + function.lambda_ * cosines
        if function.zeta > 1.0:
            base = base.clamp(min=0.0)
        values.append(2.0 ** (1.0 - function.zeta) * base**function.zeta * radial)
    return torch.stack(values, dim=1)
