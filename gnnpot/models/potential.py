"""The contract of every potential, and the one door to derivatives of its energy."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather, scatter_sum, sum_per_structure
from gnnpot.errors import ConfigError, PropertyNotAvailableError, did_you_mean
from gnnpot.nn.convolution import only_geometry
from gnnpot.nn.scaling import EnergyScale

DERIVABLE = ("energy", "energies", "forces", "stress")
"""What `derive` can give, for a model whose ``outputs`` hold ``energies``."""


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
    learning_rate: float = 0.005
    """Peak of Adam's learning rate that suits the model, where a configuration names none."""

    def __init__(self, elements: Sequence[int | str] | None, cutoff: float) -> None:
        super().__init__()
        self.elements = parse_elements(elements)
        if cutoff <= 0.0:
            raise ConfigError(f"model.cutoff={cutoff}: the cutoff is a radius in Å and must be positive")
        self.cutoff = float(cutoff)
        self.card: dict[str, Any] = {}

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

    def types(self, graph: AtomicGraph) -> Tensor:
        """Position of every atom's element in ``elements``, ``(n_atoms,)``."""
        raise NotImplementedError

    def features(self, graph: AtomicGraph) -> Tensor:
        """Invariant features of every atom, ``(n_atoms, n_features)``."""
        raise NotImplementedError

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Return the model's outputs, keyed by the names in ``outputs``."""
        raise NotImplementedError

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Fill the buffers that depend on training data (reference energies, scales, ranges)."""
        raise NotImplementedError

    def precompute(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Fields of `gnnpot.data.graph.FIELDS` that depend on the geometry alone, worth keeping with a data set."""
        return {}

    def can_use_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """Whether `energy_and_edge_gradients` may stand in for automatic differentiation here."""
        return False

    def energy_and_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> tuple[Tensor, Tensor]:
        """Per-atom energies ``(n_atoms,)`` and ∂E/∂r_ij ``(n_edges, 3)`` without automatic differentiation."""
        raise NotImplementedError

    @classmethod
    def resolve(cls, arguments: dict[str, Any], graphs: Sequence[AtomicGraph]) -> dict[str, Any]:
        """Replace what the configuration leaves to the data (null) by plain values.

        Args:
            arguments: constructor arguments from the configuration.
            graphs: training graphs (without edges beyond the cutoff in ``arguments``).
        """
        if arguments.get("elements") is not None:
            return {**arguments, "elements": list(parse_elements(arguments["elements"]))}
        found: set[int] = set()
        for graph in graphs:
            found.update(graph.atomic_numbers.tolist())
        return {**arguments, "elements": sorted(found)}

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values, read back from the attributes of the same names."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class EnergyPotential(Potential):
    """A potential whose energy is a sum of atomic energies: E = Σ_i [E0(Z_i) + s · y_i].

    A subclass gives ``atomic_outputs(graph) -> (n_atoms,)``, the y_i of order one, zero for an isolated atom, so that
    its energy is the reference energy E0 of its element.
    """

    outputs = frozenset({"energies"})

    def __init__(self, elements: Sequence[int | str] | None, cutoff: float) -> None:
        super().__init__(elements, cutoff)
        self.energy_scale = EnergyScale(self.elements)

    def atomic_outputs(self, graph: AtomicGraph) -> Tensor:
        """Network output y_i of every atom, ``(n_atoms,)``, dimensionless; zero without neighbors."""
        raise NotImplementedError

    def types(self, graph: AtomicGraph) -> Tensor:
        """Position of every atom's element in ``elements``, ``(n_atoms,)``."""
        return self.energy_scale.element_table(graph.atomic_numbers)

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Per-atom energies, eV, float64."""
        return {"energies": self.energy_scale(self.atomic_outputs(graph), self.types(graph))}

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Fit reference energies and scale on training graphs."""
        self.energy_scale.learn_from(graphs)


