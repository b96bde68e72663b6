"""High-dimensional neural network potential (Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007))."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, gather
from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.kernels import kernels_serve
from gnnpot.models.gradients import OutputSlopes
from gnnpot.models.potential import EnergyPotential, Potential
from gnnpot.nn.descriptor_generation import generate_functions
from gnnpot.nn.descriptor_operators import DescriptorEvaluation, descriptors_and_jacobian
from gnnpot.nn.descriptor_scaling import DescriptorScale, DescriptorStatistics
from gnnpot.nn.descriptor_selection import select_functions
from gnnpot.nn.descriptors import DescriptorSet, plain_descriptors
from gnnpot.nn.element_networks import SharedNetwork
from gnnpot.nn.layers import mlp
from gnnpot.nn.moment_descriptors import MomentEvaluation, MomentSet, plain_moment_descriptors
from gnnpot.nn.moment_functions import is_moment_function, parse_moment_function
from gnnpot.nn.near_pairs import pairs_within
from gnnpot.nn.symmetry_functions import parse_function
from gnnpot.nn.system_charge import at_atoms

NETWORKS = ("element", "shared")
"""One network for each element, or one for all with the center's element as an input."""

HIDDEN, HIDDEN_OF_MANY = (60, 60), (100, 100)
"""Widths of the hidden layers, and those with many training atoms."""

MANY_ATOMS = 75_000
"""Training atoms for each network from which on wide ones pay: with 107,000 (Au-Li) mean absolute errors are 1 to 6 %
lower on frames drawn at random, 2 to 15 % on other trajectories; with 23,000 (copper) those of energy are higher."""


