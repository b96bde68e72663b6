"""What a field did to the atoms of a simulation: drift, mean squared displacements, forces and energies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from gnnpot.apps.correlations import mean_squared_displacement
from gnnpot.apps.diffusion import diffuses
from gnnpot.apps.thermo import slope_after_first_tenth
from gnnpot.data.labels import labels_of
from gnnpot.errors import DataError
from gnnpot.keys import BORN, MEV_PER_EV

FloatArray = NDArray[np.float64]

CM2_PER_V_S = 1e-4
"""Of one Å²/(V ps)."""
N_BLOCKS = 5
N_LAGS = 40
SHORTEST = 2 * N_BLOCKS + 1
"""Frames from which a drift has an error."""


@dataclass(frozen=True)
class FieldRun:
    """A simulation in a field."""

    name: str
    frames: Sequence[Atoms]
    """Unwrapped, at equal intervals."""
    times: FloatArray
    """ps."""
    field: FloatArray
    """Field, or its amplitude, or of a function the largest value that it had, V/Å."""
    is_constant: bool
    temperature: float
    """K, as it was set."""
    net_force: FloatArray
    """Q E of the cell, in a field in time its largest value, eV/Å, before anything is removed."""
    removes_net_force: bool | None
    log: Mapping[str, FloatArray]
    """Columns of ``thermo.csv``."""
    notes: tuple[str, ...] = ()
    mean_temperature: float | None = None
    """K; None where it is not known."""

    @property
    def strength(self) -> float:
        """|E|, V/Å."""
        return float(np.linalg.norm(self.field))

    @property
    def direction(self) -> FloatArray:
        """Unit vector along the field; z without one."""
        return self.field / self.strength if self.strength > 0.0 else np.array([0.0, 0.0, 1.0])


def run_record(run: FieldRun) -> dict[str, Any]:
    """Everything that the report says of one run, as plain values."""
    return {
        "name": run.name,
        "field_v_per_ang": run.field.tolist(),
        "field_strength_v_per_ang": run.strength,
        "field_is_constant": run.is_constant,
        "temperature_K": run.temperature,
        "mean_temperature_K": run.mean_temperature,
        "net_force_ev_per_ang": run.net_force.tolist(),
        "net_force_is_removed": bool(run.removes_net_force),
        "n_atoms": len(run.frames[0]),
        "n_frames": len(run.frames),
        "duration_ps": float(run.times[-1] - run.times[0]),
        "species": _species(run),
        "response": _response(run),
        "energy": _energy(run),
        "notes": list(run.notes),
    }


def _species(run: FieldRun) -> dict[str, Any]:
    """Motion of every element relative to the center of mass."""
    masses = run.frames[0].get_masses()
    positions = np.array([frame.positions for frame in run.frames])
    relative = positions - (masses @ positions / masses.sum())[:, None]
    moved = relative - relative[0]
    along = moved @ run.direction
    across = moved - along[:, :, None] * run.direction
    symbols = np.array(run.frames[0].get_chemical_symbols())
    found = {}
    for symbol in dict.fromkeys(symbols.tolist()):
        chosen = symbols == symbol
        velocity, error = drift_velocity(run.times, along[:, chosen].mean(axis=1))
        curves = _displacements(run.times, along[:, chosen], across[:, chosen], velocity)
        mobility, mobility_error = None, None
        if velocity is not None and error is not None and run.is_constant and run.strength > 0.0:
            mobility, mobility_error = (x / run.strength * CM2_PER_V_S for x in (velocity, error))
        found[symbol] = {
            "n_atoms": int(chosen.sum()),
            "displacement_ang": along[:, chosen].mean(axis=1).tolist(),
            "drift_ang_per_ps": velocity,
            "drift_error_ang_per_ps": error,
            "apparent_mobility_cm2_per_v_s": mobility,
            "apparent_mobility_error_cm2_per_v_s": mobility_error,
            **curves,
        }
    return {"time_ps": (run.times - run.times[0]).tolist(), **found}


def drift_velocity(times: FloatArray, displacement: FloatArray) -> tuple[float | None, float | None]:
    """Mean velocity in Å/ps and its standard error from blocks; None where there are too few frames.

    >>> drift_velocity(np.arange(11.0), 0.5 * np.arange(11.0))
    (0.5, 0.0)
    """
    if len(times) < SHORTEST:
        return None, None
    ends = np.linspace(0, len(times) - 1, N_BLOCKS + 1).round().astype(int)
    velocities = np.diff(displacement[ends]) / np.diff(times[ends])
    mean = (displacement[-1] - displacement[0]) / (times[-1] - times[0])
    return float(mean), float(velocities.std(ddof=1) / math.sqrt(N_BLOCKS))


def _displacements(times: FloatArray, along: FloatArray, across: FloatArray, velocity: float | None) -> dict[str, Any]:
    """Mean squared displacements of one direction along and one across the field, and their slopes over two, Å²/ps."""
    lags = np.unique(np.linspace(1, max(len(times) // 2, 1), N_LAGS).round().astype(int))
    lags = lags[lags < len(times)]
    spans = times[lags] - times[0]
    resting = along - (velocity or 0.0) * (times - times[0])[:, None]
    curves = {
        "msd_along_ang2": mean_squared_displacement(along[:, :, None])[lags],
        "msd_along_without_drift_ang2": mean_squared_displacement(resting[:, :, None])[lags],
        "msd_across_ang2": 0.5 * mean_squared_displacement(across)[lags],
    }
    slopes = {
        "diffusion_along_ang2_per_ps": _diffusion(spans, curves["msd_along_without_drift_ang2"]),
        "diffusion_across_ang2_per_ps": _diffusion(spans, curves["msd_across_ang2"]),
    }
    return {"lag_ps": spans.tolist(), **{name: curve.tolist() for name, curve in curves.items()}, **slopes}


def _diffusion(spans: FloatArray, squared: FloatArray) -> float | None:
    """Half of the slope of the last four fifths, Å²/ps; None where they do not grow as diffusion does."""
    late = spans >= 0.2 * spans[-1] if len(spans) else np.zeros(0, bool)
    if late.sum() < 4 or (squared[late] <= 0.0).any():
        return None
    exponent = float(np.polyfit(np.log(spans[late]), np.log(squared[late]), 1)[0])
    return float(np.polyfit(spans[late], squared[late], 1)[0]) / 2.0 if diffuses(exponent) else None


def _response(run: FieldRun) -> dict[str, Any]:
    """Born charges along the run: charge that the field sees, share of its force across it, and the sum rule."""
    labels = [labels_of(frame).get(BORN.name) for frame in run.frames]
    known = [(frame, born) for frame, born in zip(run.frames, labels, strict=True) if born is not None]
    if not known:
        return {}
    pushes = np.array([np.einsum("a,nab->nb", run.direction, born) for _, born in known])
    charges = pushes @ run.direction
    symbols = np.array(run.frames[0].get_chemical_symbols())
    species = {}
    for symbol in dict.fromkeys(symbols.tolist()):
        chosen = symbols == symbol
        size = np.square(pushes[:, chosen]).sum(axis=2)
        rest = size - np.square(charges[:, chosen])
        species[symbol] = {
            "charge_along_field_e": float(charges[:, chosen].mean()),
            "charge_spread_e": float(charges[:, chosen].std()),
            "perpendicular_share": float(np.sqrt(rest.mean() / max(float(size.mean()), 1e-300))),
        }
    residuals = [
        float(np.abs(born.sum(axis=0) - float(frame.info.get("charge") or 0.0) * np.eye(3)).max()) / len(frame)
        for frame, born in known
    ]
    return {"n_frames": len(known), "species": species, "sum_rule_residual_e_per_atom": max(residuals)}


def _energy(run: FieldRun) -> dict[str, Any]:
    """Work of the field, heat of the thermostat, and how well they account for the change of K + U."""
    log, n_atoms = run.log, len(run.frames[0])
    if "work_eV" not in log or not np.isfinite(log["total_eV_per_atom"]).all():
        return {}
    change = (log["total_eV_per_atom"] - log["total_eV_per_atom"][0]) * n_atoms
    conserved = log["conserved_eV_per_atom"]
    known = bool(np.isfinite(conserved).all())
    return {
        "time_ps": log["time_ps"].tolist(),
        "work_eV": log["work_eV"].tolist(),
        "heat_eV": log["heat_eV"].tolist(),
        "change_of_energy_eV": change.tolist(),
        "final_work_eV": float(log["work_eV"][-1]),
        "final_heat_eV": float(log["heat_eV"][-1]),
        "final_change_of_energy_eV": float(change[-1]),
        "unaccounted_eV": float(change[-1] - log["work_eV"][-1] + log["heat_eV"][-1]),
        "conserved_drift_mev_per_atom_per_ps": (
            slope_after_first_tenth(log["time_ps"].tolist(), conserved.tolist()) if known else None
        ),
        "conserved_spread_mev_per_atom": float(conserved.std() * MEV_PER_EV) if known else None,
    }


def scan_record(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mobilities of the runs at several strengths of a constant field, carried to zero field.

    v/E = μ + c E², by least squares weighted with the errors of v: a drift is odd in the field. Without two strengths
    there is no extrapolation.

    Raises:
        DataError: runs of other temperatures, axes of the field or compositions.
    """
    runs = [r for r in records if r["field_is_constant"] and r["field_strength_v_per_ang"] > 0.0]
    _refuse_unlike(runs)
    found: dict[str, Any] = {}
    for symbol in runs[0]["species"] if runs else ():
        if symbol == "time_ps":
            continue
        points = [
            (r["field_strength_v_per_ang"], s["drift_ang_per_ps"], s["drift_error_ang_per_ps"])
            for r in runs
            if (s := r["species"].get(symbol)) is not None and s["drift_ang_per_ps"] is not None
        ]
        points.sort()
        strengths, drifts, errors = (list(column) for column in zip(*points, strict=True)) if points else ([], [], [])
        found[symbol] = {
            "field_v_per_ang": strengths,
            "drift_ang_per_ps": drifts,
            "drift_error_ang_per_ps": errors,
            **_extrapolated(np.array(strengths), np.array(drifts), np.array(errors)),
        }
    return found


