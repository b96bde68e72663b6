"""Extended XYZ of frames with predictions: the labels of the model beside those of the file."""

import gzip
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_xyz

from gnnpot.data.files import replacing
from gnnpot.data.labels import Labels, frame_name, labels_of
from gnnpot.errors import DataError
from gnnpot.keys import PROPERTIES

PREDICTED = "predicted_"
"""Prefix of the columns that a model has filled."""

_SUFFIXES = (".xyz", ".extxyz", ".xyz.gz", ".extxyz.gz")


def write_extxyz(
    path: str | os.PathLike[str],
    frames: Iterable[Atoms],
    predictions: Iterable[Mapping[str, Any]] | None = None,
) -> Path:
    """Write frames, their labels, and what a model says of them.

    Labels stand under their canonical names (``energy`` in eV, ``forces`` in eV/Å, ``stress`` in eV/Å³, tension
    positive, ``born_effective_charges`` as 9 columns, row by row, field first), predictions under the same names
    with ``predicted_`` before them. What is missing, or NaN throughout, is not written. The file appears whole
    or not at all: it is written under a temporary name.

    Parameters
    ----------
    path
        ``NAME.xyz`` or ``NAME.extxyz``, with ``.gz`` behind it to be compressed; folders are made.
    frames
        Structures; they are not changed.
    predictions
        One dictionary per frame, name to value, as :func:`gnnpot.models.prediction.predict` returns them.

    Raises :class:`DataError` for another suffix and when there are not as many predictions as frames.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = write_extxyz(f"{folder}/h.xyz", [Atoms("H")], [{"energy": -13.6}]).read_text()
    >>> "predicted_energy=-13.6" in text
    True
    """
    target = extxyz_path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary, _opened(temporary, target.suffix.lower() == ".gz") as file:
        for atoms, predicted in _paired(frames, predictions):
            write_xyz(file, [_with_columns(atoms, predicted)])
    return target


def extxyz_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file to write, if its name says extended XYZ.

    Raises :class:`DataError` for another suffix.
    """
    target = Path(path)
    if not target.name.lower().endswith(_SUFFIXES):
        raise DataError(f"'{target}' should end in one of {', '.join(_SUFFIXES)}: extended XYZ is what is written")
    return target


def _paired(
    frames: Iterable[Atoms], predictions: Iterable[Mapping[str, Any]] | None
) -> Iterable[tuple[Atoms, Mapping[str, Any]]]:
    if predictions is None:
        yield from ((atoms, {}) for atoms in frames)
        return
    remaining = iter(predictions)
    n_frames = 0
    for n_frames, atoms in enumerate(frames, start=1):
        predicted = next(remaining, None)
        if predicted is None:
            raise DataError(f"{n_frames - 1} predictions for more frames: one is needed for every frame")
        yield atoms, predicted
    if next(remaining, None) is not None:
        raise DataError(f"more predictions than the {n_frames} frames: one is needed for every frame")


def _with_columns(atoms: Atoms, predicted: Mapping[str, Any]) -> Atoms:
    """Copy of a frame whose ``info`` and ``arrays`` hold its labels and predictions."""
    written = atoms.copy()
    written.calc = None
    for name in PROPERTIES:
        written.info.pop(name, None)
        written.arrays.pop(name, None)
    _add_columns(written, labels_of(atoms), "")
    _add_columns(written, dict(predicted), PREDICTED)
    return written


def _add_columns(atoms: Atoms, values: Labels, prefix: str) -> None:
    for name, value in values.items():
        array = np.asarray(value, dtype=float)
        if array.size == 0 or np.isnan(array).all():
            continue
        if array.ndim == 0:
            atoms.info[prefix + name] = float(array)
        elif not _is_per_atom(name, array, len(atoms)):
            atoms.info[prefix + name] = array.reshape(-1)
        elif array.shape[0] == len(atoms):
            flat = array.reshape(len(atoms), -1)
            atoms.arrays[prefix + name] = flat[:, 0].copy() if array.ndim == 1 else flat.copy()
        else:
            raise DataError(f"{frame_name(atoms)}: {prefix}{name} of shape {array.shape} for {len(atoms)} atoms")


def _is_per_atom(name: str, array: np.ndarray, n_atoms: int) -> bool:
    if name in PROPERTIES:
        return PROPERTIES[name].level == "atom"
    return array.shape[0] == n_atoms


def _opened(path: Path, is_compressed: bool) -> TextIO:
    if is_compressed:
        return cast(TextIO, gzip.open(path, "wt", encoding="utf-8"))
    return path.open("w", encoding="utf-8")
