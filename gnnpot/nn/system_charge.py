"""The total charge of a periodic cell as an input of a network."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from gnnpot.data.charges import WITHOUT_CHARGE, WITHOUT_VOLUME
from gnnpot.data.graph import AtomicGraph, gather
from gnnpot.errors import DataError
from gnnpot.nn.layers import KeepsFloat64


class SystemCharge(KeepsFloat64):
    """Q_sys = c · Q/|V|, dimensionless: Q the total charge of the cell, |V| its volume.

    Shimizu, Otsuka, Hara, Minamitani and Watanabe, Phys. Rev. B 106, 054108 (2022). c = 1/max|Q/V| of the training
    set, so that |Q_sys| ≤ 1 there, and 1 Å³/e where it is neutral throughout. A cell repeated with all its charge has
    the same Q_sys, so that energies stay extensive. Q_sys does not depend on positions at a given volume: forces have
    no extra term; stress has ∂E/∂Q_sys ∂Q_sys/∂V · 1 = -(1/|V|) (∂E/∂Q_sys) Q_sys · 1.

    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> silicon = bulk("Si", cubic=True)
    >>> silicon.info["charge"] = 2.0
    >>> graph = graph_from_atoms(silicon, cutoff=3.0)
    >>> charge = SystemCharge()
    >>> _ = list(charge.watching([graph]))
    >>> charge(graph)
    tensor([1.], dtype=torch.float64)
    """

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones((), dtype=torch.float64))

    def forward(self, graph: AtomicGraph) -> Tensor:
        """Q_sys of every structure, ``(n_structures,)``, float64.

        Raises:
            DataError: a structure without a charge or not fully periodic (looked for on the CPU, where it costs no
                wait for an accelerator).
        """
        return self.factor * self.densities(graph)

    def densities(self, graph: AtomicGraph) -> Tensor:
        """Q/|V| of every structure, ``(n_structures,)``, e/Å³, float64; raises as `forward`."""
        if graph.positions.device.type == "cpu":
            for wrong, why in ((~graph.pbc.all(dim=1), WITHOUT_VOLUME), (graph.charge.isnan(), WITHOUT_CHARGE)):
                if bool(wrong.any()):
                    raise DataError(f"structure {int(wrong.nonzero()[0, 0])} of {graph.n_structures}: {why}")
        return graph.charge.double() / torch.linalg.det(graph.cell.double()).abs()

    def watching(self, graphs: Iterable[AtomicGraph]) -> Iterator[AtomicGraph]:
        """Hand the training graphs on, and set c at their end."""
        largest = 0.0
        for graph in graphs:
            largest = max(largest, float(self.densities(graph).abs().max()))
            yield graph
        self.factor.fill_(1.0 / largest if largest > 0.0 else 1.0)


class ChargeEmbedding(nn.Module):
    """What the charge adds to the features of an atom: Q_sys times a learned vector of the atom's element.

    Neutral structures have the features of a model without charge.
    """

    def __init__(self, n_elements: int, n_features: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(n_elements, n_features)

    def forward(self, charges: Tensor, types: Tensor) -> Tensor:
        """Shifts ``(n_atoms, n_features)``, from Q_sys and the element of every atom, both ``(n_atoms,)``."""
        shifts: Tensor = charges.to(self.vectors.weight.dtype)[:, None] * self.vectors(types)
        return shifts


def at_atoms(charges: Tensor, graph: AtomicGraph) -> Tensor:
    """Q_sys of the structure of every atom, ``(n_atoms,)``, from ``(n_structures,)``."""
    return gather(charges, graph.batch)
