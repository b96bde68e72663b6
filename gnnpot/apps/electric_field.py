"""Electric fields, constant or in time, as calculators and configurations take them."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnpot.errors import ConfigError, PhysicsWarning, did_you_mean

FloatArray = NDArray[np.float64]
FieldLike = Sequence[float] | Mapping[str, Any] | Callable[[float], ArrayLike]

LARGEST = 0.2
"""V/Å; a response learned at zero field was found reliable up to about here (Joll et al., Nat. Commun. 2024, doi
10.1038/s41467-024-52491-3)."""

KEYS = ("amplitude", "frequency", "phase")
FS_PER_PS = 1000.0


@dataclass(frozen=True)
class ElectricField:
    """E(t) = A, or A sin(2π f t + φ), or any function of time; V/Å.

    >>> ElectricField((0.0, 0.0, 0.1), frequency=1.0, phase=90.0).at(0.0)
    array([0. , 0. , 0.1])
    """

    amplitude: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """A, V/Å."""
    frequency: float = 0.0
    """f, THz; 0: constant."""
    phase: float = 0.0
    """φ, degrees; 90: a cosine."""
    function: Callable[[float], ArrayLike] | None = None
    """E of the time in fs, in the place of the others."""

    @property
    def is_constant(self) -> bool:
        """Whether the field is the same at all times."""
        return self.function is None and self.frequency == 0.0

    def at(self, time: float) -> FloatArray:
        """E at a time in fs, ``(3,)``, V/Å.

        Raises:
            ConfigError: the function gives no three finite numbers.
        """
        if self.function is not None:
            return _three(self.function(time), f"field({time} fs)")
        amplitude = np.array(self.amplitude)
        if self.frequency == 0.0:
            return amplitude
        return amplitude * math.sin(2.0 * math.pi * self.frequency * time / FS_PER_PS + math.radians(self.phase))

    def described(self) -> Any:
        """The field as plain values, as a configuration takes it; of a function, its name."""
        if self.function is not None:
            return getattr(self.function, "__name__", "function")
        if self.is_constant:
            return list(self.amplitude)
        return {"amplitude": list(self.amplitude), "frequency": self.frequency, "phase": self.phase}


def electric_field(field: "FieldLike | ElectricField") -> ElectricField:
    """A field from what a user may give: three numbers, an alternating one by its keys, or a function of time.

    >>> electric_field({"amplitude": [0, 0, 0.1], "frequency": 0.5}).is_constant
    False

    Raises:
        ConfigError: none of these.
    """
    if isinstance(field, ElectricField):
        return field
    if callable(field):
        return ElectricField(function=field)
    if isinstance(field, Mapping):
        return _alternating(field)
    return ElectricField(_as_tuple(_three(field, "field")))


def warn_if_strong(vector: FloatArray) -> None:
    """Say where a field is beyond what a response learned at zero field can describe (`PhysicsWarning`)."""
    strength = float(np.linalg.norm(vector))
    if strength > LARGEST:
        warnings.warn(
            f"a field of {strength:.3g} V/Å is beyond linear response: forces F + E·Z with Z learned at zero field "
            f"have been found reliable up to about {LARGEST} V/Å",
            PhysicsWarning,
            stacklevel=6,
        )


def _alternating(keys: Mapping[str, Any]) -> ElectricField:
    for key in keys:
        if key not in KEYS:
            raise ConfigError(f"field.{key} is unknown; {did_you_mean(str(key), KEYS)}")
    if "amplitude" not in keys or "frequency" not in keys:
        raise ConfigError(
            f"field={dict(keys)}: an alternating field has an amplitude and a frequency in THz, as "
            "field={amplitude: [0, 0, 0.1], frequency: 1.0}"
        )
    numbers = {}
    for key in ("frequency", "phase"):
        try:
            numbers[key] = float(keys.get(key) or 0.0)
        except (TypeError, ValueError):
            numbers[key] = math.nan
        if not math.isfinite(numbers[key]):
            raise ConfigError(f"field.{key}={keys[key]}: give a number")
    if not numbers["frequency"] > 0.0:
        raise ConfigError(f"field.frequency={keys['frequency']}: give a positive number in THz")
    amplitude = _as_tuple(_three(keys["amplitude"], "field.amplitude"))
    return ElectricField(amplitude, numbers["frequency"], numbers["phase"])


def _three(value: Any, name: str) -> FloatArray:
    try:
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.zeros(0)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise ConfigError(
            f"{name}={value}: give three numbers in V/Å, as field=[0,0,0.1], or an alternating field, as "
            "field={amplitude: [0, 0, 0.1], frequency: 1.0}"
        )
    return vector


def _as_tuple(vector: FloatArray) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in vector)
    return x, y, z
