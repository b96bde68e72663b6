"""Cut frames into those that hold a pair of two elements in a range of distances and those that do not.

    python benchmarks/gap_frames.py FILE FOLDER Ga N 2.32 2.8

writes FOLDER/train.xyz (without such a pair) and FOLDER/val.xyz (with one): how a model that knows no such distance
fares there. The test frames of head_to_head.sh (random, 10 %, seed 0) are in neither.
"""

import sys
from pathlib import Path

import ase
from ase.neighborlist import neighbor_list

from gnnpot.data.readers import read
from gnnpot.data.splits import split_frames
from gnnpot.data.writers import write_extxyz


def has_pair(atoms: ase.Atoms, elements: tuple[str, str], low: float, high: float) -> bool:
    """Whether two atoms of these elements are between ``low`` and ``high`` Å apart."""
    distances = neighbor_list("d", atoms, {elements: high})
    return bool((distances > low).any())


def main(file: str, folder: str, first: str, second: str, low: str, high: str) -> None:
    """Write the two files and say how many frames they have."""
    frames = read(file)
    split = split_frames(frames, "random", (0.85, 0.05, 0.1), seed=0)
    parts: dict[str, list[ase.Atoms]] = {"train": [], "val": []}
    for k in sorted([*split.train, *split.val]):
        part = "val" if has_pair(frames[k], (first, second), float(low), float(high)) else "train"
        parts[part].append(frames[k])
    for name, chosen in parts.items():
        write_extxyz(Path(folder) / f"{name}.xyz", chosen)
        print(f"{name}: {len(chosen)} frames")


if __name__ == "__main__":
    main(*sys.argv[1:])