class HDNNP(EnergyPotential):
    """One small network per element on symmetry functions of the atom's neighborhood.

    E_i = E0(Z_i) + s · [MLP_{Z_i}((G_i - m) / d) - MLP_{Z_i}(-m / d)], G_i the symmetry functions
    (`gnnpot.nn.symmetry_functions`), m and d their mean and standard deviation over the training set, d floored for
    those that hardly vary. An isolated atom (G_i = 0) has its reference energy E0. With ``charge`` each network has one
    more input, Q_sys (`gnnpot.nn.system_charge`), 0 for the isolated atom.

    With ``network="shared"`` one network serves all elements and knows that of the center
    (`gnnpot.nn.element_networks`); m and d are then those of all atoms. With functions of every center (M2, M3,
    `gnnpot.nn.moment_functions`) nothing grows with the number of elements.

    On the CPU descriptors come from compiled loops, and forces from dE/dG times ∂G/∂r_ij: with stored derivatives
    (`precompute`) a training step is made of small matrix products.

    Args:
        elements: symbols or atomic numbers; null in a configuration: those of the training data.
        cutoff: radius of the neighborhoods, Å; null in a configuration: by the number of neighbors in the data.
        functions: one line per symmetry function, as ``G2 Si Si eta=4 shift=2.5 cutoff=6 polynomial``; null:
            generated from the cutoff and the shortest distances in the training data.
        n_radial: generated radial functions per neighbor element, of all of them (``weighted``, ``chebyshev``), or per
            property of elements (moments).
        n_angular: generated shells of angular functions per pair of neighbor elements, of all, or per two properties.
        hidden: widths of the hidden layers; null: 60 and 60, or 100 and 100 in a configuration where each network has
            75,000 training atoms.
        activation: ``tanh``, ``silu``, ``shifted_softplus`` or ``twisted_tanh``.
        envelope: ``polynomial`` (curvature continuous at the cutoff) or ``cosine``, of generated functions.
        descriptors: what is generated: ``pairwise`` (G2 and G5 for each element and pair of elements), ``weighted``
            (wG2 and wG5 over all elements, with atomic numbers as weights) or ``chebyshev`` (T2 and T3 over all
            elements, without and with weights); these two have no more functions for twenty elements than for four.
            ``moments`` (M2 and M3) are the same functions for every center, told apart by properties of the elements;
            ``moments_by_element`` count distances from where the covalent spheres touch, for data of many elements.
            ``narrow`` are G2 and G4 as widths around the atom. ``weighted_root`` (wG2 and zG4) and ``chebyshev_angle``
            (zT2 and zT3, which is not smooth where atoms are in line) repeat published settings. A list is a mixture,
            as ``[pairwise, chebyshev]``, of all but moments.
        n_functions: how many functions each element keeps, the ones that say most about the training set; null: all.
        select: how these are chosen, ``cur`` or ``fps`` (`gnnpot.nn.descriptor_selection`).
        charge: the total charge of the cell is an input: one model for all charge states.
        short_range: ``zbl`` or ``zbl_wide``: atoms closer than in any training structure repel each other
            (`gnnpot.nn.short_range`); null: only what the network makes of them.
        network: ``element``: one for each element; ``shared``: one for all, for functions of every center.

    Raises:
        ConfigError: functions that do not fit to the elements or to the network, or reach beyond the cutoff.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=5.0, dtype=torch.float32)
    >>> HDNNP(["Si"], cutoff=5.0)(graph)["energies"].shape
    torch.Size([2])
    """

    def __init__(
        self,
        elements: Sequence[int | str] | None = None,
        cutoff: float | None = None,
        functions: Sequence[str] | None = None,
        n_radial: int = 12,
        n_angular: int = 6,
        hidden: Sequence[int] | None = None,
        activation: str = "tanh",
        envelope: str = "polynomial",
        descriptors: str | Sequence[str] = "pairwise",
        n_functions: int | None = None,
        select: str = "cur",
        charge: bool = False,
        short_range: str | None = "zbl",
        network: str = "element",
    ) -> None:
        super().__init__(elements, cutoff, charge, short_range)
        self.n_radial = n_radial
        self.n_angular = n_angular
        self.hidden = tuple(HIDDEN if hidden is None else hidden)
        self.activation = activation
        self.envelope = envelope
        self.descriptors = descriptors if isinstance(descriptors, str) else tuple(descriptors)
        if functions is None:
            functions = generate_functions(
                self.elements, self.cutoff, n_radial, n_angular, envelope, descriptors=descriptors
            )
        self.n_functions = n_functions
        self.select = select
        if n_functions is not None:
            functions = select_functions(functions, self.elements, [], n_functions, select)
        self.functions = tuple(functions)
        self.descriptor_set = _descriptor_set(self.elements, self.functions)
        self._check_cutoffs()
        self.network = network
        self.takes_new_elements = network == "shared"
        self.descriptor_scale = DescriptorScale(
            len(self.elements), self.descriptor_set.n_functions, pooled=network == "shared"
        )
        self.networks = self._build_networks(self.descriptor_set.n_functions + int(charge))

    def _build_networks(self, n_inputs: int) -> "nn.ModuleDict | SharedNetwork":
        if self.network not in NETWORKS:
            raise ConfigError(f"model.network={self.network!r} is unknown; {did_you_mean(str(self.network), NETWORKS)}")
        if self.network == "shared":
            if not isinstance(self.descriptor_set, MomentSet):
                raise ConfigError("model.network=shared needs functions of every center: set model.descriptors=moments")
            return SharedNetwork(self.elements, n_inputs, self.hidden, self.activation)
        sizes = [n_inputs, *self.hidden, 1]
        return nn.ModuleDict({chemical_symbols[z]: mlp(sizes, self.activation, last_bias=False) for z in self.elements})

    def layer_names(self) -> list[tuple[str, ...]]:
        """Layers of the networks, those of all elements at the same depth together."""
        if isinstance(self.networks, SharedNetwork):
            return [tuple(f"networks.{part}" for part in layer) for layer in self.networks.layer_names()]
        return [tuple(f"networks.{name}.{2 * k}" for name in self.networks) for k in range(len(self.hidden) + 1)]

    def _check_cutoffs(self) -> None:
        cutoffs = [function.cutoff for function in self.descriptor_set.functions]
        for line, cutoff in zip(self.functions, cutoffs, strict=True):
            if cutoff > self.cutoff:
                raise ConfigError(f"model.functions: '{line}' reaches beyond model.cutoff={self.cutoff} Å")

    @classmethod
    def resolve(cls, arguments: dict[str, Any], graphs: Sequence[AtomicGraph], n_atoms: int = 0) -> dict[str, Any]:
        """Fill in the elements and widths, and generate the symmetry functions from the training data."""
        arguments = dict(Potential.resolve.__func__(cls, arguments, graphs, n_atoms))  # type: ignore[attr-defined]
        if arguments.get("hidden") is None:
            n_networks = 1 if arguments.get("network") == "shared" else len(arguments["elements"])
            arguments["hidden"] = list(HIDDEN_OF_MANY if n_atoms >= MANY_ATOMS * n_networks else HIDDEN)
        if arguments.get("functions") is None:
            arguments["functions"] = generate_functions(
                arguments["elements"],
                arguments["cutoff"],
                arguments["n_radial"],
                arguments["n_angular"],
                arguments["envelope"],
                graphs,
                arguments.get("descriptors", "pairwise"),
            )
        if arguments.get("n_functions") is not None:
            method = arguments.get("select", "cur")
            arguments["functions"] = select_functions(
                arguments["functions"], arguments["elements"], graphs, arguments["n_functions"], method
            )
        return arguments

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Fit reference energies and scale, and the mean, spread and range of every descriptor."""
        statistics = self.descriptor_scale.statistics()
        super().learn_from(self._watching_descriptors(graphs, statistics))
        self.descriptor_scale.set_from(statistics)

    def adapt_to(self, graphs: Iterable[AtomicGraph]) -> None:
        """Widen the range of every descriptor; mean and spread belong to the weights."""
        statistics = self.descriptor_scale.statistics()
        super().adapt_to(self._watching_descriptors(graphs, statistics))
        self.descriptor_scale.widen_by(statistics)

    def _watching_descriptors(
        self, graphs: Iterable[AtomicGraph], statistics: DescriptorStatistics
    ) -> Iterator[AtomicGraph]:
        for graph in graphs:
            statistics.add(self._constant_descriptors(graph), self.types(graph), graph)
            yield graph

    def precompute(self, graph: AtomicGraph) -> dict[str, Tensor]:
        """Descriptors, and their derivatives by the edge vectors in single precision.

        ``descriptors`` ``(n_atoms, n_functions)``; ``descriptor_gradients`` ``(n_edges, 3, n_slots)``, only the
        functions in which the neighbor's element takes part. Nothing of functions of every center: they take less
        time than reading their derivatives would.
        """
        if isinstance(self.descriptor_set, MomentSet):
            return {}
        descriptors, jacobian = descriptors_and_jacobian(self.descriptor_set, graph, self.types(graph))
        return {"descriptors": descriptors, "descriptor_gradients": jacobian.float()}

    def features(self, graph: AtomicGraph) -> Tensor:
        """Scaled symmetry functions, ``(n_atoms, n_functions)``, and behind them Q_sys with ``charge``."""
        return self._inputs(self._descriptors(graph), self.types(graph), self.atomic_charges(graph))

    def atomic_outputs(self, graph: AtomicGraph) -> Tensor:
        """Output of each atom's element network less that of the isolated atom, ``(n_atoms,)``."""
        return self.outputs_of(self.features(graph), self.types(graph))

    def features_and_atomic_outputs(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """Both from the same descriptors."""
        features = self.features(graph)
        return features, self.outputs_of(features, self.types(graph))

    def _descriptors(self, graph: AtomicGraph) -> Tensor:
        if graph.positions.requires_grad or graph.cell.requires_grad:
            return self._plain_descriptors(graph)
        return self._constant_descriptors(graph)

    def _constant_descriptors(self, graph: AtomicGraph) -> Tensor:
        if graph.has("descriptors") or kernels_serve(graph.positions.device):
            return self._evaluation(graph).descriptors()
        return self._plain_descriptors(graph)

    def _plain_descriptors(self, graph: AtomicGraph) -> Tensor:
        if isinstance(self.descriptor_set, MomentSet):
            return plain_moment_descriptors(self.descriptor_set, graph, self.types(graph))
        return plain_descriptors(self.descriptor_set, graph, self.types(graph))

    def _evaluation(self, graph: AtomicGraph) -> DescriptorEvaluation | MomentEvaluation:
        if isinstance(self.descriptor_set, MomentSet):
            return MomentEvaluation(self.descriptor_set, graph, self.types(graph))
        return DescriptorEvaluation(self.descriptor_set, graph, self.types(graph))

    def _inputs(self, descriptors: Tensor, types: Tensor, charges: Tensor | None) -> Tensor:
        scaled: Tensor = self.descriptor_scale(descriptors, types)
        return scaled if charges is None else torch.cat([scaled, charges.to(scaled.dtype)[:, None]], dim=1)

    def outputs_of(self, features: Tensor, types: Tensor) -> Tensor:
        """Outputs ``(n_atoms,)`` of features."""
        isolated = self.descriptor_scale.of_isolated_atoms()
        if self.charge:
            isolated = nn.functional.pad(isolated, (0, 1))
        if isinstance(self.networks, SharedNetwork):
            return _outputs_of_shared(self.networks, features, isolated, types)
        outputs = features.new_zeros(len(features))
        for t, network in enumerate(self.networks.values()):
            rows = (types == t).nonzero()[:, 0]
            values = network(torch.cat([gather(features, rows), isolated[t : t + 1]]))[:, 0]
            outputs = outputs.index_add(0, rows, values[:-1] - values[-1])
        return outputs

    def can_use_edge_gradients(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """Everywhere on the CPU, and wherever the derivatives of the descriptors are stored with the graph."""
        if graph.positions.requires_grad or graph.cell.requires_grad:
            return False
        return kernels_serve(graph.positions.device) or graph.has("descriptor_gradients")

    def output_slopes(self, graph: AtomicGraph, differentiable: bool) -> OutputSlopes:
        """Outputs, their slopes Σ_f (∂y/∂G_if) (∂G_if/∂r_ij), and by Q_sys.

        With ``differentiable`` all can be trained through: they are exact functions of the weights. Positions
        are constants here.
        """
        types = self.types(graph)
        evaluation = self._evaluation(graph)
        descriptors = evaluation.descriptors().detach().requires_grad_(True)
        leaves, charges = [descriptors], None
        if self.system_charge is not None:
            leaves.append(self.system_charge(graph).detach().requires_grad_(True))
            charges = at_atoms(leaves[1], graph)
        outputs = self.outputs_of(self._inputs(descriptors, types, charges), types)
        total = (self.energy_scale.scale * outputs.double()).sum()
        by_descriptor, *by_charge = torch.autograd.grad(total, leaves, create_graph=differentiable)
        return OutputSlopes(outputs, evaluation.pulled_back(by_descriptor), *by_charge)

    def forward_pass(self, graph: AtomicGraph) -> "HDNNPPass | None":
        """Where forces come without automatic differentiation, on the CPU."""
        if not kernels_serve(graph.positions.device) or not self.can_use_edge_gradients(graph, differentiable=False):
            return None
        return HDNNPPass(self, graph)

    def can_pull_back(self, graph: AtomicGraph, differentiable: bool) -> bool:
        """Wherever forces come without automatic differentiation."""
        return self.can_use_edge_gradients(graph, differentiable)

    def features_and_pullback(
        self, graph: AtomicGraph, differentiable: bool
    ) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
        """Scaled descriptors, the descriptors, and Σ_f w_if ∂G_if/∂r_ij of weights w."""
        evaluation = self._evaluation(graph)
        descriptors = evaluation.descriptors().detach().requires_grad_(True)
        features = self._inputs(descriptors, self.types(graph), self.atomic_charges(graph))
        return features, descriptors, evaluation.pulled_back

    @property
    def has_ranges(self) -> bool:
        """Whether the ranges of the symmetry functions are known."""
        return self.descriptor_scale.has_ranges

    @contextmanager
    def counting_extrapolations(self) -> Iterator[list[Tensor]]:
        """While open, evaluations append what `extrapolations` gives."""
        with self.descriptor_scale.counting() as counts:
            yield counts

    def extrapolations(self, graph: AtomicGraph) -> Tensor:
        """How many symmetry functions of every atom lie outside their range in the training set, ``(n_atoms,)``."""
        return self.descriptor_scale.extrapolations(self._constant_descriptors(graph), self.types(graph))


def _outputs_of_shared(network: SharedNetwork, features: Tensor, isolated: Tensor, types: Tensor) -> Tensor:
    """Outputs of one network for all atoms, less those of isolated atoms of the elements that are present."""
    present, place = types.unique(return_inverse=True)
    outputs = network(torch.cat([features, isolated[present]]), torch.cat([types, present]))
    values, references = outputs.split([len(types), len(present)])
    difference: Tensor = values - gather(references, place)
    return difference


def _descriptor_set(elements: Sequence[int], lines: Sequence[str]) -> DescriptorSet | MomentSet:
    """The functions of a model; those of every center do not go together with those of one."""
    of_every_center = [is_moment_function(line) for line in lines]
    if not any(of_every_center):
        return DescriptorSet(elements, [parse_function(line) for line in lines])
    if not all(of_every_center):
        raise ConfigError(
            f"model.functions: '{lines[of_every_center.index(True)]}' is of every center, and "
            f"'{lines[of_every_center.index(False)]}' of one; give either kind alone"
        )
    return MomentSet(elements, [parse_moment_function(line) for line in lines])


class HDNNPPass:
    """An HDNNP's forward pass, with the way back open: the derivatives of the descriptors are taken once for all."""

    def __init__(self, model: HDNNP, graph: AtomicGraph) -> None:
        self._model = model
        self.pairs = pairs_within(model.cutoff, graph)
        with torch.enable_grad():
            self._features, self._descriptors, self._pull_back = model.features_and_pullback(
                graph, differentiable=False
            )
            self._outputs = model.outputs_of(self._features, model.types(graph))
        self.features, self.outputs = self._features.detach(), self._outputs.detach()

    def edge_gradients(self, by_features: Tensor | None) -> Tensor:
        """∂(s Σy + f)/∂r_ij through the descriptors."""
        with torch.enable_grad():
            total = (self._model.energy_scale.scale * self._outputs.double()).sum()
            if by_features is not None:
                total = total + (self._features * by_features).sum()
            (by_descriptor,) = torch.autograd.grad(total, [self._descriptors])
        return self._pull_back(by_descriptor)
