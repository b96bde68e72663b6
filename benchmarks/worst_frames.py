"""Force errors of the test frames of a run, the worst first, and the errors of all without the worst one.

python benchmarks/worst_frames.py runs/head_to_head/GaN-gnnff_conservative
"""

import sys
from pathlib import Path

import numpy as np

N_SHOWN = 5

with np.load(Path(sys.argv[1]) / "predictions.npz") as found:
    sizes, names = found["test.n_atoms"], found["test.names"]
    forces = 1000.0 * (found["test.predicted.forces"] - found["test.label.forces"])
    energies = 1000.0 * (found["test.predicted.energy"] - found["test.label.energy"]) / sizes

squares = np.add.reduceat((forces**2).sum(axis=1), np.append(0, np.cumsum(sizes)[:-1]))
of_frames = np.sqrt(squares / (3 * sizes))
order = np.argsort(-of_frames)
for k in order[:N_SHOWN]:
    print(f"{of_frames[k]:8.1f} meV/Å  {energies[k]:8.3f} meV/atom  {names[k]}")
for what, kept in (("all frames", order), ("without the worst", order[1:])):
    energy, force = np.sqrt((energies[kept] ** 2).mean()), np.sqrt(squares[kept].sum() / (3 * sizes[kept]).sum())
    print(f"{what}: root mean square errors {energy:.2f} meV/atom, {force:.1f} meV/Å")
