"""Units of a file, as its user states them, and the factors to eV and Å.

data.units={energy: hartree, length: bohr}          forces and stress follow
data.units={stress: kbar, stress_sign: vasp}        VASP's stress, compression positive
data.units={forces: eV/angstrom, energy: hartree}   forces that do not follow the energy
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnpot.data.labels import full_tensor
from gnnpot.errors import ConfigError, DataError, did_you_mean
from gnnpot.keys import (
    ANGSTROM_PER_BOHR,
    EV_PER_HARTREE,
    EV_PER_RYDBERG,
    GPA_PER_EV_PER_CUBIC_ANGSTROM,
    KBAR_PER_GPA,
)

_KCAL_PER_MOL = 4184.0 / 96485.33212331002
_KJ_PER_MOL = 1000.0 / 96485.33212331002

_ENERGY_UNITS = {
    "ev": 1.0, "mev": 1e-3, "hartree": EV_PER_HARTREE, "ha": EV_PER_HARTREE, "rydberg": EV_PER_RYDBERG,
    "ry": EV_PER_RYDBERG, "kcal/mol": _KCAL_PER_MOL, "kj/mol": _KJ_PER_MOL,
}  # fmt: skip
_LENGTH_UNITS = {
    "angstrom": 1.0, "ang": 1.0, "å": 1.0, "a": 1.0, "bohr": ANGSTROM_PER_BOHR, "nm": 10.0,
}  # fmt: skip
_PRESSURE_UNITS = {
    "gpa": 1.0 / GPA_PER_EV_PER_CUBIC_ANGSTROM,
    "mpa": 1e-3 / GPA_PER_EV_PER_CUBIC_ANGSTROM,
    "kbar": 1.0 / (KBAR_PER_GPA * GPA_PER_EV_PER_CUBIC_ANGSTROM),
}
_SIGNS = {"ase": 1.0, "vasp": -1.0}
_ORDERS: dict[str, list[int]] = {"ase": [0, 1, 2, 3, 4, 5], "vasp": [0, 1, 2, 4, 5, 3]}
"""Where xx, yy, zz, yz, xz, xy stand in six numbers: ASE's (Voigt's) order; VASP's xx yy zz xy yz zx."""

UNIT_KEYS = ("energy", "length", "forces", "stress", "stress_sign", "stress_order")


@dataclass(frozen=True)
class Units:
    """Factors that turn the numbers of a file into eV, Å, eV/Å and eV/Å³ (tension positive)."""

    energy: float = 1.0
    length: float = 1.0
    forces: float = 1.0
    stress: float = 1.0
    stress_order: str | None = "ase"
    """None: not known for six numbers; they are then read in ASE's order, and the user is told."""

    def factor(self, label: str) -> float:
        """Factor of a label.

        >>> Units(energy=27.2, length=0.5, forces=54.4).factor("polarization")
        0.5
        """
        factors = {
            "energy": self.energy, "forces": self.forces, "stress": self.stress, "polarization": self.length,
        }  # fmt: skip
        return factors.get(label, 1.0)

    def tensor(self, stress: ArrayLike) -> NDArray[np.float64]:
        """Stress of a file as it stands there, six numbers brought into the full (3, 3) tensor."""
        numbers = np.asarray(stress, dtype=np.float64)
        if numbers.shape == (6,):
            return full_tensor(numbers[_ORDERS[self.stress_order or "ase"]])
        return numbers


def units_from(stated: Mapping[str, str]) -> Units:
    """Factors from names: ``energy``, ``length``, ``forces``, ``stress``, ``stress_sign``, ``stress_order``.

    Forces are in energy/length and stress in energy/length³ unless stated otherwise. ``stress_sign: vasp``
    means compression positive, ``ase`` (the default) tension positive.

    Raises :class:`ConfigError` for a key or a unit that does not exist.

    >>> round(units_from({"energy": "hartree", "length": "bohr"}).forces, 4)
    51.4221
    """
    for key in stated:
        if key not in UNIT_KEYS:
            raise ConfigError(f"data.units has no '{key}': {did_you_mean(str(key), UNIT_KEYS)}")
    energy = _look_up("energy", stated.get("energy", "eV"), _ENERGY_UNITS)
    length = _look_up("length", stated.get("length", "angstrom"), _LENGTH_UNITS)
    forces, stress = energy / length, energy / length**3
    if "forces" in stated:
        forces = _energy_per_length("forces", stated["forces"], 1)
    if "stress" in stated:
        stress = _energy_per_length("stress", stated["stress"], 3)
    sign = _look_up("stress_sign", stated.get("stress_sign", "ase"), _SIGNS)
    order = stated.get("stress_order")
    if order is not None and str(order) not in _ORDERS:
        raise ConfigError(f"data.units.stress_order={order}: {did_you_mean(str(order), _ORDERS)}")
    return Units(energy, length, forces, sign * stress, order)


def required_units(stated: Mapping[str, str], path: object) -> None:
    """Refuse a file whose format leaves units open when the user did not state them."""
    missing = [name for name in ("energy", "length") if name not in stated]
    if missing:
        raise DataError(
            f"'{path}' states no units and data.units lacks {' and '.join(missing)}: type"
            " data.units={energy: hartree, length: bohr} or data.units={energy: eV, length: angstrom}"
        )


def _look_up(key: str, name: object, table: Mapping[str, float]) -> float:
    if (word := str(name).strip().lower()) in table:
        return table[word]
    raise ConfigError(f"data.units.{key}={name} is no unit known here: {did_you_mean(word, table)}")


def _energy_per_length(key: str, name: object, power: int) -> float:
    """Factor of 'eV/angstrom', 'hartree/bohr^3' and the like, or of a pressure."""
    word = str(name).strip().lower().replace("³", "^3").replace("**", "^")
    if power == 3 and word in _PRESSURE_UNITS:
        return _PRESSURE_UNITS[word]
    energy, _, length = word.rpartition("/")
    length, _, exponent = length.partition("^")
    if energy in _ENERGY_UNITS and length in _LENGTH_UNITS and (exponent or "1") == str(power):
        return _ENERGY_UNITS[energy] / _LENGTH_UNITS[length] ** power
    examples = {1: ["eV/angstrom", "hartree/bohr"], 3: ["eV/angstrom^3", "GPa", "kbar", "MPa"]}[power]
    raise ConfigError(f"data.units.{key}={name} is no unit known here: {did_you_mean(word, examples)}")