def parse_elements(elements: Sequence[int | str] | None) -> tuple[int, ...]:
    """Atomic numbers, ascending, from numbers or symbols.

    >>> parse_elements(["O", "Li"])
    (3, 8)

    Raises:
        ConfigError: a name that is no element, or nothing given.
    """
    if not elements:
        raise ConfigError("model.elements is empty: give symbols, as model.elements=[Li,O], or leave it to `fit`")
    numbers = set()
    for element in elements:
        if isinstance(element, str):
            if element not in atomic_numbers or element == "X":
                hint = did_you_mean(element, chemical_symbols[1:])
                raise ConfigError(f"model.elements: {element!r} is no element; {hint}")
            numbers.add(atomic_numbers[element])
        elif 1 <= int(element) < len(chemical_symbols):
            numbers.add(int(element))
        else:
            raise ConfigError(f"model.elements: {element} is no atomic number")
    return tuple(sorted(numbers))


def derive(
    potential: Potential, graph: AtomicGraph, properties: Iterable[str], *, differentiable: bool = False
) -> dict[str, Tensor]:
    """Return properties of a model: what it gives, and what follows from its energy by differentiation.

    With positions and cell under a symmetric strain ε, r → r(1 + ε):

    F_i = -∂E/∂r_i,  σ = (1/|V|) ∂E/∂ε at ε = 0, both from one backward pass.

    Args:
        potential: any potential.
        graph: one structure or a batch; left as it is.
        properties: among ``energy`` ``(n_structures,)`` eV, ``energies`` ``(n_atoms,)`` eV, ``forces``
            ``(n_atoms, 3)`` eV/Å and ``stress`` ``(n_structures, 3, 3)`` eV/Å³ (NaN where not fully periodic).
        differentiable: keep the graph of the derivatives, for training on them.

    Raises:
        PropertyNotAvailableError: the model can neither give nor derive a property; the message says which can.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> from gnnpot.models.schnet import SchNet
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=4.0, dtype=torch.float32)
    >>> sorted(derive(SchNet(["Si"], cutoff=4.0), graph, ["energy", "forces"]))
    ['energy', 'forces']
    """
    wanted = tuple(properties)
    _refuse_unavailable(potential, wanted)
    if "energies" not in potential.outputs:
        with torch.set_grad_enabled(differentiable):
            outputs = potential(graph)
        return {name: outputs[name] for name in wanted}
    if not {"forces", "stress"} & set(wanted):
        with torch.set_grad_enabled(differentiable):
            energies = potential(graph)["energies"]
        return _select({"energies": energies, "energy": sum_per_structure(energies, graph)}, wanted)
    fast = potential.can_use_edge_gradients(graph, differentiable)
    with torch.enable_grad():
        found = (_from_edge_gradients if fast else _from_autograd)(potential, graph, "stress" in wanted, differentiable)
    if not differentiable:
        found = {name: value.detach() for name, value in found.items()}
    return _select(found, wanted)


def _refuse_unavailable(potential: Potential, wanted: tuple[str, ...]) -> None:
    available = DERIVABLE if "energies" in potential.outputs else tuple(sorted(potential.outputs))
    for name in wanted:
        if name not in available:
            why = (
                f"{type(potential).__name__} gives {', '.join(available)}, not {name}. "
                "Energy and stress come from the energy models (hdnnp, schnet, gnnff_conservative)"
                if name in DERIVABLE
                else f"no model without a response head gives {name!r}; {did_you_mean(name, available)}"
            )
            raise PropertyNotAvailableError(why)


def _select(found: dict[str, Tensor], wanted: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: found[name] for name in wanted}


