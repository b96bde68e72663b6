"""Born tensor head: Born charges as they are, without a polarization behind them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph
from gnnpot.errors import ConfigError
from gnnpot.models.heads import ResponseHead, total_charges, with_sum_rule
from gnnpot.nn.born_kernels import BornArrays, irreducible_parts, scaled_with_sum_rule
from gnnpot.nn.layers import KeepsFloat64, mlp
from gnnpot.nn.moment_kernels import write_products
from gnnpot.nn.moments import NeighborMoments, pair_geometry
from gnnpot.nn.near_pairs import NearPairs
from gnnpot.nn.watch import kept_until_weights_change

RANKS = (0, 1, 2)
"""A product of two vectors, field and displacement: 0e + 1e + 2e, with 1, 3 and 5 components."""


class BornTensorHead(ResponseHead):
    """Born charges from vectors and tensors of the neighborhood, with nothing to differentiate.

    Z_i = ⟨Z⟩(Z_i) 1 + s Σ_l Q_l x_il, less an equal share of what is missing to ΣZ = Q·1,

    x_il = Σ_c g_lc(h_i, n_i) [(A_l V_i)_c ⊗ V_ic]_l + Σ_c g'_lc [(B_l D_i)_c ⊗ D_ic]_l (+ Σ_c g''_c D_ic for l = 2,
    + g''' for l = 0),

    V_ic (1o) and D_ic (2e) the moments of `gnnpot.nn.moments.NeighborMoments` with real spherical harmonics, [⊗]_l
    their products by Clebsch-Gordan coefficients, n_i the squares of V and D. The part l = 1, antisymmetric, comes from
    products alone. Q_l, (2l + 1) × 3 × 3, is e3nn's change of basis of ``CartesianTensor("ij")``, built once.

    Args:
        elements: of the backbone.
        n_inputs: width of the backbone's features.
        cutoff: how far the tensors look for neighbors, at most that of the backbone, Å.
        n_channels: number of vectors and of tensors per atom.
        n_radial: Gaussians of the distance.
        hidden: width of the network of the gates.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import edge_vectors, graph_from_atoms
    >>> graph = graph_from_atoms(bulk("MgO", "rocksalt", a=4.2), cutoff=4.0, dtype=torch.float32)
    >>> born = BornTensorHead([8, 12], 16, 4.0)(torch.ones(2, 16), graph, edge_vectors(graph))
    >>> born = born["born_effective_charges"]
    >>> bool(born.sum(dim=0).abs().max() < 1e-12)
    True
    """

    outputs = frozenset({"born_effective_charges"})

    def __init__(
        self,
        elements: Sequence[int] | None = None,
        n_inputs: int | None = None,
        cutoff: float | None = None,
        n_channels: int = 32,
        n_radial: int = 32,
        hidden: int = 64,
    ) -> None:
        if elements is None or n_inputs is None or cutoff is None:
            raise ConfigError("head.elements, n_inputs and cutoff are null: `fit` takes them from the backbone")
        super().__init__(elements, n_inputs, cutoff)
        self.n_channels = n_channels
        self.n_radial = n_radial
        self.hidden = hidden
        self.tables = _Tables()
        self.moments = NeighborMoments(n_inputs, [n_channels, n_channels], self.cutoff, n_radial)
        self.mix_vectors = nn.ModuleList(nn.Linear(n_channels, n_channels, bias=False) for _ in RANKS)
        self.mix_tensors = nn.ModuleList(nn.Linear(n_channels, n_channels, bias=False) for _ in RANKS)
        n_gates = (2 * len(RANKS) + 1) * n_channels + 1
        self.gates = mlp([n_inputs + 2 * n_channels, hidden, n_gates], "silu")

    def forward(self, features: Tensor, graph: AtomicGraph, vectors: Tensor) -> dict[str, Tensor]:
        """Born charges ``(n_atoms, 3, 3)``, e, field first, float64."""
        pairs = pair_geometry(graph, vectors, self.cutoff)
        firsts, seconds = self.moments(features, pairs, self.tables.harmonics(pairs.directions))
        return {"born_effective_charges": self._from_moments(features, firsts, seconds, graph)}

    @torch.no_grad()
    def of_pairs(self, features: Tensor, pairs: NearPairs, graph: AtomicGraph) -> Tensor:
        """Born charges by compiled loops, of features on a CPU and the pairs closer than the head's cutoff."""
        moments = self.moments.of_pairs(features, pairs, self.tables.harmonics_of(pairs, features.dtype))
        arrays, statistics = self._current_arrays(), self.born_scale
        parts = irreducible_parts(arrays, features.numpy(), *(moment.numpy() for moment in moments))
        types = statistics.element_table(graph.atomic_numbers)
        born = scaled_with_sum_rule(
            parts,
            arrays.vector_products,
            float(statistics.scale),
            statistics.means.numpy(),
            types.numpy(),
            total_charges(graph).numpy(),
            graph.batch.numpy(),
        )
        return torch.from_numpy(born)

    def _from_moments(self, features: Tensor, firsts: Tensor, seconds: Tensor, graph: AtomicGraph) -> Tensor:
        """Z from the moments of degree 1 and 2, ``(n_atoms, 3 or 5, n_channels)``."""
        lengths = [(moment**2).sum(dim=1) for moment in (firsts, seconds)]
        gates = self.gates(torch.cat([features, *lengths], dim=1)) / self.n_channels**0.5
        scalar, *parts = gates.split([1, *[self.n_channels] * (2 * len(RANKS) + 1)], dim=1)
        irreps = []
        for rank in RANKS:
            left = self.mix_vectors[rank](firsts) * parts[2 * rank][:, None]
            x = self.tables.product(rank, left, firsts)
            left = self.mix_tensors[rank](seconds) * parts[2 * rank + 1][:, None]
            irreps.append(x + self.tables.product(rank, left, seconds))
        irreps[0] = irreps[0] + scalar.double()
        irreps[2] = irreps[2] + (seconds * parts[-1][:, None]).sum(dim=2).double()
        return self._scaled(torch.cat(irreps, dim=1), graph)

    def _scaled(self, irreps: Tensor, graph: AtomicGraph) -> Tensor:
        """Z from the parts of rank 0, 1 and 2 beside each other."""
        return with_sum_rule(self.born_scale(self.tables.cartesian(irreps), graph.atomic_numbers), graph)

    @kept_until_weights_change
    def _current_arrays(self) -> BornArrays:
        layers: Any = self.gates
        first, _, last = layers
        mixing: list[Any] = [[layer.weight for layer in layers] for layers in (self.mix_vectors, self.mix_tensors)]
        scale = self.n_channels**-0.5
        tensors = {
            "mixed_vectors": torch.cat(mixing[0]).T,
            "mixed_tensors": torch.cat(mixing[1]).T,
            "of_features": first.weight[:, : self.n_inputs].T,
            "of_squares": first.weight[:, self.n_inputs :].T,
            "hidden_bias": first.bias,
            "gates": scale * last.weight.T,
            "gates_bias": scale * last.bias,
            "vector_products": self.tables.all_products(1),
            "tensor_products": self.tables.all_products(2),
        }
        arrays = {name: tensor.detach().contiguous().clone().numpy() for name, tensor in tensors.items()}
        return BornArrays(**arrays)


class _Tables(KeepsFloat64):
    """Clebsch-Gordan coefficients and the change of basis, from e3nn at construction; no e3nn in a forward."""

    def __init__(self) -> None:
        super().__init__()
        from e3nn.o3 import wigner_3j

        for rank in RANKS:
            for order in (1, 2):
                products = (2 * rank + 1) ** 0.5 * wigner_3j(order, order, rank, dtype=torch.float64)
                self.register_buffer(f"products_{order}_{rank}", products, persistent=False)

    def harmonics(self, unit_vectors: Tensor) -> list[Tensor]:
        """Real spherical harmonics of degree 1 and 2 in e3nn's order, of squared length 1 and 2/3."""
        outer = unit_vectors[:, :, None] * unit_vectors[:, None, :]
        return [unit_vectors, outer.flatten(1) @ self._products(1, 2).flatten(0, 1).to(outer.dtype)]

    def harmonics_of(self, pairs: NearPairs, dtype: torch.dtype) -> list[Tensor]:
        """`harmonics` by a compiled loop, on a CPU."""
        directions = torch.from_numpy(pairs.directions)
        seconds = directions.new_empty((len(directions), 5), dtype=dtype)
        write_products(pairs.directions, self._products(1, 2).numpy(), seconds.numpy())
        return [directions.to(dtype), seconds]

    def product(self, rank: int, left: Tensor, right: Tensor) -> Tensor:
        """Σ_c [left_c ⊗ right_c] of one rank, ``(n_atoms, 2 rank + 1)`` float64; both of degree 1, or both of 2."""
        outer = torch.bmm(left, right.transpose(1, 2)).double()
        order = (left.shape[1] - 1) // 2
        return outer.flatten(1) @ self._products(order, rank).flatten(0, 1)

    def all_products(self, order: int) -> Tensor:
        """Coefficients of the products of all ranks beside each other, ``((2 order + 1)², 9)``."""
        return torch.cat([self._products(order, rank).flatten(0, 1) for rank in RANKS], dim=1)

    def cartesian(self, irreps: Tensor) -> Tensor:
        """The tensor ``(n_atoms, 3, 3)`` whose parts of rank 0, 1, 2 stand beside each other ``(n_atoms, 9)``."""
        return (irreps @ self.all_products(1).T).unflatten(1, (3, 3))

    def _products(self, order: int, rank: int) -> Tensor:
        return self.get_buffer(f"products_{order}_{rank}")
