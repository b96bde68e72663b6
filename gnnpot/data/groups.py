"""Groups of frames that belong together, as the frames of one trajectory do."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import ase
import numpy as np

from gnnpot.data.frames import FORMULA, MATERIAL, cell_formulas, entries_of, reduced_formulas
from gnnpot.data.labels import frame_name
from gnnpot.data.near_duplicates import duplicate_groups
from gnnpot.errors import DataError

MATERIALS = "material"
"""Group of all frames of a material: its identifier, or the reduced formula where a frame of that formula has none."""

GROUP_KEYS = (
    MATERIALS,
    "trajectory",
    "trajectory_id",
    "traj_id",
    "mptrj_traj_id",
    "geometry",
    "geometry_id",
    "config_type",
)
"""Entries of ``atoms.info`` that tell which frames belong together, the most telling first."""

COMPUTED_KEYS = ("composition", FORMULA, MATERIALS, "source", "geometry")

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
        sizes = Counter(str(value) for value in _candidates(frames, key) if value is not None)
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
        return cell_formulas(frames)
    if key == FORMULA:
        return reduced_formulas(frames)
    if key == MATERIALS:
        return _materials(frames)
    values = entries_of(frames, key)
    if key == "geometry" and all(value is None for value in values):
        return [str(number) for number in duplicate_groups(frames)]
    without = [k for k, value in enumerate(values) if value is None]
    if without:
        raise DataError(
            f"data.split.group_by={key}: {len(without)} of {len(frames)} frames have no '{key}', first "
            f"{frame_name(frames[without[0]])}. All frames can be grouped by: {', '.join(_shared_keys(frames))}"
        )
    return [str(np.asarray(value).tolist()) for value in values]


def _candidates(frames: Sequence[ase.Atoms], key: str) -> Sequence[Any]:
    """Values of a key that frames could be grouped by; materials only where the frames know where they come from."""
    if key != MATERIALS:
        return entries_of(frames, key)
    has_provenance = any(value is not None for name in (MATERIAL, FORMULA) for value in entries_of(frames, name))
    return _materials(frames) if has_provenance else []


def _materials(frames: Sequence[ase.Atoms]) -> list[str]:
    """Material of every frame, so that no formula is a group of its own beside identifiers of the same formula."""
    names, formulas = entries_of(frames, MATERIAL), reduced_formulas(frames)
    nameless = {formula for name, formula in zip(names, formulas, strict=True) if name is None}
    return [formula if formula in nameless else str(name) for name, formula in zip(names, formulas, strict=True)]


def _shared_keys(frames: Sequence[ase.Atoms]) -> list[str]:
    shared = set.intersection(*(set(atoms.info) for atoms in frames)) if frames else set()
    return sorted({*shared, *COMPUTED_KEYS} - {"frame"} - ({"source"} - shared))
