"""The published layouts of Materials Project data as frames: MPtrj, MPF.2021.2.8, MatPES.

In all of them forces are in eV/Å, and the stress is VASP's: kbar, compression positive. Here it becomes eV/Å³, tension
positive, once. Energies are of the whole cell in eV, without corrections unless they are asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np

from gnnpot.data.frame_layout import ENERGY_CORRECTED, ENERGY_UNCORRECTED, MAGMOMS
from gnnpot.data.frames import FRAME, FUNCTIONAL, MATERIAL, ORIGIN, UNKNOWN
from gnnpot.data.labels import frame_name
from gnnpot.data.readers.border import check_geometry
from gnnpot.data.readers.json_stream import Record
from gnnpot.data.readers.structure_json import STATED_UNITS, structure_atoms
from gnnpot.data.readers.units import units_from
from gnnpot.errors import DataError

VASP = units_from({**STATED_UNITS, "stress_order": "ase"})
"""Units of the files; six numbers of stress are xx, yy, zz, yz, xz, xy (emmet-core, ``MatPESTrainDoc.stress``)."""

UNCORRECTED = "uncorrected"
CORRECTED = "corrected"

_FUNCTIONALS = {
    "gga": "GGA", "pbe": "GGA", "gga+u": "GGA+U", "gga_u": "GGA+U", "ggau": "GGA+U", "pbe+u": "GGA+U",
    "r2scan": "r2SCAN", "scan": "SCAN", "pbesol": "PBEsol",
}  # fmt: skip


@dataclass(frozen=True)
class StructureFrame:
    """One frame as these files hold it: a structure of pymatgen's and its labels, in the units of the file."""

    structure: Any
    labels: Mapping[str, Any]
    """``energy``, ``forces``, ``stress``; None where one is missing."""
    info: Mapping[str, Any]
    where: str
    number: int
    magmoms: Any = None

    def atoms(self) -> ase.Atoms:
        """The frame in eV and Å.

        Raises:
            DataError: a structure that cannot be read, a cell without a volume, labels that are no numbers.
        """
        if not isinstance(self.structure, Mapping):
            raise DataError(f"{self.where}, frame {self.number}: there is no 'structure' of pymatgen's")
        atoms = structure_atoms(dict(self.structure), f"{self.where}, frame {self.number}")
        atoms.info |= {"source": self.where, "frame": self.number}
        atoms.info |= {key: value for key, value in self.info.items() if value is not None}
        if isinstance(self.magmoms, Sequence) and len(self.magmoms) == len(atoms):
            atoms.arrays[MAGMOMS] = np.array(self.magmoms, dtype=np.float64)
        return vasp_labelled(atoms, self.labels)


@dataclass(frozen=True)
class Layout:
    """A published layout: from a record to frames, and what its energies are."""

    title: str
    frames: Callable[[Record, str, str], Iterator[StructureFrame]]
    """Of (record, where it stands, which energy)."""
    energies: tuple[str, ...]
    level_of_theory: str


def mptrj_frames(record: Record, where: str, energy: str) -> Iterator[StructureFrame]:
    """Frames of one material of MPtrj: ``{frame id: {structure, uncorrected_total_energy, force, stress, ...}}``.

    Deng et al., Nat. Mach. Intell. 5, 1031 (2023). The label ``energy`` is ``uncorrected_total_energy``, which forces
    and stress belong to, or ``corrected_total_energy`` (MP2020); both are kept under their names. The file carries no
    flag of GGA or GGA+U: unknown, unless an entry says otherwise.
    """
    layout = "{frame id: {structure, uncorrected_total_energy, force, stress, ...}}"
    for number, (frame_id, found) in enumerate(_mapping(record.value, where, layout).items()):
        entry: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        uncorrected, corrected = entry.get("uncorrected_total_energy"), entry.get("corrected_total_energy")
        chosen = corrected if energy == CORRECTED else uncorrected
        labels = {"energy": chosen, "forces": entry.get("force"), "stress": entry.get("stress")}
        info = {
            ENERGY_UNCORRECTED: uncorrected,
            ENERGY_CORRECTED: corrected,
            "bandgap": entry.get("bandgap"),
            **_provenance(record.key, frame_id, functional_of(entry), "MPtrj"),
        }
        yield StructureFrame(entry.get("structure"), labels, info, where, number, entry.get("magmom"))


