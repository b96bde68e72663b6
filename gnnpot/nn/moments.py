"""Moments of the neighborhoods: how features lie around an atom, as vectors and as tensors of second rank."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, at_neighbors, sum_over_neighbors
from gnnpot.nn.moment_kernels import add_moment_gradients, add_moments, write_basis
from gnnpot.nn.radial import GaussianBasis, PolynomialCutoff

Array: TypeAlias = npt.NDArray[Any]

SUM_OF_SQUARES = 1.77
"""Σ_k e_k(r)² of Gaussians at distances of their width: weights of its inverse root give filters of order one."""


class NeighborMoments(nn.Module):
    """Sums over the neighbors of an atom, weighted by their features and distances, times functions of direction.

    M_i[m, c] = Σ_j f_c(r_ij) (B h_j)_c (W e(r_ij))_c Y_m(r̂_ij)

    e are Gaussians, f_c the polynomial envelope; Y is whatever the caller gives for every direction: r̂ itself for
    vectors. Channels c of different Y are different; nothing here depends on the orientation of the axes.

    Args:
        n_inputs: width of the features h.
        n_channels: number of channels of each Y.
        cutoff: r_c, Å.
        n_radial: number of Gaussians from 0 to the cutoff.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import edge_vectors, graph_from_atoms
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=4.0, dtype=torch.float32)
    >>> distances, directions = polar(edge_vectors(graph))
    >>> (vectors,) = NeighborMoments(8, [4], 4.0, 6)(torch.ones(2, 8), graph, distances, [directions])
    >>> vectors.shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, n_inputs: int, n_channels: list[int], cutoff: float, n_radial: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.basis = GaussianBasis(n_radial, cutoff)
        self.cutoff_function = PolynomialCutoff(cutoff)
        self.of_neighbor = nn.Linear(n_inputs, sum(n_channels))
        self.of_distance = nn.Linear(n_radial, sum(n_channels))
        nn.init.normal_(self.of_neighbor.weight, std=n_inputs**-0.5)
        nn.init.normal_(self.of_distance.weight, std=SUM_OF_SQUARES**-0.5)

    def forward(self, features: Tensor, graph: AtomicGraph, distances: Tensor, harmonics: list[Tensor]) -> list[Tensor]:
        """Moments ``(n_atoms, n_m, n_channels)`` for each of the ``harmonics`` ``(n_edges, n_m)``."""
        filters = self.of_distance(self.basis(distances)) * self.cutoff_function(distances)[:, None]
        weights = (at_neighbors(self.of_neighbor(features), graph) * filters).split(self.n_channels, dim=1)
        return [
            torch.stack([sum_over_neighbors(y[:, m, None] * w, graph) for m in range(y.shape[1])], dim=1)
            for w, y in zip(weights, harmonics, strict=True)
        ]


class VectorMoments:
    """The moments with Y = r̂ by compiled loops, and their way back; on a CPU, where nothing is trained.

    Args:
        module: with vectors alone.
        features: h ``(n_atoms, n_inputs)``.
        atoms: of the undirected pairs closer than the cutoff, ``(2, n_pairs)``.
        distances: of the pairs, Å.
        directions: r̂ ``(n_pairs, 3)``.
    """

    def __init__(
        self, module: NeighborMoments, features: Tensor, atoms: Array, distances: Array, directions: Array
    ) -> None:
        dtype = features.numpy().dtype
        self._module, self._geometry = module, (distances, directions.astype(dtype), atoms)
        n_pairs, n_radial = len(distances), len(module.basis.centers)
        basis, slopes = (np.empty((n_pairs, n_radial + 1), dtype=dtype) for _ in range(2))
        envelope = module.cutoff_function
        settings = (module.basis.coefficient, envelope.cutoff, envelope.exponent)
        write_basis(distances, module.basis.centers.numpy(), *settings, basis, slopes)
        weights = torch.cat([module.of_distance.weight.T, module.of_distance.bias[None]]).detach().numpy()
        self._filters, self._filter_slopes = basis @ weights, slopes @ weights
        self._values = module.of_neighbor(features).detach().numpy()
        moments = np.zeros((len(features), 3, self._values.shape[1]), dtype=dtype)
        add_moments(self._values, self._filters, self._geometry[1], atoms, moments)
        self.moments = torch.from_numpy(moments)

    def back(self, gradient: Tensor) -> tuple[Tensor, Array]:
        """From ∂y/∂moments: ∂y/∂h ``(n_atoms, n_inputs)``, and ∂y/∂r_ij of every pair ``(n_pairs, 3)``."""
        to_values = np.zeros_like(self._values)
        to_vectors = np.empty((len(self._filters), 3), dtype=to_values.dtype)
        given = (gradient.contiguous().numpy(), self._values, self._filters, self._filter_slopes)
        add_moment_gradients(*given, *self._geometry, to_values, to_vectors)
        return torch.from_numpy(to_values) @ self._module.of_neighbor.weight.detach(), to_vectors


def polar(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths r_ij ``(n_edges,)`` and directions r̂_ij ``(n_edges, 3)`` of the edge vectors."""
    distances = vectors.norm(dim=1)
    return distances, vectors / distances[:, None]
