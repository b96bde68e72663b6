"""From network outputs of order one to energies in eV, in double precision where sums need it."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from gnnpot.data.graph import AtomicGraph, scatter_sum
from gnnpot.errors import DataWarning
from gnnpot.nn.layers import ElementTable


class KeepsFloat64(nn.Module):
    """A module whose float64 buffers stay float64 when the model around it is cast to another precision."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "KeepsFloat64":
        exact = {name: b for name, b in self._buffers.items() if b is not None and b.dtype == torch.float64}
        super()._apply(fn, recurse)
        for name, buffer in exact.items():
            moved = self._buffers[name]
            self._buffers[name] = buffer if moved is None else buffer.to(moved.device)
        return self


class EnergyScale(KeepsFloat64):
    """Per-atom energies E_i = E0(Z_i) + s · y_i, eV, float64.

    y_i is the network's output, E0 the reference energy of the element (that of the isolated atom where the data
    hold it, else the least-squares share of the total energies), s the root mean square of the training forces.
    """

    reference_energies: Tensor
    scale: Tensor

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        self.element_table = ElementTable(elements)
        self.register_buffer("reference_energies", torch.zeros(len(elements), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, outputs: Tensor, types: Tensor) -> Tensor:
        """Energies of the atoms ``(n_atoms,)``, eV, float64, from outputs ``(n_atoms,)``."""
        return self.reference_energies.index_select(0, types) + self.scale * outputs.double()

    def learn_from(self, graphs: Iterable[AtomicGraph]) -> None:
        """Set reference energies and scale from labelled training graphs."""
        statistics = _Statistics(self.element_table)
        for graph in graphs:
            statistics.add(graph)
        self.reference_energies.copy_(statistics.reference_energies())
        self.scale.copy_(statistics.scale(self.reference_energies))


class _Statistics:
    """Sums over the training set from which reference energies and scale follow."""

    def __init__(self, element_table: ElementTable) -> None:
        self.element_table = element_table
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
        self.compositions.append(composition[known & ~alone])
        self.energies.append(energy[known & ~alone])
        forces = graph.forces[torch.isfinite(graph.forces)]
        self.force_square_sum += float((forces.double() ** 2).sum())
        self.n_force_components += forces.numel()

    def reference_energies(self) -> Tensor:
        n_elements = len(self.element_table.elements)
        references = torch.zeros(n_elements, dtype=torch.float64)
        composition = torch.cat(self.compositions) if self.compositions else references.new_zeros(0, n_elements)
        energy = torch.cat(self.energies) if self.energies else references.new_zeros(0)
        for element, value in self.isolated.items():
            references[element] = value
        fitted = [e for e in range(n_elements) if e not in self.isolated]
        if fitted and len(energy):
            rest = energy - composition @ references
            references[fitted] = self._least_squares(composition[:, fitted], rest, fitted)
        return references

    def _least_squares(self, composition: Tensor, energy: Tensor, fitted: list[int]) -> Tensor:
        present = composition.sum(0) > 0
        matrix = composition[:, present]
        size = composition.sum(1).clamp(min=1.0)
        solution = torch.zeros(len(fitted), dtype=torch.float64)
        if not bool(present.any()):
            return solution
        weighted = torch.linalg.lstsq(matrix / size[:, None], (energy / size)[:, None], driver="gelsd")
        solution[present] = weighted.solution[:, 0]
        rank = int(torch.linalg.matrix_rank(matrix / size[:, None]))
        if rank < int(present.sum()):
            symbols = [chemical_symbols[self.element_table.elements[e]] for e in fitted]
            warnings.warn(
                f"The compositions of the training set fix only {rank} combination(s) of the reference energies of "
                f"{', '.join(symbols)}: every structure has them in the same proportion. The total energies are "
                "right all the same; to compare other compositions, add one isolated atom per element (a one-atom "
                "frame without periodicity) or structures of other compositions",
                DataWarning,
                stacklevel=2,
            )
        return solution

    def scale(self, references: Tensor) -> Tensor:
        if self.force_square_sum > 0.0:
            return torch.tensor((self.force_square_sum / self.n_force_components) ** 0.5, dtype=torch.float64)
        energy = torch.cat(self.energies) if self.energies else references.new_zeros(0)
        if len(energy) > 1:
            composition = torch.cat(self.compositions)
            spread = float(((energy - composition @ references) / composition.sum(1)).std())
            return references.new_tensor(spread if spread > 0.0 else 1.0)
        return references.new_tensor(1.0)


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
