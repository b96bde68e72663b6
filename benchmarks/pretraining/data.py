"""Frames of the pretraining: `python data.py DATA OUTPUT` reads mp_efs and writes train, val and test as extended XYZ.

All frames of one reduced formula, over all sources, fall on one side: which one is a hash of the formula, so that a
source that is added later moves none. Frames of temperature and
pressure runs far off equilibrium are left out (a force above 20 eV/Å or a stress above 100 GPa). The source stands in
``config_type``, so that every error is reported for each. The set of highest stresses goes into a file of its own.
mp_train_forces.xyz and mp_val_forces.xyz hold frames without their energies, for where a teacher's energies, which have
another zero, are learned beside them.
"""

import argparse
import hashlib
from collections import Counter
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

SOURCES = {
    "mptrj": "mptrj-random-1k.xyz.gz",
    "alexandria": "alexandria-random-1k.xyz",
    "mpf-TP": "mpf-TP.xyz.gz",
    "random-TP": "random-TP.xyz",
}
ROBUSTNESS = {"mptrj-highest-stress": "mptrj-highest-stress-1k.xyz.gz"}
LARGEST_FORCE = 20.0
LARGEST_STRESS = 100.0 * GPa
TEST, VALIDATION = 0.12, 0.06
"""Shares of the formulas in test and in validation."""


def part_of(formula: str) -> str:
    """Part that all frames of a reduced formula belong to.

    >>> part_of("SiO2")
    'train'
    """
    share = int(hashlib.sha256(formula.encode()).hexdigest()[:12], 16) / 16**12
    return "test" if share < TEST else "val" if share < TEST + VALIDATION else "train"


def reduced_formula(atoms: ase.Atoms) -> str:
    """Formula with the smallest whole numbers, elements in alphabetic order."""
    counts = atoms.symbols.formula.reduce()[0].count()
    return "".join(f"{symbol}{n}" for symbol, n in sorted(counts.items()))


def is_moderate(atoms: ase.Atoms) -> bool:
    """Whether the frame is not far beyond all that a potential is used for."""
    force = np.linalg.norm(atoms.get_forces(), axis=1).max()
    return bool(force <= LARGEST_FORCE and np.abs(atoms.get_stress()).max() <= LARGEST_STRESS)


def labelled(data: Path, name: str, file: str) -> list[ase.Atoms]:
    """Moderate frames of a source, with its name in ``config_type``."""
    frames = [atoms for atoms in ase.io.read(data / "mp_efs" / file, ":") if is_moderate(atoms)]
    for atoms in frames:
        atoms.info["config_type"] = name
        atoms.info["reduced_formula"] = reduced_formula(atoms)
    return frames


def without_energy(atoms: ase.Atoms) -> ase.Atoms:
    """The frame with its forces and its stress alone."""
    found = atoms.copy()
    found.calc = SinglePointCalculator(found, forces=atoms.get_forces(), stress=atoms.get_stress())
    return found


def main() -> None:
    """Write the parts and say what is in them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[ase.Atoms]] = {"train": [], "val": [], "test": [], "stress": []}
    for name, file in SOURCES.items():
        for atoms in labelled(asked.data, name, file):
            parts[part_of(atoms.info["reduced_formula"])].append(atoms)
    for name, file in ROBUSTNESS.items():
        seen = labelled(asked.data, name, file)
        parts["stress"] += [atoms for atoms in seen if part_of(atoms.info["reduced_formula"]) == "test"]
    for part in ("train", "val"):
        ase.io.write(asked.output / f"mp_{part}_forces.xyz", [without_energy(atoms) for atoms in parts[part]])
    for part, frames in parts.items():
        ase.io.write(asked.output / f"mp_{part}.xyz", frames)
        counts = Counter(atoms.info["config_type"] for atoms in frames)
        print(part, len(frames), "frames", sum(len(a) for a in frames), "atoms", dict(counts))


if __name__ == "__main__":
    main()
