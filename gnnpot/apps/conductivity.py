"""Ionic conductivity from collective displacements of charge: `analyze kind=conductivity`.

σ = (1 / 6 V k_B T) d<|P(t) - P(0)|²>/dt is Green and Kubo's ∫<J(0)·J(t)>dt / 3 V k_B T in the form of Einstein and
Helfand (Helfand, Phys. Rev. 119, 1 (1960)). With dP = Σ_i Z_i dr_i of Born charges, and with P = Σ_i q_i r_i of integer
charges, it is the same number for an insulating ionic conductor (Grasselli and Baroni, Nat. Phys. 15, 967 (2019)).
Nernst-Einstein's, Σ N q² D / V k_B T, leaves out that ions move together; Haven's ratio is Nernst-Einstein's over σ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import units
from numpy.typing import NDArray

from gnnpot._version import __version__
from gnnpot.apps.analysis import Analysis, Request, facts_of, with_error
from gnnpot.apps.arrhenius import fit_arrhenius
from gnnpot.apps.correlations import Einstein, einstein
from gnnpot.apps.diffusion import activation_tables, arrhenius_facts
from gnnpot.apps.trajectories import Trajectory, born_charges
from gnnpot.data.oxidation import oxidation_numbers
from gnnpot.errors import ConfigError, DataError
from gnnpot.keys import S_PER_CM
from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import significant
from gnnpot.report.page import Column, Figure, Gallery, Page, Section, Table, Text

FloatArray = NDArray[np.float64]
METHODS = {
    "born": "collective, Born charges",
    "integer": "collective, integer charges",
    "nernst_einstein": "Nernst-Einstein, integer charges",
}


@dataclass(frozen=True)
class Estimate:
    """One conductivity, S/cm."""

    value: float
    error: float
    blocks: FloatArray
    lags: FloatArray
    squared: FloatArray
    """Mean squared displacement of the charge, e²Å²; of Nernst-Einstein, that of independent ions."""
    fit: tuple[float, float]
    exponent: float

    @property
    def is_resolved(self) -> bool:
        """Whether it is larger than two standard errors."""
        return self.value >= 2 * self.error


def conductivity(request: Request) -> Analysis:
    """Conductivities by the three methods, side by side, with errors, Haven's ratio, and activation energies.

    Raises:
        ConfigError: charges that do not fit the elements; an element without an oxidation number.
        DataError: a structure without a volume, or too few frames.
    """
    from gnnpot.report.transport_plots import arrhenius_figure, displacement_figure

    trajectories = request.trajectories()
    charges = _integer_charges(trajectories, request.charges)
    found: dict[str, dict[str, Estimate]] = {}
    sources = {}
    for t in trajectories:
        found[t.name], sources[t.name] = _estimates(t, charges, request)
    activation = _activations(trajectories, found, request.seed)
    record = _record(trajectories, found, sources, charges, activation, request)
    figures = {}
    for k, t in enumerate(trajectories):
        named = {METHODS[name]: e for name, e in found[t.name].items()}
        curves = {name: (e.lags, e.squared) for name, e in named.items()}
        fits = {name: e.fit for name, e in named.items()}
        key = "displacement" if len(trajectories) == 1 else f"displacement_{k + 1}"
        title = f"Charge, {t.temperature:.0f} K"
        figures[key] = displacement_figure(title, "<|ΔP|²> (e²Å²)", curves, fits)
    if activation:
        series = {METHODS[name]: facts for name, facts in activation.items()}
        figures["arrhenius"] = arrhenius_figure("Conductivity", "σT (S/cm)", series, with_temperature=True)
    named_activation = {METHODS[name]: facts for name, facts in activation.items()}
    tables = (_table(trajectories, found), *activation_tables(named_activation, "σ at 300 K (S/cm)"))
    sentences = _sentences(trajectories, found, sources, charges, request.blocks)
    page = _page(record, tables, sentences, figures)
    return Analysis(record, _columns(trajectories, found), tables, sentences, page, figures)


def _integer_charges(trajectories: Sequence[Trajectory], given: Mapping[str, float] | None) -> dict[str, float]:
    elements = sorted({str(symbol) for t in trajectories for symbol in t.symbols})
    if given is None:
        formulas = [{e: int(np.sum(t.symbols == e)) for e in set(t.symbols.tolist())} for t in trajectories]
        guessed = oxidation_numbers(formulas)
        if not any(guessed.values()):
            raise ConfigError(
                f"no oxidation numbers can be guessed for {', '.join(elements)}: give charges='{{{elements[0]}: 1}}'"
            )
        return guessed
    missing = [name for name in elements if name not in given]
    if missing:
        raise ConfigError(f"charges: no charge is given for {', '.join(missing)}")
    return {name: float(given[name]) for name in elements}


def _estimates(
    trajectory: Trajectory, charges: Mapping[str, float], request: Request
) -> tuple[dict[str, Estimate], str | None]:
    """Conductivities by method, and where the Born charges came from."""
    if not np.isfinite(trajectory.volume):
        raise DataError(f"{trajectory.name}: a conductivity needs a cell with a volume")
    factor = S_PER_CM / (6.0 * trajectory.volume * units.kB * trajectory.temperature)
    found = {}
    born = born_charges(trajectory, request.checkpoint, request.born_every, request.device)
    if born is not None:
        path = polarization_path(trajectory.positions, born[0])
        found["born"] = _collective(path, trajectory, request, factor)
    q = np.array([charges[symbol] for symbol in trajectory.symbols])
    path = np.einsum("i,tia->ta", q, trajectory.positions)
    found["integer"] = _collective(path, trajectory, request, factor)
    found["nernst_einstein"] = _nernst_einstein(trajectory, charges, request, factor)
    return found, None if born is None else born[1]


def polarization_path(positions: FloatArray, born: FloatArray) -> FloatArray:
    """P(t) - P(0) = ∫ Σ_i Z_i dr_i by the trapezoidal rule, ``(n_frames, 3)`` in e·Å, free of branches.

    Args:
        positions: continuous, ``(n_frames, n_atoms, 3)``, Å.
        born: ``(n_frames, n_atoms, 3, 3)``, e, field first.
    """
    middle = 0.5 * (born[1:] + born[:-1])
    steps = np.einsum("tiab,tib->ta", middle, np.diff(positions, axis=0))
    return np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])


def _collective(path: FloatArray, trajectory: Trajectory, request: Request, factor: float) -> Estimate:
    return _estimate(einstein(path[:, None], trajectory.interval, request.blocks, request.fit), factor, 1.0)


def _nernst_einstein(trajectory: Trajectory, charges: Mapping[str, float], request: Request, factor: float) -> Estimate:
    """Σ over elements of N q² times the mean squared displacement: one estimate with the errors of the sum."""
    q = np.array([charges[symbol] for symbol in trajectory.symbols])
    scaled = trajectory.positions[:, q != 0] * np.abs(q[q != 0])[None, :, None]
    return _estimate(einstein(scaled, trajectory.interval, request.blocks, request.fit), factor, scaled.shape[1])


def _estimate(e: Einstein, factor: float, n: float) -> Estimate:
    by = factor * n
    return Estimate(by * e.slope, by * e.error, by * e.block_slopes, e.lags, n * e.squared, e.fit, e.exponent)


def _activations(
    trajectories: Sequence[Trajectory], found: Mapping[str, Mapping[str, Estimate]], seed: int
) -> dict[str, dict[str, Any]]:
    """Arrhenius fits of σT where all are resolved from zero; the values, errors and σ at 300 K are those of σ."""
    result: dict[str, dict[str, Any]] = {}
    for name in METHODS:
        known = [(t.temperature, found[t.name][name]) for t in trajectories if name in found[t.name]]
        if not all(estimate.is_resolved for _, estimate in known):
            continue
        kelvin = [temperature for temperature, _ in known]
        fit = fit_arrhenius(kelvin, [e.value * t for t, e in known], [e.blocks * t for t, e in known], seed)
        if fit is None:
            continue
        facts = arrhenius_facts(asdict(fit))
        facts["at_300_K"] /= 300.0
        facts["at_300_K_95_percent"] = [x / 300.0 for x in facts["at_300_K_95_percent"]]
        values = {"temperatures": kelvin, "values": [e.value for _, e in known], "errors": [e.error for _, e in known]}
        result[name] = values | facts
    return result


def _haven(estimates: Mapping[str, Estimate], method: str) -> float | None:
    """Nernst-Einstein's conductivity over the collective one; None where one is not resolved from zero."""
    independent, collective = estimates["nernst_einstein"], estimates[method]
    return independent.value / collective.value if independent.is_resolved and collective.is_resolved else None


