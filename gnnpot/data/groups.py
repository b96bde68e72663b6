"""Groups of frames that belong together, as the frames of one trajectory do."""

from collections import Counter
from collections.abc import Sequence

import ase
import numpy as np

from gnnpot.data.labels import frame_name
from gnnpot.data.near_duplicates import duplicate_groups
from gnnpot.errors import DataError

GROUP_KEYS = (
    "trajectory",
    "trajectory_id",
    "traj_id",
    "mptrj_traj_id",
    "geometry",
    "geometry_id",
    "config_type",
)
"""Entries of ``atoms.info`` that tell which frames belong together, the most telling first."""

COMPUTED_KEYS = ("composition", "source", "geometry")

SMALLEST_NUMBER = 10
LARGEST_SHARE = 0.5


def choose_group_key(frames: Sequence[ase.Atoms]) -> tuple[str | None, str]:
    """Key of `GROUP_KEYS` to split by, or None, and the reason in words.

    A key is taken when every frame has it, it makes at least 10 groups, fewer than there are frames, and no group
    holds more than half of the frames: with fewer or larger groups the parts could not follow their fractions,
    and a whole kind of structure would go untested.

    >>> frames = [ase.Atoms("H", info={"trajectory": k // 5}) for k in range(60)]
    >>> choose_group_key(frames)
    ('trajectory', 'grouped by trajectory: 12 groups cover all frames')
    """
    rejected = []
    for key in GROUP_KEYS:
        sizes = Counter(str(atoms.info[key]) for atoms in frames if key in atoms.info)
        n_covered = sum(sizes.values())
        if n_covered == 0:
            continue
        if n_covered < len(frames):
            rejected.append(f"{key} is on {n_covered} of {len(frames)} frames only")
        elif len(sizes) < SMALLEST_NUMBER:
            rejected.append(f"{key} makes only {len(sizes)} group(s), {SMALLEST_NUMBER} are needed")
        elif len(sizes) == len(frames):
            rejected.append(f"{key} differs in every frame")
        elif max(sizes.values()) > LARGEST_SHARE * len(frames):
            rejected.append(f"one {key} holds {max(sizes.values())} of {len(frames)} frames")
        else:
            return key, f"grouped by {key}: {len(sizes)} groups cover all frames"
    why = "; ".join(rejected) if rejected else "no trajectory, geometry or config_type key in the frames"
    return None, f"random: {why}"


def group_names(frames: Sequence[ase.Atoms], key: str) -> list[str]:
    """Name of the group of every frame.

    Raises:
        DataError: a frame without the key; the message counts them and lists the keys that all frames have.
    """
    if key == "composition":
        return [atoms.get_chemical_formula() for atoms in frames]
    if key == "geometry" and not any(key in atoms.info for atoms in frames):
        return [str(number) for number in duplicate_groups(frames)]
    without = [atoms for atoms in frames if key not in atoms.info]
    if without:
        raise DataError(
            f"data.split.group_by={key}: {len(without)} of {len(frames)} frames have no '{key}', first "
            f"{frame_name(without[0])}. All frames can be grouped by: {', '.join(_shared_keys(frames))}"
        )
    return [str(np.asarray(atoms.info[key]).tolist()) for atoms in frames]


def _shared_keys(frames: Sequence[ase.Atoms]) -> list[str]:
    shared = set.intersection(*(set(atoms.info) for atoms in frames)) if frames else set()
    return sorted({*shared, *COMPUTED_KEYS} - {"frame"} - ({"source"} - shared))
