"""Models of others: any ASE calculator, by the name that a user types."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from gnnpot.errors import ConfigError

PREDICTED = ("forces", "energy", "stress")
"""Forces first: most calculators have the others at hand then."""


def calculator_named(name: str, arguments: Mapping[str, Any], key: str) -> Any:
    """The calculator of a dotted name, made with its arguments.

    The name comes from the user's own command line or configuration, never from a file of data or results.

    Args:
        name: dotted path of the class.
        arguments: of its constructor.
        key: what the user typed it for, for messages.

    Raises:
        ConfigError: there is no such class, or it does not take these arguments.
    """
    module, _, class_name = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}{name} cannot be imported ({error}); is its package installed here?") from None
    try:
        return found(**arguments)
    except TypeError as error:
        raise ConfigError(f"{key}{name} with {dict(arguments)}: {error}") from None


def predicted_by(calculator: Any, atoms: Atoms) -> dict[str, Any]:
    """Energy, forces and stress (3, 3) of a calculator; those it does not implement are absent."""
    frame = atoms.copy()
    frame.calc = calculator
    found: dict[str, Any] = {}
    getters: Mapping[str, Any] = {
        "energy": frame.get_potential_energy,
        "forces": frame.get_forces,
        "stress": lambda: frame.get_stress(voigt=False),
    }
    for name in PREDICTED:
        if name == "stress" and not atoms.pbc.all():
            continue
        try:
            value = getters[name]()
        except (PropertyNotImplementedError, NotImplementedError):
            continue
        found[name] = float(value) if name == "energy" else np.array(value, dtype=np.float64)
    return found