def _record(
    trajectories: Sequence[Trajectory],
    found: Mapping[str, Mapping[str, Estimate]],
    sources: Mapping[str, str | None],
    charges: Mapping[str, float],
    activation: Mapping[str, Any],
    request: Request,
) -> dict[str, Any]:
    return {
        "gnnpot_version": __version__,
        "kind": "conductivity",
        "units": {"conductivity": "S/cm", "time": "ps", "energy": "eV"},
        "integer_charges_e": dict(charges),
        "blocks": request.blocks,
        "trajectories": [
            {
                **facts_of(t),
                "born_charges": sources[t.name],
                "haven_ratio": _haven(found[t.name], "integer"),
                "conductivity": {
                    name: {
                        "value_S_per_cm": e.value,
                        "error_S_per_cm": e.error,
                        "blocks_S_per_cm": e.blocks.tolist(),
                        "fit_ps": list(e.fit),
                        "growth_exponent": e.exponent,
                    }
                    for name, e in found[t.name].items()
                },
            }
            for t in trajectories
        ],
        "activation": dict(activation),
    }


def _table(trajectories: Sequence[Trajectory], found: Mapping[str, Mapping[str, Estimate]]) -> Table:
    columns = (
        Column("method", is_number=False),
        Column("T (K)"),
        Column("σ (S/cm)"),
        Column("Haven ratio"),
        Column("fit (ps)"),
    )
    rows = []
    for t in trajectories:
        estimates = found[t.name]
        for name, e in estimates.items():
            haven = "–" if name == "nernst_einstein" else significant(_haven(estimates, name))
            fit = f"{e.fit[0]:.3g} to {e.fit[1]:.3g}"
            rows.append((METHODS[name], f"{t.temperature:.0f}", with_error(e.value, e.error), haven, fit))
    return Table(columns, tuple(rows), title="Ionic conductivity")