def _from_autograd(
    potential: Potential, graph: AtomicGraph, with_stress: bool, differentiable: bool
) -> dict[str, Tensor]:
    positions = graph.positions.detach().requires_grad_(True)
    variables = [positions]
    moved = graph.replace(positions=positions)
    if with_stress:
        strain = torch.zeros_like(graph.cell).requires_grad_(True)
        variables.append(strain)
        moved = _strained(moved, 0.5 * (strain + strain.transpose(1, 2)))
    energies = potential(moved)["energies"]
    gradients: Sequence[Tensor] = [torch.zeros_like(variable) for variable in variables]
    if energies.requires_grad:
        with only_geometry():
            gradients = torch.autograd.grad(
                energies.sum(), variables, create_graph=differentiable, materialize_grads=True
            )
    found = {"energy": sum_per_structure(energies, graph), "energies": energies, "forces": -gradients[0]}
    if with_stress:
        found["stress"] = stress_from_virial(gradients[1], graph)
    return found


def _strained(graph: AtomicGraph, strain: Tensor) -> AtomicGraph:
    """The graph with r → r + r·ε for positions and cell, ε ``(n_structures, 3, 3)`` symmetric."""
    if graph.n_structures == 1:
        displacement = graph.positions @ strain[0]
    else:
        displacement = torch.einsum("na,nab->nb", graph.positions, gather(strain, graph.batch))
    return graph.replace(positions=graph.positions + displacement, cell=graph.cell + graph.cell @ strain)


def _from_edge_gradients(
    potential: Potential, graph: AtomicGraph, with_stress: bool, differentiable: bool
) -> dict[str, Tensor]:
    """F_i = Σ_{edges i→j} ∂E/∂r_ij - Σ_{edges j→i} ∂E/∂r_ji, and ∂E/∂ε = Σ_edges r ⊗ ∂E/∂r, symmetrized."""
    energies, gradients = potential.energy_and_edge_gradients(graph, differentiable)
    found = {"energy": sum_per_structure(energies, graph), "energies": energies}
    if gradients.device.type == "cpu" and not differentiable:
        return {**found, **_sums_of_arrays(gradients.detach(), graph, with_stress)}
    forces = scatter_sum(gradients, graph.centers, graph.n_atoms)
    found["forces"] = forces - scatter_sum(gradients, graph.neighbors, graph.n_atoms)
    if with_stress:
        vectors = edge_vectors(graph)
        outer = torch.cat([vectors[:, a : a + 1] * gradients for a in range(3)], dim=1)
        per_atom = scatter_sum(outer, graph.centers, graph.n_atoms)
        virial = sum_per_structure(per_atom, graph).reshape(-1, 3, 3)
        found["stress"] = stress_from_virial(0.5 * (virial + virial.transpose(1, 2)), graph)
    return found


def _sums_of_arrays(gradients: Tensor, graph: AtomicGraph, with_stress: bool) -> dict[str, Tensor]:
    """Forces and stress by compiled loops, where nothing is differentiated further."""
    from gnnpot.nn.edge_sums import forces_and_virials, stress

    names = ("positions", "cell", "batch", "edge_index", "edge_shifts")
    positions, cell, *rest = (getattr(graph, name).detach().numpy() for name in names)
    forces, virials = forces_and_virials(gradients.numpy(), positions, cell, *rest)
    found = {"forces": torch.from_numpy(forces)}
    if with_stress:
        found["stress"] = torch.from_numpy(stress(virials, cell, graph.pbc.numpy()))
    return found


def stress_from_virial(virial: Tensor, graph: AtomicGraph) -> Tensor:
    """σ = (1/|V|) ∂E/∂ε, ``(n_structures, 3, 3)``, eV/Å³; NaN for structures that are not fully periodic.

    The volume of the latter is replaced before the division, so that no NaN reaches the gradient of another
    structure of the batch.
    """
    periodic = graph.pbc.all(dim=1)
    volume = torch.linalg.det(graph.cell).abs()
    safe = torch.where(periodic, volume, torch.ones_like(volume))
    stress = virial / safe[:, None, None]
    return torch.where(periodic[:, None, None], stress, torch.full_like(stress, float("nan")))
