"""A fingerprint of what is in a dataset, independent of where it lies."""

import hashlib
from collections.abc import Iterable, Sequence

import ase
import numpy as np

from gnnpot.data.labels import labels_of


def data_sha256(frames: Sequence[ase.Atoms]) -> str:
    """SHA-256 over species, positions, cells, pbc, charges and labels of the frames, in their order.

    File names, formats and other entries of ``info`` do not enter.

    >>> data_sha256([ase.Atoms("H")]) == data_sha256([ase.Atoms("H", info={"source": "h.xyz"})])
    True
    """
    digest = hashlib.sha256(b"gnnpot data 1")
    for atoms in frames:
        digest.update(f"|{len(atoms)}".encode())
        digest.update(np.asarray(atoms.numbers, dtype="<i8").tobytes())
        digest.update(np.asarray(atoms.pbc, dtype="?").tobytes())
        for values in (atoms.positions, atoms.cell.array):
            digest.update(_bytes(values))
        if atoms.info.get("charge") is not None:
            digest.update(b"charge" + _bytes(float(atoms.info["charge"])))
        for name, value in sorted(labels_of(atoms).items()):
            digest.update(name.encode() + _bytes(value))
    return digest.hexdigest()


def joined_sha256(parts: Iterable[str]) -> str:
    """SHA-256 over the fingerprints of parts, in their order.

    >>> joined_sha256(["a", "b"]) == joined_sha256(["ab"])
    False
    """
    return hashlib.sha256("|".join(("gnnpot parts 1", *parts)).encode()).hexdigest()


def _bytes(values: object) -> bytes:
    """Little-endian float64, negative zero as zero."""
    return (np.asarray(values, dtype="<f8") + 0.0).tobytes()