def _refuse_unlike(runs: Sequence[Mapping[str, Any]]) -> None:
    """One mobility belongs to one temperature, one axis of the field and one composition."""
    for run in runs[1:]:
        first = runs[0]
        differ = []
        if not math.isclose(run["temperature_K"], first["temperature_K"], rel_tol=1e-6):
            differ.append(f"the temperature ({first['temperature_K']:g} and {run['temperature_K']:g} K)")
        axes = [np.array(r["field_v_per_ang"]) / r["field_strength_v_per_ang"] for r in (first, run)]
        if abs(axes[0] @ axes[1]) < 1.0 - 1e-6:
            differ.append(f"the axis of the field ({first['field_v_per_ang']} and {run['field_v_per_ang']} V/Å)")
        if _composition(run) != _composition(first):
            differ.append(f"the composition ({_formula(first)} and {_formula(run)})")
        if differ:
            raise DataError(
                f"{first['name']} and {run['name']} are no scan over field strengths: {', '.join(differ)} differ. A "
                "mobility belongs to one of each; give runs that differ in the strength of the field alone, and the "
                "others in reports of their own"
            )


def _composition(run: Mapping[str, Any]) -> dict[str, Fraction]:
    """Share of every element."""
    return {s: Fraction(v["n_atoms"], run["n_atoms"]) for s, v in run["species"].items() if s != "time_ps"}


def _formula(run: Mapping[str, Any]) -> str:
    return "".join(f"{s}{v['n_atoms']}" for s, v in sorted(run["species"].items()) if s != "time_ps")


def _extrapolated(strengths: FloatArray, drifts: FloatArray, errors: FloatArray) -> dict[str, float | None]:
    names = ("zero_field_mobility_cm2_per_v_s", "zero_field_mobility_error_cm2_per_v_s")
    if len(np.unique(strengths)) < 2:
        return dict.fromkeys(names)
    weights = strengths / np.maximum(errors, 1e-3 * np.abs(drifts).max() + 1e-12)
    matrix = np.stack([np.ones_like(strengths), strengths**2], axis=1)
    covariance = np.linalg.inv((matrix * weights[:, None] ** 2).T @ matrix)
    mobility = (covariance @ (matrix * weights[:, None] ** 2).T @ (drifts / strengths))[0]
    return dict(zip(names, (mobility * CM2_PER_V_S, math.sqrt(covariance[0, 0]) * CM2_PER_V_S), strict=True))
