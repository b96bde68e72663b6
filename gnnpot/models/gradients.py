"""What a model may give for its derivatives, where it spares automatic differentiation."""

from typing import NamedTuple, Protocol

from torch import Tensor

from gnnpot.nn.near_pairs import NearPairs


class OutputSlopes(NamedTuple):
    """Outputs y_i ``(n_atoms,)`` of a network, s ∂Σy/∂r_ij ``(n_edges, 3)``, s ∂Σy/∂Q_sys ``(n_structures,)``, eV.

    s is the energy scale; the last is None of a model without charge.
    """

    outputs: Tensor
    by_edge: Tensor
    by_charge: Tensor | None = None


class EnergyGradients(NamedTuple):
    """Per-atom energies ``(n_atoms,)``, eV, ∂E/∂r_ij ``(n_edges, 3)``, eV/Å, ∂E/∂V ``(n_structures,)``, eV/Å³.

    The last is the derivative at fixed positions, None of a model whose energy does not know the volume.
    """

    energies: Tensor
    by_edge: Tensor
    by_volume: Tensor | None = None


class EnthalpyGradients(NamedTuple):
    """Energies ``(n_atoms,)``, P ``(n_structures, 3)``, ∂(U - E·P + E·Σ_i q_i r_i)/∂r_ij ``(n_edges, 3)``, and q_i."""

    energies: Tensor
    polarization: Tensor
    by_edge: Tensor
    charges: Tensor


class BornGradients(NamedTuple):
    """Energies ``(n_atoms,)``, Z ``(n_atoms, 3, 3)`` of a model that gives it directly, ∂U/∂r_ij ``(n_edges, 3)``."""

    energies: Tensor
    born_effective_charges: Tensor
    by_edge: Tensor


class ForwardPass(Protocol):
    """A forward pass of a backbone that waits for its way back, so that heads can add what they have to say."""

    features: Tensor
    """``(n_atoms, n_features)``; before the way back, which may work in their place."""
    outputs: Tensor
    """y_i of `gnnpot.models.potential.EnergyPotential`, ``(n_atoms,)``."""

    @property
    def pairs(self) -> NearPairs:
        """Closer than the cutoff."""
        ...

    def edge_gradients(self, by_features: Tensor | None) -> Tensor:
        """∂(s Σy + f)/∂r_ij ``(n_edges, 3)``, s the energy scale, f of the features with ∂f/∂features (None: f = 0)."""
        ...
