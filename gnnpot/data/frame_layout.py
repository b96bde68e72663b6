"""The layout of a frame store on disk, known to its writer and its reader.

A frame store is a folder that anyone can read with NumPy alone::

    frames.json        what is in it: counts, units, where it comes from, SHA-256; read it
    shard-00000/       some ten thousand frames, one NumPy file per array, to be memory-mapped
        first_atom.npy     int64, n_frames + 1: frame k owns the rows first_atom[k] to first_atom[k+1] of the atoms
        numbers.npy  positions.npy  forces.npy ...     rows of all atoms behind each other
        cell.npy  pbc.npy  charge.npy  energy.npy  stress.npy  labels.npy ...     one row per frame
        material_id.npy  frame_id.npy  functional.npy  reduced_formula.npy  source_in_file.npy     UTF-8, one per frame
        info.npy  first_info.npy     all other entries of ``info``, as JSON, where any frame has some

Shards are only ever added. ``frames.json`` names those that are whole, and is replaced in one step after each.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gnnpot.data.files import replacing
from gnnpot.data.hashing import joined_sha256
from gnnpot.errors import DataError
from gnnpot.keys import PROPERTIES

FORMAT = "gnnpot frames"
FORMAT_VERSION = 1
INDEX = "frames.json"
PARTIAL = ".partial-"

LABELS = tuple(PROPERTIES)
"""Bit k of ``labels.npy`` says whether a frame carries label k."""

ENERGY_UNCORRECTED = "energy_uncorrected"
ENERGY_CORRECTED = "energy_corrected"
NUMBERS_PER_FRAME = (ENERGY_UNCORRECTED, ENERGY_CORRECTED, "bandgap")
"""Entries of ``info`` with a column of their own: eV; NaN where a frame lacks one."""

MAGMOMS = "magmoms"

UNITS = {
    **{name: quantity.unit for name, quantity in PROPERTIES.items()},
    "positions": "Å",
    "cell": "Å, rows are the lattice vectors",
    "charge": "e, total of the cell; NaN: not given",
    ENERGY_UNCORRECTED: "eV, as the calculation gave it",
    ENERGY_CORRECTED: "eV, with the corrections of the Materials Project (MP2020)",
    "bandgap": "eV",
    MAGMOMS: "μB",
}


@dataclass(frozen=True)
class ShardEntry:
    """What ``frames.json`` says of one shard."""

    name: str
    n_frames: int
    n_atoms: int
    sha256: str
    labels: dict[str, int]
    functionals: dict[str, int]
    elements: dict[str, int]
    info_keys: list[str]


@dataclass
class FrameIndex:
    """Content of ``frames.json``."""

    description: dict[str, Any]
    """Where the frames come from and what their energies are."""
    position: dict[str, Any] = field(default_factory=dict)
    """How far the source has been read."""
    complete: bool = False
    shards: list[ShardEntry] = field(default_factory=list)

    @property
    def n_frames(self) -> int:
        """Frames in all shards."""
        return sum(shard.n_frames for shard in self.shards)

    @property
    def n_atoms(self) -> int:
        """Atoms in all shards."""
        return sum(shard.n_atoms for shard in self.shards)

    @property
    def sha256(self) -> str:
        """Fingerprint over the files of all shards."""
        return joined_sha256(shard.sha256 for shard in self.shards)

    def total(self, counts: str) -> dict[str, int]:
        """Sum over the shards of ``labels``, ``functionals`` or ``elements``, the most frequent first."""
        summed: Counter[str] = Counter()
        for shard in self.shards:
            summed.update(getattr(shard, counts))
        return dict(sorted(summed.items(), key=lambda item: (-item[1], item[0])))

    def write(self, folder: Path) -> None:
        """Write ``frames.json``, whole or not at all."""
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "complete": self.complete,
            "description": self.description,
            "n_frames": self.n_frames,
            "n_atoms": self.n_atoms,
            **{counts: self.total(counts) for counts in ("labels", "functionals", "elements")},
            "units": UNITS,
            "sha256": self.sha256,
            "position": self.position,
            "shards": [asdict(shard) for shard in self.shards],
        }
        with replacing(folder / INDEX) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "FrameIndex":
        """Read ``frames.json``.

        Raises:
            DataError: not a frame store, or one of a newer format.
        """
        path = folder / INDEX
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: not a frame store, {INDEX} cannot be read ({error})") from error
        if not isinstance(content, Mapping) or content.get("format") != FORMAT:
            raise DataError(f"{path}: not the index of a frame store")
        if content.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"{path}: a frame store of format {content.get('format_version')}, this gnnpot reads {FORMAT_VERSION}"
            )
        try:
            shards = [ShardEntry(**{**entry, "name": Path(entry["name"]).name}) for entry in content["shards"]]
            return cls(content["description"], content["position"], bool(content["complete"]), shards)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not the index of a frame store ({error!r})") from error


def is_frame_store(path: Path) -> bool:
    """Whether a path is the folder of a frame store."""
    return (path / INDEX).is_file()


def array_path(shard: Path, name: str) -> Path:
    """File of one array of a shard."""
    return shard / f"{name}.npy"


def shard_sha256(shard: Path) -> str:
    """SHA-256 over the names and bytes of the files of a shard."""
    digest = hashlib.sha256()
    for path in sorted(shard.glob("*.npy")):
        digest.update(f"|{path.name}|".encode())
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
