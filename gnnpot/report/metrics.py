"""Errors of predictions, under the names that `metrics.json` uses (`gnnpot.keys.metric_name`)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from gnnpot.keys import BORN, PROPERTIES, metric_name
from gnnpot.report.parity import COMPARED, ParityData, parity_data

NOT_PARTS = ("timing", "provenance", "finetuning")
"""Entries of ``metrics.json`` that are not a part of the data."""

BORN_NORMS = {"born_row_rmse_e": 3.0**0.5, "born_tensor_rmse_e": 3.0}
"""Other norms in which errors of Born charges are published, over the root mean square of the components: of the three
numbers that belong to one direction of the field, and of the nine of an atom."""

COUNT_NAMES = {
    "energy": "n_energy",
    "forces": "n_force_components",
    "stress": "n_stress",
    "born_effective_charges": "n_born",
    "polarization": "n_polarization",
    "dielectric_tensor": "n_dielectric",
}


def error_metrics(
    labels: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    numbers: Sequence[NDArray[Any]],
    config_types: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """Mean absolute and root-mean-square errors of a list of structures.

    With the errors e of all known components,  MAE = ⟨\\|e\\|⟩  and  RMSE = ⟨e²⟩^½.  An energy error is that of the
    total energy divided by the number of atoms (meV/atom), each structure weighing the same; forces run over the 3
    components of all atoms (meV/Å), stress over the 9 components (GPa). A label that is absent or NaN does not count.

    Besides the errors themselves:  ``per_element`` {symbol: errors of per-atom properties, n_atoms},
    ``per_config_type`` {name: errors, n_structures, n_atoms}  and  ``counts`` (structures, atoms, labels compared).
    Keys without a label are absent. All values are plain int and float.

    Raises DataError when lengths or shapes differ, or when an energy or force was predicted that is not finite.

    >>> m = error_metrics([{"energy": -2.0}], [{"energy": -2.002}], [np.array([3, 3])])
    >>> round(m["energy_mae_mev_per_atom"], 6), m["counts"]["n_energy"]
    (1.0, 1)
    """
    return part_metrics(parity_data(labels, predictions, numbers, config_types))


def part_metrics(part: ParityData) -> dict[str, Any]:
    """The errors of `error_metrics`, from labels and predictions that stand beside each other already."""
    metrics: dict[str, Any] = dict(_errors_of_all(part))
    metrics["counts"] = _counts(part)
    metrics["per_element"] = _per_element(part)
    names = sorted({str(name) for name in part.config_types if name})
    metrics["per_config_type"] = {name: _group_metrics(part.of_structures(part.config_types == name)) for name in names}
    return {name: value for name, value in metrics.items() if value or not isinstance(value, dict)}


def label_counts(labels: Sequence[Mapping[str, Any]], numbers: Sequence[NDArray[Any]]) -> dict[str, int]:
    """How many structures, atoms and labels there are: the ``counts`` of `error_metrics`, before any training.

    >>> label_counts([{"energy": 1.0}, {}], [np.array([3]), np.array([3, 8])])
    {'n_structures': 2, 'n_atoms': 3, 'n_energy': 1}
    """
    counts = {"n_structures": len(numbers), "n_atoms": sum(len(z) for z in numbers)}
    for name in COMPARED:
        known = [np.isfinite(np.asarray(x[name], dtype=np.float64)) for x in labels if x.get(name) is not None]
        if known:
            counts[COUNT_NAMES[name]] = sum(_n_labels(name, mask) for mask in known)
    return counts


def part_names(metrics: Mapping[str, Any]) -> list[str]:
    """Parts of the data in the content of a ``metrics.json``: train, val, test first, then others by their names.

    >>> part_names({"test": {}, "train": {}, "timing": {}})
    ['train', 'test']
    """
    return in_order(name for name, value in metrics.items() if name not in NOT_PARTS and isinstance(value, Mapping))


def in_order(parts: Iterable[str]) -> list[str]:
    """Names of parts as reports list them: train, val, test first, then others by their names.

    >>> in_order(["slabs", "test", "train"])
    ['train', 'test', 'slabs']
    """
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(parts, key=lambda name: (order.get(name, 3), name))


def headline_part(metrics: Mapping[str, Any]) -> str | None:
    """The part whose errors speak for the model: test where there is one, else validation, else another.

    >>> headline_part({"train": {}, "val": {}})
    'val'
    """
    parts = part_names(metrics)
    return next((name for name in ("test", "val") if name in parts), parts[-1] if parts else None)


def _errors_of(name: str, errors: NDArray[np.float64]) -> dict[str, float]:
    """MAE and RMSE of one property over its known components, in the units of reports."""
    known = errors[np.isfinite(errors)] * PROPERTIES[name].report_factor
    if known.size == 0:
        return {}
    rmse = float(np.sqrt(np.square(known).mean()))
    found = {metric_name(name, "mae"): float(np.abs(known).mean()), metric_name(name, "rmse"): rmse}
    return found | {key: factor * rmse for key, factor in BORN_NORMS.items()} if name == BORN.name else found


def _errors_of_all(part: ParityData) -> dict[str, float]:
    return {key: value for name in part.properties for key, value in _errors_of(name, part.errors(name)).items()}


def _group_metrics(part: ParityData) -> dict[str, float | int]:
    return {**_errors_of_all(part), "n_structures": len(part.n_atoms), "n_atoms": len(part.numbers)}


def _per_element(part: ParityData) -> dict[str, dict[str, float | int]]:
    """Errors of the properties that live on atoms, by chemical element."""
    atomic = {name: part.errors(name) for name in part.properties if PROPERTIES[name].level == "atom"}
    groups: dict[str, dict[str, float | int]] = {}
    for number in np.unique(part.numbers):
        chosen = part.numbers == number
        group: dict[str, float | int] = {}
        for name, errors in atomic.items():
            group |= _errors_of(name, errors[chosen])
        groups[chemical_symbols[number]] = {**group, "n_atoms": int(chosen.sum())}
    return groups


def _counts(part: ParityData) -> dict[str, int]:
    """Structures, atoms, and compared labels: values for energy, components for forces, tensors for the others."""
    counts = {"n_structures": len(part.n_atoms), "n_atoms": len(part.numbers)}
    for name in part.properties:
        counts[COUNT_NAMES[name]] = _n_labels(name, np.isfinite(part.errors(name)))
    return counts


def _n_labels(name: str, known: NDArray[np.bool_]) -> int:
    """Labels among known components: values and force components one by one, tensors only where whole."""
    n_axes = 0 if name in ("energy", "forces") else len(PROPERTIES[name].shape)
    return int(known.all(axis=tuple(range(-n_axes, 0))).sum() if n_axes else known.sum())
