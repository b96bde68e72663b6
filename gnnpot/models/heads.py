"""What the response heads have in common: their contract, the charge of a structure, and the scale of Born charges."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, gather, scatter_sum, sum_per_structure
from gnnpot.nn.layers import ElementTable, KeepsFloat64

FAR_ENOUGH = 5.0
"""Å: cutoff of a head where none is given, or that of the backbone where it is smaller. What lies further away, the
features know."""


class ResponseHead(nn.Module):
    """A module on the features of a backbone and the edge vectors of the graph.

    Like a potential, a head has constructor arguments that are plain values, each kept as an attribute of its name.
    ``elements`` and ``n_inputs`` are those of the backbone; ``cutoff`` is at most its. ``forward(features, graph,
    vectors)`` returns what ``outputs`` names: ``polarization`` ``(n_structures, 3)``, e·Å, or
    ``born_effective_charges`` ``(n_atoms, 3, 3)``, e, field first; both float64.
    """

    outputs: frozenset[str]

    def __init__(self, elements: Sequence[int], n_inputs: int, cutoff: float) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.n_inputs = n_inputs
        self.cutoff = float(cutoff)
        self.born_scale = BornScale(self.elements)

    def forward(self, features: Tensor, graph: AtomicGraph, vectors: Tensor) -> dict[str, Tensor]:
        """The response of a graph, from the features ``(n_atoms, n_inputs)`` and edge vectors ``(n_edges, 3)``, Å."""
        raise NotImplementedError

    def watching(self, graphs: Iterable[AtomicGraph]) -> Iterator[AtomicGraph]:
        """Hand the training graphs on, and fill the buffers that depend on their Born charges at their end."""
        return self.born_scale.watching(graphs)

    @classmethod
    def resolve(cls, arguments: dict[str, Any], compositions: Iterable[Mapping[str, int]]) -> dict[str, Any]:
        """Replace what the configuration leaves to the data (null) by plain values.

        Args:
            arguments: constructor arguments, with those of the backbone filled in.
            compositions: formulas of the training structures, {symbol: atoms}, each once.
        """
        return arguments

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values, read back from the attributes of the same names."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def total_charges(graph: AtomicGraph) -> Tensor:
    """Total charge Q of every structure in e, 0 where none is given, ``(n_structures,)`` float64."""
    return graph.charge.double().nan_to_num(nan=0.0)


def share_equally(excess: Tensor, graph: AtomicGraph) -> Tensor:
    """``excess`` ``(n_structures, ...)`` over the number of atoms, for every atom, ``(n_atoms, ...)``."""
    if graph.n_structures == 1:
        return (excess / max(graph.n_atoms, 1)).expand(graph.n_atoms, *excess.shape[1:])
    sizes = torch.bincount(graph.batch, minlength=graph.n_structures).clamp(min=1)
    return gather(excess / sizes.reshape(-1, *(1,) * (excess.dim() - 1)).to(excess.dtype), graph.batch)


def with_sum_rule(born: Tensor, graph: AtomicGraph) -> Tensor:
    """Z_i - (1/N) (Σ_k Z_k - Q·1), ``(n_atoms, 3, 3)``: the nearest tensors that add up to Q·1.

    The projection is orthogonal, so that it brings predictions nearer to any labels that fulfill the rule.
    """
    unit = torch.eye(3, dtype=born.dtype, device=born.device)
    wanted = total_charges(graph).to(born.dtype)[:, None, None] * unit
    return born - share_equally(sum_per_structure(born, graph) - wanted, graph)


class BornScale(KeepsFloat64):
    """Mean Born charge ⟨tr Z/3⟩ of each element, and the root mean square of what is left, both in e.

    Invariants only: a mean or a spread of single components would depend on the orientation of the axes.
    """

    means: Tensor
    scale: Tensor

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        self.element_table = ElementTable(elements)
        self.register_buffer("means", torch.zeros(len(elements), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, tensors: Tensor, numbers: Tensor) -> Tensor:
        """⟨Z⟩ 1 + scale · tensors, float64, from tensors ``(n_atoms, 3, 3)`` of order one."""
        unit = torch.eye(3, dtype=torch.float64, device=tensors.device)
        return gather(self.means, self.element_table(numbers))[:, None, None] * unit + self.scale * tensors.double()

    def watching(self, graphs: Iterable[AtomicGraph]) -> Iterator[AtomicGraph]:
        """Hand graphs on, and set means and scale from their labels at their end."""
        n = len(self.means)
        counts, traces, squares = (torch.zeros(n, dtype=torch.float64) for _ in range(3))
        for graph in graphs:
            known = torch.isfinite(graph.born_effective_charges).all(dim=2).all(dim=1)
            types = self.element_table(graph.atomic_numbers)[known]
            born = graph.born_effective_charges[known].double()
            counts += scatter_sum(torch.ones_like(born[:, 0, 0]), types, n)
            traces += scatter_sum(born.diagonal(dim1=1, dim2=2).sum(dim=1), types, n)
            squares += scatter_sum((born**2).sum(dim=(1, 2)), types, n)
            yield graph
        if counts.sum() > 0.0:
            self.means.copy_(traces / (3.0 * counts.clamp(min=1.0)))
            rest = float((squares - 3.0 * counts * self.means**2).sum() / (9.0 * counts.sum()))
            self.scale.fill_(rest**0.5 if rest > 0.0 else 1.0)
