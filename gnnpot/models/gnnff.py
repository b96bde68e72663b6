"""GNNFF: forces straight from a graph network (Park et al., npj Comput. Mater. 7, 73 (2021))."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather, sum_over_neighbors, sum_per_structure
from gnnpot.models.gnnff_backbone import GNNFFBackbone
from gnnpot.nn.layers import ElementTable
from gnnpot.nn.scaling import ForceScale


class GNNFF(GNNFFBackbone):
    """Direct-force GNNFF: fast, without an energy, so that its forces need not be the gradient of one.

    F_i = s Σ_j f_c(r_ij) n_ij u_ij,  n_ij = MLP(e_ij^L),  u_ij = (r_i - r_j)/r_ij,

    with all neighbors and periodic images, an envelope f_c on every neighbor's term and no batch normalization.
    Equations of the updates: `gnnpot.nn.gnnff_layers`.

    Args:
        elements: symbols or atomic numbers; null in a configuration: those of the training data.
        cutoff: radius of the neighborhoods, Å.
        n_features: width of the node features.
        n_edge_features: width of the edge features, and number of Gaussians of the distance.
        gaussian_width: width s of the Gaussians in units of their spacing (`gnnpot.nn.radial.GaussianBasis`).
        n_interactions: number of node and edge updates.
        triplet_cutoff: radius of the edges that take part in angles or triplets, Å; at most the cutoff is used.
            null: four fifths of the cutoff.
        envelope: ``polynomial`` (curvature continuous at the cutoff) or ``cosine``; null: none, as published, and
            then forces jump when a neighbor crosses the cutoff.
        l_max: degree to which edges know the angles between them; null: they know lengths only, as published.
        edges: ``shared``: edges begin as Gaussians of r_ij. ``by_element``: of r_ij - R_i - R_j + 5.2 Å with the
            covalent radii R (`gnnpot.nn.atom_sizes`), so that bonds of large and of small atoms are alike, times
            factors of the neighbor's element, 1 + W_n h_j⁰. For data of many elements.
        symmetrize: n_ij and n_ji replaced by their mean, so that pairs of forces are opposite and Σ_i F_i = 0.
        remove_net_force: subtract the mean force of each structure.
        charge: the total charge of the cell is an input: h_i⁰ has Q_sys (`gnnpot.nn.system_charge`) times a learned
            vector of the element besides.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=4.0, dtype=torch.float32)
    >>> GNNFF(["Si"], cutoff=4.0)(graph)["forces"].shape
    torch.Size([2, 3])
    """

    outputs = frozenset({"forces"})

    def __init__(
        self,
        elements: Sequence[int | str] | None = None,
        cutoff: float = 5.0,
        n_features: int = 64,
        n_edge_features: int = 32,
        gaussian_width: float = 2.0,
        n_interactions: int = 3,
        triplet_cutoff: float | None = None,
        envelope: str | None = "polynomial",
        l_max: int | None = None,
        edges: str = "shared",
        symmetrize: bool = False,
        remove_net_force: bool = False,
        charge: bool = False,
    ) -> None:
        sizes = (n_features, n_edge_features, gaussian_width, n_interactions)
        super().__init__(elements, cutoff, *sizes, triplet_cutoff, envelope, l_max, edges, charge)
        self.symmetrize = symmetrize
        self.remove_net_force = remove_net_force
        self.element_table = ElementTable(self.elements)
        self.force_scale = ForceScale()

    def types(self, graph: AtomicGraph) -> Tensor:
        """Position of every atom's element in ``elements``, ``(n_atoms,)``."""
        return self.element_table(graph.atomic_numbers)

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Forces ``(n_atoms, 3)``, eV/Å."""
        return self.features_and_outputs(graph)[1]

    def features_and_outputs(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """Both from one pass through the layers."""
        vectors = edge_vectors(graph)
        distances = vectors.norm(dim=1)
        outputs = self.updated(graph, vectors, distances)
        strengths = self.read_edges(outputs)
        if self.symmetrize:
            strengths = 0.5 * (strengths + gather(strengths, outputs.around.pairs.reverse))
        weights = strengths / distances
        forces = sum_over_neighbors(-weights[:, None] * vectors, graph)
        if self.remove_net_force:
            forces = forces - self._mean_force(forces, graph)
        return outputs.nodes, {"forces": self.force_scale(forces)}

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Set the scales of forces and sums from training graphs."""
        self.force_scale.learn_from(self.watching_charges(self.layers.counting(graphs)))

    def _mean_force(self, forces: Tensor, graph: AtomicGraph) -> Tensor:
        counts = sum_per_structure(torch.ones_like(forces[:, :1]), graph)
        return gather(sum_per_structure(forces, graph) / counts, graph.batch)
