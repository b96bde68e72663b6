"""Models of others: any ASE calculator, by the name that a user types."""

import importlib
import importlib.util
from collections.abc import Mapping
from functools import reduce
from importlib import metadata
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
        name: dotted path of the class, or of a function or class method that makes one, as
            ``ase.calculators.tersoff.Tersoff.from_lammps``.
        arguments: of its constructor.
        key: what the user typed it for, for messages.

    Raises:
        ConfigError: there is no such class, or it does not take these arguments.
    """
    try:
        found = _imported(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}{name} cannot be imported ({error}); is its package installed here?") from None
    try:
        return found(**arguments)
    except (TypeError, OSError) as error:
        raise ConfigError(f"{key}{name} with {dict(arguments)}: {error}") from None


def _imported(name: str) -> Any:
    """What a dotted name stands for: the longest beginning that is a module is imported, the rest looked up in it.

    `pkgutil.resolve_name` would do so too, but say of a module that lacks a package only that it is no attribute.
    """
    words = name.split(".")
    n = 1
    while n < len(words) - 1 and _is_module(".".join(words[: n + 1])):
        n += 1
    return reduce(getattr, words[n:], importlib.import_module(".".join(words[:n])))


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def package_of(name: str) -> dict[str, str]:
    """Version of each installed package that a dotted name is imported from, by its name.

    Empty for a module that belongs to none, as one's own file.

    >>> sorted(package_of("ase.calculators.emt.EMT"))
    ['ase']
    """
    packages = metadata.packages_distributions().get(name.partition(".")[0], [])
    return {package: metadata.version(package) for package in sorted(set(packages))}


def predicted_by(calculator: Any, atoms: Atoms) -> dict[str, Any]:
    """Energy, forces and stress (3, 3) of a calculator; those it does not implement are absent.

    An element for which a calculator is not implemented is an error, though ASE's own say both by one exception.
    """
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
        except NotImplementedError as error:
            if isinstance(error, PropertyNotImplementedError) or name not in calculator.implemented_properties:
                continue
            raise
        found[name] = float(value) if name == "energy" else np.array(value, dtype=np.float64)
    return found
