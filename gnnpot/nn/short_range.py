"""Repulsion of colliding atoms: the screened Coulomb force of their nuclei, where training data end."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from ase.data import covalent_radii
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, edge_vectors_of, gather, scatter_sum
from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.kernels import kernels_serve
from gnnpot.keys import ANGSTROM_PER_BOHR, COULOMB_CONSTANT
from gnnpot.nn.layers import ElementTable, KeepsFloat64
from gnnpot.nn.radial import PolynomialCutoff

TERMS = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
"""Coefficients and exponents of the universal screening function."""
SCREENING = 0.88534 * ANGSTROM_PER_BOHR
EXPONENT = 6
"""Of the polynomial that switches off: V is whole where the atoms are deep in each other."""

UNSEEN = 0.8
"""Outer radius of a pair that no training structure holds within the cutoff, over the sum of covalent radii: bonds
between such atoms, of which nothing is known, are left to the network."""
MARGIN = 1e-5
"""By which outer radii fall short of the shortest distance, so that no rounding lets a training structure feel V."""


class ZBL(KeepsFloat64):
    """V(r) = e²/(4πε0) Z_i Z_j / r φ(r/a) S(r/r_o) of each pair, half of it for each atom, eV.

    φ(x) = 0.18175 e^(-3.1998 x) + 0.50986 e^(-0.94229 x) + 0.28022 e^(-0.4029 x) + 0.02817 e^(-0.20162 x),
    a = 0.88534 a_0 / (Z_i^0.23 + Z_j^0.23): universal screening (Ziegler, Biersack and Littmark, The Stopping and
    Range of Ions in Solids, Pergamon 1985). S is the polynomial `gnnpot.nn.radial.PolynomialCutoff` with p = 6: V and
    its first two derivatives end at r_o, and V falls all the way there.

    The outer radius r_o of a pair of elements is the shortest distance in the training set or the sum of the covalent
    radii, whichever is less, so that V is exactly 0 in all training structures; 0.8 times the sum where the training
    set has no such pair within the cutoff, and before anything was learned.

    >>> pair = ZBL([14]).energies(torch.tensor([1.0, 1.5, 3.0], dtype=torch.float64), torch.tensor([0, 0, 0]))
    >>> [round(float(energy), 2) for energy in pair]
    [38.58, 1.1, 0.0]
    """

    outer_radii: Tensor
    coulomb: Tensor
    inverse_lengths: Tensor

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        numbers = torch.tensor(elements, dtype=torch.float64)
        radii = torch.tensor(covalent_radii[list(elements)], dtype=torch.float64)
        powers = numbers**0.23
        self.n_elements = len(elements)
        self.element_table = ElementTable(elements)
        self.switch = PolynomialCutoff(1.0, EXPONENT)
        self.register_buffer("bonds", radii[:, None] + radii[None, :], persistent=False)
        self.register_buffer(
            "coulomb", (COULOMB_CONSTANT * numbers[:, None] * numbers[None, :]).flatten(), persistent=False
        )
        lengths = SCREENING / (powers[:, None] + powers[None, :])
        self.register_buffer("inverse_lengths", 1.0 / lengths.flatten(), persistent=False)
        self.register_buffer("outer_radii", UNSEEN * self.bonds)

    bonds: Tensor

    def energies(self, distances: Tensor, pair_types: Tensor) -> Tensor:
        """V of pairs at distances ``(n,)``, Å, of types t_i n_elements + t_j ``(n,)``; eV, float64."""
        r = distances.double()
        x = r * gather(self.inverse_lengths, pair_types)
        screening = sum(weight * torch.exp(-rate * x) for weight, rate in TERMS)
        switch: Tensor = self.switch(r / gather(self.outer_radii.flatten(), pair_types))
        return gather(self.coulomb, pair_types) / r * screening * switch

    def forward(self, graph: AtomicGraph, types: Tensor) -> Tensor:
        """Energy of every atom ``(n_atoms,)``, eV, float64, from the types ``(n_atoms,)`` of the elements."""
        edges = self.short_edges(graph, types)
        if not len(edges):
            return graph.positions.new_zeros(graph.n_atoms, dtype=torch.float64)
        atoms = graph.edge_index[:, edges]
        distances = edge_vectors_of(graph, atoms, graph.edge_shifts[edges]).norm(dim=1)
        halves = 0.5 * self.energies(distances, self._pair_types(types, atoms))
        return scatter_sum(halves, atoms[0], graph.n_atoms)

    def energies_and_edge_gradients(self, graph: AtomicGraph, types: Tensor, by_edge: Tensor) -> tuple[Tensor, Tensor]:
        """`forward`, and ``by_edge`` ``(n_edges, 3)`` with ∂E/∂r_ij, ½ V'(r) r_ij/r, added to it."""
        edges = self.short_edges(graph, types)
        if not len(edges):
            return graph.positions.new_zeros(graph.n_atoms, dtype=torch.float64), by_edge
        if kernels_serve(by_edge.device) and not by_edge.requires_grad:
            return self._repelled(graph, types, edges, by_edge)
        atoms = graph.edge_index[:, edges]
        vectors = edge_vectors_of(graph, atoms, graph.edge_shifts[edges]).detach().double().requires_grad_(True)
        with torch.enable_grad():
            halves = 0.5 * self.energies(vectors.norm(dim=1), self._pair_types(types, atoms))
            (gradients,) = torch.autograd.grad(halves.sum(), [vectors])
        energies = scatter_sum(halves.detach(), atoms[0], graph.n_atoms)
        return energies, by_edge.index_add(0, edges, gradients.to(by_edge.dtype))

    @torch.no_grad()
    def _repelled(self, graph: AtomicGraph, types: Tensor, edges: Tensor, by_edge: Tensor) -> tuple[Tensor, Tensor]:
        """`energies_and_edge_gradients` by compiled loops."""
        from gnnpot.nn.short_range_kernels import repel

        energies, out = graph.positions.new_zeros(graph.n_atoms, dtype=torch.float64), by_edge.clone()
        topology = (edges.numpy(), graph.edge_index.numpy(), graph.edge_shifts.detach().numpy())
        pairs = (self.outer_radii.numpy(), self.coulomb.numpy(), self.inverse_lengths.numpy(), np.array(TERMS))
        positions, cell, batch = (getattr(graph, name).detach().numpy() for name in ("positions", "cell", "batch"))
        repel(positions, cell, batch, topology, types.numpy(), pairs, EXPONENT, energies.numpy(), out.numpy())
        return energies, out

    @torch.no_grad()
    def short_edges(self, graph: AtomicGraph, types: Tensor) -> Tensor:
        """Numbers of the edges shorter than the outer radius of their pair; usually there are none."""
        if kernels_serve(graph.positions.device):
            from gnnpot.nn.short_range_kernels import edges_within

            names = ("positions", "cell", "batch", "edge_index", "edge_shifts")
            positions, cell, *rest = (getattr(graph, name).detach().numpy() for name in names)
            batch, edge_index, edge_shifts = rest
            radii = self.outer_radii.numpy()
            found = edges_within(positions, cell, batch, edge_index, edge_shifts, types.numpy(), radii)
            return torch.from_numpy(found)
        outer = gather(self.outer_radii.flatten(), self._pair_types(types, graph.edge_index))
        return (edge_vectors(graph).double().norm(dim=1) < outer).nonzero()[:, 0]

    def watching(self, graphs: Iterable[AtomicGraph]) -> Iterator[AtomicGraph]:
        """Hand the training graphs on, and set the outer radii at their end."""
        nearest = torch.full(self.bonds.shape, torch.inf, dtype=torch.float64)
        yield from self._measuring(graphs, nearest)
        known = torch.minimum(nearest, self.largest_radii())
        self.outer_radii.copy_(torch.where(torch.isfinite(nearest), known, UNSEEN * self.bonds.cpu()))

    def largest_radii(self) -> Tensor:
        """Bounds of the outer radii, ``(n_elements, n_elements)``, Å: the sums of the covalent radii."""
        return self.bonds.cpu()

    def narrowing(self, graphs: Iterable[AtomicGraph]) -> Iterator[AtomicGraph]:
        """Hand further training graphs on; at their end V is 0 in them too: no outer radius has grown."""
        nearest = torch.full(self.bonds.shape, torch.inf, dtype=torch.float64)
        yield from self._measuring(graphs, nearest)
        self.outer_radii.copy_(torch.minimum(self.outer_radii.cpu(), nearest))

    def _measuring(self, graphs: Iterable[AtomicGraph], nearest: Tensor) -> Iterator[AtomicGraph]:
        """Hand graphs on and keep the shortest distance of each pair, less `MARGIN`, in ``nearest``."""
        shortest = nearest.flatten()
        for graph in graphs:
            pairs = self._pair_types(self.element_table(graph.atomic_numbers), graph.edge_index)
            shortest.scatter_reduce_(0, pairs.cpu(), edge_vectors(graph).double().norm(dim=1).cpu(), "amin")
            yield graph
        nearest.copy_(shortest.reshape(nearest.shape) * (1.0 - MARGIN))

    def _pair_types(self, types: Tensor, atoms: Tensor) -> Tensor:
        return gather(types, atoms[0]) * self.n_elements + gather(types, atoms[1])


class WideZBL(ZBL):
    """V as far as the shortest distance of each pair in the training set, however long that is.

    Atoms that have never met repel each other from where the data end, and no molecule is formed of them: for
    simulations far hotter than the training data.
    """

    def largest_radii(self) -> Tensor:
        """No bounds."""
        return torch.full_like(self.bonds.cpu(), torch.inf)


SHORT_RANGE: dict[str, type[ZBL]] = {"zbl": ZBL, "zbl_wide": WideZBL}
"""Repulsions by their names in configurations."""


def build_short_range(name: str | None, elements: Sequence[int]) -> ZBL | None:
    """Repulsion by the name it has in a configuration; None for null.

    Raises:
        ConfigError: the name is none of `SHORT_RANGE`.
    """
    if name is None:
        return None
    if name not in SHORT_RANGE:
        raise ConfigError(f"model.short_range={name}: {did_you_mean(str(name), SHORT_RANGE)}; null: no repulsion")
    return SHORT_RANGE[name](elements)
