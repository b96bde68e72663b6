"""An ASE calculator around any potential."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from torch import Tensor

from gnnpot.apps.skin import NeighborSkin, same_bits
from gnnpot.data.graph import AtomicGraph
from gnnpot.data.labels import voigt_vector
from gnnpot.errors import ConfigError, PropertyNotAvailableError, did_you_mean
from gnnpot.models.potential import Potential, derive
from gnnpot.models.store import load
from gnnpot.nn.layers import ElementTable

DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""Precisions by their names in configurations."""


def dtype_of(name: str) -> torch.dtype:
    """Precision by name.

    >>> dtype_of("float64")
    torch.float64

    Raises:
        ConfigError: neither float32 nor float64.
    """
    if name not in DTYPES:
        raise ConfigError(f"dtype={name!r} is unknown; {did_you_mean(str(name), DTYPES)}")
    return DTYPES[name]


def prepared(model: Potential | str | Path, device: str = "cpu", dtype: str = "float32") -> Potential:
    """Copy of a potential, or a checkpoint by path or name, ready for inference; a given model stays as it is."""
    kind = dtype_of(dtype)
    potential = copy.deepcopy(model) if isinstance(model, Potential) else load(model)
    return potential.to(device=device, dtype=kind).eval().requires_grad_(False)


class Calculator(AseCalculator):
    """ASE calculator: E, F = -∂E/∂r and σ = (1/|V|) ∂E/∂ε of a potential.

    Results, in ASE's units and order: ``energy`` and ``free_energy`` (eV, the same number), ``energies``
    ``(n_atoms,)`` eV, ``forces`` ``(n_atoms, 3)`` eV/Å, and for fully periodic structures ``stress`` ``(6,)`` eV/Å³
    (xx, yy, zz, yz, xz, xy; tension positive). Forces and stress come from one backward pass; where only the energy
    is asked for there is none. A total charge is read from ``atoms.info["charge"]``.

    Args:
        model: a potential, the path of a model folder or run directory, or the name of a pretrained model.
        device: as torch names it, ``cpu`` or ``cuda``.
        dtype: ``float32``, or ``float64`` for tight relaxations, phonons and finite differences.
        skin: Å, how far beyond the cutoff neighbors are kept so that they need not be searched at each step; it
            changes the speed and not the results. 0 searches always.
        field: electric field, V/Å; needs a model with a response head.

    Raises:
        PropertyNotAvailableError: a field was given.
        UnknownElementError: an element that the model has not learned (when it computes).
        ase PropertyNotImplementedError: stress without three periodic directions, energy of a direct-force model.

    >>> from ase.build import bulk
    >>> from gnnpot.models.schnet import SchNet
    >>> silicon = bulk("Si")
    >>> silicon.calc = Calculator(SchNet(["Si"], cutoff=4.0))
    >>> silicon.get_forces().shape, silicon.get_stress().shape
    ((2, 3), (6,))
    """

    name = "gnnpot"

    def __init__(
        self,
        model: Potential | str | Path,
        device: str = "cpu",
        dtype: str = "float32",
        skin: float = 0.5,
        field: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if field is not None:
            raise PropertyNotAvailableError(
                f"field={field}: the response to an electric field needs a model with a response head (polarization or "
                "Born charges), and this one has none; leave field=null"
            )
        self.potential = prepared(model, device, dtype)
        self.neighbors = NeighborSkin(
            self.potential.cutoff, skin, dtype_of(dtype), device, self.potential.ignores_far_edges
        )
        has_energy = "energies" in self.potential.outputs
        self.implemented_properties = (
            ["energy", "free_energy", "energies", "forces", "stress"] if has_energy else ["forces"]
        )
        self._elements = ElementTable(self.potential.elements)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the atoms of the last calculation, the total charge included, which ASE does not look at.

        Initial charges and moments of atoms do not count: no model reads them.
        """
        last = self.atoms
        if last is None:
            return list(all_changes)
        same = {
            "positions": same_bits(last.positions, atoms.positions),
            "numbers": same_bits(last.numbers, atoms.numbers),
            "cell": same_bits(last.cell.array, atoms.cell.array),
            "pbc": same_bits(last.pbc, atoms.pbc),
            "charge": last.info.get("charge") == atoms.info.get("charge"),
        }
        return [name for name, is_same in same.items() if not is_same]

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """One result, computed where it is not known yet; refusals say what would help."""
        if allow_calculation:
            self._refuse(name, atoms if atoms is not None else self.atoms)
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute ``properties``, and what comes with them at no cost: stress with forces, energy with both."""
        if atoms is not None:
            self.atoms = atoms.copy()
        for name in properties:
            self._refuse(name, self.atoms)
        graph = self.neighbors.graph(self.atoms)
        if "numbers" in system_changes:
            self._elements.refuse(graph.atomic_numbers)
        self.results.update(self._results(graph, set(properties)))

    def _results(self, graph: AtomicGraph, asked: set[str]) -> dict[str, Any]:
        wanted = ["energy", "energies"] if "energy" in self.implemented_properties else []
        if asked & {"forces", "stress"}:
            wanted.append("forces")
            if "stress" in self.implemented_properties and self.atoms.pbc.all():
                wanted.append("stress")
        found = derive(self.potential, graph, wanted)
        results: dict[str, Any] = {name: _array(found[name]) for name in ("energies", "forces") if name in found}
        if "energy" in found:
            results["energy"] = results["free_energy"] = float(found["energy"][0])
        if "stress" in found:
            results["stress"] = voigt_vector(_array(found["stress"][0]))
        return results

    def _refuse(self, name: str, atoms: Atoms | None) -> None:
        """Raise ASE's error for a property that cannot be had, with the reason."""
        if name not in self.implemented_properties and name in ("energy", "free_energy", "energies", "stress"):
            raise PropertyNotImplementedError(
                f"{type(self.potential).__name__} predicts forces directly and has no energy to take {name} from; "
                "use an energy model (hdnnp, schnet, gnnff_conservative)"
            )
        if name == "stress" and atoms is not None and not atoms.pbc.all():
            raise PropertyNotImplementedError(
                f"stress needs a structure that is periodic in three directions, and pbc is {atoms.pbc.tolist()}: a "
                "slab, wire or molecule has no volume to refer to"
            )


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy().astype(np.float64)
