"""SchNet: continuous-filter convolutions (Schütt et al., J. Chem. Phys. 148, 241722 (2018))."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, edge_vectors_of, gather
from gnnpot.data.triplets import undirected_pairs
from gnnpot.kernels import kernels_serve
from gnnpot.models.gradients import OutputSlopes
from gnnpot.models.potential import EnergyPotential
from gnnpot.models.schnet_tables import SchNetPass, SchNetTables, multiply_out, outputs_and_edge_gradients
from gnnpot.nn.atom_sizes import FURTHEST, AtomSizes, is_by_element
from gnnpot.nn.convolution import Pairs, convolve
from gnnpot.nn.element_properties import element_embedding
from gnnpot.nn.layers import ShiftedSoftplus, mlp
from gnnpot.nn.near_pairs import SplineGrid
from gnnpot.nn.radial import GaussianBasis, PolynomialCutoff, build_envelope
from gnnpot.nn.splines import INTERVALS_PER_GAUSSIAN, QuinticSpline
from gnnpot.nn.system_charge import ChargeEmbedding
from gnnpot.nn.watch import kept_until_weights_change

SPREAD_OF_CENTERS = 0.3
"""Standard deviation of the factors of the elements, about 1, before training."""


class Interaction(nn.Module):
    """One interaction block of SchNet.

    x_i ← x_i + W_b ssp(W_a [g_i ⊙ Σ_{j ∈ N(i)} (W_in x_j) ⊙ W(u_ij) f_c(r_ij)] + b_a) + b_b,
    W(u) = V_2 ssp(V_1 e(u) + c_1) + c_2, in the paper with u_ij = r_ij and without g_i.

    Args:
        n_features: width F.
        n_radial: number of radial functions e.
        by_element: the filters of an atom have the factors g_i = 1 + W_g x_i^0 of its element.
    """

    def __init__(self, n_features: int, n_radial: int, by_element: bool = False) -> None:
        super().__init__()
        self.filter = nn.Sequential(
            nn.Linear(n_radial, n_features), ShiftedSoftplus(), nn.Linear(n_features, n_features)
        )
        self.inward = nn.Linear(n_features, n_features, bias=False)
        self.outward = mlp([n_features, n_features, n_features], "shifted_softplus")
        self.center = None
        if by_element:
            self.center = nn.Linear(n_features, n_features, bias=False)
            nn.init.normal_(self.center.weight, std=SPREAD_OF_CENTERS / n_features**0.5)

    def of_centers(self, embedding: Tensor) -> Tensor | None:
        """g of elements with these embeddings, ``(n, n_features)``; None: 1."""
        return None if self.center is None else 1.0 + self.center(embedding)

    def forward(
        self,
        x: Tensor,
        spline: QuinticSpline,
        basis: Tensor,
        weights: Tensor,
        pairs: Pairs,
        centers: Tensor | None = None,
    ) -> Tensor:
        """Updated features ``(n_atoms, n_features)``.

        Args:
            x: features ``(n_atoms, n_features)``.
            spline: turns the filter network's values at its knots into coefficients.
            basis: radial basis at the knots, ``(n_knots, n_radial)``.
            weights: f_c(r_ij) times the weights of the coefficients in each pair's filter, ``(n_pairs, 6)``.
            pairs: the undirected pairs.
            centers: g of each atom ``(n_atoms, n_features)``; None: 1.
        """
        table = spline.coefficients(self.filter(basis))
        messages = convolve(self.inward(x), table, weights, pairs)
        return x + self.outward(messages if centers is None else centers * messages)


class SchNet(EnergyPotential):
    """SchNet with periodic images, any number of neighbors, and energies smooth at the cutoff.

    E_i = E0(Z_i) + s · [MLP(x_i^T) - MLP(x_isolated^T)], x_i^0 an embedding of the element, T interactions. The
    filter of a pair depends on its distance alone: i→j and j→i share it, and it is a spline through the values of
    the filter network at a few hundred distances.

    Args:
        elements: symbols or atomic numbers; null in a configuration: those of the training data.
        cutoff: radius of the neighborhoods, Å.
        n_features: width F of the atom features and filters.
        n_interactions: number T of interaction blocks.
        n_radial: number of Gaussians from 0 to the cutoff.
        gaussian_width: width s of the Gaussians in units of their spacing (`gnnpot.nn.radial.GaussianBasis`).
        filters: ``shared``: one filter for all elements, as in the paper. ``by_element``: that of a pair depends on
            the elements of both atoms, W_ij = g(Z_i) ⊙ W(r - R_i - R_j + 5.2 Å) with the covalent radii R
            (`gnnpot.nn.atom_sizes`): bonds of large and of small atoms lie in the same place of W, and what is
            learned of one pair of elements serves others. For data of many elements.
        envelope: ``polynomial`` (curvature continuous at the cutoff) or ``cosine`` (the paper's).
        charge: the total charge of the cell is an input: x_i^0 has Q_sys (`gnnpot.nn.system_charge`) times a learned
            vector of the element besides. One model for all charge states.
        short_range: ``zbl`` or ``zbl_wide``: atoms closer than in any training structure repel each other
            (`gnnpot.nn.short_range`); null: only what the network makes of them.

    >>> import torch
    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=4.0, dtype=torch.float32)
    >>> SchNet(["Si"], cutoff=4.0)(graph)["energies"].shape
    torch.Size([2])
    """

    ignores_far_edges = True

    def __init__(
        self,
        elements: Sequence[int | str] | None = None,
        cutoff: float = 6.5,
        n_features: int = 64,
        n_interactions: int = 3,
        n_radial: int = 32,
        gaussian_width: float = 2.0,
        filters: str = "shared",
        envelope: str = "polynomial",
        charge: bool = False,
        short_range: str | None = "zbl",
    ) -> None:
        super().__init__(elements, cutoff, charge, short_range)
        self.n_features = n_features
        self.n_interactions = n_interactions
        self.n_radial = n_radial
        self.gaussian_width = gaussian_width
        self.filters = filters
        self.envelope = envelope
        self.embedding = element_embedding(self.elements, n_features)
        self.charge_embedding = ChargeEmbedding(len(self.elements), n_features) if charge else None
        self.cutoff_function = build_envelope(envelope, self.cutoff)
        by_element, spacing = is_by_element("filters", filters), self.cutoff / (n_radial - 1)
        self.sizes = AtomSizes(self.elements) if by_element else None
        if by_element:
            n_radial += math.ceil(FURTHEST / spacing)
        self.basis = GaussianBasis(n_radial, spacing * (n_radial - 1), width=gaussian_width)
        self.spline = QuinticSpline(spacing * (n_radial - 1), INTERVALS_PER_GAUSSIAN * (n_radial - 1))
        self.interactions = nn.ModuleList(Interaction(n_features, n_radial, by_element) for _ in range(n_interactions))
        self.readout = mlp([n_features, n_features // 2, 1], "shifted_softplus", last_bias=False)

    def layer_names(self) -> list[tuple[str, ...]]:
        """Embeddings, interactions, readout."""
        blocks = [(f"interactions.{k}",) for k in range(self.n_interactions)]
        return [("embedding", "charge_embedding"), *blocks, ("readout",)]

    def precompute(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """The undirected pairs of the graph."""
        pair_of_edge, edge_of_pair = undirected_pairs(graph)
        return {"pair_of_edge": pair_of_edge, "edge_of_pair": edge_of_pair}

    def features(self, graph: AtomicGraph) -> Tensor:
        """x_i^T, ``(n_atoms, n_features)``."""
        return self._propagate(graph)[: graph.n_atoms]

    def atomic_outputs(self, graph: AtomicGraph) -> Tensor:
        """Readout of the features less that of the isolated atom, ``(n_atoms,)``."""
        return self.features_and_atomic_outputs(graph)[1]

    def features_and_atomic_outputs(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """Both from one propagation."""
        x = self._propagate(graph)
        real, isolated = self.readout(x)[:, 0].split([graph.n_atoms, len(self.elements)])
        return x[: graph.n_atoms], real - isolated[self.types(graph)]

    def _propagate(self, graph: AtomicGraph) -> Tensor:
        """x^T of the atoms, and behind them of one isolated atom of each element, which no edge reaches."""
        edge_of_pair = graph.edge_of_pair if graph.has("edge_of_pair") else undirected_pairs(graph)[1]
        pair_atoms = graph.edge_index[:, edge_of_pair]
        distances = edge_vectors_of(graph, pair_atoms, graph.edge_shifts[edge_of_pair]).norm(dim=1)
        types, charges = self.types(graph), self.atomic_charges(graph)
        first, weights = self.spline(
            distances if self.sizes is None else self.sizes.added_to(distances, types, pair_atoms)
        )
        weights = weights * self.cutoff_function(distances)[:, None]
        basis = self.basis(self.spline.knots)
        x = self.embedding(types)
        if self.charge_embedding is not None and charges is not None:
            x = x + self.charge_embedding(charges, types)
        x = torch.cat([x, self.embedding.weight])
        blocks: list[Any] = list(self.interactions)
        for interaction in blocks:
            centers = interaction.of_centers(self.embedding.weight)
            if centers is not None:
                centers = torch.cat([gather(centers, types), centers])
            x = interaction(x, self.spline, basis, weights, Pairs(pair_atoms, first), centers)
        return x

    def can_use_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """On the CPU, where nothing is differentiated further."""
        weight = self.embedding.weight
        if differentiable or self.charge or self.n_interactions == 0 or not kernels_serve(weight.device):
            return False
        return all(
            x.device == weight.device and x.dtype == weight.dtype and not x.requires_grad
            for x in (graph.positions, graph.cell)
        )

    @torch.no_grad()
    def output_slopes(self, graph: AtomicGraph, differentiable: bool) -> OutputSlopes:
        """Outputs, and their slopes by one edge of each pair (those by the other are zero)."""
        types = self.types(graph)
        scale = float(self.energy_scale.scale)
        return OutputSlopes(*outputs_and_edge_gradients(self._current_tables(), graph, types, scale))

    @torch.no_grad()
    def forward_pass(self, graph: AtomicGraph) -> SchNetPass | None:
        """Where forces come without automatic differentiation."""
        if not self.can_use_edge_gradients(graph, differentiable=False):
            return None
        return SchNetPass(self._current_tables(), graph, self.types(graph), float(self.energy_scale.scale))

    @kept_until_weights_change
    def _current_tables(self) -> SchNetTables:
        basis = self.basis(self.spline.knots)
        blocks: list[Any] = list(self.interactions)
        filters = [self.spline.coefficients(block.filter(basis)) for block in blocks]
        envelope = self.cutoff_function
        exponent = envelope.exponent if isinstance(envelope, PolynomialCutoff) else 0
        arrays = multiply_out(filters, self.embedding.weight, blocks, self.readout)
        grid = SplineGrid(self.cutoff, self.spline.spacing, self.spline.n_intervals, exponent)
        return SchNetTables(grid, None if self.sizes is None else self.sizes().double().numpy(), arrays)
