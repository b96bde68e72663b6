"""Labels beside predictions of one part of the data, and the file that keeps them (`predictions.npz`).

The file holds plain arrays only (no pickle). For each part (``train``, ``val``, ``test``, or a name of one's own)

    ======================================  ======================  ==================================================
    array                                   shape                   meaning
    ======================================  ======================  ==================================================
    ``<part>.numbers``                      (n_atoms,)              atomic numbers, structure after structure
    ``<part>.n_atoms``                      (n_structures,)         atoms of each structure
    ``<part>.frames``                       (n_structures,)         index of each structure in the data set
    ``<part>.names``                        (n_structures,)         file and frame, for people
    ``<part>.config_types``                 (n_structures,)         kind of structure, empty where none is given
    ``<part>.label.<property>``             rows by its level       label: NaN where a structure has none
    ``<part>.predicted.<property>``         the same                prediction: NaN where the model gives none
    ======================================  ======================  ==================================================

Units are those of `gnnpot.keys`: total energies in eV (float64), forces in eV/Å and stress in eV/Å³ (float32).
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnpot.data.files import replacing
from gnnpot.errors import DataError
from gnnpot.keys import DOUBLE, PROPERTIES

COMPARED = ("energy", "forces", "stress", "born_effective_charges", "polarization", "dielectric_tensor")
"""Properties that are compared. A predicted polarization is brought to the branch nearest to its label before, because
it is known modulo e times lattice vectors."""

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ParityData:
    """Labels and predictions of one part of the data, rows concatenated over structures.

    `labels` and `predictions` hold the same properties: those that at least one structure carries as a label
    and as a prediction. Arrays as in the table of this module.
    """

    numbers: NDArray[np.int64]
    n_atoms: NDArray[np.int64]
    frames: NDArray[np.int64]
    names: NDArray[np.str_]
    config_types: NDArray[np.str_]
    labels: Mapping[str, NDArray[np.floating]]
    predictions: Mapping[str, NDArray[np.floating]]

    def __post_init__(self) -> None:
        """Refuse arrays whose lengths contradict each other."""
        n_rows = {"structure": len(self.n_atoms), "atom": len(self.numbers)}
        lengths = {name: len(getattr(self, name)) for name in ("frames", "names", "config_types")}
        wrong = [f"{name} has {n} rows" for name, n in lengths.items() if n != n_rows["structure"]]
        if int(self.n_atoms.sum()) != n_rows["atom"]:
            wrong.append(f"n_atoms adds up to {int(self.n_atoms.sum())}")
        for kind, arrays in (("label", self.labels), ("prediction", self.predictions)):
            for name, array in arrays.items():
                shape = (n_rows[PROPERTIES[name].level], *PROPERTIES[name].shape)
                if array.shape != shape:
                    wrong.append(f"{kind} of {name} has shape {array.shape} instead of {shape}")
        if wrong:
            sizes = f"{n_rows['structure']} structures and {n_rows['atom']} atoms"
            raise DataError(f"parity data of {sizes} do not fit together: {'; '.join(wrong)}")

    @property
    def properties(self) -> tuple[str, ...]:
        """Properties that can be compared, in the order of reports."""
        return tuple(name for name in COMPARED if name in self.labels)

    @cached_property
    def structure_of_atom(self) -> NDArray[np.int64]:
        """Row of the structure to which each atom belongs, (n_atoms,)."""
        return np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)

    def errors(self, name: str) -> NDArray[np.float64]:
        """Prediction minus label of each row, NaN where either is missing; energies in eV per atom."""
        difference = self.predictions[name].astype(np.float64) - self.labels[name].astype(np.float64)
        return difference / self.n_atoms if PROPERTIES[name].per_atom else difference

    def points(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Label and prediction of every component that has both, (n_points,) each; energies in eV per atom."""
        divisor = self.n_atoms if PROPERTIES[name].per_atom else 1
        label, predicted = (
            (arrays[name].astype(np.float64) / divisor).ravel() for arrays in (self.labels, self.predictions)
        )
        known = np.isfinite(label) & np.isfinite(predicted)
        return label[known], predicted[known]

    def of_structures(self, chosen: NDArray[np.bool_]) -> "ParityData":
        """The part of the data that belongs to the chosen structures, mask (n_structures,)."""
        rows = {"structure": chosen, "atom": chosen[self.structure_of_atom]}

        def pick(arrays: Mapping[str, NDArray[np.floating]]) -> dict[str, NDArray[np.floating]]:
            return {name: array[rows[PROPERTIES[name].level]] for name, array in arrays.items()}

        return ParityData(
            self.numbers[rows["atom"]],
            self.n_atoms[chosen],
            self.frames[chosen],
            self.names[chosen],
            self.config_types[chosen],
            pick(self.labels),
            pick(self.predictions),
        )