def mpf_frames(record: Record, where: str, energy: str) -> Iterator[StructureFrame]:
    """Frames of one material of MPF.2021.2.8 as JSON: ``{structure: [...], energy: [...], force, stress, id}``.

    Chen and Ong, Nat. Comput. Sci. 2, 718 (2022). The lists run over the steps of its relaxations. The functional is
    not stated there: unknown.
    """
    layout = "{structure: [...], energy: [...], force: [...], stress: [...], id: [...]}"
    columns = _mapping(record.value, where, layout)
    structures = columns.get("structure")
    if not isinstance(structures, Sequence):
        raise DataError(f"{where}: 'structure' should be a list, one for each step; expected {layout}")
    given = {name: columns.get(name) or [None] * len(structures) for name in ("energy", "force", "stress", "id")}
    for name, values in given.items():
        if len(values) != len(structures):
            raise DataError(f"{where}: {len(values)} values of '{name}' for {len(structures)} structures")
    for number, structure in enumerate(structures):
        energy_of_step, forces, stress, given_id = (values[number] for values in given.values())
        labels = {"energy": energy_of_step, "forces": forces, "stress": stress}
        frame_id = f"{record.key}-{number}" if given_id is None else str(given_id)
        yield StructureFrame(
            structure, labels, _provenance(record.key, frame_id, UNKNOWN, "MPF.2021.2.8"), where, number
        )


def matpes_frames(record: Record, where: str, energy: str) -> Iterator[StructureFrame]:
    """The frame of one entry of MatPES: ``{structure, energy, forces, stress, functional, matpes_id, provenance}``.

    Kaplan et al., arXiv:2503.04070 (2025). The material is that from which the structure was sampled,
    ``provenance.original_mp_id``. PBE there is GGA without U.
    """
    entry = _mapping(record.value, where, "{structure, energy, forces, stress, functional, matpes_id, ...}")
    labels = {name: entry.get(name) for name in ("energy", "forces", "stress")}
    origin = entry.get("provenance")
    material = origin.get("original_mp_id") if isinstance(origin, Mapping) else None
    extras = ("bandgap", "formation_energy_per_atom", "cohesive_energy_per_atom")
    info = {
        **{name: entry.get(name) for name in extras},
        **_provenance(material, entry.get("matpes_id"), functional_of(entry), "MatPES"),
    }
    yield StructureFrame(entry.get("structure"), labels, info, where, 0)


LAYOUTS: dict[str, Layout] = {
    "mptrj": Layout("MPtrj (CHGNet)", mptrj_frames, (UNCORRECTED, CORRECTED), "PBE or PBE+U, VASP, Materials Project"),
    "mpf": Layout("MPF.2021.2.8 (M3GNet)", mpf_frames, (UNCORRECTED,), "PBE or PBE+U, VASP, Materials Project"),
    "matpes": Layout("MatPES", matpes_frames, (UNCORRECTED,), "PBE or r2SCAN, VASP, MatPES"),
}
"""Layouts of JSON files, by the name that ``format`` takes."""


def functional_of(entry: Mapping[str, Any]) -> str:
    """Functional that an entry states as ``functional``, ``run_type`` or ``calc_type``; "unknown" where it does not.

    >>> functional_of({"calc_type": "GGA+U Structure Optimization"}), functional_of({})
    ('GGA+U', 'unknown')
    """
    for key in ("functional", "run_type", "calc_type"):
        if entry.get(key):
            word = str(entry[key]).split()[0]
            return _FUNCTIONALS.get(word.lower(), word)
    return UNKNOWN


def vasp_labelled(atoms: ase.Atoms, labels: Mapping[str, Any]) -> ase.Atoms:
    """``atoms`` with labels given in VASP's units, kbar and compression positive; None is no label.

    Raises:
        DataError: a cell without a volume, or a label that is not numbers; the message names the frame.
    """
    check_geometry(atoms)
    energy, forces, stress = (labels.get(name) for name in ("energy", "forces", "stress"))
    try:
        if energy is not None:
            atoms.info["energy"] = float(energy)
        if forces is not None:
            atoms.arrays["forces"] = np.array(forces, dtype=np.float64)
        if stress is not None:
            atoms.info["stress"] = VASP.tensor(stress) * VASP.stress
    except (TypeError, ValueError) as error:
        raise DataError(f"{frame_name(atoms)}: a label is no number or no regular list of numbers ({error})") from None
    return atoms


def _provenance(material: Any, frame_id: Any, functional: str, origin: str) -> dict[str, Any]:
    return {MATERIAL: material, FRAME: frame_id, FUNCTIONAL: functional, ORIGIN: origin}


def _mapping(value: Any, where: str, expected: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: expected {expected}, found {type(value).__name__}; is it the layout of format=?")
    return value