def _sentences(
    trajectories: Sequence[Trajectory],
    found: Mapping[str, Mapping[str, Estimate]],
    sources: Mapping[str, str | None],
    charges: Mapping[str, float],
    blocks: int,
) -> tuple[str, ...]:
    listed = ", ".join(f"{name} {q:+g}" for name, q in charges.items())
    said = [f"Integer charges (e): {listed}. Errors are standard errors of {blocks} blocks of each trajectory."]
    for t in trajectories:
        total = sum(charges[symbol] for symbol in t.symbols)
        if abs(total) > 1e-6:
            said.append(f"{t.name}: the integer charges add up to {total:+g} e; the center of mass is held at rest.")
        if sources[t.name] is None:
            said.append(
                f"{t.name} carries no Born charges: for that method give checkpoint= of a model with a response head."
            )
        else:
            said.append(f"{t.name}: Born charges are {sources[t.name]}.")
            said += _disagreement(t, found[t.name])
        said += _unresolved(t, found[t.name])
        said += [f"{t.name}: {note}" for note in t.notes]
    return tuple(said)


def _unresolved(trajectory: Trajectory, estimates: Mapping[str, Estimate]) -> list[str]:
    names = [METHODS[name] for name, e in estimates.items() if not e.is_resolved]
    if not names:
        return []
    return [
        f"{trajectory.name}: not resolved from zero (less than two standard errors): {'; '.join(names)}. Simulate "
        "longer, hotter, or a larger cell; no Haven ratio and no activation energy is made of them."
    ]


def _disagreement(trajectory: Trajectory, estimates: Mapping[str, Estimate]) -> list[str]:
    """Whether Born and integer charges give the same conductivity, as they must in an insulator."""
    born, integer = estimates["born"], estimates["integer"]
    spread = float(np.std(born.blocks - integer.blocks, ddof=1) / np.sqrt(len(born.blocks)))
    if abs(born.value - integer.value) <= 3 * max(spread, 1e-12):
        return []
    return [
        f"{trajectory.name}: Born and integer charges differ by more than three standard errors "
        f"({significant(abs(born.value - integer.value))} ± {significant(spread, 2)} S/cm): the trajectory is short, "
        "the integer charges are not the oxidation numbers, or the Born charges are not those of an insulator."
    ]


def _columns(trajectories: Sequence[Trajectory], found: Mapping[str, Mapping[str, Estimate]]) -> dict[str, np.ndarray]:
    rows = [(k, t, name, e) for k, t in enumerate(trajectories) for name, e in found[t.name].items()]
    return {
        "trajectory": np.concatenate([np.full(len(e.lags), k + 1) for k, _, _, e in rows]),
        "temperature_K": np.concatenate([np.full(len(e.lags), t.temperature) for _, t, _, e in rows]),
        "method": np.concatenate([np.full(len(e.lags), name) for _, _, name, e in rows]),
        "time_ps": np.concatenate([e.lags for *_, e in rows]),
        "squared_displacement_e2A2": np.concatenate([e.squared for *_, e in rows]),
    }


def _page(
    record: Mapping[str, Any], tables: Sequence[Table], sentences: Sequence[str], figures: Mapping[str, Figure]
) -> Page:
    first = record["trajectories"][0]["conductivity"]["integer"]
    lead = (
        f"{significant(first['value_S_per_cm'])} ± {significant(first['error_S_per_cm'], 2)} S/cm at "
        f"{record['trajectories'][0]['temperature_K']:.0f} K from collective displacements of integer charges."
    )
    skipped = ("conductivity", "notes")
    facts = [{k: v for k, v in t.items() if k not in skipped} for t in record["trajectories"]]
    sections = (
        Section("Result", (*tables, *(Text(sentence) for sentence in sentences))),
        Section("Displacement of charge", (Gallery(tuple(figures.values())),)),
        Section("Trajectories", tuple(facts_table(f) for f in facts)),
    )
    footer = (
        f"gnnpot {__version__}. σ = slope of <|ΔP|²> / (6 V k_B T); Haven's ratio: Nernst-Einstein over collective."
    )
    return Page("Ionic conductivity", lead, sections, footer)
