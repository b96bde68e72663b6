"""The layers of GNNFF: embedding, node and edge updates, shared by its direct and its conservative form.

Park et al., npj Comput. Mater. 7, 73 (2021), without batch normalization and without a cap on neighbors; every
neighbor's term is weighted by an envelope f_c, so that it vanishes smoothly at the cutoff.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, at_centers, at_neighbors, edge_vectors, gather, scatter_sum
from gnnpot.data.triplets import undirected_pairs
from gnnpot.nn.angular import SphericalHarmonics, moments, projections
from gnnpot.nn.gated_sum import Blocks, gate, gated_sum
from gnnpot.nn.radial import CosineCutoff, GaussianBasis, PolynomialCutoff, build_envelope

EXPONENT = 6
"""Of the polynomial envelope. A term passes several envelopes on its way: steeper ones would hide far neighbors."""

EDGE_GAIN = 3.0
"""Initial gain of the weights on edge features, which differ little from edge to edge: the gates have to tell them
apart without the batch normalization of the published code (Si: 14 % lower force error at equal training time)."""


@dataclass(frozen=True)
class Pairs:
    """The undirected pair and the reverse of every edge, and both atoms ``(2, n_pairs)`` of every pair."""

    of_edge: Tensor
    reverse: Tensor
    atoms: Tensor


@dataclass(frozen=True)
class Surroundings:
    """What the layers need of the geometry: f_c(r_ij) at both cutoffs ``(n_edges,)``, who meets whom, Y_lm(r̂_ij)."""

    envelope: Tensor
    triplet_envelope: Tensor
    pairs: Pairs
    neighbors: Blocks
    triplets: Blocks
    harmonics: Tensor | None


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
        rows = nn.functional.linear(nodes, from_node, self.linear.bias)
        columns = nn.functional.linear(edges, from_edge)
        return torch.tanh(nodes + scale * gated_sum(rows, columns, around.envelope, around.neighbors))


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

    def forward(self, nodes: Tensor, edges: Tensor, graph: AtomicGraph, around: Surroundings, scale: Tensor) -> Tensor:
        """New edge features ``(n_edges, n_edge_features)``."""
        weight_i, weight_j, weight_k, weight_ij, weight_jk = self.triplet_linear.weight.split(self.sizes, dim=1)
        at_i = nn.functional.linear(nodes, weight_i, self.triplet_linear.bias)
        rows = torch.addmm(at_centers(at_i, graph), edges, weight_ij.t())
        columns = torch.addmm(at_neighbors(nodes @ weight_k.t(), graph), edges, weight_jk.t())
        columns = columns + at_centers(nodes @ weight_j.t(), graph)
        three_body = gated_sum(rows, columns, around.triplet_envelope, around.triplets)
        first, second = around.pairs.atoms
        two_body = gate(self.pair_linear(gather(nodes, first) * gather(nodes, second)))
        return torch.tanh(edges + gather(two_body, around.pairs.of_edge) + scale * three_body)


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

    def forward(self, nodes: Tensor, edges: Tensor, graph: AtomicGraph, around: Surroundings, scale: Tensor) -> Tensor:
        """New edge features ``(n_edges, n_edge_features)``."""
        angular = self.angular_features(nodes, edges, graph, around, scale)
        weight_i, weight_j, weight_ij, weight_own, weight_other = self.gate_linear.weight.split(self.gate_sizes, dim=1)
        inputs = torch.addmm(_of_atoms(nodes, weight_i, weight_j, self.gate_linear.bias, graph), edges, weight_ij.t())
        inputs = torch.addmm(inputs, angular, weight_own.t())
        inputs = inputs + gather(angular @ weight_other.t(), around.pairs.reverse)
        first, second = around.pairs.atoms
        two_body = gate(self.pair_linear(gather(nodes, first) * gather(nodes, second)))
        return torch.tanh(edges + gather(two_body, around.pairs.of_edge) + gate(inputs))

    def angular_features(
        self, nodes: Tensor, edges: Tensor, graph: AtomicGraph, around: Surroundings, scale: Tensor
    ) -> Tensor:
        """J_ij, ``(n_edges, (l_max + 1) n_channels)``."""
        if around.harmonics is None:
            raise ValueError("surroundings without harmonics, for layers that know the angles")
        weight_i, weight_k, weight_ik = self.channel_linear.weight.split(self.channel_sizes, dim=1)
        of_atoms = _of_atoms(nodes, weight_i, weight_k, self.channel_linear.bias, graph)
        channels = gate(torch.addmm(of_atoms, edges, weight_ik.t())) * (scale * around.triplet_envelope)[:, None]
        shape = (graph.n_edges, self.n_degrees, self.n_channels)
        found = moments(channels.reshape(shape), around.harmonics, graph.centers, graph.n_atoms)
        return projections(found, around.harmonics, graph.centers).flatten(1)


def _of_atoms(nodes: Tensor, of_center: Tensor, of_neighbor: Tensor, bias: Tensor, graph: AtomicGraph) -> Tensor:
    """h_i W_i + h_j W_j + b of every edge."""
    at_center = at_centers(nn.functional.linear(nodes, of_center, bias), graph)
    return at_center + at_neighbors(nodes @ of_neighbor.t(), graph)


class GNNFFLayers(nn.Module):
    """Embedding and ``n_interactions`` pairs of node and edge updates.

    h_i⁰ is an embedding of the element, e_ij⁰ the ``n_edge_features`` Gaussians of r_ij. The sums over j and k are
    scaled by s = ⟨Σ_j f_c(r_ij)⟩^(-1/2) of the training set (each with its own cutoff), in the place of the paper's
    batch normalization. Edges are updated through triplets, or where ``l_max`` is given, through angles.
    """

    message_scale: Tensor
    triplet_scale: Tensor

    def __init__(
        self,
        n_elements: int,
        n_features: int,
        n_edge_features: int,
        n_interactions: int,
        cutoff: float,
        triplet_cutoff: float,
        envelope: str | None,
        l_max: int | None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_elements, n_features)
        self.radial_basis = GaussianBasis(n_edge_features, cutoff)
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

    def forward(self, types: Tensor, graph: AtomicGraph, vectors: Tensor, distances: Tensor) -> LayerOutputs:
        """Features after the last update, from element types ``(n_atoms,)``, r_ij ``(n_edges, 3)`` and |r_ij|."""
        around = self.surroundings(graph, vectors, distances)
        nodes, edges = self.embedding(types), self.radial_basis(distances)
        for node_update, edge_update in zip(self.node_updates, self.edge_updates, strict=True):
            nodes = node_update(nodes, edges, around, self.message_scale)
            edges = edge_update(nodes, edges, graph, around, self.triplet_scale)
        return LayerOutputs(nodes, edges, around)

    def surroundings(self, graph: AtomicGraph, vectors: Tensor, distances: Tensor) -> Surroundings:
        """Envelopes, and which neighbors and triplets there are; edges beyond the cutoff are left out."""
        starts = _first_edges(graph)
        atoms = torch.arange(graph.n_atoms + 1, device=starts.device)
        pairs = _pairs(graph)
        within, close = (distances.detach() < e.cutoff for e in (self.envelope, self.triplet_envelope))
        return Surroundings(
            self.envelope(distances),
            self.triplet_envelope(distances),
            pairs,
            neighbors=Blocks(atoms, atoms[:-1], starts, within, skip_same=False),
            triplets=Blocks(starts, pairs.reverse, starts, close, skip_same=True),
            harmonics=None if self.harmonics is None else self.harmonics(vectors / distances[:, None]),
        )

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


def pair_fields(graph: AtomicGraph) -> dict[str, Tensor]:
    """The undirected pairs of a graph, from which the triplets follow at no cost, for ``Potential.precompute``."""
    pair_of_edge, edge_of_pair = undirected_pairs(graph)
    return {"pair_of_edge": pair_of_edge, "edge_of_pair": edge_of_pair}


def _pairs(graph: AtomicGraph) -> Pairs:
    fields = graph if graph.has("edge_of_pair") else graph.replace(**pair_fields(graph))
    of_edge, edge_of_pair = fields.pair_of_edge, fields.edge_of_pair
    edges = torch.arange(graph.n_edges, device=of_edge.device)
    both = scatter_sum(edges, of_edge, len(edge_of_pair))
    return Pairs(of_edge, both[of_edge] - edges, graph.edge_index[:, edge_of_pair])


def _first_edges(graph: AtomicGraph) -> Tensor:
    """Number of the first edge of every atom, and behind them the number of edges, ``(n_atoms + 1,)``."""
    atoms = torch.arange(graph.n_atoms + 1, device=graph.edge_index.device)
    return torch.searchsorted(graph.centers.contiguous(), atoms)
