"""GNNFF with an energy: forces are its derivatives, so that they conserve it."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather, sum_over_neighbors
from gnnpot.kernels import kernels_serve
from gnnpot.models.gnnff_backbone import GNNFFBackbone
from gnnpot.models.gradients import OutputSlopes
from gnnpot.models.potential import EnergyPotential
from gnnpot.nn.watch import kept_until_weights_change

if TYPE_CHECKING:
    from gnnpot.models.gnnff_tables import GNNFFPass, GNNFFTables

LARGEST_ROOM = 2**31
"""Bytes that compiled loops may keep of the edges; graphs beyond it are evaluated in parts (`gnnpot.nn.parts`)."""


class GNNFFConservative(GNNFFBackbone, EnergyPotential):
    """Node and edge updates of GNNFF (Park et al., npj Comput. Mater. 7, 73 (2021)), read out as pair energies.

    E = Σ_i E0(Z_i) + s/2 Σ_(i,j) f_c(r_ij) ε_ij,  ε_ij = MLP(e_ij^L) over directed edges; half of each pair's energy
    belongs to each of its atoms. Equations of the updates: `gnnpot.nn.gnnff_layers`. Unlike the published edges, which
    compare lengths only, these know the angles between them, up to Legendre polynomials of degree ``l_max``.

    Args:
        elements: symbols or atomic numbers; null in a configuration: those of the training data.
        cutoff: radius of the neighborhoods, Å; null in a configuration: by the number of neighbors in the data.
        n_features: width of the node features.
        n_edge_features: width of the edge features, and number of Gaussians of the distance.
        gaussian_width: width s of the Gaussians in units of their spacing (`gnnpot.nn.radial.GaussianBasis`).
        n_interactions: number of node and edge updates.
        triplet_cutoff: radius of the edges that take part in angles or triplets, Å; at most the cutoff is used.
            null: four fifths of the cutoff.
        envelope: ``polynomial`` (curvature continuous at the cutoff) or ``cosine``; null: none, and then energies
            and forces jump when a neighbor crosses the cutoff.
        l_max: degree to which edges know the angles between them; null: they know lengths only, as published, through
            sums over triplets.
        edges: ``shared``: edges begin as Gaussians of r_ij. ``by_element``: of r_ij - R_i - R_j + 5.2 Å with the
            covalent radii R (`gnnpot.nn.atom_sizes`), so that bonds of large and of small atoms are alike, times
            factors of the neighbor's element, 1 + W_n h_j⁰. For data of many elements.
        charge: the total charge of the cell is an input: h_i⁰ has Q_sys (`gnnpot.nn.system_charge`) times a learned
            vector of the element besides.
        short_range: ``zbl`` or ``zbl_wide``: atoms closer than in any training structure repel each other
            (`gnnpot.nn.short_range`); null: only what the network makes of them.

    >>> import torch
    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=4.0, dtype=torch.float32)
    >>> GNNFFConservative(["Si"], cutoff=4.0)(graph)["energies"].shape
    torch.Size([2])
    """

    def __init__(
        self,
        elements: Sequence[int | str] | None = None,
        cutoff: float | None = None,
        n_features: int = 64,
        n_edge_features: int = 32,
        gaussian_width: float = 2.0,
        n_interactions: int = 2,
        triplet_cutoff: float | None = None,
        envelope: str | None = "polynomial",
        l_max: int | None = 2,
        edges: str = "shared",
        charge: bool = False,
        short_range: str | None = "zbl",
    ) -> None:
        sizes = (n_features, n_edge_features, gaussian_width, n_interactions)
        super().__init__(elements, cutoff, *sizes, triplet_cutoff, envelope, l_max, edges, charge)
        self.set_short_range(short_range)

    def atomic_outputs(self, graph: AtomicGraph) -> Tensor:
        """¼ Σ_j f_c(r_ij) (ε_ij + ε_ji), ``(n_atoms,)``."""
        return self.features_and_atomic_outputs(graph)[1]

    def features_and_atomic_outputs(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """Both from one pass through the layers."""
        vectors = edge_vectors(graph)
        outputs = self.updated(graph, vectors, vectors.norm(dim=1))
        energies = self.read_edges(outputs)
        halves = 0.25 * (energies + gather(energies, outputs.around.pairs.reverse))
        return outputs.nodes, sum_over_neighbors(halves, graph)

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Fit reference energies and scales on training graphs."""
        super().learn_from(self.layers.counting(graphs))

    def can_use_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """On the CPU, with angles, without charge, where no weight or position is trained and the edges have room."""
        weight = self.layers.embedding.weight
        if differentiable or self.charge or self.l_max is None or self.n_interactions == 0:
            return False
        if not kernels_serve(weight.device):
            return False
        if graph.n_edges * self._values_per_edge() * weight.element_size() > LARGEST_ROOM:
            return False
        return all(
            x.device == weight.device and x.dtype == weight.dtype and not x.requires_grad
            for x in (graph.positions, graph.cell)
        )

    def _values_per_edge(self) -> int:
        """That energies and derivatives by compiled loops keep, at the most."""
        degrees, channels = (self.l_max or 0) + 1, max(self.n_edge_features // 2, 1)
        per_interaction = 2 * self.n_features + 4 * self.n_edge_features + 2 * degrees * channels
        return self.n_interactions * per_interaction + 4 * self.n_edge_features + 2 * degrees**2 + 4

    @torch.no_grad()
    def output_slopes(self, graph: AtomicGraph, differentiable: bool) -> OutputSlopes:
        """Outputs, and their slopes by one edge of each pair with the share of the other (which is zero)."""
        found = self._passed(graph)
        return OutputSlopes(found.outputs, found.edge_gradients(None))

    @torch.no_grad()
    def forward_pass(self, graph: AtomicGraph) -> "GNNFFPass | None":
        """Where forces come without automatic differentiation."""
        return self._passed(graph) if self.can_use_edge_gradients(graph, differentiable=False) else None

    def _passed(self, graph: AtomicGraph) -> "GNNFFPass":
        from gnnpot.models.gnnff_tables import GNNFFPass

        if not all(graph.has(name) for name in ("edge_of_pair", "pair_of_edge")):
            graph = graph.replace(**self.precompute(graph))
        return GNNFFPass(self._current_tables(), graph, self.types(graph), float(self.energy_scale.scale))

    @kept_until_weights_change
    def _current_tables(self) -> "GNNFFTables":
        from gnnpot.models.gnnff_tables import GNNFFTables

        return GNNFFTables(self.layers, self.readout, self.sizes)
