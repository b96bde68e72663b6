"""The thermodynamic log of a simulation: what is sampled, how it is written, and how its drift is read."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from io import TextIOWrapper
from pathlib import Path

import numpy as np

from gnnpot.keys import MEV_PER_EV


@dataclass(frozen=True)
class Sample:
    """State of a simulation at one step; NaN where the model or the ensemble has no such quantity."""

    step: int
    time_ps: float
    temperature_K: float  # noqa: N815  (the unit is K)
    potential_eV: float  # noqa: N815
    kinetic_eV: float  # noqa: N815
    total_eV_per_atom: float  # noqa: N815
    conserved_eV_per_atom: float  # noqa: N815
    pressure_GPa: float  # noqa: N815
    volume_A3: float  # noqa: N815
    extrapolating_atoms: float


@dataclass(frozen=True)
class FieldSample(Sample):
    """State of a simulation in an electric field.

    ``potential_eV`` is U without the field; ``conserved_eV_per_atom`` takes the work of the field into account.
    """

    field_x_V_per_A: float  # noqa: N815
    field_y_V_per_A: float  # noqa: N815
    field_z_V_per_A: float  # noqa: N815
    polarization_x_e_A: float  # noqa: N815
    polarization_y_e_A: float  # noqa: N815
    polarization_z_e_A: float  # noqa: N815
    enthalpy_eV: float  # noqa: N815
    """U - E·P."""
    work_eV: float  # noqa: N815
    """Of the field, ∫ E·dP since the start."""
    heat_eV: float  # noqa: N815
    """Taken by the thermostat since the start."""


COLUMNS = tuple(field.name for field in fields(Sample))
"""Header of ``thermo.csv``: every name carries its unit."""
FIELD_COLUMNS = tuple(field.name for field in fields(FieldSample))
"""The same in a field."""


class ThermoLog:
    """Writes samples to a CSV file, line by line, so that a run can be watched; keeps them all."""

    def __init__(self, path: Path, columns: Sequence[str] = COLUMNS) -> None:
        self.samples: list[Sample] = []
        self._file: TextIOWrapper = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(columns)

    def add(self, sample: Sample) -> None:
        """Append one line; a quantity that does not exist is an empty field."""
        self.samples.append(sample)
        values = astuple(sample)
        self._writer.writerow([values[0], *("" if np.isnan(v) else f"{v:.10g}" for v in values[1:])])
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def slope_after_first_tenth(time_ps: Sequence[float], energy_per_atom: Sequence[float]) -> float | None:
    """Slope of a straight line through an energy after the first tenth of the time, meV/atom/ps.

    None with fewer than three samples there, or where the energy is not known.

    >>> round(slope_after_first_tenth([0.0, 1.0, 2.0, 3.0, 4.0], [9.0, 1.0, 1.002, 1.004, 1.006]), 6)
    2.0
    """
    time, energy = np.asarray(time_ps, dtype=float), np.asarray(energy_per_atom, dtype=float)
    if len(time) == 0:
        return None
    late = time >= time[0] + 0.1 * (time[-1] - time[0])
    if late.sum() < 3 or not np.isfinite(energy[late]).all() or np.ptp(time[late]) == 0.0:
        return None
    centered = time[late] - time[late].mean()
    return float(centered @ (energy[late] - energy[late].mean()) / (centered @ centered) * MEV_PER_EV)
