"""What is wrong with data, before anything is learned from them: `check_data`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from rich.console import Console

from gnnpot.apps.data_files import Paths, open_paths, store_tables
from gnnpot.data.born_checks import born_warnings
from gnnpot.data.checks import LabelCoverage, consistency_warnings, label_coverage, sampled, suspicious_frames
from gnnpot.data.frame_store import FrameStore
from gnnpot.data.frames import FUNCTIONAL, entries_of, labelled
from gnnpot.data.groups import choose_group_key
from gnnpot.data.labels import frame_name
from gnnpot.data.near_duplicates import duplicate_groups
from gnnpot.keys import RESPONSE
from gnnpot.report.page import Column, Table
from gnnpot.report.terminal import rich_table, say


@dataclass(frozen=True)
class DataCheck:
    """What was found."""

    coverage: LabelCoverage
    """How many frames carry each label."""
    n_looked_at: int
    """Frames in which units, forces, distances and duplicates were looked at."""
    warnings: list[str]
    """Sentences about what looks wrong; empty where nothing does."""


def check_data(
    path: Paths,
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    charge: float | None = None,
) -> DataCheck:
    """Show what files or frame stores hold and what looks wrong in them.

    Labels by kind of frame; units and signs of energies, forces and stress, tried on similar frames; forces above
    50 eV/Å and atoms too near; Born charges whose sums, sizes or order of indices are odd; frames of the same geometry;
    several functionals in one set. Of more than 20,000 frames, 5,000 are looked at for all but the labels.

    Args:
        path: files or frame stores.
        format: of the files; None: recognized.
        units: of files whose format leaves them open.
        keys: names of the labels in the files.
        charge: total charge in e of frames that state none.

    Raises:
        DataError: files that cannot be read, or without any label.
    """
    frames = open_paths(path, format, units, keys, charge)
    coverage = label_coverage(frames)
    sample = sampled(frames)
    found = [
        *_about_functionals(frames),
        *consistency_warnings(sample),
        *suspicious_frames(sample),
        *(born_warnings(sample) if any(coverage.counts.get(name) for name in RESPONSE) else []),
        *_about_duplicates(sample),
        *_about_bare_frames(frames),
    ]
    console = Console()
    if isinstance(frames, FrameStore):
        for table in store_tables(frames):
            console.print(rich_table(table))
    console.print(rich_table(_coverage_table(coverage)))
    say(console, f"a split would be {choose_group_key(frames)[1]}")
    for text in found:
        say(console, f"- {text}")
    looked = f"{len(sample):,} of {len(frames):,} frames" if len(sample) < len(frames) else f"{len(frames):,} frames"
    say(console, f"{looked} looked at; findings: {len(found) or 'none'}")
    return DataCheck(coverage, len(sample), found)


def _coverage_table(coverage: LabelCoverage) -> Table:
    names = list(coverage.counts)
    columns = (Column("frames", is_number=False), Column("all"), *(Column(name) for name in names))
    rows = [("all", f"{coverage.n_frames:,}", *(f"{coverage.counts[name]:,}" for name in names))]
    if len(coverage.n_frames_by_type) > 1:
        for kind, n in sorted(coverage.n_frames_by_type.items()):
            counts = coverage.counts_by_type[kind]
            rows.append((kind, f"{n:,}", *(f"{counts.get(name, 0):,}" for name in names)))
    return Table(columns, tuple(rows), title="labels")


def _about_functionals(frames: Sequence[ase.Atoms]) -> list[str]:
    counts = Counter(str(value) for value in entries_of(frames, FUNCTIONAL) if value is not None)
    if len(counts) < 2:
        return []
    listed = ", ".join(f"{name} ({n:,} frames)" for name, n in counts.most_common())
    return [f"the energies are of different functionals: {listed}. Energies of one do not continue those of another"]


def _about_duplicates(frames: Sequence[ase.Atoms]) -> list[str]:
    groups = Counter(duplicate_groups(frames))
    again = {first: n for first, n in groups.items() if n > 1}
    if not again:
        return []
    first, n = max(again.items(), key=lambda item: (item[1], -item[0]))
    return [
        f"{sum(again.values()) - len(again):,} of {len(frames):,} frames have the geometry of an earlier one; most "
        f"often, {n} times, that of {frame_name(frames[first])}. data.split.group_by=geometry keeps such frames on one "
        "side"
    ]


def _about_bare_frames(frames: Sequence[ase.Atoms]) -> list[str]:
    has_label = np.logical_or.reduce(list(labelled(frames).values()))
    n_bare = int((~has_label).sum())
    return [f"{n_bare:,} of {len(frames):,} frames have no label at all"] if n_bare else []
