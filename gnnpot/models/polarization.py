"""Polarization head: a dipole of the cell whose derivatives are the Born charges."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, gather, sum_per_structure
from gnnpot.data.oxidation import oxidation_numbers
from gnnpot.errors import ConfigError
from gnnpot.models.heads import ResponseHead, share_equally, total_charges
from gnnpot.nn.layers import ElementTable, KeepsFloat64, mlp
from gnnpot.nn.moments import NeighborMoments, PairGeometry, pair_geometry
from gnnpot.nn.near_pairs import Array, NearPairs
from gnnpot.nn.polarization_kernels import PolarizationArrays, polarization_and_gradients
from gnnpot.nn.watch import Remembered, kept_until_weights_change

VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]
"""Of xx, yy, zz, yz, xz, xy, those at the nine places of a symmetric tensor."""
SMALLEST_SHIFT = 1e-6
"""e; ionic charges that differ less from the oxidation numbers are those."""
MEANING_OF_SHIFT = (
    "when one of them crosses the cell the polarization changes by a number of charges times lattice vectors that is "
    "not whole, which no insulator does. Born charges like those of the training data are learned all the same; the "
    "work on ions that migrate, their drift and their conductivity are off by as much. Give charges that add up to "
    "that of the cell, as head.charges={Li: 1, O: -2}, or take head=born_tensor, which has none"
)


class IonicCharges(KeepsFloat64):
    """Charges that stay with the ions: oxidation numbers, shifted equally so that they add up to Q.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> IonicCharges((8, 12), {"Mg": 2, "O": -2})(graph_from_atoms(bulk("MgO", "rocksalt", a=4.2), cutoff=2.0))
    tensor([ 2., -2.], dtype=torch.float64)
    """

    table: Tensor

    def __init__(self, elements: Sequence[int], charges: Mapping[str, float]) -> None:
        super().__init__()
        self.element_table = ElementTable(elements)
        table = torch.tensor([charges.get(chemical_symbols[z], 0.0) for z in elements], dtype=torch.float64)
        self.register_buffer("table", table, persistent=False)
        self._last = Remembered()

    def forward(self, graph: AtomicGraph) -> Tensor:
        """q_i of every atom, e, ``(n_atoms,)`` float64; not to be written to."""
        of = (graph.atomic_numbers, graph.batch, graph.charge, self.table)
        return self._last.value(of, lambda: self._neutral(graph))

    def _neutral(self, graph: AtomicGraph) -> Tensor:
        """Oxidation numbers, and what is missing to the charge of the structure in equal shares."""
        charges = gather(self.table, self.element_table(graph.atomic_numbers))
        return charges + share_equally(total_charges(graph) - sum_per_structure(charges, graph), graph)

    def shift(self, numbers: Array, charge: float) -> float:
        """What every atom of a structure of these atomic numbers gets beyond its oxidation number, e."""
        types = self.element_table(torch.as_tensor(numbers, device=self.table.device))
        return float(charge - self.table[types].sum()) / max(len(numbers), 1)


class OfField(NamedTuple):
    """What a head has to say of a field: P ``(n_structures, 3)``, and derivatives of -E·(P - Σ_i q_i r_i)."""

    polarization: Tensor
    by_features: Tensor
    """``(n_atoms, n_inputs)``."""
    by_vectors: Array
    """By r_ij of every pair, ``(n_pairs, 3)``, with the features held."""


class PolarizationHead(ResponseHead):
    """Total dipole of the cell from charges that stay and dipoles that follow their neighborhood.

    P = Σ_i q_i r_i + s Σ_i μ_i,  q_i = q0(Z_i) + (Q - Σ_k q0(Z_k))/N,

    μ_i = Σ_c g_c(h_i, n_i) X_ic,  n_ic = ⅓ (A X_i)_c · (B X_i)_c,  X_i = (V_i, W_i),  W_ic = D_ic (M V_i)_c,

    V_ic = Σ_j w_c(h_j, r_ij) r̂_ij and D_ic = Σ_j w_c(h_j, r_ij) r̂_ij ⊗ r̂_ij the vectors and the tensors of
    `gnnpot.nn.moments.NeighborMoments`, and r_i the positions as the caller keeps them: unwrapped. Vectors alone say
    where neighbors of a kind lie; turned by the tensors, how much easier a dipole follows one axis than another.
    Z[i, a, b] = ∂P_a/∂r_ib follows in `derive`. The dipoles know differences of positions alone, so that ΣZ = Q·1
    holds identically, Z is free of curl, and an ion that leaves the cell on one side and comes back on the other
    changes P by q0 times a lattice vector and Z not at all.

    Args:
        elements: of the backbone.
        n_inputs: width of the backbone's features.
        cutoff: how far the dipoles look for neighbors, at most that of the backbone, Å.
        charges: oxidation number q0 of every element, as {Si: 4, O: -2}; null: guessed from the formulas of the
            training data. They say by which multiple of e·Å P changes when an ion moves once around the crystal; what
            Z differs from them, the dipoles learn.
        n_channels: number of vectors V and of tensors D per atom.
        n_radial: Gaussians of the distance.
        hidden: width of the network of the gates g.
        l_max: 2: vectors and tensors; 1: vectors alone.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import edge_vectors, graph_from_atoms
    >>> graph = graph_from_atoms(bulk("MgO", "rocksalt", a=4.2), cutoff=4.0, dtype=torch.float32)
    >>> head = PolarizationHead([8, 12], 16, 4.0, {"Mg": 2, "O": -2})
    >>> head(torch.ones(2, 16), graph, edge_vectors(graph))["polarization"].shape
    torch.Size([1, 3])
    """

    outputs = frozenset({"polarization"})

    def __init__(
        self,
        elements: Sequence[int] | None = None,
        n_inputs: int | None = None,
        cutoff: float | None = None,
        charges: Mapping[str, float] | None = None,
        n_channels: int = 32,
        n_radial: int = 32,
        hidden: int = 64,
        l_max: int = 2,
    ) -> None:
        if elements is None or n_inputs is None or cutoff is None or charges is None:
            raise ConfigError("head.elements, n_inputs, cutoff and charges are null: `fit` fills them in from the data")
        if l_max not in (1, 2):
            raise ConfigError(f"head.l_max={l_max}: 2 (vectors and tensors of the neighborhood) or 1 (vectors alone)")
        super().__init__(elements, n_inputs, cutoff)
        self.charges = _checked_charges(charges, self.elements)
        self.n_channels = n_channels
        self.n_radial = n_radial
        self.hidden = hidden
        self.l_max = l_max
        self.ionic_charges = IonicCharges(self.elements, self.charges)
        self.moments = NeighborMoments(n_inputs, [n_channels], self.cutoff, n_radial)
        self.turned = nn.Linear(n_channels, n_channels, bias=False) if l_max == 2 else None
        self.n_vectors = l_max * n_channels
        self.left = nn.Linear(self.n_vectors, self.n_vectors, bias=False)
        self.right = nn.Linear(self.n_vectors, self.n_vectors, bias=False)
        self.gates = mlp([n_inputs + self.n_vectors, hidden, self.n_vectors], "silu")

    def forward(self, features: Tensor, graph: AtomicGraph, vectors: Tensor) -> dict[str, Tensor]:
        """Polarization ``(n_structures, 3)``, e·Å, float64."""
        own = self._own_vectors(features, pair_geometry(graph, vectors, self.cutoff))
        invariants = (self.left(own) * self.right(own)).sum(dim=1) / 3.0
        gates = self.gates(torch.cat([features, invariants], dim=1)) / self.n_vectors**0.5
        return {"polarization": self._total((own * gates[:, None]).sum(dim=2), self.ionic_charges(graph), graph)}

    def _own_vectors(self, features: Tensor, pairs: PairGeometry) -> Tensor:
        """X of every atom ``(n_atoms, 3, n_vectors)``."""
        if self.turned is None:
            return self.moments(features, pairs, [pairs.directions])[0]
        x, y, z = pairs.directions.unbind(dim=1)
        products = torch.stack([x * x, y * y, z * z, y * z, x * z, x * y], dim=1)
        firsts, seconds = self.moments.sharing_filters(features, pairs, [pairs.directions, products])
        tensors = seconds[:, VOIGT].unflatten(1, (3, 3))
        turned = (tensors * self.turned(firsts)[:, None]).sum(dim=2)
        return torch.cat([firsts, turned], dim=2)

    def _total(self, dipoles: Tensor, charges: Tensor, graph: AtomicGraph) -> Tensor:
        """P from the dipoles μ ``(n_atoms, 3)`` and the ionic charges."""
        shares = charges[:, None] * graph.positions.double() + dipoles.double() * self.born_scale.scale
        return sum_per_structure(shares, graph)

    def in_field(
        self, features: Tensor, pairs: NearPairs, charges: Tensor, graph: AtomicGraph, field: Tensor
    ) -> "OfField":
        """P, and the way back of -E·(P - Σ_i q_i r_i), by compiled loops.

        Args:
            features: ``(n_atoms, n_inputs)``, on a CPU.
            pairs: closer than the cutoff of the head.
            charges: q_i.
            graph: where the positions are.
            field: E ``(n_structures, 3)``.
        """
        values = features.numpy()
        places = self.moments.places(pairs, values.dtype)
        polarization, by_features, by_vectors = polarization_and_gradients(
            self._current_arrays(),
            float(self.born_scale.scale),
            values,
            charges.numpy(),
            graph.positions.numpy(),
            graph.batch.numpy(),
            field.numpy(),
            pairs.atoms,
            pairs.distances,
            pairs.directions.astype(values.dtype),
            *places,
        )
        return OfField(torch.from_numpy(polarization), torch.from_numpy(by_features), by_vectors)

    @kept_until_weights_change
    def _current_arrays(self) -> PolarizationArrays:
        layers: Any = self.gates
        first, _, last = layers
        of_features, of_invariants = first.weight.split([self.n_inputs, self.n_vectors], dim=1)
        mixed = torch.cat([self.left.weight / 3.0, self.right.weight])
        scale, neighbor = self.n_vectors**-0.5, self.moments.of_neighbor
        turned = neighbor.weight.new_zeros(0, self.n_channels) if self.turned is None else self.turned.weight
        tensors = {
            "filters": self.moments.filter_table(),
            "values": neighbor.weight.T,
            "values_bias": neighbor.bias,
            "values_back": neighbor.weight,
            "turned": turned.T,
            "turned_back": turned,
            "mixed": mixed.T,
            "mixed_back": mixed,
            "of_features": of_features.T,
            "of_features_back": of_features,
            "of_invariants": of_invariants.T,
            "of_invariants_back": of_invariants,
            "hidden_bias": first.bias,
            "gates": scale * last.weight.T,
            "gates_back": scale * last.weight,
            "gates_bias": scale * last.bias,
        }
        arrays = {name: tensor.detach().contiguous().clone().numpy() for name, tensor in tensors.items()}
        return PolarizationArrays(**arrays)

    @classmethod
    def resolve(cls, arguments: dict[str, Any], compositions: Iterable[Mapping[str, int]]) -> dict[str, Any]:
        """Guess the oxidation numbers where none are given."""
        if arguments.get("charges") is not None:
            return arguments
        return {**arguments, "charges": oxidation_numbers(compositions)}


def _checked_charges(charges: Mapping[str, float], elements: tuple[int, ...]) -> dict[str, float]:
    for symbol in charges:
        if atomic_numbers.get(symbol) not in elements:
            known = ", ".join(chemical_symbols[z] for z in elements)
            raise ConfigError(f"head.charges: {symbol!r} is none of the model's elements ({known})")
    return {symbol: float(charge) for symbol, charge in charges.items()}
