"""An ASE calculator around any potential."""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from torch import Tensor

from gnnpot.apps.electric_field import ElectricField, FieldLike, electric_field
from gnnpot.apps.in_field import InField, ionic_charges, unwrapped_polarization
from gnnpot.apps.skin import NeighborSkin, same_bits
from gnnpot.data.graph import AtomicGraph
from gnnpot.data.labels import voigt_vector
from gnnpot.errors import ConfigError, ExtrapolationWarning, did_you_mean
from gnnpot.keys import RESPONSE
from gnnpot.memory import keep_freed_arrays
from gnnpot.models.extrapolation import extrapolation_line, extrapolation_summary
from gnnpot.models.potential import Potential
from gnnpot.models.properties import available_properties, derive
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
    is asked for there is none. A total charge is read from ``atoms.info["charge"]``. With a response head also
    ``born_effective_charges`` ``(n_atoms, 3, 3)`` e, field first, and ``polarization`` ``(3,)``, the total dipole of
    the positions as they are, e·Å.

    In a field E the forces are F_ib + Σ_a E_a Z[i, a, b]. With a polarization head ``energy`` is the electric enthalpy
    U - E·P, with a tensor head U less the work of the field along the path of evaluations (`energy_is` says which);
    ``internal_energy`` is U, ``field_work`` that work, ``field`` E. Positions have to stay unwrapped. A field in time
    is that of `time`, in fs; `follow` keeps it with a simulation of ASE.

    The attribute ``extrapolations`` holds, after an evaluation, how many symmetry functions of every atom lie outside
    their range in the training set ``(n_atoms,)`` (None for models that know no ranges); the first are warned of.
    From the first calculator on, the process keeps the memory of its arrays (`gnnpot.memory`).

    Args:
        model: a potential, the path of a model folder or run directory, or the name of a pretrained model.
        device: as torch names it, ``cpu`` or ``cuda``.
        dtype: ``float32``, or ``float64`` for tight relaxations, phonons and finite differences.
        skin: Å, how far beyond the cutoff neighbors are kept so that they need not be searched at each step; it
            changes the speed and not the results. 0 searches always.
        field: electric field, V/Å, of a model with a response head: three numbers, an alternating field
            ``{"amplitude": [0, 0, 0.1], "frequency": 1.0, "phase": 0.0}`` (A sin(2π f t + φ), THz, degrees), or a
            function of the time in fs.
        remove_net_force: in a field, of a cell with a charge: true gives every atom its share of mass of -Q E, false
            lets the cell accelerate; it has to be chosen.

    Raises:
        PropertyNotAvailableError: a field, and no response head.
        ConfigError: a field that is none; a charged cell in a field without ``remove_net_force``.
        DataError: in a field, an atom was put back into the cell since the last evaluation, or moved by half of it.
        UnknownElementError: an element that the model has not learned (when it computes).
        ase PropertyNotImplementedError: stress without three periodic directions or in a field, energy of a
            direct-force model, a response without a head.

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
        field: FieldLike | ElectricField | None = None,
        remove_net_force: bool | None = None,
    ) -> None:
        super().__init__()
        keep_freed_arrays()
        self.potential = prepared(model, device, dtype)
        self.neighbors = NeighborSkin(
            self.potential.cutoff, skin, dtype_of(dtype), device, self.potential.ignores_far_edges
        )
        self._given = available_properties(self.potential.outputs)
        self._elements = ElementTable(self.potential.elements)
        self.remove_net_force = remove_net_force
        self._dynamics: Any = None
        self._start = 0.0
        self.extrapolations: npt.NDArray[np.int64] | None = None
        self.warns_of_extrapolation = True
        self.field = field

    @property
    def field(self) -> ElectricField | None:
        """The electric field; a new one starts a new path and makes earlier results void."""
        return None if self._in_field is None else self._in_field.field

    @field.setter
    def field(self, field: FieldLike | ElectricField | None) -> None:
        if field is None:
            self._in_field = None
        else:
            self._in_field = InField(self.potential, electric_field(field), self.remove_net_force)
        not_in_field = ("stress", "energies") if self._in_field is not None else ()
        self.implemented_properties = [name for name in self._given if name not in not_in_field]
        if "energy" in self._given:
            self.implemented_properties.append("free_energy")
        super().reset()

    @property
    def time(self) -> float:
        """Time in fs at which a field is taken; another one makes earlier results void."""
        return 0.0 if self._in_field is None else self._in_field.time

    @time.setter
    def time(self, time: float) -> None:
        if self._in_field is None:
            raise ConfigError(f"time={time} fs is that of a field, and there is none: Calculator(..., field=...)")
        if not self._in_field.field.is_constant and time != self._in_field.time:
            self.reset()
        self._in_field.time = float(time)

    @property
    def energy_is(self) -> str:
        """What stands under ``energy``."""
        return "potential energy U" if self._in_field is None else self._in_field.energy_is

    @property
    def net_force(self) -> np.ndarray:
        """Q E of the last evaluation, eV/Å, ``(3,)``: zero without a field or a charge; before it is removed."""
        return np.zeros(3) if self._in_field is None else self._in_field.net_force

    @property
    def largest_field(self) -> np.ndarray:
        """The field or its amplitude, of a function the largest value met so far, V/Å, ``(3,)``; zero without one."""
        return np.zeros(3) if self._in_field is None else self._in_field.largest

    @property
    def largest_net_force(self) -> np.ndarray:
        """Q E of `largest_field`, eV/Å, ``(3,)``: what a charged cell is pushed with at most; before it is removed."""
        return np.zeros(3) if self._in_field is None else self._in_field.charge * self._in_field.largest

    def follow(self, dynamics: Any, start: float = 0.0) -> None:
        """Take the field at the time of a simulation of ASE, which starts at ``start`` fs.

        New positions belong to its next step.
        """
        self._dynamics, self._start = dynamics, start

    def start_path(self) -> None:
        """Forget the path in a field: the next structure is not one that the last has moved to, and no work is done."""
        self.reset()
        if self._in_field is not None:
            self._in_field.start_path()

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
        with self.potential.counting_extrapolations() as counts:
            self.results.update(self._results_in_field(graph, set(properties)))
        self._take_note_of(counts)

    def _results_in_field(self, graph: AtomicGraph, asked: set[str]) -> dict[str, Any]:
        if self._in_field is None:
            return self._results(graph, asked)
        self._advance(self._in_field)
        with_forces = "forces" in asked and "forces" in self._given
        return self._in_field.evaluate(graph, self.atoms, with_forces, "born_effective_charges" in asked)

    def _advance(self, in_field: InField) -> None:
        """Set the time of the field to that of the simulation: the next step's, where the atoms have moved."""
        if self._dynamics is not None and in_field.moved(self.atoms):
            in_field.time = self._start + (self._dynamics.nsteps + 1) * self._dynamics.dt / units.fs

    def _results(self, graph: AtomicGraph, asked: set[str]) -> dict[str, Any]:
        wanted = ["energy", "energies"] if "energy" in self.implemented_properties else []
        if asked & set(RESPONSE):
            wanted += [name for name in RESPONSE if name in asked or (name == "polarization" and name in self._given)]
        if asked & {"forces", "stress"}:
            wanted.append("forces")
            if "stress" in self.implemented_properties and self.atoms.pbc.all():
                wanted.append("stress")
        found = derive(self.potential, graph, wanted)
        results: dict[str, Any] = {name: _array(found[name]) for name in ("energies", "forces") if name in found}
        if "energy" in found:
            results["energy"] = results["free_energy"] = float(found["energy"][0])
        if "born_effective_charges" in found:
            results["born_effective_charges"] = _array(found["born_effective_charges"])
        if "polarization" in found:
            charges = ionic_charges(self.potential, graph)
            dipole = _array(found["polarization"][0])
            results["polarization"] = unwrapped_polarization(dipole, charges, graph, self.atoms)
        if "stress" in found:
            results["stress"] = voigt_vector(_array(found["stress"][0]))
        return results

    def _take_note_of(self, counts: Sequence[Tensor]) -> None:
        """Keep the extrapolations of the last evaluation; warn at the first ones."""
        self.extrapolations = counts[-1].cpu().numpy() if counts else None
        if self.extrapolations is None or not self.warns_of_extrapolation or not self.extrapolations.any():
            return
        self.warns_of_extrapolation = False
        warnings.warn(
            f"{extrapolation_line(extrapolation_summary([self.extrapolations]))}. Do not trust energy and forces of "
            "such atoms unchecked; the attribute extrapolations counts them at every step, this is said once",
            ExtrapolationWarning,
            stacklevel=2,
        )

    def _refuse(self, name: str, atoms: Atoms | None) -> None:
        """Raise ASE's error for a property that cannot be had, with the reason."""
        if self._in_field is not None and name in ("stress", "energies"):
            raise PropertyNotImplementedError(
                f"{name} in an electric field is not defined here: "
                + (
                    "it depends on how the field follows the strain"
                    if name == "stress"
                    else "U - E·P has no atomic parts"
                )
                + f". Take {name} from a calculator without a field"
            )
        if name in RESPONSE and name not in self._given:
            raise PropertyNotImplementedError(
                f"{self.potential.title} gives no {name}: it comes from a response head, gnnpot fit "
                f"head=polarization{'' if name == 'polarization' else ' or head=born_tensor'} checkpoint=PATH"
            )
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
