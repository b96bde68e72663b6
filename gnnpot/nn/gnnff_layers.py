"""The layers of GNNFF: embedding, node and edge updates, shared by its direct and its conservative form.

Park et al., npj Comput. Mater. 7, 73 (2021), without batch normalization and without a cap on neighbors; every
neighbor's term is weighted by an envelope f_c, so that it vanishes smoothly at the cutoff.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, edge_vectors
from gnnpot.nn.angular import SphericalHarmonics, moments, projections
from gnnpot.nn.atom_sizes import DEEPEST
from gnnpot.nn.element_properties import element_embedding
from gnnpot.nn.gated_sum import gate, gated_sum
from gnnpot.nn.gnnff_geometry import Centers, Surroundings, pairs_of, parts_of_centers, parts_of_pairs
from gnnpot.nn.parts import Part, by_parts
from gnnpot.nn.radial import CosineCutoff, GaussianBasis, PolynomialCutoff, build_envelope

EXPONENT = 6
"""Of the polynomial envelope. A term passes several envelopes on its way: steeper ones would hide far neighbors."""

EDGE_GAIN = 3.0
"""Initial gain of the weights on edge features, which differ little from edge to edge: the gates have to tell them
apart without the batch normalization of the published code (Si: 14 % lower force error at equal training time)."""

SPREAD_OF_NEIGHBORS = 0.5
"""Standard deviation of the factors of the elements, about 1, before training."""

VALUES_PER_EDGE = 60
"""Inner values of a layer and of its derivative, of every edge: about this number times the width of the edges."""


@dataclass(frozen=True)
class LayerOutputs:
    """Nodes ``(n_atoms, n_features)`` and edges ``(n_edges, n_edge_features)`` after the last update."""

    nodes: Tensor
    edges: Tensor
    around: Surroundings


class NodeUpdate(nn.Module):
    """h_i' = tanh(h_i + s Σ_j f_c(r_ij) σ(c W₁ + b₁) ⊙ tanh(c W₂ + b₂)),  c = [h_i, e_ij].

    ``linear`` holds (W₁, W₂) behind each other; s makes up for the number of neighbors.
    """

    def __init__(self, n_features: int, n_edge_features: int) -> None:
        super().__init__()
        self.sizes = (n_features, n_edge_features)
        self.linear = nn.Linear(n_features + n_edge_features, 2 * n_features)
        _initialize(self.linear, self.sizes, (1.0, EDGE_GAIN))

    def forward(self, nodes: Tensor, edges: Tensor, around: Surroundings, scale: Tensor) -> Tensor:
        """New node features ``(n_atoms, n_features)``."""
        from_node, from_edge = self.linear.weight.split(self.sizes, dim=1)

        def updated(part: Centers, nodes: Tensor, rows: Tensor, edges: Tensor, envelope: Tensor) -> Tensor:
            columns = nn.functional.linear(edges, from_edge)
            return torch.tanh(nodes + scale * gated_sum(rows, columns, envelope, part.neighbors))

        rows = nn.functional.linear(nodes, from_node, self.linear.bias)
        inputs = [(nodes, "atom"), (rows, "atom"), (edges, "edge"), (around.envelope, "edge")]
        return by_parts(updated, around.centers, inputs, out="atom")


class EdgeUpdate(nn.Module):
    """Two- and three-body update of the edges.

    e_ij' = tanh(e_ij + σ(c W₃ + b₃) ⊙ tanh(c W₄ + b₄) + s Σ_k f_c(r_jk) σ(d W₅ + b₅) ⊙ tanh(d W₆ + b₆)),

    c = h_i ⊙ h_j, d = [h_i, h_j, h_k, e_ij, e_jk], k over the neighbors of j but for the edge j→i itself.
    ``pair_linear`` holds (W₃, W₄), ``triplet_linear`` (W₅, W₆); the latter acts on nodes and edges, never on triplets.
    """

    def __init__(self, n_features: int, n_edge_features: int) -> None:
        super().__init__()
        self.sizes = (n_features, n_features, n_features, n_edge_features, n_edge_features)
        self.pair_linear = nn.Linear(n_features, 2 * n_edge_features)
        self.triplet_linear = nn.Linear(sum(self.sizes), 2 * n_edge_features)
        _initialize(self.pair_linear, (n_features,), (2.0,))
        _initialize(self.triplet_linear, self.sizes, (0.6, 0.6, 0.6, EDGE_GAIN, EDGE_GAIN))

    def forward(self, nodes: Tensor, edges: Tensor, around: Surroundings, scale: Tensor) -> Tensor:
        """New edge features ``(n_edges, n_edge_features)``."""
        weight_i, weight_j, weight_k, weight_ij, weight_jk = self.triplet_linear.weight.split(self.sizes, dim=1)

        def updated(
            part: Centers, at_i: Tensor, edges_ij: Tensor, two_body: Tensor, at_j: Tensor, at_k: Tensor,
            edges_jk: Tensor, envelope: Tensor,
        ) -> Tensor:  # fmt: skip
            rows = torch.addmm(at_i, edges_ij, weight_ij.t())
            columns = torch.addmm(at_k, edges_jk, weight_jk.t()) + at_j
            return torch.tanh(edges_ij + two_body + scale * gated_sum(rows, columns, envelope, part.triplets))

        at_i = nn.functional.linear(nodes, weight_i, self.triplet_linear.bias)
        inputs = [
            (at_i, "row_center"),
            (edges, "row"),
            (_of_pairs(self.pair_linear, nodes, around), "pair"),
            (nodes @ weight_j.t(), "center"),
            (nodes @ weight_k.t(), "neighbor"),
            (edges, "edge"),
            (around.triplet_envelope, "edge"),
        ]
        return by_parts(updated, around.centers, inputs, out="row")


class AngularEdgeUpdate(nn.Module):
    """Two- and three-body update of the edges that knows the angles between them; of cost linear in the edges.

    e_ij' = tanh(e_ij + σ(c W₃ + b₃) ⊙ tanh(c W₄ + b₄) + σ(g W₅ + b₅) ⊙ tanh(g W₆ + b₆)),

    c = h_i ⊙ h_j, g = [h_i, h_j, e_ij, J_ij, J_ji],  J_ij,l = s Σ_k f_c(r_ik) φ_ik,l P_l(cos θ_jik),
    φ_ik = σ(d W₇ + b₇) ⊙ tanh(d W₈ + b₈), d = [h_i, h_k, e_ik]. Where the paper's triplets compare distances, these
    compare directions too, through products of sums (`gnnpot.nn.angular`) that never visit a triplet.
    """

    def __init__(self, n_features: int, n_edge_features: int, l_max: int) -> None:
        super().__init__()
        self.n_degrees, self.n_channels = l_max + 1, max(n_edge_features // 2, 1)
        n_angular = self.n_degrees * self.n_channels
        self.channel_sizes = (n_features, n_features, n_edge_features)
        self.gate_sizes = (n_features, n_features, n_edge_features, n_angular, n_angular)
        self.pair_linear = nn.Linear(n_features, 2 * n_edge_features)
        self.channel_linear = nn.Linear(sum(self.channel_sizes), 2 * n_angular)
        self.gate_linear = nn.Linear(sum(self.gate_sizes), 2 * n_edge_features)
        _initialize(self.pair_linear, (n_features,), (2.0,))
        _initialize(self.channel_linear, self.channel_sizes, (0.6, 0.6, EDGE_GAIN))
        _initialize(self.gate_linear, self.gate_sizes, (0.6, 0.6, EDGE_GAIN, EDGE_GAIN, EDGE_GAIN))

    def forward(self, nodes: Tensor, edges: Tensor, around: Surroundings, scale: Tensor) -> Tensor:
        """New edge features ``(n_edges, n_edge_features)``."""
        weight_i, weight_j, weight_ij, weight_own, weight_other = self.gate_linear.weight.split(self.gate_sizes, dim=1)

        def updated(
            part: Centers, at_i: Tensor, at_j: Tensor, edges: Tensor, own: Tensor, other: Tensor, two_body: Tensor
        ) -> Tensor:
            inputs = torch.addmm(at_i + at_j, edges, weight_ij.t())
            inputs = torch.addmm(inputs, own, weight_own.t())
            inputs = torch.addmm(inputs, other, weight_other.t())
            return torch.tanh(edges + two_body + gate(inputs))

        angular = self.angular_features(nodes, edges, around, scale)
        inputs = [
            (nn.functional.linear(nodes, weight_i, self.gate_linear.bias), "center"),
            (nodes @ weight_j.t(), "neighbor"),
            (edges, "edge"),
            (angular, "edge"),
            (angular, "reverse"),
            (_of_pairs(self.pair_linear, nodes, around), "pair"),
        ]
        return by_parts(updated, around.centers, inputs, out="edge")

    def angular_features(self, nodes: Tensor, edges: Tensor, around: Surroundings, scale: Tensor) -> Tensor:
        """J_ij, ``(n_edges, (l_max + 1) n_channels)``."""
        if around.harmonics is None:
            raise ValueError("surroundings without harmonics, for layers that know the angles")
        weight_i, weight_k, weight_ik = self.channel_linear.weight.split(self.channel_sizes, dim=1)

        def summed(
            part: Centers, at_i: Tensor, at_k: Tensor, edges: Tensor, envelope: Tensor, harmonics: Tensor
        ) -> Tensor:
            channels = gate(torch.addmm(at_i + at_k, edges, weight_ik.t())) * (scale * envelope)[:, None]
            channels = channels.reshape(len(edges), self.n_degrees, self.n_channels)
            found = moments(channels, harmonics, part.local_centers, part.n_atoms)
            return projections(found, harmonics, part.local_centers).flatten(1)

        inputs = [
            (nn.functional.linear(nodes, weight_i, self.channel_linear.bias), "center"),
            (nodes @ weight_k.t(), "neighbor"),
            (edges, "edge"),
            (around.triplet_envelope, "edge"),
            (around.harmonics, "edge"),
        ]
        return by_parts(summed, around.centers, inputs, out="edge")


def _of_pairs(linear: nn.Linear, nodes: Tensor, around: Surroundings) -> Tensor:
    """σ(c W₃ + b₃) ⊙ tanh(c W₄ + b₄), c = h_i ⊙ h_j, of every pair of atoms."""

    def gated(part: Part, first: Tensor, second: Tensor) -> Tensor:
        return gate(linear(first * second))

    return by_parts(gated, around.pair_parts, [(nodes, "first"), (nodes, "second")], out="pair")


class GNNFFLayers(nn.Module):
    """Embedding and ``n_interactions`` pairs of node and edge updates.

    h_i⁰ is given (``embedding`` of the element), e_ij⁰ are the ``n_edge_features`` Gaussians of r_ij. With
    ``by_element`` they are G(u_ij) ⊙ (1 + W_n h_j⁰), Gaussians of the distance and a constant of the pair
    (`gnnpot.nn.atom_sizes`), so that the first update of nodes tells neighbors apart. The sums over j and k are
    scaled by s = ⟨Σ_j f_c(r_ij)⟩^(-1/2) of the training set (each with its own cutoff), in the place of the
    paper's batch normalization. Edges are updated through triplets, or where ``l_max`` is given, through angles.
    """

    message_scale: Tensor
    triplet_scale: Tensor

    def __init__(
        self,
        elements: Sequence[int],
        n_features: int,
        n_edge_features: int,
        gaussian_width: float,
        n_interactions: int,
        cutoff: float,
        triplet_cutoff: float,
        envelope: str | None,
        l_max: int | None,
        by_element: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = element_embedding(elements, n_features)
        start = DEEPEST if by_element else 0.0
        self.radial_basis = GaussianBasis(n_edge_features, start + cutoff, start, gaussian_width)
        self.neighbor = None
        if by_element:
            self.neighbor = nn.Linear(n_features, n_edge_features, bias=False)
            nn.init.normal_(self.neighbor.weight, std=SPREAD_OF_NEIGHBORS / n_features**0.5)
        self.envelope = _envelope(envelope, cutoff)
        self.triplet_envelope = _envelope(envelope, min(triplet_cutoff, cutoff))
        sizes = (n_features, n_edge_features)
        self.node_updates = nn.ModuleList(NodeUpdate(*sizes) for _ in range(n_interactions))
        self.harmonics = None if l_max is None else SphericalHarmonics(l_max)
        self.edge_updates = nn.ModuleList(
            EdgeUpdate(*sizes) if l_max is None else AngularEdgeUpdate(*sizes, l_max) for _ in range(n_interactions)
        )
        self.register_buffer("message_scale", torch.ones(()))
        self.register_buffer("triplet_scale", torch.ones(()))

    def forward(
        self, nodes: Tensor, graph: AtomicGraph, vectors: Tensor, distances: Tensor, arguments: Tensor | None = None
    ) -> LayerOutputs:
        """Features after the last update.

        Args:
            nodes: h_i⁰ ``(n_atoms, n_features)``.
            graph: the edges.
            vectors: r_ij ``(n_edges, 3)``.
            distances: |r_ij|.
            arguments: of the Gaussians ``(n_edges,)``; None: |r_ij|.
        """
        around = self.surroundings(graph, vectors, distances)
        edges = self._first_edges(nodes, around, distances if arguments is None else arguments)
        for node_update, edge_update in zip(self.node_updates, self.edge_updates, strict=True):
            nodes = node_update(nodes, edges, around, self.message_scale)
            edges = edge_update(nodes, edges, around, self.triplet_scale)
        return LayerOutputs(nodes, edges, around)

    def surroundings(self, graph: AtomicGraph, vectors: Tensor, distances: Tensor) -> Surroundings:
        """Envelopes, and which neighbors and triplets there are; edges beyond the cutoff are left out."""
        pairs = pairs_of(graph)
        within, close = (distances.detach() < e.cutoff for e in (self.envelope, self.triplet_envelope))
        n_bytes = VALUES_PER_EDGE * self.radial_basis.centers.numel() * distances.element_size()
        return Surroundings(
            self.envelope(distances),
            self.triplet_envelope(distances),
            None if self.harmonics is None else self.harmonics(vectors / distances[:, None]),
            pairs,
            parts_of_centers(graph, pairs, within, close, n_bytes),
            parts_of_pairs(pairs, n_bytes),
        )

    def of_neighbors(self, nodes: Tensor) -> Tensor | None:
        """Factors of the Gaussians towards atoms with these h_j⁰, ``(n, n_edge_features)``; None: 1."""
        return None if self.neighbor is None else 1.0 + self.neighbor(nodes)

    def _first_edges(self, nodes: Tensor, around: Surroundings, arguments: Tensor) -> Tensor:
        def of_part(part: Centers, arguments: Tensor, *factors: Tensor) -> Tensor:
            values: Tensor = self.radial_basis(arguments)
            return values * factors[0] if factors else values

        factors = self.of_neighbors(nodes)
        of_neighbors = [] if factors is None else [(factors, "neighbor")]
        return by_parts(of_part, around.centers, [(arguments, "edge"), *of_neighbors], out="edge")

    def counting(self, graphs: Iterable[AtomicGraph]) -> Iterator[AtomicGraph]:
        """Hand the training graphs on, and set both scales at their end."""
        sums, n_atoms = torch.zeros(2, dtype=torch.float64), 0
        for graph in graphs:
            distances = edge_vectors(graph).norm(dim=1)
            for k, envelope in enumerate((self.envelope, self.triplet_envelope)):
                sums[k] += float(envelope(distances).sum())
            n_atoms += graph.n_atoms
            yield graph
        for mean, scale in zip(sums / max(n_atoms, 1), (self.message_scale, self.triplet_scale), strict=True):
            scale.fill_(float(mean) ** -0.5 if mean > 0.0 else 1.0)


@torch.no_grad()
def _initialize(linear: nn.Linear, sizes: tuple[int, ...], gains: tuple[float, ...]) -> None:
    """Random weights of variance gain²/size for each part of the input, and no bias."""
    for weight, size, gain in zip(linear.weight.split(sizes, dim=1), sizes, gains, strict=True):
        weight.normal_(0.0, gain / size**0.5)
    linear.bias.zero_()


class Step(nn.Module):
    """No envelope: 1 within the cutoff and 0 beyond it, as published; forces jump when a neighbor crosses it."""

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, distances: Tensor) -> Tensor:
        """1 or 0 for every distance (Å), same shape."""
        return (distances < self.cutoff).to(distances.dtype)


def _envelope(name: str | None, cutoff: float) -> PolynomialCutoff | CosineCutoff | Step:
    if not name:
        return Step(cutoff)
    if name == "polynomial":
        return PolynomialCutoff(cutoff, EXPONENT)
    return build_envelope(name, cutoff)
