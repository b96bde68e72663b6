"""A set of functions of every center (`gnnpot.nn.moment_functions`), in plain torch and by compiled loops.

The plain way is the definition; it can be differentiated as often as one likes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather, scatter_sum
from gnnpot.errors import ConfigError
from gnnpot.nn.angular import SphericalHarmonics
from gnnpot.nn.atom_sizes import LARGEST_RADIUS, AtomSizes
from gnnpot.nn.element_properties import element_properties
from gnnpot.nn.moment_functions import MomentFunction
from gnnpot.nn.radial import build_envelope

if TYPE_CHECKING:
    from gnnpot.nn.moment_set_kernels import Tables

Array: TypeAlias = npt.NDArray[Any]
Factor: TypeAlias = tuple[float, float, float, str, bool]
Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Terms:
    """Products of moments, ``left`` times ``right``, and the ``function`` that each is added to."""

    left: Array
    right: Array
    function: Array


class MomentSet:
    """Functions of every center; column f of every atom is the f-th of them.

    A moment A_nalm is a number of each atom, columns sorted by radial factor n, then by (l, m), then by property a.

    >>> from gnnpot.nn.moment_functions import parse_moment_function
    >>> line = "M3 * one one order=2 eta=2 shift=1.5,2.5 cutoff=6 polynomial"
    >>> MomentSet([3, 8], [parse_moment_function(line)]).n_moments
    10

    Raises:
        ConfigError: no function, or one that is given twice.
    """

    def __init__(self, elements: Sequence[int], functions: Sequence[MomentFunction]) -> None:
        self.elements = tuple(elements)
        self.functions = tuple(functions)
        if not functions:
            raise ConfigError("model.functions is empty; leave it null to generate them")
        if len(set(self.functions)) < len(self.functions):
            twice = next(f for k, f in enumerate(self.functions) if f in self.functions[:k])
            raise ConfigError(f"model.functions: '{twice}' is given twice")
        self.n_functions = len(self.functions)
        self.cutoff = max(f.cutoff for f in self.functions)
        self.properties = tuple(dict.fromkeys(name for f in self.functions for name in f.properties))
        self.factors = self._factors_with_spans()
        sizes = [(last - first) * len(self.properties) for first, last in self.factors.values()]
        self.starts = dict(zip(self.factors, np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist(), strict=True))
        self.n_moments = sum(sizes)

    def _factors_with_spans(self) -> dict[Factor, Span]:
        """Which columns of the harmonics, from the first to before the last, each radial factor needs."""
        found: dict[Factor, Span] = {}
        for function in self.functions:
            span = (function.order**2, (function.order + 1) ** 2)
            for factor in factors_of(function):
                first, last = found.get(factor, span)
                found[factor] = (min(first, span[0]), max(last, span[1]))
        return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))

    @property
    def highest_degree(self) -> int:
        """Of the harmonics."""
        return max(f.order for f in self.functions)

    @cached_property
    def weights(self) -> Tensor:
        """Properties of the elements, ``(n_types, n_properties)``, float64."""
        return element_properties(self.elements, self.properties)

    @cached_property
    def radii(self) -> Tensor:
        """Covalent radii R of the elements, Å, ``(n_types,)``, float64."""
        return LARGEST_RADIUS - AtomSizes(self.elements).double()()

    @cached_property
    def terms(self) -> Terms:
        """The functions as products of moments; column ``n_moments`` stands for 1."""
        rows = []
        for f, function in enumerate(self.functions):
            for m in range(function.order**2, (function.order + 1) ** 2):
                columns = [
                    self._column(*found, m) for found in zip(factors_of(function), function.properties, strict=True)
                ]
                rows.append((columns[0], columns[1] if len(columns) == 2 else self.n_moments, f))
        left, right, function_of = np.array(rows, dtype=np.int64).T.copy()
        return Terms(left, right, function_of)

    def _column(self, factor: Factor, name: str, m: int) -> int:
        first, _ = self.factors[factor]
        return int(self.starts[factor]) + (m - first) * len(self.properties) + self.properties.index(name)


def factors_of(function: MomentFunction) -> list[Factor]:
    """(η, R_s, r_c, envelope, by element) of each neighbor of a term."""
    f = function
    return [(f.eta, shift, f.cutoff, f.envelope, f.by_element) for shift in f.shifts]


def plain_moment_descriptors(moment_set: MomentSet, graph: AtomicGraph, types: Tensor) -> Tensor:
    """Descriptors of every atom, ``(n_atoms, n_functions)``, differentiable as often as one likes."""
    vectors = edge_vectors(graph)
    distances = torch.linalg.vector_norm(vectors, dim=1)
    gaps = distances - moment_set.radii.to(vectors)[types[graph.edge_index]].sum(dim=0)
    harmonics = SphericalHarmonics(moment_set.highest_degree).to(vectors)(vectors / distances[:, None])
    weights = gather(moment_set.weights.to(vectors)[types], graph.neighbors)
    columns = []
    for span in dict.fromkeys(moment_set.factors.values()):
        factors = [factor for factor, found in moment_set.factors.items() if found == span]
        radial = torch.stack([_radial(factor, distances, gaps) for factor in factors], dim=1)
        products = torch.einsum("ef,em,ec->efmc", radial, harmonics[:, span[0] : span[1]], weights)
        columns.append(scatter_sum(products.flatten(1), graph.centers, graph.n_atoms))
    moments = torch.cat([*columns, vectors.new_ones(graph.n_atoms, 1)], dim=1)
    terms = moment_set.terms
    left, right, function = (torch.from_numpy(x).to(vectors.device) for x in (terms.left, terms.right, terms.function))
    values = moments.index_select(1, left) * moments.index_select(1, right)
    return vectors.new_zeros(graph.n_atoms, moment_set.n_functions).index_add(1, function, values)


def _radial(factor: Factor, distances: Tensor, gaps: Tensor) -> Tensor:
    eta, shift, cutoff, envelope, by_element = factor
    arguments = gaps if by_element else distances
    return torch.exp(-eta * (arguments - shift) ** 2) * build_envelope(envelope, cutoff)(distances)


class MomentEvaluation:
    """Descriptors of one graph, and Jᵀ w for weights w of them, with the moments computed once.

    Raises:
        RuntimeError: the positions ask for derivatives, which the compiled loops do not have.
    """

    def __init__(self, moment_set: MomentSet, graph: AtomicGraph, types: Tensor) -> None:
        self.vectors = edge_vectors(graph).contiguous()
        if self.vectors.requires_grad:
            raise RuntimeError("the compiled loops hold positions and cell constant; use plain_moment_descriptors")
        counts = torch.bincount(graph.centers, minlength=graph.n_atoms).numpy()
        row_starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        self.tables = moment_tables(moment_set, str(self.vectors.dtype).removeprefix("torch."))
        self._atoms = (self.vectors.numpy(), row_starts, types.numpy(), graph.neighbors.contiguous().numpy())
        self._shape = (graph.n_atoms, moment_set.n_functions)

    @cached_property
    def moments(self) -> Tensor:
        """A, ``(n_atoms, n_moments + 1)``, the last column 1."""
        from gnnpot.nn.moment_set_kernels import MOMENTS, run

        out = self._new_moments()
        run(MOMENTS, *self._atoms, self.tables, out.numpy(), self._atoms[0])
        out[:, -1] = 1.0
        return out

    def _new_moments(self) -> Tensor:
        return self.vectors.new_zeros(self._shape[0], self.tables.n_moments + 1)

    def descriptors(self) -> Tensor:
        """G, ``(n_atoms, n_functions)``."""
        from gnnpot.nn.moment_set_kernels import add_products

        out = self.vectors.new_zeros(self._shape)
        add_products(self.moments.numpy(), self.tables, out.numpy())
        return out

    def pulled_back(self, weights: Tensor) -> Tensor:
        """Σ_f weights[i, f] ∂G_if/∂r_ij of every edge, ``(n_edges, 3)``.

        Linear in ``weights`` ``(n_atoms, n_functions)`` and differentiable by them as often as one likes.
        """
        result: Tensor = _PullBack.apply(weights, self)
        return result

    def _pull(self, weights: Tensor) -> Tensor:
        from gnnpot.nn.moment_set_kernels import GRADIENTS, add_product_gradients, run

        by_moment = self._new_moments()
        given = weights.detach().to(self.vectors.dtype).contiguous().numpy()
        add_product_gradients(given, self.moments.numpy(), self.tables, by_moment.numpy())
        out = torch.empty_like(self.vectors)
        run(GRADIENTS, *self._atoms, self.tables, by_moment.numpy(), out.numpy())
        return out.to(weights.dtype)

    def _push(self, moves: Tensor) -> Tensor:
        from gnnpot.nn.moment_set_kernels import CHANGES, add_product_changes, run

        changes = self._new_moments()
        given = moves.detach().to(self.vectors.dtype).contiguous().numpy()
        run(CHANGES, *self._atoms, self.tables, changes.numpy(), given)
        out = self.vectors.new_zeros(self._shape)
        add_product_changes(changes.numpy(), self.moments.numpy(), self.tables, out.numpy())
        return out.to(moves.dtype)


class _PullBack(torch.autograd.Function):
    """w → Jᵀ w."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, evaluation: MomentEvaluation) -> Tensor:
        ctx.evaluation = evaluation
        return evaluation._pull(weights)

    @staticmethod
    def backward(ctx: Any, moves: Tensor) -> tuple[Tensor, None]:
        return _PushForward.apply(moves, ctx.evaluation), None


