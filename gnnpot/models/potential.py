"""The contract of every potential, and what those with energies of atoms have in common."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph
from gnnpot.errors import ConfigError
from gnnpot.models.gradients import BornGradients, EnergyGradients, EnthalpyGradients, ForwardPass, OutputSlopes
from gnnpot.nn.elements import Elements, parse_elements
from gnnpot.nn.scaling import EnergyScale
from gnnpot.nn.short_range import build_short_range
from gnnpot.nn.system_charge import SystemCharge, at_atoms


class Potential(nn.Module):
    """A backbone: features of the atoms, and what is read out of them.

    A subclass has constructor arguments that are plain values (each kept as an attribute of the same name),
    ``features(graph) -> (n_atoms, n_features)`` and ``forward(graph)`` which returns per-atom energies
    ``{"energies": (n_atoms,)}`` in eV, float64, and nothing else; a direct-force model returns
    ``{"forces": (n_atoms, 3)}`` in eV/Å. ``forward`` leaves the graph as it is.
    """

    outputs: frozenset[str] = frozenset({"energies"})
    """What ``forward`` returns."""
    cutoff: float
    """Radius of the neighborhoods, Å."""
    elements: tuple[int, ...]
    """Atomic numbers that the model knows, ascending."""
    ignores_far_edges: bool = False
    """Whether edges longer than the cutoff, which a graph may hold, change nothing: results, or the time they take."""
    learning_rate: float = 0.01
    """Peak of the learning rate that suits the model, where a configuration names none."""
    fewest_structures: int = 4
    """Of a batch, where a configuration leaves its size to the data: fewer make a step costly or its gradient noisy."""
    n_neighbors, shortest_cutoff = 55, 4.5
    """Where a configuration leaves the cutoff to the data: neighbors of an atom on average, and the least radius, Å."""
    takes_new_elements: bool = True
    """Whether a trained model can get rows for further elements in its tables."""

    def __init__(self, elements: Elements, cutoff: float | None, charge: bool = False) -> None:
        super().__init__()
        self.elements = parse_elements(elements)
        self.charge = bool(charge)
        self.system_charge = SystemCharge() if charge else None
        if cutoff is None or cutoff <= 0.0:
            raise ConfigError(f"model.cutoff={cutoff}: give a radius in Å, a positive number")
        self.cutoff = float(cutoff)
        self.card: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """What people call the model."""
        return type(self).__name__

    @property
    def n_parameters(self) -> int:
        """Number of trainable weights."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network's weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def takes_charge(self) -> bool:
        """Whether the total charge of the cell is an input."""
        return self.system_charge is not None

    def atomic_charges(self, graph: AtomicGraph) -> Tensor | None:
        """Q_sys at every atom ``(n_atoms,)``, float64; None of a model without charge."""
        return None if self.system_charge is None else at_atoms(self.system_charge(graph), graph)

    def watching_charges(self, graphs: Iterable[AtomicGraph]) -> Iterable[AtomicGraph]:
        """Hand the training graphs on; a model with charge takes the unit of its charge from them."""
        return graphs if self.system_charge is None else self.system_charge.watching(graphs)

    def types(self, graph: AtomicGraph) -> Tensor:
        """Position of every atom's element in ``elements``, ``(n_atoms,)``."""
        raise NotImplementedError

    def features(self, graph: AtomicGraph) -> Tensor:
        """Invariant features of every atom, ``(n_atoms, n_features)``."""
        raise NotImplementedError

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Return the model's outputs, keyed by the names in ``outputs``."""
        raise NotImplementedError

    def evaluate(self, graph: AtomicGraph, names: Iterable[str]) -> dict[str, Tensor]:
        """At least those of the model's ``outputs`` that are asked for."""
        return self(graph)

    def features_and_outputs(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """`features` and what `forward` returns, from one pass where a model can."""
        return self.features(graph), self(graph)

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Fill the buffers that depend on training data (reference energies, scales, ranges)."""
        raise NotImplementedError

    def adapt_to(self, graphs: Iterable[AtomicGraph]) -> None:
        """Let a trained model know the ranges of further training graphs; what its weights mean stays as it is."""
        for _ in graphs:
            pass

    def layer_names(self) -> list[tuple[str, ...]]:
        """Names of the parts that hold the weights, a layer after the other from the input to the output.

        By default the parts of the module in their order, and those of a list one by one.
        """
        found: list[tuple[str, ...]] = []
        for name, part in self.named_children():
            blocks = len(part) if isinstance(part, nn.ModuleList) else None
            found += [(name,)] if blocks is None else [(f"{name}.{k}",) for k in range(blocks)]
        return found

    def precompute(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Fields of `gnnpot.data.graph.FIELDS` that depend on the geometry alone, worth keeping with a data set."""
        return {}

    @property
    def has_ranges(self) -> bool:
        """Whether the model knows the range of its inputs in the training set."""
        return False

    @contextmanager
    def counting_extrapolations(self) -> Iterator[list[Tensor]]:
        """While open, evaluations append how many inputs of every atom lie outside their range, ``(n_atoms,)``.

        They may append the same counts more than once, and nothing without `has_ranges`.
        """
        yield []

    @property
    def precomputes_by(self) -> str:
        """What `precompute` depends on besides the graph."""
        return repr((type(self).__name__, self.arguments()))

    def can_differentiate_dipole(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """Whether `dipole_and_slopes` may stand in for automatic differentiation here."""
        return False

    def dipole_and_slopes(
        self, graph: AtomicGraph, directions: Sequence[Tensor], differentiable: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """P, and ∂(e·P)/∂r ``(n_atoms, 3)`` for each e ``(n_structures, 3)``, of a model with a polarization."""
        raise NotImplementedError

    def in_field(self, graph: AtomicGraph, field: Tensor) -> EnthalpyGradients | BornGradients | None:
        """Energies and forces in a field from one pass; None: left to automatic differentiation."""
        return None

    def forward_pass(self, graph: AtomicGraph) -> ForwardPass | None:
        """Features and outputs with the way back open; None: left to automatic differentiation."""
        return None

    def can_use_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """Whether `energy_and_edge_gradients` may stand in for automatic differentiation here."""
        return False

    def energy_and_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> EnergyGradients:
        """Per-atom energies, ∂E/∂r_ij and ∂E/∂V without automatic differentiation by positions and cell."""
        raise NotImplementedError

    def can_pull_back(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """Whether `features_and_pullback` may stand in for differentiating the features here."""
        return False

    def features_and_pullback(
        self, graph: AtomicGraph, differentiable: bool
    ) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
        """`features`, a leaf that they are made of, and the map from ∂y/∂leaf to ∂y/∂r_ij by it, ``(n_edges, 3)``.

        For any y of the features: a response head differentiates itself by the leaf alone.
        """
        raise NotImplementedError

    @classmethod
    def resolve(cls, arguments: dict[str, Any], graphs: Sequence[AtomicGraph], n_atoms: int = 0) -> dict[str, Any]:
        """Replace what the configuration leaves to the data (null) by plain values.

        Args:
            arguments: constructor arguments from the configuration.
            graphs: training graphs (without edges beyond the cutoff in ``arguments``), or a sample of them.
            n_atoms: atoms of all training structures.
        """
        if arguments.get("elements") is not None:
            return {**arguments, "elements": list(parse_elements(arguments["elements"]))}
        found = {number for graph in graphs for number in graph.atomic_numbers.tolist()}
        return {**arguments, "elements": sorted(found)}

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values, read back from the attributes of the same names."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class EnergyPotential(Potential):
    """A potential whose energy is a sum of atomic energies: E = Σ_i [E0(Z_i) + s · y_i].

    A subclass gives ``atomic_outputs(graph) -> (n_atoms,)``, the y_i of order one, zero for an isolated atom, so that
    its energy is the reference energy E0 of its element. With ``charge`` every atom has a Q_sys + b Q_sys² besides
    (`gnnpot.nn.scaling.EnergyScale`), and with ``short_range`` pairs of atoms closer than in any training structure
    repel each other (`gnnpot.nn.short_range`). A subclass that can give ``output_slopes`` has its forces without
    automatic differentiation.
    """

    outputs = frozenset({"energies"})

    def __init__(
        self, elements: Elements, cutoff: float | None, charge: bool = False, short_range: str | None = None
    ) -> None:
        super().__init__(elements, cutoff, charge)
        self.energy_scale = EnergyScale(self.elements, charge)
        self.set_short_range(short_range)

    def set_short_range(self, name: str | None) -> None:
        """Take the repulsion of this name, or none: ``zbl`` or None. What an older one has learned is gone."""
        self.short_range = name
        self.repulsion = build_short_range(name, self.elements)

    def atomic_outputs(self, graph: AtomicGraph) -> Tensor:
        """Network output y_i of every atom, ``(n_atoms,)``, dimensionless; zero without neighbors."""
        raise NotImplementedError

    def features_and_atomic_outputs(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """`features` and `atomic_outputs`, from one pass where a model can."""
        return self.features(graph), self.atomic_outputs(graph)

    def features_and_outputs(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """Features and per-atom energies."""
        features, outputs = self.features_and_atomic_outputs(graph)
        return features, {"energies": self._energies(outputs, graph)}

    def types(self, graph: AtomicGraph) -> Tensor:
        """Position of every atom's element in ``elements``, ``(n_atoms,)``."""
        return self.energy_scale.element_table(graph.atomic_numbers)

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Per-atom energies, eV, float64."""
        return {"energies": self._energies(self.atomic_outputs(graph), graph)}

    def _energies(self, outputs: Tensor, graph: AtomicGraph) -> Tensor:
        energies = self._smooth_energies(outputs, graph)
        return energies if self.repulsion is None else energies + self.repulsion(graph, self.types(graph))

    def _smooth_energies(self, outputs: Tensor, graph: AtomicGraph) -> Tensor:
        """Energies of the atoms without the repulsion."""
        energies: Tensor = self.energy_scale(outputs, self.types(graph))
        charges = self.atomic_charges(graph)
        return energies if charges is None else energies + self.energy_scale.of_charge(charges)

    def output_slopes(self, graph: AtomicGraph, differentiable: bool) -> OutputSlopes:
        """Outputs and their derivatives, where `can_use_edge_gradients`."""
        raise NotImplementedError

    def energy_and_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> EnergyGradients:
        """Per-atom energies, ∂E/∂r_ij, and ∂E/∂V = -(Q_sys/|V|) ∂E/∂Q_sys with charge, from `output_slopes`."""
        outputs, by_edge, by_charge = self.output_slopes(graph, differentiable)
        energies, by_edge = self.with_repulsion(outputs, by_edge, graph)
        if self.system_charge is None or by_charge is None:
            return EnergyGradients(energies, by_edge)
        charges = self.system_charge(graph)
        n_atoms = torch.bincount(graph.batch, minlength=graph.n_structures)
        total = by_charge.double() + n_atoms * self.energy_scale.slope_by_charge(charges)
        return EnergyGradients(energies, by_edge, -total * charges / torch.linalg.det(graph.cell.double()).abs())

    def with_repulsion(self, outputs: Tensor, by_edge: Tensor, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """Per-atom energies of the network's outputs, and ∂E/∂r_ij, with what the repulsion adds to both."""
        energies = self._smooth_energies(outputs, graph)
        if self.repulsion is None:
            return energies, by_edge
        repulsive, by_edge = self.repulsion.energies_and_edge_gradients(graph, self.types(graph), by_edge)
        return energies + repulsive, by_edge

    def adapt_to(self, graphs: Iterable[AtomicGraph]) -> None:
        """Keep the repulsion out of further training graphs."""
        super().adapt_to(graphs if self.repulsion is None else self.repulsion.narrowing(graphs))

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Fit reference energies, scale and the radii of the repulsion on training graphs."""
        watched = graphs if self.repulsion is None else self.repulsion.watching(graphs)
        self.energy_scale.learn_from(self.watching_charges(watched), self.system_charge)
