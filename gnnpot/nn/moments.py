"""Moments of the neighborhoods: how features lie around an atom, as vectors and as tensors of second rank."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, gather
from gnnpot.data.triplets import undirected_pairs
from gnnpot.nn.convolution import Pairs, convolve
from gnnpot.nn.moment_kernels import add_moments
from gnnpot.nn.near_pairs import Array, NearPairs, SplineGrid, SplinePlaces
from gnnpot.nn.radial import GaussianBasis, PolynomialCutoff
from gnnpot.nn.splines import INTERVALS_PER_GAUSSIAN, QuinticSpline
from gnnpot.nn.watch import kept_until_weights_change

SUM_OF_SQUARES = 1.77
"""Σ_k e_k(r)² of Gaussians at distances of their width: weights of its inverse root give filters of order one."""


class PairGeometry(NamedTuple):
    """The undirected pairs of a graph, r_ij from the first of their atoms to the second."""

    atoms: Tensor
    """``(2, n_pairs)``."""
    distances: Tensor
    """Å, ``(n_pairs,)``."""
    directions: Tensor
    """r̂_ij ``(n_pairs, 3)``; r̂_ji is its negative."""


class NeighborMoments(nn.Module):
    """Sums over the neighbors of an atom, weighted by their features and distances, times functions of direction.

    M_i[m, c] = Σ_j f_c(r_ij) (B h_j)_c S_c(r_ij) Y_m(r̂_ij)

    f_c is the polynomial envelope, S a spline (`gnnpot.nn.splines`) through W e(r), e Gaussians. Y is whatever the
    caller gives for every direction, of degree 1 (r̂ itself), 2, ...: Y(-r̂) = (-1)^degree Y(r̂). Channels c of
    different Y are different; nothing here depends on the orientation of the axes.

    Args:
        n_inputs: width of the features h.
        n_channels: number of channels of degree 1, 2, ...
        cutoff: r_c, Å.
        n_radial: number of Gaussians from 0 to the cutoff.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import edge_vectors, graph_from_atoms
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=4.0, dtype=torch.float32)
    >>> pairs = pair_geometry(graph, edge_vectors(graph), cutoff=4.0)
    >>> (vectors,) = NeighborMoments(8, [4], 4.0, 6)(torch.ones(2, 8), pairs, [pairs.directions])
    >>> vectors.shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, n_inputs: int, n_channels: list[int], cutoff: float, n_radial: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.basis = GaussianBasis(n_radial, cutoff)
        self.spline = QuinticSpline(cutoff, INTERVALS_PER_GAUSSIAN * (n_radial - 1))
        self.cutoff_function = PolynomialCutoff(cutoff)
        self.of_neighbor = nn.Linear(n_inputs, sum(n_channels))
        self.of_distance = nn.Linear(n_radial, sum(n_channels))
        nn.init.normal_(self.of_neighbor.weight, std=n_inputs**-0.5)
        nn.init.normal_(self.of_distance.weight, std=SUM_OF_SQUARES**-0.5)

    def filter_table(self) -> Tensor:
        """Coefficients of the splines S, ``(n_coefficients, n_channels of all degrees)``."""
        return self.spline.coefficients(self.of_distance(self.basis(self.spline.knots)))

    def forward(self, features: Tensor, pairs: PairGeometry, harmonics: Sequence[Tensor]) -> list[Tensor]:
        """Moments ``(n_atoms, n_m, n_channels)`` for Y ``(n_pairs, n_m)`` of every degree."""
        values = self.of_neighbor(features).split(self.n_channels, dim=1)
        tables = self.filter_table().split(self.n_channels, dim=1)
        return self._moments(values, tables, pairs, harmonics)

    def sharing_filters(self, features: Tensor, pairs: PairGeometry, harmonics: Sequence[Tensor]) -> list[Tensor]:
        """`forward` with the same filters and values for Y of every degree; channels are those of degree 1 alone."""
        n = len(harmonics)
        return self._moments([self.of_neighbor(features)] * n, [self.filter_table()] * n, pairs, harmonics)

    def _moments(
        self, values: Sequence[Tensor], tables: Sequence[Tensor], pairs: PairGeometry, harmonics: Sequence[Tensor]
    ) -> list[Tensor]:
        first, weights = self.spline(pairs.distances)
        weights = weights * self.cutoff_function(pairs.distances)[:, None]
        found = []
        for degree, (v, table, y) in enumerate(zip(values, tables, harmonics, strict=True), start=1):
            parts = [
                _signed_convolution(v, table, y[:, m, None] * weights, pairs.atoms, first, (-1) ** degree)
                for m in range(y.shape[1])
            ]
            found.append(torch.stack(parts, dim=1))
        return found

    @torch.no_grad()
    def of_pairs(self, features: Tensor, pairs: NearPairs, harmonics: Sequence[Tensor]) -> list[Tensor]:
        """`forward` by compiled loops, where nothing is differentiated; all on a CPU."""
        all_values = self.of_neighbor(features)
        places = self.places(pairs, all_values.numpy().dtype)
        found = []
        parts = zip(all_values.split(self.n_channels, dim=1), self._current_tables(), harmonics, strict=True)
        for degree, (values, table, y) in enumerate(parts, start=1):
            moments = values.new_zeros(len(values), y.shape[1], values.shape[1])
            arrays = (values.contiguous().numpy(), table, places.weights, places.first, y.numpy())
            add_moments(*arrays, y.shape[1] if degree % 2 else 0, pairs.atoms, moments.numpy())
            found.append(moments)
        return found

    def places(self, pairs: NearPairs, dtype: npt.DTypeLike) -> SplinePlaces:
        """Where the pairs, all closer than the cutoff, lie in the filters, with the envelope."""
        envelope = self.cutoff_function
        return pairs.places(
            SplineGrid(envelope.cutoff, self.spline.spacing, self.spline.n_intervals, envelope.exponent), dtype
        )

    @kept_until_weights_change
    def _current_tables(self) -> list[Array]:
        """`filter_table` of each degree."""
        tables = self.filter_table().split(self.n_channels, dim=1)
        return [table.contiguous().numpy() for table in tables]


def _signed_convolution(
    values: Tensor, table: Tensor, weights: Tensor, atoms: Tensor, first: Tensor, sign: int
) -> Tensor:
    """v_j ⊙ S at the first atoms of the pairs and ± v_i ⊙ S at the second, ``(n_atoms, n_channels)``.

    With a minus, the sums at first and at second atoms are those of two sets of atoms that the pairs connect.
    """
    if sign > 0:
        return convolve(values, table, weights, Pairs(atoms, first))
    n_atoms = len(values)
    apart = torch.stack([atoms[0], atoms[1] + n_atoms])
    at_first, at_second = convolve(torch.cat([values, values]), table, weights, Pairs(apart, first)).split(n_atoms)
    return at_first - at_second


def pair_geometry(graph: AtomicGraph, vectors: Tensor, cutoff: float) -> PairGeometry:
    """Pairs of a graph closer than the cutoff (Å), from the vectors r_ij ``(n_edges, 3)`` of its edges: one of each."""
    edges = graph.edge_of_pair if graph.has("edge_of_pair") else undirected_pairs(graph)[1]
    edges = edges[gather(vectors.detach(), edges).norm(dim=1) < cutoff]
    taken = gather(vectors, edges)
    distances = taken.norm(dim=1)
    return PairGeometry(graph.edge_index.index_select(1, edges), distances, taken / distances[:, None])
