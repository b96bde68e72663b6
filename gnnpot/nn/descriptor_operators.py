"""Descriptors in a torch model: compiled loops on the CPU, plain torch elsewhere, and stored derivatives.

`gnnpot.nn.descriptors` defines the functions; everything here gives the same numbers, faster.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather
from gnnpot.errors import ConfigError
from gnnpot.kernels import kernels_serve
from gnnpot.nn.descriptors import DescriptorSet, plain_descriptors

if TYPE_CHECKING:
    from gnnpot.nn.descriptor_pairs import Tables

Integers: TypeAlias = npt.NDArray[np.int64]


class Neighborhoods:
    """A graph as the compiled loops need it: edge vectors, where each atom's edges begin, and the types.

    Raises:
        RuntimeError: the positions ask for derivatives, which the compiled loops do not have.
    """

    def __init__(self, descriptor_set: DescriptorSet, graph: AtomicGraph, types: Tensor) -> None:
        self.descriptor_set = descriptor_set
        self.vectors = edge_vectors(graph).contiguous()
        if self.vectors.requires_grad:
            raise RuntimeError("the compiled loops hold positions and cell constant; use plain_descriptors")
        self.atoms = _rows(graph, types)

    def run(
        self,
        task: str,
        *,
        weights: Tensor | None = None,
        edge_weights: Tensor | None = None,
        gradients: Tensor | None = None,
    ) -> Tensor:
        """Run one task of `gnnpot.nn.descriptor_kernels`; returns its ``out``."""
        from gnnpot.nn import descriptor_kernels, descriptor_pairs

        vectors, row_starts = self.vectors, self.atoms[0]
        tables = descriptor_tables(self.descriptor_set, str(vectors.dtype).removeprefix("torch."))
        out = vectors.new_zeros(len(row_starts) - 1, self.descriptor_set.n_functions)
        given = {
            "weights": out if weights is None else weights.to(vectors.dtype),
            "edge_weights": vectors if edge_weights is None else edge_weights.to(vectors.dtype),
            "gradients": vectors.new_empty(0, 3, 1) if gradients is None else gradients,
        }
        arrays = {name: tensor.detach().contiguous().numpy() for name, tensor in given.items()}
        n_max = int(np.diff(row_starts).max(initial=0))
        space = descriptor_pairs.make_workspace(tables, n_max, arrays["gradients"].shape[2])
        descriptor_kernels.run(
            getattr(descriptor_kernels, task), vectors.numpy(), *self.atoms, tables, space,
            arrays["weights"], arrays["edge_weights"], out.numpy(), arrays["gradients"],
        )  # fmt: skip
        return out


def _rows(graph: AtomicGraph, types: Tensor) -> tuple[Integers, Integers, Integers]:
    """Where each atom's edges begin ``(n_atoms + 1,)``, type of every atom, and of every edge's neighbor."""
    counts = torch.bincount(graph.centers, minlength=graph.n_atoms).numpy()
    row_starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    return row_starts, types.numpy(), gather(types, graph.neighbors).numpy()


def descriptors_and_jacobian(descriptor_set: DescriptorSet, graph: AtomicGraph, types: Tensor) -> tuple[Tensor, Tensor]:
    """Descriptors ``(n_atoms, n_functions)`` and their derivatives by edge ``(n_edges, 3, n_slots)``.

    Slot m of edge (i, j) is ∂G_if/∂r_ij of function f = ``descriptor_set.involved[t_i, t_j, m]``; all others
    vanish.
    """
    around = Neighborhoods(descriptor_set, graph, types)
    jacobian = around.vectors.new_empty(graph.n_edges, 3, descriptor_set.n_slots)
    return around.run("JACOBIAN", gradients=jacobian), jacobian


def fast_descriptors(descriptor_set: DescriptorSet, graph: AtomicGraph, types: Tensor) -> Tensor:
    """Descriptors ``(n_atoms, n_functions)`` by the compiled loops; positions are constants."""
    return Neighborhoods(descriptor_set, graph, types).run("DESCRIPTORS")


def edge_gradients(descriptor_set: DescriptorSet, graph: AtomicGraph, types: Tensor, weights: Tensor) -> Tensor:
    """Σ_f weights[i, f] ∂G_if/∂r_ij of every edge, ``(n_edges, 3)``, computed anew: nothing is stored.

    Linear in ``weights`` ``(n_atoms, n_functions)`` and differentiable by them as often as one likes; positions
    are constants.
    """
    result: Tensor = _Backward.apply(weights, Neighborhoods(descriptor_set, graph, types))
    return result


class DescriptorEvaluation:
    """Descriptors of one graph, whose positions are constants, and Jᵀ w for weights w of them; stored ones if any."""

    def __init__(self, descriptor_set: DescriptorSet, graph: AtomicGraph, types: Tensor) -> None:
        self._given = (descriptor_set, graph, types)
        self._graph = graph

    def descriptors(self) -> Tensor:
        """G, ``(n_atoms, n_functions)``."""
        if self._graph.has("descriptors"):
            return self._graph.descriptors
        if kernels_serve(self._graph.positions.device):
            return fast_descriptors(*self._given)
        return plain_descriptors(*self._given)

    def pulled_back(self, weights: Tensor) -> Tensor:
        """Σ_f weights[i, f] ∂G_if/∂r_ij of every edge, ``(n_edges, 3)``, linear in ``weights``."""
        if self._graph.has("descriptor_gradients"):
            return weighted_jacobian(*self._given, self._graph.descriptor_gradients, weights)
        return edge_gradients(*self._given, weights)


class _Backward(torch.autograd.Function):
    """w → Jᵀ w."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, around: Neighborhoods) -> Tensor:
        ctx.around = around
        gradients = around.vectors.new_empty(len(around.vectors), 3, 1)
        around.run("BACKWARD", weights=weights, gradients=gradients)
        return gradients[:, :, 0].to(weights.dtype)

    @staticmethod
    def backward(ctx: Any, edge_weights: Tensor) -> tuple[Tensor, None]:
        return _Tangent.apply(edge_weights, ctx.around), None


