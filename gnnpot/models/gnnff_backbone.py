"""What the direct and the conservative GNNFF share: their arguments, their layers and the network that reads edges."""

from collections.abc import Sequence

from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors
from gnnpot.models.potential import Potential
from gnnpot.nn.atom_sizes import AtomSizes, is_by_element
from gnnpot.nn.gnnff_geometry import Centers, pair_fields
from gnnpot.nn.gnnff_layers import GNNFFLayers, LayerOutputs
from gnnpot.nn.layers import mlp
from gnnpot.nn.parts import by_parts
from gnnpot.nn.system_charge import ChargeEmbedding

TRIPLET_SHARE = 0.8
"""Of the cutoff, up to which edges take part in angles or triplets where nothing is asked for."""


class GNNFFBackbone(Potential):
    """Node and edge updates of GNNFF (`gnnpot.nn.gnnff_layers`), and ``readout``, one number of every edge.

    Args:
        elements: symbols or atomic numbers; null in a configuration: those of the training data.
        cutoff: radius of the neighborhoods, Å, a number.
        n_features: width of the node features.
        n_edge_features: width of the edge features, and number of Gaussians of the distance.
        gaussian_width: width s of the Gaussians in units of their spacing (`gnnpot.nn.radial.GaussianBasis`).
        n_interactions: number of node and edge updates.
        triplet_cutoff: radius of the edges that take part in angles or triplets, Å; at most the cutoff is used.
            null: four fifths of the cutoff.
        envelope: ``polynomial``, ``cosine`` or null for none.
        l_max: degree to which edges know the angles between them; null: they know lengths only, as published.
        edges: ``shared``: edges begin as Gaussians of r. ``by_element``: of r - R_i - R_j + 5.2 Å, times factors of
            the element of j.
        charge: the total charge of the cell is an input: h_i⁰ has Q_sys (`gnnpot.nn.system_charge`) times a learned
            vector of the element besides.
    """

    fewest_structures = 1
    n_neighbors = 42
    shortest_cutoff = 5.0

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
    ) -> None:
        super().__init__(elements, cutoff, charge)
        self.n_features = n_features
        self.n_edge_features = n_edge_features
        self.gaussian_width = gaussian_width
        self.n_interactions = n_interactions
        self.triplet_cutoff = TRIPLET_SHARE * self.cutoff if triplet_cutoff is None else triplet_cutoff
        self.envelope = envelope
        self.l_max = l_max
        self.edges = edges
        by_element = is_by_element("edges", edges)
        self.sizes = AtomSizes(self.elements) if by_element else None
        sizes = (self.elements, n_features, n_edge_features, gaussian_width, n_interactions)
        self.layers = GNNFFLayers(*sizes, self.cutoff, self.triplet_cutoff, envelope, l_max, by_element)
        self.charge_embedding = ChargeEmbedding(len(self.elements), n_features) if charge else None
        self.readout = mlp([n_edge_features, n_edge_features, 1], "shifted_softplus")

    def layer_names(self) -> list[tuple[str, ...]]:
        """Embeddings, updates of nodes and edges, the network that reads edges."""
        updates = [(f"layers.node_updates.{k}", f"layers.edge_updates.{k}") for k in range(self.n_interactions)]
        return [("layers.embedding", "layers.neighbor", "charge_embedding"), *updates, ("readout",)]

    def precompute(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """The undirected pairs, from which the kernels walk over the triplets."""
        return pair_fields(graph)

    def features(self, graph: AtomicGraph) -> Tensor:
        """h_i^L, ``(n_atoms, n_features)``."""
        vectors = edge_vectors(graph)
        return self.updated(graph, vectors, vectors.norm(dim=1)).nodes

    def updated(self, graph: AtomicGraph, vectors: Tensor, distances: Tensor) -> LayerOutputs:
        """Nodes and edges after the last update, from r_ij ``(n_edges, 3)`` and |r_ij|."""
        types, charges = self.types(graph), self.atomic_charges(graph)
        nodes = self.layers.embedding(types)
        if self.charge_embedding is not None and charges is not None:
            nodes = nodes + self.charge_embedding(charges, types)
        arguments = None if self.sizes is None else self.sizes.added_to(distances, types, graph.edge_index)
        outputs: LayerOutputs = self.layers(nodes, graph, vectors, distances, arguments)
        return outputs

    def read_edges(self, outputs: LayerOutputs) -> Tensor:
        """f_c(r_ij) times the readout of every edge, ``(n_edges,)``."""

        def weighted(part: Centers, edges: Tensor, envelope: Tensor) -> Tensor:
            values: Tensor = self.readout(edges)[:, 0]
            return values * envelope

        around = outputs.around
        return by_parts(weighted, around.centers, [(outputs.edges, "edge"), (around.envelope, "edge")], out="edge")
