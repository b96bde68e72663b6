"""What an electric field does to atoms that move: forces, electric enthalpy, work, and what is not allowed."""

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms

from gnnpot.apps.electric_field import LARGEST, ElectricField, FloatArray, warn_if_strong
from gnnpot.apps.skin import same_bits
from gnnpot.data.graph import AtomicGraph
from gnnpot.data.labels import frame_name
from gnnpot.errors import ConfigError, DataError, PhysicsWarning, PropertyNotAvailableError
from gnnpot.models.heads import total_charges
from gnnpot.models.polarization import MEANING_OF_SHIFT, SMALLEST_SHIFT
from gnnpot.models.potential import Potential
from gnnpot.models.properties import available_properties, derive


@dataclass(frozen=True)
class _Point:
    """The last evaluation on a path."""

    positions: FloatArray
    numbers: npt.NDArray[np.int64]
    cell: FloatArray
    field: FloatArray
    charge: float
    dipole: FloatArray | None
    pushes: FloatArray | None


class InField:
    """Atoms in a field E: F_ib = -∂U/∂r_ib + Σ_a E_a Z[i, a, b], Z field first.

    With a polarization P(r), of unwrapped positions, the forces belong to the electric enthalpy H = U - E·P, and the
    work of the field is ∫ E·dP. With a head that gives Z alone there is no enthalpy: the work ∫ Σ_i E·Z_i·dr_i is
    added up along the path of evaluations (trapezoidal rule, over nearest images), and the energy is U less this work.

    A cell of charge Q is pushed as a whole, ΣF = Q E. With ``remove_net_force`` atom i gets m_i/M of it back, and the
    energy is U - E·(P - Q R_com).

    Args:
        potential: with a response head.
        field: E, a function of time.
        remove_net_force: what to do in a charged cell; None refuses it.

    Raises:
        PropertyNotAvailableError: no response head.
    """

    def __init__(self, potential: Potential, field: ElectricField, remove_net_force: bool | None) -> None:
        available = available_properties(potential.outputs)
        if "born_effective_charges" not in available:
            raise PropertyNotAvailableError(
                f"field={field.described()}: the response to an electric field needs a model with a response head, and "
                f"{potential.title} has none. Train one on Born charges: gnnpot fit head=polarization checkpoint=PATH; "
                "or leave field=null"
            )
        self.potential = potential
        self.field = field
        self.remove_net_force = remove_net_force
        self.time = 0.0
        """fs."""
        self.has_polarization = "polarization" in available
        self.has_energy = "energy" in available
        self.has_forces = "forces" in available
        self.net_force: FloatArray = np.zeros(3)
        """Q E of the last evaluation, eV/Å, before anything is removed."""
        self.charge = 0.0
        """Q of the last evaluation, e."""
        self.largest: FloatArray = np.zeros(3)
        """The field or its amplitude, of a function the largest value that an evaluation has met, V/Å."""
        if field.function is None:
            self._note(np.array(field.amplitude))
        self._warned_of_shift = False
        self._charges: tuple[tuple[bytes, float | None], FloatArray] | None = None
        self.start_path()

    @property
    def energy_is(self) -> str:
        """What stands under ``energy``."""
        if self.has_polarization:
            return "electric enthalpy U - E·P"
        return "U less the work of the field along the path"

    def start_path(self) -> None:
        """Forget the path: the next evaluation starts a new one, and the work is zero."""
        self._last: _Point | None = None
        self._work = 0.0

    def moved(self, atoms: Atoms) -> bool:
        """Whether there was an evaluation, and of other positions."""
        return self._last is not None and not same_bits(self._last.positions, atoms.positions)

    def evaluate(self, graph: AtomicGraph, atoms: Atoms, with_forces: bool, with_born: bool) -> dict[str, Any]:
        """Results at this point of the path.

        Args:
            graph: of the atoms, perhaps of images of them.
            atoms: positions as the caller keeps them, unwrapped.
            with_forces: also ``forces``.
            with_born: also ``born_effective_charges``.

        Raises:
            ConfigError: a charged cell, and nothing was said about its net force.
            DataError: an atom was put back into the cell, or moved by more than half of it: P would perhaps jump.
        """
        charge = self.charge = float(total_charges(graph)[0])
        if self.has_polarization:
            self._refuse_wrapped(atoms)
        field = self.field.at(self.time)
        self._note(field)
        self.net_force = charge * field
        self._refuse_undecided(charge, atoms)
        names = self._names(with_forces, with_born)
        rounded = torch.from_numpy(field).to(graph.positions)
        found = derive(self.potential, graph, names, field=rounded)
        arrays = {name: value.cpu().numpy().astype(np.float64) for name, value in found.items()}
        share = self._share(atoms, charge)
        if self.has_polarization:
            if "energy" in arrays:
                arrays["energy"] += float(rounded.double().cpu().numpy() @ arrays["polarization"][0])
            return self._with_enthalpy(arrays, graph, atoms, field, charge if share is not None else 0.0, share)
        return self._with_work(arrays, atoms, field, share, with_born)

    def _note(self, field: FloatArray) -> None:
        """Keep the largest field; warn where it is the first that is beyond linear response."""
        if np.linalg.norm(field) <= np.linalg.norm(self.largest):
            return
        if np.linalg.norm(self.largest) <= LARGEST:
            warn_if_strong(field)
        self.largest = field

    def _names(self, with_forces: bool, with_born: bool) -> list[str]:
        names = ["energy"] if self.has_energy else []
        names += ["polarization"] if self.has_polarization else []
        names += ["born_effective_charges"] if with_born or not self.has_polarization else []
        return names + (["forces"] if with_forces and self.has_forces else [])

    def _share(self, atoms: Atoms, charge: float) -> FloatArray | None:
        """m_i/M ``(n_atoms, 1)`` where the net force is removed, else None."""
        if charge == 0.0 or not self.remove_net_force:
            return None
        masses = atoms.get_masses()[:, None]
        return np.asarray(masses / masses.sum())

    def _with_enthalpy(
        self,
        found: dict[str, FloatArray],
        graph: AtomicGraph,
        atoms: Atoms,
        field: FloatArray,
        removed_charge: float,
        share: FloatArray | None,
    ) -> dict[str, Any]:
        dipole = found["polarization"][0]
        unwrapped = unwrapped_polarization(dipole, self._charges_of(graph, atoms), graph, atoms)
        pulling = unwrapped if share is None else unwrapped - removed_charge * (share[:, 0] @ atoms.positions)
        if self._last is not None and self._last.dipole is not None:
            self._work += float(0.5 * (self._last.field + field) @ (pulling - self._last.dipole))
        self._last = self._point(atoms, field, dipole=pulling)
        results: dict[str, Any] = {"polarization": unwrapped, "field": field, "field_work": self._work}
        if "energy" in found:
            internal = float(found["energy"][0])
            results |= _energies(internal, internal - float(field @ pulling))
        if "born_effective_charges" in found:
            results["born_effective_charges"] = found["born_effective_charges"]
        if "forces" in found:
            results["forces"] = found["forces"] - (0.0 if share is None else share * self.net_force)
        return results

    def _charges_of(self, graph: AtomicGraph, atoms: Atoms) -> FloatArray:
        """`ionic_charges`, kept while numbers and total charge stay."""
        key = (atoms.numbers.tobytes(), atoms.info.get("charge"))
        if self._charges is None or self._charges[0] != key:
            self._charges = key, ionic_charges(self.potential, graph)
            self._warn_of_shift(atoms)
        return self._charges[1]

    def _warn_of_shift(self, atoms: Atoms) -> None:
        """Say once where the ions carry no oxidation numbers, so that P knows no quantum."""
        head: Any = self.potential.get_submodule("head")
        shift = head.ionic_charges.shift(atoms.numbers, self.charge)
        if self._warned_of_shift or abs(shift) <= SMALLEST_SHIFT:
            return
        self._warned_of_shift = True
        warnings.warn(
            f"{frame_name(atoms)}: the ions carry their oxidation numbers and {shift:+.4g} e each, so that they add up "
            f"to the charge of the cell, {self.charge:g} e: {MEANING_OF_SHIFT}",
            PhysicsWarning,
            stacklevel=6,
        )

    def _with_work(
        self, found: dict[str, FloatArray], atoms: Atoms, field: FloatArray, share: FloatArray | None, with_born: bool
    ) -> dict[str, Any]:
        pushes = np.einsum("a,nab->nb", field, found["born_effective_charges"])
        if share is not None:
            pushes = pushes - share * self.net_force
        if self._last is not None and self._last.pushes is not None and self._same_structure(atoms):
            moved = atoms.positions - self._last.positions
            moved -= _lattice_vectors(moved, atoms) @ atoms.cell.array
            self._work += float(0.5 * ((self._last.pushes + pushes) * moved).sum())
        elif self._last is not None:
            self.start_path()
        self._last = self._point(atoms, field, pushes=pushes)
        results: dict[str, Any] = {"field": field, "field_work": self._work}
        if "energy" in found:
            internal = float(found["energy"][0])
            results |= _energies(internal, internal - self._work)
        if with_born:
            results["born_effective_charges"] = found["born_effective_charges"]
        if "forces" in found:
            results["forces"] = found["forces"] - (0.0 if share is None else share * self.net_force)
        return results

    def _point(
        self, atoms: Atoms, field: FloatArray, dipole: FloatArray | None = None, pushes: FloatArray | None = None
    ) -> _Point:
        now = (atoms.positions.copy(), atoms.numbers.copy(), atoms.cell.array.copy())
        return _Point(*now, field, self.charge, dipole, pushes)

    def _same_structure(self, atoms: Atoms) -> bool:
        last = self._last
        if last is None or last.charge != self.charge:
            return False
        return same_bits(last.numbers, atoms.numbers) and same_bits(last.cell, atoms.cell.array)

    def _refuse_wrapped(self, atoms: Atoms) -> None:
        if self._last is None or not self._same_structure(atoms):
            self.start_path()
            return
        moved = atoms.positions - self._last.positions
        numbers = _lattice_vectors(moved, atoms)
        if not numbers.any():
            return
        atom = int(np.argmax(numbers.any(axis=1)))
        distance, nearest = np.linalg.norm(moved[atom]), np.round(numbers[atom]).astype(int).tolist()
        raise DataError(
            f"{frame_name(atoms)}: {atoms.symbols[atom]} (atom {atom}) moved by {distance:.3g} Å since the last "
            f"evaluation, nearest to {nearest} lattice vectors. In a field the polarization is that of unwrapped "
            "positions, and jumps where an atom is put back into the cell, which cannot be told from a step longer "
            "than half of the cell: do not wrap positions (gnnpot.unwrap(frames) undoes it in a trajectory), and go in "
            "shorter steps. If this is another structure, call the calculator's start_path() first"
        )

    def _refuse_undecided(self, charge: float, atoms: Atoms) -> None:
        if charge != 0.0 and self.remove_net_force is None:
            raise ConfigError(
                f"{frame_name(atoms)}: the cell has the charge {charge:g} e, so that the field pushes it as a whole, "
                f"with Q E = {np.round(self.net_force, 6).tolist()} eV/Å. Choose: remove_net_force=true gives every "
                "atom its share of mass of the opposite force, false lets the cell accelerate"
            )