def parity_data(
    labels: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    numbers: Sequence[NDArray[Any]],
    config_types: Sequence[str | None] | None = None,
    frames: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
) -> ParityData:
    """Labels and predictions of a list of structures, put beside each other.

    One dictionary per structure, from property name to value in the units and shapes of `gnnpot.keys`; a property
    that is absent or NaN is masked. `numbers` are the atomic numbers of each structure, `frames` its indices in the
    data set (0, 1, ... by default), `names` what a person calls it (file and frame).

    Raises DataError when lengths or shapes differ, or when an energy or force was predicted that is not finite.

    >>> part = parity_data([{"energy": -2.0}], [{"energy": -2.2}], [np.array([3, 3])])
    >>> part.errors("energy").round(3).tolist()
    [-0.1]
    """
    n = len(numbers)
    frames = range(n) if frames is None else frames
    names = [f"frame {frame}" for frame in frames] if names is None else names
    kinds = [None] * n if config_types is None else config_types
    _refuse_other_lengths(
        n, {"labels": labels, "predictions": predictions, "config_types": kinds, "frames": frames, "names": names}
    )
    shared = [name for name in COMPARED if any(name in x for x in labels) and any(name in x for x in predictions)]
    n_atoms = np.array([len(z) for z in numbers], dtype=np.int64)
    return ParityData(
        numbers=np.concatenate([np.asarray(z, dtype=np.int64) for z in numbers] or [np.zeros(0, np.int64)]),
        n_atoms=n_atoms,
        frames=np.asarray(list(frames), dtype=np.int64),
        names=np.asarray([str(name) for name in names], dtype=np.str_),
        config_types=np.asarray(["" if kind is None else str(kind) for kind in kinds], dtype=np.str_),
        labels={name: _rows("label", name, labels, n_atoms, names) for name in shared},
        predictions={name: _rows("prediction", name, predictions, n_atoms, names) for name in shared},
    )


def _refuse_other_lengths(n: int, lists: Mapping[str, Sequence[Any]]) -> None:
    for name, values in lists.items():
        if len(values) != n:
            raise DataError(f"{name} has {len(values)} entries for {n} structures")


def _rows(
    kind: str,
    name: str,
    values: Sequence[Mapping[str, Any]],
    n_atoms: NDArray[np.int64],
    names: Sequence[str],
) -> NDArray[np.floating]:
    """Rows of one property over all structures, NaN for those without it."""
    p = PROPERTIES[name]
    blocks = []
    for value, count, frame in zip(values, n_atoms, names, strict=True):
        shape = (1 if p.level == "structure" else int(count), *p.shape)
        if value.get(name) is None:
            blocks.append(np.full(shape, np.nan))
            continue
        block = np.asarray(value[name], dtype=np.float64)
        if block.size != np.prod(shape) or (block.ndim and block.shape not in (shape, shape[1:])):
            raise DataError(f"{kind} of {name} has shape {block.shape} instead of {shape}: {frame}")
        is_wrong = np.isinf(block).any() or (kind == "prediction" and name != "stress" and np.isnan(block).any())
        if is_wrong:
            raise DataError(f"{kind} of {name} is not finite: {frame}")
        blocks.append(block.reshape(shape))
    dtype = np.float64 if name in DOUBLE else np.float32
    return np.concatenate(blocks).astype(dtype)


def save_parity(path: str | Path, parts: Mapping[str, ParityData]) -> Path:
    """Write the parts to one `.npz` file (table of this module), whole or not at all; returns its path.

    >>> import tempfile
    >>> part = parity_data([{"energy": -2.0}], [{"energy": -2.2}], [np.array([3, 3])])
    >>> path = save_parity(Path(tempfile.mkdtemp()) / "predictions.npz", {"test": part})
    >>> load_parity(path)["test"].numbers.tolist()
    [3, 3]
    """
    arrays: dict[str, NDArray[Any]] = {
        "format_version": np.array(FORMAT_VERSION),
        "parts": np.array(list(parts), np.str_),
    }
    for part, data in parts.items():
        for field in fields(data):
            value = getattr(data, field.name)
            if field.name not in ("labels", "predictions"):
                arrays[f"{part}.{field.name}"] = value
        arrays |= {f"{part}.label.{name}": array for name, array in data.labels.items()}
        arrays |= {f"{part}.predicted.{name}": array for name, array in data.predictions.items()}
    path = Path(path)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    return path


def load_parity(path: str | Path) -> dict[str, ParityData]:
    """Read the parts that `save_parity` wrote. Raises DataError for a file that is not one of those."""
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        version = int(arrays["format_version"])
        if version > FORMAT_VERSION:
            raise DataError(
                f"{path} has format version {version}, this gnnpot reads up to {FORMAT_VERSION}: update gnnpot"
            )
        return {str(part): _part(str(part), arrays) for part in arrays["parts"]}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a file of predictions: {error}") from error


def _part(part: str, arrays: Mapping[str, NDArray[Any]]) -> ParityData:
    """One part out of the arrays of the file."""

    def properties(kind: str) -> dict[str, NDArray[np.floating]]:
        names = (name for name in COMPARED if f"{part}.{kind}.{name}" in arrays)
        return {name: arrays[f"{part}.{kind}.{name}"] for name in names}

    return ParityData(
        numbers=arrays[f"{part}.numbers"],
        n_atoms=arrays[f"{part}.n_atoms"],
        frames=arrays[f"{part}.frames"],
        names=arrays[f"{part}.names"],
        config_types=arrays[f"{part}.config_types"],
        labels=properties("label"),
        predictions=properties("predicted"),
    )
