"""Infrared spectrum from the correlation of dP/dt: `analyze kind=infrared`.

α(ω) n(ω) = (1 / 3 V k_B T ε0 c) ∫_0^∞ <J(0)·J(t)> cos(ωt) dt with J_a = Σ_i,b Z[i,a,b] v_ib. The correlation of
classical nuclei stands for Kubo's: the harmonic quantum correction, exact for harmonic modes (Ramirez et al., J. Chem.
Phys. 121, 3973 (2004)).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import units
from numpy.typing import NDArray

from gnnpot._version import __version__
from gnnpot.apps.analysis import Analysis, Request, facts_of
from gnnpot.apps.correlations import autocorrelation
from gnnpot.apps.trajectories import Trajectory, born_charges
from gnnpot.errors import ConfigError, DataError
from gnnpot.keys import COULOMB_CONSTANT, WAVENUMBER_PER_THZ
from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import significant
from gnnpot.report.page import Column, Figure, Page, Section, Table, Text

FloatArray = NDArray[np.float64]
WINDOWS = ("hann", "blackman", "none")
LONGEST = 2.0
"""ps, of the correlation where the user gives no length: 8 cm⁻¹ are resolved."""
FINENESS = 4
"""Points of the spectrum for one of the resolution."""
HIGHEST_SHOWN = 1.3
"""The spectrum ends here times the wavenumber below which 99.5 % of the absorption lies."""


def infrared(request: Request) -> Analysis:
    """Absorption spectrum in cm⁻¹, with a table of peaks.

    Raises:
        ConfigError: several trajectories, an unknown window, a length that does not fit; neither model nor labels.
        DataError: a structure without a volume.
    """
    from gnnpot.report.transport_plots import spectrum_figure

    trajectories = request.trajectories()
    if len(trajectories) > 1:
        raise ConfigError("kind=infrared takes one trajectory; analyze each temperature by itself")
    trajectory = trajectories[0]
    if not np.isfinite(trajectory.volume):
        raise DataError(f"{trajectory.name}: an absorption needs a cell with a volume")
    longest = _correlation_time(trajectory, request.max_time)
    if request.window not in WINDOWS:
        raise ConfigError(f"window={request.window!r} is unknown; known: {', '.join(WINDOWS)}")
    born = born_charges(trajectory, request.checkpoint, request.born_every, request.device)
    if born is None:
        raise ConfigError(
            f"{trajectory.name} carries no Born charges: give checkpoint= of a model with a response head, which "
            "predicts them along the trajectory"
        )
    velocities, source = trajectory.velocities()
    current = np.einsum("tiab,tib->ta", born[0], velocities)
    wavenumbers, absorption = absorption_spectrum(current, trajectory, longest, request.window)
    errors = _block_errors(current, trajectory, longest, request)
    shown = slice(0, _end_of(wavenumbers, absorption))
    peaks = find_peaks(wavenumbers[shown], absorption[shown])
    spread = None if errors is None else errors[shown]
    figure = spectrum_figure(wavenumbers[shown], absorption[shown], spread, peaks)
    record = {
        "gnnpot_version": __version__,
        "kind": "infrared",
        **facts_of(trajectory),
        "born_charges": born[1],
        "velocities": source,
        "correlation_ps": longest,
        "window": request.window,
        "resolution_per_cm": WAVENUMBER_PER_THZ / (2.0 * longest),
        "highest_wavenumber_per_cm": float(wavenumbers[-1]),
        "quantum_correction": "harmonic",
        "peaks": [{"wavenumber_per_cm": place, "absorption_per_cm": height} for place, height in peaks],
        "wavenumbers_per_cm": wavenumbers.tolist(),
        "absorption_per_cm": absorption.tolist(),
    }
    columns = {"wavenumber_per_cm": wavenumbers, "absorption_per_cm": absorption}
    if errors is not None:
        columns["standard_error_per_cm"] = errors
    table, sentences = _table(peaks), _sentences(record)
    return Analysis(record, columns, (table,), sentences, _page(record, table, sentences, figure), {"spectrum": figure})


def absorption_spectrum(
    current: FloatArray, trajectory: Trajectory, longest: float, window: str
) -> tuple[FloatArray, FloatArray]:
    """Wavenumbers up to half the sampling rate, and α·n at them, both in cm⁻¹.

    Args:
        current: dP/dt, ``(n_frames, 3)``, e·Å/ps.
        trajectory: for volume, temperature and interval.
        longest: ps, where the correlation is cut.
        window: by which the correlation falls to zero there.
    """
    n = min(round(longest / trajectory.interval) + 1, len(current))
    correlation = autocorrelation(current - current.mean(axis=0))[:n] * _falling(window, n)
    size = FINENESS * 2 * n
    weights = np.full(n, trajectory.interval)
    weights[0] /= 2.0
    transform = np.fft.rfft(correlation * weights, size).real
    light = units._c * 1e-2
    permittivity = 1.0 / (4.0 * np.pi * COULOMB_CONSTANT)
    factor = 1.0 / (3.0 * trajectory.volume * units.kB * trajectory.temperature * permittivity * light) * 1e8
    wavenumbers = np.fft.rfftfreq(size, trajectory.interval) * WAVENUMBER_PER_THZ
    return np.asarray(wavenumbers, dtype=np.float64), factor * transform


def find_peaks(wavenumbers: FloatArray, absorption: FloatArray) -> list[tuple[float, float]]:
    """Places and heights (cm⁻¹) of the peaks that stand out by a twentieth of the highest, the highest first."""
    from scipy.signal import find_peaks as maxima

    places, _ = maxima(absorption, prominence=0.05 * float(absorption.max()))
    found = [(float(wavenumbers[k]), float(absorption[k])) for k in places]
    return sorted(found, key=lambda peak: -peak[1])


def _falling(window: str, n: int) -> FloatArray:
    """Second half of a window: 1 at time zero, 0 at the end."""
    if window == "none":
        return np.ones(n)
    return np.asarray({"hann": np.hanning, "blackman": np.blackman}[window](2 * n - 1)[n - 1 :])


def _correlation_time(trajectory: Trajectory, given: float | None) -> float:
    longest = min(LONGEST, trajectory.duration / 4.0) if given is None else float(given)
    if not 4 * trajectory.interval <= longest <= trajectory.duration / 2.0:
        raise ConfigError(
            f"max_time={longest:.3g} ps of the correlation: with frames {trajectory.interval:.3g} ps apart over "
            f"{trajectory.duration:.3g} ps give {4 * trajectory.interval:.3g} to {trajectory.duration / 2:.3g}"
        )
    return longest


def _block_errors(current: FloatArray, trajectory: Trajectory, longest: float, request: Request) -> FloatArray | None:
    """Standard error of the mean of blocks; None where blocks are shorter than twice the correlation."""
    length = len(current) // request.blocks
    if length * trajectory.interval < 2.0 * longest:
        return None
    parts = [current[k * length : (k + 1) * length] for k in range(request.blocks)]
    spectra = [absorption_spectrum(part, trajectory, longest, request.window)[1] for part in parts]
    return np.asarray(np.std(spectra, axis=0, ddof=1) / np.sqrt(request.blocks))


def _end_of(wavenumbers: FloatArray, absorption: FloatArray) -> int:
    """Where the picture ends: beyond nearly all of the absorption."""
    total = np.cumsum(np.maximum(absorption, 0.0))
    place = wavenumbers[int(np.searchsorted(total, 0.995 * total[-1]))]
    return int(np.searchsorted(wavenumbers, HIGHEST_SHOWN * place)) + 1


def _table(peaks: Sequence[tuple[float, float]]) -> Table:
    columns = (Column("peak"), Column("wavenumber (cm⁻¹)"), Column("α n (cm⁻¹)"))
    rows = tuple((str(k + 1), f"{place:.0f}", significant(height)) for k, (place, height) in enumerate(peaks[:12]))
    return Table(columns, rows, title="Peaks")


def _sentences(record: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"dP/dt from Born charges ({record['born_charges']}) and velocities ({record['velocities']}). The correlation "
        f"is cut at {record['correlation_ps']:.3g} ps by a window ({record['window']}): "
        f"{significant(record['resolution_per_cm'], 2)} cm⁻¹ are resolved.",
        f"Frames are {1000 * record['interval_ps']:.3g} fs apart: nothing above "
        f"{record['highest_wavenumber_per_cm']:.0f} cm⁻¹ can be seen, and what vibrates faster appears "
        "below it at a wrong place.",
        "Classical nuclei with the harmonic quantum correction; α n is the absorption coefficient times the index of "
        "refraction.",
        *record["notes"],
    )


def _page(record: Mapping[str, Any], table: Table, sentences: Sequence[str], figure: Figure) -> Page:
    places = ", ".join(f"{peak['wavenumber_per_cm']:.0f}" for peak in record["peaks"][:6])
    lead = f"Peaks at {places} cm⁻¹, {record['temperature_K']:.0f} K." if places else "No peak stands out."
    hidden = ("wavenumbers_per_cm", "absorption_per_cm", "peaks", "notes")
    sections = (
        Section("Spectrum", (figure, table)),
        Section("How it was computed", (*(Text(s) for s in sentences),)),
        Section("Trajectory", (facts_table({k: v for k, v in record.items() if k not in hidden}),)),
    )
    return Page("Infrared absorption", lead, sections, f"gnnpot {__version__}. Wavenumbers and absorption in cm⁻¹.")