def ionic_charges(potential: Potential, graph: AtomicGraph) -> FloatArray:
    """q_i of a polarization head, e, ``(n_atoms,)``."""
    head: Any = potential.get_submodule("head")
    return np.asarray(head.ionic_charges(graph).cpu().numpy())


def unwrapped_polarization(dipole: FloatArray, charges: FloatArray, graph: AtomicGraph, atoms: Atoms) -> FloatArray:
    """P of the positions that the caller keeps, ``(3,)`` e·Å: that of the graph and Σ_i q_i (r_i - r_i of the graph).

    The graph may hold images of the atoms, and rounds their positions where it is in single precision.
    """
    return np.asarray(dipole + charges @ (atoms.positions - graph.positions.double().cpu().numpy()))


def _energies(internal: float, energy: float) -> dict[str, float]:
    return {"energy": energy, "free_energy": energy, "internal_energy": internal}


_SMALL = 0.5 / 3.0**0.5
"""Displacements below this part of the smallest height of the cell along every axis are less than half of any."""


@functools.lru_cache(maxsize=8)
def _smallest_height(cell: bytes) -> float:
    """Distance of the nearest two of the opposite faces of a cell, Å, by the bits of its vectors; 0: no volume."""
    vectors = np.frombuffer(cell).reshape(3, 3)
    faces = np.linalg.norm(np.cross(vectors[[1, 2, 0]], vectors[[2, 0, 1]]), axis=1)
    return float(abs(np.linalg.det(vectors)) / faces.max(initial=1e-9))


def _lattice_vectors(moved: FloatArray, atoms: Atoms) -> FloatArray:
    """Whole numbers of lattice vectors along the periodic directions nearest to displacements, ``(n_atoms, 3)``."""
    if not atoms.pbc.any() or np.abs(moved).max(initial=0.0) < _SMALL * _smallest_height(atoms.cell.array.tobytes()):
        return np.zeros_like(moved)
    return np.where(atoms.pbc, np.round(atoms.cell.scaled_positions(moved)), 0.0)