class _PushForward(torch.autograd.Function):
    """v → J v."""

    @staticmethod
    def forward(ctx: Any, moves: Tensor, evaluation: MomentEvaluation) -> Tensor:
        ctx.evaluation = evaluation
        return evaluation._push(moves)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor, None]:
        return _PullBack.apply(weights, ctx.evaluation), None


@lru_cache(maxsize=32)
def moment_tables(moment_set: MomentSet, precision: str) -> "Tables":
    """Arrays of a set for the compiled loops, in ``float32`` or ``float64``."""
    from gnnpot.nn.descriptor_rows import exponential_constants
    from gnnpot.nn.moment_set_kernels import Tables

    kind = np.float32 if precision == "float32" else np.float64
    factors = [
        (eta, shift, cutoff, float(name == "cosine"), float(by_element))
        for eta, shift, cutoff, name, by_element in moment_set.factors
    ]
    constants, integers = exponential_constants(kind)
    terms = moment_set.terms
    return Tables(
        n_moments=moment_set.n_moments,
        highest_degree=moment_set.highest_degree,
        factors=np.array(factors, dtype=kind),
        spans=np.array(list(moment_set.factors.values()), dtype=np.int64),
        starts=np.array(list(moment_set.starts.values()), dtype=np.int64),
        weights=moment_set.weights.numpy().astype(kind),
        radii=moment_set.radii.numpy().astype(kind),
        left=terms.left,
        right=terms.right,
        function=terms.function,
        constants=constants,
        integers=integers,
    )