class _Tangent(torch.autograd.Function):
    """v → J v."""

    @staticmethod
    def forward(ctx: Any, edge_weights: Tensor, around: Neighborhoods) -> Tensor:
        ctx.around = around
        return around.run("TANGENT", edge_weights=edge_weights).to(edge_weights.dtype)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor, None]:
        return _Backward.apply(weights, ctx.around), None


def weighted_jacobian(
    descriptor_set: DescriptorSet, graph: AtomicGraph, types: Tensor, jacobian: Tensor, weights: Tensor
) -> Tensor:
    """Σ_f weights[i, f] ∂G_if/∂r_ij of every edge, ``(n_edges, 3)``, from stored derivatives.

    Linear in ``weights`` ``(n_atoms, n_functions)`` and differentiable by them as often as one likes; the stored
    ``jacobian`` ``(n_edges, 3, n_slots)`` is data.
    """
    if jacobian.shape[1:] != (3, descriptor_set.n_slots):
        raise ConfigError(
            f"stored descriptor_gradients have the shape {tuple(jacobian.shape)}, these functions need "
            f"({graph.n_edges}, 3, {descriptor_set.n_slots}): they belong to other functions; delete the cache"
        )
    if kernels_serve(jacobian.device):
        result: Tensor = _Contract.apply(weights, jacobian, (*_rows(graph, types), descriptor_set.involved))
        return result
    return weighted_jacobian_in_torch(descriptor_set, graph, types, jacobian, weights)


def weighted_jacobian_in_torch(
    descriptor_set: DescriptorSet, graph: AtomicGraph, types: Tensor, jacobian: Tensor, weights: Tensor
) -> Tensor:
    """What `weighted_jacobian` does on accelerators, in plain torch."""
    involved = torch.from_numpy(descriptor_set.involved).to(jacobian.device)
    columns = involved[gather(types, graph.centers), gather(types, graph.neighbors)]
    padded = torch.cat([weights, weights.new_zeros(len(weights), 1)], dim=1)
    picked = gather(padded, graph.centers).gather(1, columns)
    return torch.einsum("ecm,em->ec", jacobian.to(picked.dtype), picked)


class _Contract(torch.autograd.Function):
    """w → Jᵀ w with stored J."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, jacobian: Tensor, rows: tuple[Integers, ...]) -> Tensor:
        from gnnpot.nn.descriptor_kernels import contract

        ctx.save_for_backward(jacobian)
        ctx.rows, ctx.n_functions = rows, weights.shape[1]
        out = weights.new_empty(len(jacobian), 3)
        contract(
            rows[0], rows[1], rows[2], rows[3], jacobian.numpy(), weights.detach().contiguous().numpy(), out.numpy()
        )
        return out

    @staticmethod
    def backward(ctx: Any, edge_weights: Tensor) -> tuple[Tensor, None, None]:
        (jacobian,) = ctx.saved_tensors
        return _ContractTransposed.apply(edge_weights, jacobian, ctx.rows, ctx.n_functions), None, None


class _ContractTransposed(torch.autograd.Function):
    """v → J v with stored J."""

    @staticmethod
    def forward(
        ctx: Any, edge_weights: Tensor, jacobian: Tensor, rows: tuple[Integers, ...], n_functions: int
    ) -> Tensor:
        from gnnpot.nn.descriptor_kernels import contract_transposed

        ctx.save_for_backward(jacobian)
        ctx.rows = rows
        out = edge_weights.new_zeros(len(rows[1]), n_functions)
        contract_transposed(
            rows[0],
            rows[1],
            rows[2],
            rows[3],
            jacobian.numpy(),
            edge_weights.detach().contiguous().numpy(),
            out.numpy(),
        )
        return out

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor, None, None, None]:
        (jacobian,) = ctx.saved_tensors
        return _Contract.apply(weights, jacobian, ctx.rows), None, None, None


@lru_cache(maxsize=32)
def descriptor_tables(descriptor_set: DescriptorSet, precision: str) -> "Tables":
    """Arrays of a descriptor set for the compiled loops, in ``float32`` or ``float64``."""
    from gnnpot.nn.descriptor_tables import make_tables

    return make_tables(descriptor_set, np.float32 if precision == "float32" else np.float64)
