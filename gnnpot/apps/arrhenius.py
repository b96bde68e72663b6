"""Activation energies: y = A exp(-E_a / kT), with errors from a bootstrap over the blocks of each temperature."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
N_SAMPLES = 2000
ROOM = 300.0
"""K, the temperature extrapolated to."""


@dataclass(frozen=True)
class Arrhenius:
    """A straight line of ln y against 1/T."""

    energy: float
    """E_a, eV."""
    energy_error: float
    """Standard deviation of the bootstrap, eV."""
    energy_interval: tuple[float, float]
    """95 % of the bootstrap, eV."""
    prefactor: float
    """A, in the units of y."""
    at_room: float
    """y extrapolated to 300 K."""
    at_room_interval: tuple[float, float]
    """95 % of the bootstrap."""


def fit_arrhenius(
    temperatures: Sequence[float], values: Sequence[float], blocks: Sequence[FloatArray], seed: int
) -> Arrhenius | None:
    """Fit ln y = ln A - E_a/kT; None for fewer than two different temperatures or a y that is not positive.

    Each bootstrap sample draws, for every temperature, its blocks with replacement; y moves by what their mean moves.

    Args:
        temperatures: K.
        values: y at each.
        blocks: y of the blocks at each.
        seed: of the bootstrap.

    >>> blocks = [np.exp(-0.3 / (units.kB * t)) * np.array([0.9, 1.1]) for t in (500.0, 1000.0)]
    >>> round(fit_arrhenius([500, 1000], [b.mean() for b in blocks], blocks, 0).energy, 6)
    0.3
    """
    inverse = 1.0 / (units.kB * np.asarray(temperatures, dtype=np.float64))
    y = np.asarray(values, dtype=np.float64)
    if len(np.unique(inverse)) < 2 or not (np.isfinite(y) & (y > 0)).all():
        return None
    slope, offset = np.polyfit(inverse, np.log(y), 1)
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(N_SAMPLES):
        moved = [v + rng.choice(b, len(b)).mean() - b.mean() for v, b in zip(y, blocks, strict=True)]
        if min(moved) > 0:
            samples.append(np.polyfit(inverse, np.log(moved), 1))
    at = 1.0 / (units.kB * ROOM)
    energies, rooms = (np.array(x) for x in zip(*((-s, np.exp(o + s * at)) for s, o in samples), strict=True))
    return Arrhenius(
        float(-slope),
        float(energies.std(ddof=1)),
        _middle(energies),
        float(np.exp(offset)),
        float(np.exp(offset + slope * at)),
        _middle(rooms),
    )


def _middle(samples: FloatArray) -> tuple[float, float]:
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)
