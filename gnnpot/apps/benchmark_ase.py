"""Finished models of others in a benchmark: any ASE calculator, named by the user's own configuration."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from gnnpot.apps.benchmark_plan import DataRecord, Entrant
from gnnpot.apps.evaluate import write_json
from gnnpot.apps.foreign import calculator_named, package_of, predicted_by
from gnnpot.data.labels import frame_name, labels_of
from gnnpot.errors import ConfigError
from gnnpot.report.metrics import part_metrics
from gnnpot.report.parity import load_parity, parity_data, save_parity

N_FITTED = 200
"""Training frames, evenly spaced, to which the reference energies are fitted."""


def calculator_of(entrant: Entrant) -> Any:
    """The calculator that a configuration names, made with its arguments.

    Raises:
        ConfigError: there is no such class, or it does not take these arguments.
    """
    return calculator_named(str(entrant.calculator), entrant.arguments, "models: ase=")


def evaluate_calculator(entrant: Entrant, record: DataRecord, folder: Path) -> None:
    """Write ``metrics.json`` and ``predictions.npz`` of a calculator on the test frames.

    Its energies have another zero than the labels. So reference energies per element are fitted to training frames:
    the Δ_Z minimize  Σ_frames [(E_label - E_model - Σ_Z n_Z Δ_Z) / N]²,  and are added.
    """
    calculator = calculator_of(entrant)
    train = record.split.train
    chosen = train[np.unique(np.linspace(0, len(train) - 1, min(len(train), N_FITTED)).astype(int))]
    started = time.process_time()
    offsets = reference_offsets([record.frames[k] for k in chosen], calculator)
    test = record.test
    predictions = [predicted_by(calculator, atoms) for atoms in test]
    for atoms, prediction in zip(test, predictions, strict=True):
        if "energy" in prediction:
            prediction["energy"] += sum(offsets.get(symbol, 0.0) for symbol in atoms.get_chemical_symbols())
    part = parity_data(
        [labels_of(atoms) for atoms in test],
        predictions,
        [atoms.numbers for atoms in test],
        [atoms.info.get("config_type") for atoms in test],
        record.split.test.tolist(),
        [frame_name(atoms) for atoms in test],
    )
    save_parity(folder / "predictions.npz", {"test": part})
    stated = _stated(entrant, record)
    metrics = {
        "test": part_metrics(part),
        "timing": {"evaluation_cpu_s": round(time.process_time() - started, 2)},
        "provenance": {
            **stated,
            "packages": package_of(str(entrant.calculator)),
            "reference_offsets_ev": offsets,
            "n_fitted": len(chosen),
        },
    }
    write_json(folder / "metrics.json", metrics)


def _stated(entrant: Entrant, record: DataRecord) -> dict[str, Any]:
    arguments = {key: str(value) for key, value in entrant.arguments.items()}
    return {"model": str(entrant.calculator), "arguments": arguments, "data_sha256": record.split.data_sha256}


def refuse_other_errors(entrant: Entrant, record: DataRecord, folder: Path) -> None:
    """Raise ConfigError where a folder holds errors of another calculator, other arguments or other structures."""
    if not (folder / "metrics.json").is_file():
        return
    kept = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["provenance"]
    rows = [f"  {k}: {kept.get(k)} there, {v} now" for k, v in _stated(entrant, record).items() if kept.get(k) != v]
    if load_parity(folder / "predictions.npz")["test"].frames.tolist() != record.split.test.tolist():
        rows.append("  test: other frames")
    if rows:
        raise ConfigError(
            f"{folder} holds errors of something else:\n"
            + "\n".join(rows)
            + f"\nSet it back, choose another output=, or delete that folder to evaluate {entrant.name} anew"
        )


def reference_offsets(frames: Sequence[Atoms], calculator: Any) -> dict[str, float]:
    """Energy per element, eV, that brings a calculator nearest to the labels of some frames, by symbol.

    Empty where frames or calculator have no energies. Where the compositions do not tell elements apart, the
    smallest offsets of those that fit equally well.

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.calculators.singlepoint import SinglePointCalculator
    >>> atoms = bulk("Cu")
    >>> atoms.calc = SinglePointCalculator(atoms, energy=-10.0)
    >>> offset = reference_offsets([atoms], EMT())["Cu"]
    >>> round(offset + predicted_by(EMT(), atoms)["energy"], 9)
    -10.0
    """
    rows: list[NDArray[np.float64]] = []
    misses: list[float] = []
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    for atoms in frames:
        label = labels_of(atoms).get("energy")
        given = predicted_by(calculator, atoms).get("energy") if label is not None else None
        if label is None or given is None:
            continue
        rows.append(np.array([(atoms.numbers == z).sum() for z in elements]) / len(atoms))
        misses.append((float(label) - given) / len(atoms))
    if not rows:
        return {}
    solution = np.linalg.lstsq(np.array(rows), np.array(misses), rcond=None)[0]
    return {chemical_symbols[z]: float(value) for z, value in zip(elements, solution, strict=True)}
