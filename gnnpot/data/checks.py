"""What a user should know of a dataset before training: which labels it has, and which frames look wrong."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from ase.data import chemical_symbols, covalent_radii

from gnnpot.data.consistency import consistency_warnings
from gnnpot.data.frames import entries_of, labelled, selected
from gnnpot.data.labels import frame_name, labels_of
from gnnpot.data.near_duplicates import near_duplicate_warning, near_duplicates
from gnnpot.data.neighbors import neighbor_list
from gnnpot.errors import DataError
from gnnpot.keys import PROPERTIES

__all__ = [
    "LabelCoverage",
    "consistency_warnings",
    "label_coverage",
    "near_duplicate_warning",
    "near_duplicates",
    "require_labels",
    "sampled",
    "suspicious_frames",
]

MANY = 20_000
"""Frames up to which each is looked at."""
RUNS, RUN = 50, 100
"""Of more frames, so many runs of so many neighbors are: what is near in a file is often alike, and told by pairs."""

LARGEST_FORCE = 50.0
"""eV/Å; larger forces are rarely meant to be learned."""
SHORTEST_BOND = 0.5
"""Of the sum of covalent radii; nearer atoms stand deep in the repulsion, or in wrong units of length."""


@dataclass(frozen=True)
class LabelCoverage:
    """How many frames carry each label, in all and per ``config_type``."""

    n_frames: int
    counts: dict[str, int]
    n_frames_by_type: dict[str, int]
    counts_by_type: dict[str, dict[str, int]]

    def table(self) -> str:
        """The counts as text, one line per ``config_type``."""
        names = [name for name in PROPERTIES if self.counts.get(name)] or ["energy", "forces", "stress"]
        rows = [["frames", "", *names], self._row("all", self.n_frames, self.counts, names)]
        if len(self.counts_by_type) > 1:
            for kind, counts in sorted(self.counts_by_type.items()):
                rows.append(self._row(kind, self.n_frames_by_type[kind], counts, names))
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        padded = [
            [row[0].ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))]
            for row in rows
        ]
        return "\n".join("  ".join(cells) for cells in padded)

    def _row(self, kind: str, n_frames: int, counts: dict[str, int], names: list[str]) -> list[str]:
        return [kind, str(n_frames), *(str(counts.get(name, 0)) for name in names)]


def label_coverage(frames: Sequence[ase.Atoms]) -> LabelCoverage:
    """Count the labels of the frames.

    >>> frames = [ase.Atoms("H", info={"energy": -13.6, "config_type": "atom"}), ase.Atoms("H2")]
    >>> label_coverage(frames).counts
    {'energy': 1}
    >>> print(label_coverage(frames).table())
    frames             energy
    all             2       1
    atom            1       1
    no config_type  1       0
    """
    n_frames: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    masks = labelled(frames)
    for k, config_type in enumerate(entries_of(frames, "config_type")):
        kind = "no config_type" if config_type is None else str(config_type)
        n_frames[kind] += 1
        counts[kind].update(name for name, mask in masks.items() if mask[k])
    total: Counter[str] = sum(counts.values(), Counter())
    in_order = {name: total[name] for name in PROPERTIES if total[name]}
    return LabelCoverage(len(frames), in_order, dict(n_frames), {kind: dict(counts[kind]) for kind in n_frames})


def require_labels(frames: Sequence[ase.Atoms], names: Iterable[str], what: str = "training") -> LabelCoverage:
    """Refuse frames of which none has a label that is asked for.

    Raises:
        DataError: with the coverage table, and what to type.
    """
    coverage = label_coverage(frames)
    missing = [name for name in names if not coverage.counts.get(name)]
    if missing:
        columns = _columns(frames)
        raise DataError(
            f"none of the {len(frames)} {what} frames has {' or '.join(missing)}:\n{coverage.table()}\n"
            f"Columns in the files: {', '.join(columns) if columns else 'none'}. If one of them is meant, name it: "
            f"data.keys={{{', '.join(f'{name}: NAME' for name in missing)}}}; otherwise do without: "
            f"{' '.join(f'loss.{name}.weight=0' for name in missing)}"
        )
    return coverage


def sampled(frames: Sequence[ase.Atoms]) -> Sequence[ase.Atoms]:
    """All frames, or of more than 20,000 of them 50 runs of 100, evenly spaced.

    >>> len(sampled([ase.Atoms("H")] * 7)), len(sampled([ase.Atoms("H")] * 30_000))
    (7, 5000)
    """
    if len(frames) <= MANY:
        return frames
    starts = np.linspace(0, len(frames) - RUN, RUNS).astype(np.int64)
    return selected(frames, (starts[:, None] + np.arange(RUN)).ravel())


def suspicious_frames(frames: Sequence[ase.Atoms]) -> list[str]:
    """Warnings about forces above 50 eV/Å and atoms nearer than half a bond; empty where there are none."""
    strong: list[tuple[float, str]] = []
    short: list[tuple[float, str]] = []
    for atoms in frames:
        forces = labels_of(atoms).get("forces")
        largest = float(np.linalg.norm(forces, axis=1).max()) if forces is not None and len(forces) else 0.0
        if largest > LARGEST_FORCE:
            strong.append((largest, frame_name(atoms)))
        nearest = _shortest_bond(atoms)
        if nearest is not None:
            short.append((nearest[0], f"{frame_name(atoms)}: {nearest[1]}"))
    found = []
    if strong:
        force, name = max(strong)
        found.append(
            f"{len(strong)} of {len(frames)} frames have forces above {LARGEST_FORCE:g} eV/Å (largest {force:.1f} "
            f"eV/Å, {name}): they dominate the loss, and may be calculations that failed or another unit (data.units)"
        )
    if short:
        found.append(
            f"{len(short)} of {len(frames)} frames have atoms nearer than {SHORTEST_BOND:g} of their covalent radii "
            f"(nearest {min(short)[1]}): wrong units of length (data.units), or frames to leave out"
        )
    return found


def _shortest_bond(atoms: ase.Atoms) -> tuple[float, str] | None:
    """Ratio to the covalent radii and description of the shortest bond, if it is suspiciously short."""
    radii = covalent_radii[atoms.numbers]
    if len(radii) == 0:
        return None
    (centers, neighbors), shifts = neighbor_list(
        atoms.positions, atoms.cell.array, atoms.pbc, 2 * SHORTEST_BOND * float(radii.max())
    )
    if len(centers) == 0:
        return None
    distances = np.linalg.norm(
        atoms.positions[neighbors] - atoms.positions[centers] + shifts @ atoms.cell.array, axis=1
    )
    ratios = distances / (radii[centers] + radii[neighbors])
    k = int(ratios.argmin())
    if ratios[k] >= SHORTEST_BOND:
        return None
    pair = "-".join(chemical_symbols[atoms.numbers[end]] for end in (centers[k], neighbors[k]))
    return float(ratios[k]), f"{pair} at {distances[k]:.2f} Å"


def _columns(frames: Sequence[ase.Atoms]) -> list[str]:
    """Names of all entries of info and arrays that could hold a label."""
    ours = {"numbers", "positions", "source", "frame", "config_type"}
    return sorted({str(name) for atoms in frames for name in (*atoms.info, *atoms.arrays)} - ours)
