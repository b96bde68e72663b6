"""Cut the data with Born charges into training, validation and test files, once, for `born.sh`.

    python benchmarks/born_data.py GNNPOT_DATA FOLDER

Random by frame, 80/10/10, seed 0; frames with an element that no training frame has go to the training part.
Besides: SiO2 with Born charges on 10, 20, 40 or 80 of its training frames only, and
the bundled sets with their Born charges projected on the sum rule ΣZ = Q·1, frames without them left out.
"""

import argparse
from pathlib import Path

import ase
import numpy as np

from gnnpot import read
from gnnpot.data.bundled import bundled_path
from gnnpot.data.labels import attach_labels, labels_of
from gnnpot.data.writers import write_extxyz

PUBLIC = {
    "SiO2": "allegro_pol/SiO2.xyz.gz",
    "BaTiO3": "allegro_pol/BaTiO3.xyz.gz",
    "dielectrics": "dielectrics_mp/mp_phonondb_bec_1520.xyz.gz",
}
BORN = "born_effective_charges"
LABELLED = (10, 20, 40, 80)


def parts_of(frames: list[ase.Atoms]) -> dict[str, list[int]]:
    """Indices of a random 80/10/10 split, in whose training part all elements are."""
    n = len(frames)
    order = np.random.default_rng(0).permutation(n).tolist()
    ends = (round(0.8 * n), round(0.9 * n))
    parts = {"train": order[: ends[0]], "val": order[ends[0] : ends[1]], "test": order[ends[1] :]}
    known = {z for k in parts["train"] for z in frames[k].numbers}
    for name in ("val", "test"):
        new = [k for k in parts[name] if not known.issuperset(frames[k].numbers)]
        parts["train"] += new
        parts[name] = [k for k in parts[name] if k not in new]
    return parts


def without_born(atoms: ase.Atoms) -> ase.Atoms:
    """A copy that keeps energy, forces and stress alone."""
    bare = atoms.copy()
    attach_labels(bare, {k: v for k, v in labels_of(atoms).items() if k in ("energy", "forces", "stress")})
    return bare


def projected(atoms: ase.Atoms) -> ase.Atoms:
    """A copy whose Born charges add up to the total charge."""
    labels = labels_of(atoms)
    excess = labels[BORN].sum(axis=0) - float(atoms.info.get("charge") or 0.0) * np.eye(3)
    whole = atoms.copy()
    attach_labels(whole, {**labels, BORN: labels[BORN] - excess / len(atoms)})
    return whole


def write_parts(folder: Path, name: str, frames: list[ase.Atoms]) -> dict[str, list[int]]:
    """One file for each part."""
    parts = parts_of(frames)
    for part, indices in parts.items():
        write_extxyz(folder / f"{name}_{part}.xyz", [frames[k] for k in indices])
    return parts


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    for name, file in PUBLIC.items():
        if not (arguments.data / file).is_file():
            print(f"left out: {file} is not there")
            continue
        frames = read(arguments.data / file)
        parts = write_parts(arguments.folder, name, frames)
        if name == "SiO2":
            for n in LABELLED:
                chosen = set(parts["train"][:n])
                subset = [frames[k] if k in chosen else without_born(frames[k]) for k in parts["train"]]
                write_extxyz(arguments.folder / f"SiO2_{n}_train.xyz", subset)
    for name in ("Li2O", "MgO"):
        frames = [projected(atoms) for atoms in read(str(bundled_path(name))) if BORN in labels_of(atoms)]
        write_parts(arguments.folder, name, frames)


if __name__ == "__main__":
    main()
