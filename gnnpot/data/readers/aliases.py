"""Names under which labels stand in files: canonical, known aliases, and the user's own ``data.keys``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.keys import PROPERTIES

CHARGE = "charge"

ALIASES: dict[str, tuple[str, ...]] = {
    "energy": (
        "ref_energy", "dft_energy", "energy_dft", "energy_ref", "potential_energy", "energy_per_atom",
    ),
    "forces": ("force", "ref_forces", "ref_force", "dft_forces", "dft_force", "forces_dft", "forces_ref"),
    "stress": (
        "ref_stress", "dft_stress", "stress_dft", "stress_ref", "virial", "virials", "ref_virial", "ref_virials",
        "dft_virial", "dft_virials",
    ),
    "born_effective_charges": ("born_charge", "born_charges", "bec", "becs", "ref_bec", "ref_becs", "apt"),
    "polarization": ("polarization_ea", "polarisation", "ref_polarization", "total_polarization"),
    "dielectric_tensor": ("dielectric", "epsilon_inf", "eps_inf", "epsilon_infinity", "ref_dielectric"),
    CHARGE: ("total_charge",),
}  # fmt: skip
"""Names that are read without being asked for, in lower case."""

FORCE_CONSISTENT = ("free_energy", "uncorrected_total_energy")
"""Energies that the forces belong to: where one is there, the other energies are not asked."""

_NOT_LABELS = ("sigma0", "corrected", "f_per_atom", "e_per_atom", "kinetic", "free_energy", "predicted_", "polarizab")
_WORDS: dict[str, tuple[str, ...]] = {
    "energy": ("energy",),
    "forces": ("force",),
    "stress": ("stress", "virial"),
    "born_effective_charges": ("born", "bec"),
    "polarization": ("polariz", "polaris", "dipole"),
    "dielectric_tensor": ("dielectric", "epsilon"),
}
_TENSOR_SHAPES = ((3, 3), (9,), (6,))


@dataclass(frozen=True)
class Column:
    """A column of a file and how it becomes its label."""

    name: str
    is_virial: bool
    """A virial is -|V|·stress, in units of energy (QUIP, MACE, GPUMD, DP-GEN)."""
    is_per_atom: bool
    """An energy per atom is multiplied by the number of atoms."""

    @classmethod
    def named(cls, name: str) -> "Column":
        """The column, with its meaning taken from its name.

        >>> Column.named("REF_virial").is_virial
        True
        """
        return cls(name, "virial" in name.lower(), name.lower().endswith("per_atom"))


def checked_keys(keys: Mapping[str, str] | None) -> dict[str, Column]:
    """``data.keys`` as columns; ``virial`` and ``energy_per_atom`` are accepted beside the labels' own names.

    Raises :class:`ConfigError` for a label that does not exist or is named twice.

    >>> checked_keys({"virial": "W"})["stress"].is_virial
    True
    """
    other_forms = {"virial": "stress", "energy_per_atom": "energy"}
    checked: dict[str, Column] = {}
    for label, name in (keys or {}).items():
        target = other_forms.get(label, label)
        if target not in ALIASES:
            known = (*PROPERTIES, *other_forms, CHARGE)
            raise ConfigError(f"data.keys has no label '{label}': {did_you_mean(str(label), known)}")
        if target in checked:
            raise ConfigError(f"data.keys names '{target}' twice, as '{label}' too: keep one of them")
        column = Column.named(str(name))
        checked[target] = Column(
            column.name, column.is_virial or label == "virial", column.is_per_atom or label == "energy_per_atom"
        )
    return checked


def known_columns(label: str, names: Mapping[str, Any]) -> list[Column]:
    """Columns that are ``label`` by their name, the canonical name first.

    >>> [column.name for column in known_columns("forces", {"DFT_forces": 0, "forces": 0})]
    ['forces', 'DFT_forces']
    """
    if label == "energy":
        for name in FORCE_CONSISTENT:
            if name in names:
                return [Column.named(name)]
    known = [label, *ALIASES[label]]
    found = [name for name in names if name.lower() in known]
    return [Column.named(name) for name in sorted(found, key=lambda name: known.index(name.lower()))]


def label_suspected(name: str, value: Any, n_atoms: int, is_molecule: bool) -> str | None:
    """Label that a column could be, from a word in its name and its shape; None if it is none."""
    word = name.lower()
    if any(part in word for part in _NOT_LABELS) or isinstance(value, bool | str):
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or ("dipole" in word and not is_molecule):
        return None
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "energy": ((), (1,)),
        "forces": ((n_atoms, 3),),
        "stress": _TENSOR_SHAPES,
        "born_effective_charges": ((n_atoms, 9), (n_atoms, 3, 3)),
        "polarization": ((3,),),
        "dielectric_tensor": _TENSOR_SHAPES,
    }
    for label, words in _WORDS.items():
        if any(part in word for part in words) and array.shape in shapes[label]:
            return label
    return None
