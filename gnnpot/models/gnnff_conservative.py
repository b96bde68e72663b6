"""GNNFF with an energy: forces are its derivatives, so that they conserve it."""

from collections.abc import Iterable

from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather, sum_over_neighbors
from gnnpot.models.gnnff_backbone import GNNFFBackbone
from gnnpot.models.potential import EnergyPotential


class GNNFFConservative(GNNFFBackbone, EnergyPotential):
    """Node and edge updates of GNNFF (Park et al., npj Comput. Mater. 7, 73 (2021)), read out as pair energies.

    E = Σ_i E0(Z_i) + s/2 Σ_(i,j) f_c(r_ij) ε_ij,  ε_ij = MLP(e_ij^L) over directed edges; half of each pair's energy
    belongs to each of its atoms. Equations of the updates: `gnnpot.nn.gnnff_layers`. Unlike the published edges, which
    compare lengths only, these know the angles between them, up to Legendre polynomials of degree ``l_max``.

    Args:
        elements: symbols or atomic numbers; null in a configuration: those of the training data.
        cutoff: radius of the neighborhoods, Å.
        n_features: width of the node features.
        n_edge_features: width of the edge features, and number of Gaussians of the distance.
        n_interactions: number of node and edge updates.
        triplet_cutoff: radius of the edges that take part in angles or triplets, Å; at most the cutoff is used.
        envelope: ``polynomial`` (curvature continuous at the cutoff) or ``cosine``; null: none, and then energies
            and forces jump when a neighbor crosses the cutoff.
        l_max: degree to which edges know the angles between them; null: they know lengths only, as published, through
            sums over triplets.
        charge: the total charge of the cell is an input: h_i⁰ has Q_sys (`gnnpot.nn.system_charge`) times a learned
            vector of the element besides.

    >>> import torch
    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=4.0, dtype=torch.float32)
    >>> GNNFFConservative(["Si"], cutoff=4.0)(graph)["energies"].shape
    torch.Size([2])
    """

    learning_rate = 0.001

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
