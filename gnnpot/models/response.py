"""A potential and a response head: one model, whose features are computed once."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gnnpot.config import build, check_class
from gnnpot.data.graph import AtomicGraph, edge_vectors, gather, scatter_sum
from gnnpot.errors import ConfigError
from gnnpot.models.born_tensor import BornTensorHead
from gnnpot.models.gradients import BornGradients, EnergyGradients, EnthalpyGradients
from gnnpot.models.heads import ResponseHead
from gnnpot.models.polarization import PolarizationHead
from gnnpot.models.potential import Potential
from gnnpot.nn.pair_kernels import add_to_edges
from gnnpot.nn.scaling import EnergyScale

MODELS = ("gnnpot.models",)


class ResponsePotential(Potential):
    """A backbone with a response head on its features.

    Args:
        backbone: class (``_target_``) and arguments of a potential.
        head: class and arguments of a head.
        has_energy: whether the backbone's own energies or forces were trained and are given; false for a model of
            Born charges alone.

    >>> backbone = {"_target_": "gnnpot.models.schnet.SchNet", "elements": ["Mg", "O"], "cutoff": 4.0}
    >>> head = {"_target_": "gnnpot.models.polarization.PolarizationHead", "elements": [8, 12], "n_inputs": 64,
    ...         "cutoff": 4.0, "charges": {"Mg": 2, "O": -2}}
    >>> sorted(ResponsePotential(backbone, head).outputs)
    ['energies', 'polarization']
    """

    takes_new_elements = False

    def __init__(self, backbone: dict[str, Any], head: dict[str, Any], has_energy: bool = True) -> None:
        made = build_potential(backbone)
        super().__init__(made.elements, made.cutoff)
        self.backbone = made
        self.head = build_head(head)
        self.has_energy = has_energy
        self.outputs = (made.outputs if has_energy else frozenset()) | self.head.outputs
        self.fewest_structures = made.fewest_structures
        self.ignores_far_edges = made.ignores_far_edges

    @property
    def title(self) -> str:
        """Names of both parts."""
        return f"{self.backbone.title} with {type(self.head).__name__}"

    def arguments(self) -> dict[str, Any]:
        """Class and arguments of both parts, as plain values."""
        return {"backbone": described(self.backbone), "head": described(self.head), "has_energy": self.has_energy}

    @property
    def takes_charge(self) -> bool:
        """As the backbone."""
        return self.backbone.takes_charge

    @property
    def energy_scale(self) -> EnergyScale:
        """That of the backbone, if it has energies."""
        scale: Any = self.backbone.energy_scale
        found: EnergyScale = scale
        return found

    def features(self, graph: AtomicGraph) -> Tensor:
        """Features of the backbone."""
        return self.backbone.features(graph)

    def forward(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """What backbone and head give."""
        return self.evaluate(graph, self.outputs)

    def evaluate(self, graph: AtomicGraph, names: Iterable[str]) -> dict[str, Tensor]:
        """Outputs asked for; the features are computed once."""
        wanted = frozenset(names)
        if not wanted & self.head.outputs:
            return self.backbone.evaluate(graph, wanted)
        if wanted & self.backbone.outputs:
            features, outputs = self.backbone.features_and_outputs(graph)
        else:
            features, outputs = self.backbone.features(graph), {}
        return {**outputs, **self.head(features, graph, edge_vectors(graph))}

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Fill the buffers of both parts from training graphs."""
        self.backbone.learn_from(self.head.watching(graphs))

    def learn_response_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Fill the buffers of the head alone, where the backbone is trained already."""
        for _ in self.head.watching(graphs):
            pass

    def adapt_to(self, graphs: Iterable[AtomicGraph]) -> None:
        """As the backbone; the scale of the head belongs to its weights."""
        self.backbone.adapt_to(graphs)

    def layer_names(self) -> list[tuple[str, ...]]:
        """Those of the backbone, then the head."""
        return [*(tuple(f"backbone.{name}" for name in layer) for layer in self.backbone.layer_names()), ("head",)]

    def precompute(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """What the backbone computes ahead."""
        return self.backbone.precompute(graph)

    @property
    def precomputes_by(self) -> str:
        """Of the backbone: heads share what is computed ahead."""
        return self.backbone.precomputes_by

    @property
    def has_ranges(self) -> bool:
        """As the backbone."""
        return self.backbone.has_ranges

    @contextmanager
    def counting_extrapolations(self) -> Iterator[list[Tensor]]:
        """As the backbone."""
        with self.backbone.counting_extrapolations() as counts:
            yield counts

    def can_differentiate_dipole(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """Whether the head gives a polarization and the backbone can pull its derivatives back to the edges."""
        return "polarization" in self.outputs and self.backbone.can_pull_back(graph, differentiable)

    def dipole_and_slopes(
        self, graph: AtomicGraph, directions: Sequence[Tensor], differentiable: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """P, and ∂(e·P)/∂r ``(n_atoms, 3)`` for each e ``(n_structures, 3)``, without a way through the backbone.

        The head is differentiated by the edge vectors and by what the features are made of; the backbone's pullback
        turns the latter into derivatives by the edge vectors too.
        """
        features, leaf, pullback = self.backbone.features_and_pullback(graph, differentiable)
        vectors = edge_vectors(graph).detach().requires_grad_(True)
        head: Any = self.head
        dipole = head(features, graph, vectors)["polarization"]
        slopes = []
        for number, direction in enumerate(directions, start=1):
            by_leaf, by_vector = torch.autograd.grad(
                (direction * dipole).sum(),
                [leaf, vectors],
                create_graph=differentiable,
                retain_graph=differentiable or number < len(directions),
                materialize_grads=True,
            )
            of_edges = by_vector + pullback(by_leaf)
            slope = scatter_sum(of_edges, graph.neighbors, graph.n_atoms)
            slope = slope - scatter_sum(of_edges, graph.centers, graph.n_atoms)
            charges = head.ionic_charges(graph).to(slope.dtype)
            slopes.append(slope + charges[:, None] * gather(direction, graph.batch))
        return dipole, slopes

    @torch.no_grad()
    def in_field(self, graph: AtomicGraph, field: Tensor) -> EnthalpyGradients | BornGradients | None:
        """U, P and ∂(U - E·P + E·Σ_i q_i r_i)/∂r_ij, or U, Z and ∂U/∂r_ij, from one pass and its reverse.

        The backbone is gone through once in each direction: what a polarization has to say of the features joins the
        energy on the way back.
        """
        backbone: Any = self.backbone
        waiting = self.backbone.forward_pass(graph) if self.has_energy else None
        if waiting is None:
            return None
        pairs = waiting.pairs.closer_than(self.head.cutoff)
        if isinstance(self.head, BornTensorHead):
            born = self.head.of_pairs(waiting.features, pairs, graph)
            energies, gradients = backbone.with_repulsion(waiting.outputs, waiting.edge_gradients(None), graph)
            return BornGradients(energies, born, gradients)
        if not isinstance(self.head, PolarizationHead):
            return None
        charges = self.head.ionic_charges(graph)
        of_field = self.head.in_field(waiting.features, pairs, charges, graph, field)
        gradients = waiting.edge_gradients(of_field.by_features)
        add_to_edges(of_field.by_vectors, pairs.edges, gradients.numpy())
        energies, gradients = backbone.with_repulsion(waiting.outputs, gradients, graph)
        return EnthalpyGradients(energies, of_field.polarization, gradients, charges)

    def can_use_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """As the backbone."""
        return self.backbone.can_use_edge_gradients(graph, differentiable)

    def energy_and_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> EnergyGradients:
        """As the backbone."""
        return self.backbone.energy_and_edge_gradients(graph, differentiable)


def described(part: Potential | ResponseHead) -> dict[str, Any]:
    """Class and constructor arguments of a part, as `build_potential` and `build_head` take them."""
    return {"_target_": f"{type(part).__module__}.{type(part).__qualname__}", **part.arguments()}


def joined(backbone: Potential, head: ResponseHead, has_energy: bool = True) -> ResponsePotential:
    """A model of these two parts, with copies of their weights."""
    model = ResponsePotential(described(backbone), described(head), has_energy)
    model.to(backbone.dtype)
    model.backbone.load_state_dict(backbone.state_dict())
    model.head.load_state_dict(head.state_dict())
    return model


def build_potential(config: dict[str, Any]) -> Potential:
    """The backbone that a configuration describes.

    Raises:
        ConfigError: not a potential of gnnpot, or one that has a head already.
    """
    found = check_class(str(config.get("_target_", "")), MODELS)
    if not issubclass(found, Potential) or issubclass(found, ResponsePotential):
        raise ConfigError(f"backbone: {config.get('_target_')!r} is not a potential that can carry a head")
    potential: Potential = build(config, MODELS)
    return potential


def build_head(config: dict[str, Any]) -> ResponseHead:
    """The head that a configuration describes.

    Raises:
        ConfigError: not a head of gnnpot.
    """
    if not issubclass(check_class(str(config.get("_target_", "")), MODELS), ResponseHead):
        raise ConfigError(f"head._target_={config.get('_target_')!r} is not a response head")
    head: ResponseHead = build(config, MODELS)
    return head
