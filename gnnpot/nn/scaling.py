"""From network outputs of order one to energies in eV, in double precision where sums need it."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, scatter_sum
from gnnpot.errors import DataWarning
from gnnpot.nn.layers import ElementTable, KeepsFloat64
from gnnpot.nn.system_charge import SystemCharge


class EnergyScale(KeepsFloat64):
    """Per-atom energies E_i = E0(Z_i) + s · y_i, eV, float64, and with ``charge`` + a Q_sys + b Q_sys².

    y_i is the network's output, E0 the reference energy of the element (that of the isolated atom where the data
    hold it, else the least-squares share of the total energies), s the root mean square of the training forces.
    a and b follow from the same least squares: adding or removing electrons shifts the energy by eV, which the network
    need not learn. Two charge states fix a alone, one neither.
    """

    reference_energies: Tensor
    scale: Tensor
    charge_coefficients: Tensor

    def __init__(self, elements: Sequence[int], charge: bool = False) -> None:
        super().__init__()
        self.element_table = ElementTable(elements)
        self.register_buffer("reference_energies", torch.zeros(len(elements), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        if charge:
            self.register_buffer("charge_coefficients", torch.zeros(2, dtype=torch.float64))

    def forward(self, outputs: Tensor, types: Tensor) -> Tensor:
        """Energies of the atoms ``(n_atoms,)``, eV, float64, from outputs ``(n_atoms,)``."""
        return self.reference_energies.index_select(0, types) + self.scale * outputs.double()

    def of_charge(self, charges: Tensor) -> Tensor:
        """a Q_sys + b Q_sys², the energy of every atom that comes with Q_sys ``(n_atoms,)``, eV."""
        linear, quadratic = self.charge_coefficients
        return charges * (linear + quadratic * charges)

    def slope_by_charge(self, charges: Tensor) -> Tensor:
        """Derivative a + 2 b Q_sys of `of_charge`, eV."""
        linear, quadratic = self.charge_coefficients
        return linear + 2.0 * quadratic * charges

    def learn_from(self, graphs: Iterable[AtomicGraph], system_charge: SystemCharge | None = None) -> None:
        """Set reference energies and scale from labelled training graphs.

        Args:
            graphs: with labels.
            system_charge: gives Q_sys; its c must be known when the graphs have come to their end.
        """
        statistics = _Statistics(self.element_table, system_charge)
        for graph in graphs:
            statistics.add(graph)
        statistics.fit()
        self.reference_energies.copy_(statistics.references)
        if system_charge is not None:
            self.charge_coefficients.copy_(statistics.charge_coefficients)
        self.scale.copy_(statistics.scale())


class _Statistics:
    """Sums over the training set from which reference energies and scale follow."""

    def __init__(self, element_table: ElementTable, system_charge: SystemCharge | None) -> None:
        self.element_table = element_table
        self.system_charge = system_charge
        self.references = torch.zeros(len(element_table.elements), dtype=torch.float64)
        self.charge_coefficients = torch.zeros(2, dtype=torch.float64)
        self.charges: list[Tensor] = []
        self.charge_densities: list[Tensor] = []
        self.compositions: list[Tensor] = []
        self.energies: list[Tensor] = []
        self.isolated: dict[int, float] = {}
        self.force_square_sum = 0.0
        self.n_force_components = 0

    def add(self, graph: AtomicGraph) -> None:
        n_elements = len(self.element_table.elements)
        types = self.element_table(graph.atomic_numbers)
        one_hot = nn.functional.one_hot(types, n_elements).double()
        composition = scatter_sum(one_hot, graph.batch, graph.n_structures)
        energy = graph.energy.double()
        known = torch.isfinite(energy)
        alone = known & (composition.sum(1) == 1) & ~graph.pbc.any(1)
        for row in alone.nonzero()[:, 0].tolist():
            self.isolated[int(composition[row].argmax())] = float(energy[row])
        rows = known & ~alone
        self.compositions.append(composition[rows])
        self.energies.append(energy[rows])
        if self.system_charge is not None:
            self.charges.append(graph.charge[rows].double())
            self.charge_densities.append(self.system_charge.densities(graph)[rows])
        forces = graph.forces[torch.isfinite(graph.forces)]
        self.force_square_sum += float((forces.double() ** 2).sum())
        self.n_force_components += forces.numel()

    def fit(self) -> None:
        """Set ``references`` and ``charge_coefficients``: isolated atoms first, least squares for what is left."""
        for element, value in self.isolated.items():
            self.references[element] = value
        composition, energy = self._rows()
        if not len(energy):
            return
        fitted = [e for e in range(len(self.references)) if e not in self.isolated and bool(composition[:, e].any())]
        powers = self._powers_of_charge()
        matrix = torch.cat([composition[:, fitted], powers * composition.sum(1, keepdim=True)], dim=1)
        if not matrix.shape[1]:
            return
        size = composition[:, fitted].sum(1).clamp(min=1.0)[:, None]
        rest = energy - composition @ self.references
        found = torch.linalg.lstsq(matrix / size, rest[:, None] / size, driver="gelsd").solution[:, 0]
        self.references[fitted] = found[: len(fitted)]
        self.charge_coefficients[: powers.shape[1]] = found[len(fitted) :]
        self._warn_of_fixed_proportions(composition[:, fitted] / size, fitted)

    def _rows(self) -> tuple[Tensor, Tensor]:
        """Compositions ``(n_structures, n_elements)`` and energies of the structures with an energy."""
        if not self.energies:
            return torch.zeros(0, len(self.references), dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
        return torch.cat(self.compositions), torch.cat(self.energies)

    def _powers_of_charge(self) -> Tensor:
        """Q_sys and Q_sys² of the structures, ``(n_structures, 0 to 2)``: as many as the charges in the data fix."""
        if self.system_charge is None:
            return torch.zeros(len(torch.cat(self.energies)), 0, dtype=torch.float64)
        charges = self.system_charge.factor.cpu() * torch.cat(self.charge_densities)
        n_states = len(torch.cat(self.charges).mul(1000.0).round().unique())
        return torch.stack([charges, charges**2], dim=1)[:, : n_states - 1]

    def _warn_of_fixed_proportions(self, shares: Tensor, fitted: list[int]) -> None:
        if fitted and int(torch.linalg.matrix_rank(shares)) < len(fitted):
            symbols = [chemical_symbols[self.element_table.elements[e]] for e in fitted]
            warnings.warn(
                f"The compositions of the training set fix only {int(torch.linalg.matrix_rank(shares))} combination(s) "
                f"of the reference energies of {', '.join(symbols)}: every structure has them in the same proportion. "
                "The total energies are right all the same; to compare other compositions, add one isolated atom per "
                "element (a one-atom frame without periodicity) or structures of other compositions",
                DataWarning,
                stacklevel=2,
            )

    def scale(self) -> Tensor:
        """Root mean square of the forces, or without forces the spread of the energies per atom that is left."""
        if self.force_square_sum > 0.0:
            return torch.tensor((self.force_square_sum / self.n_force_components) ** 0.5, dtype=torch.float64)
        composition, energy = self._rows()
        if len(energy) > 1:
            powers = self._powers_of_charge()
            per_atom = (energy - composition @ self.references) / composition.sum(1)
            spread = float((per_atom - powers @ self.charge_coefficients[: powers.shape[1]]).std())
            return energy.new_tensor(spread if spread > 0.0 else 1.0)
        return energy.new_tensor(1.0)


class ForceScale(KeepsFloat64):
    """Root mean square of the training forces, eV/Å: the unit in which a direct-force network answers."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, outputs: Tensor) -> Tensor:
        """Forces in eV/Å, in the precision of the network."""
        return outputs * self.scale.to(outputs.dtype)

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Set the scale from labelled training graphs."""
        total, count = 0.0, 0
        for graph in graphs:
            forces: Any = graph.forces[torch.isfinite(graph.forces)].double()
            total, count = total + float((forces**2).sum()), count + forces.numel()
        if total > 0.0:
            self.scale.fill_((total / count) ** 0.5)
