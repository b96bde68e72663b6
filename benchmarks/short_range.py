"""Does a model keep atoms apart where its training data end? Molecular dynamics at three times their temperature.

    python benchmarks/short_range.py CHECKPOINT TRAINING_FILE TEMPERATURE [STRUCTURE_FILE] [REPEAT]

CHECKPOINT is a run directory or model, TRAINING_FILE what it learned from, TEMPERATURE (K) that of the training data.
10 ps at constant volume and 3 x TEMPERATURE, 1 fs, kept in runs/short_range/NAME_OF_THE_RUN. They start from the first
frame of the structure file (of the training file where none is given). The simulation stops, and the script fails, at
the first distance below 0.7 of the shortest of the training file, looked at in every tenth step.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms

import gnnpot
from gnnpot.data.graph import edge_vectors, graph_from_atoms
from gnnpot.data.readers import read

ALLOWED = 0.7
STEPS = 10_000


def shortest_distance(frames: Iterable[Atoms]) -> float:
    """Å, within 4 Å of each other."""
    lengths = (edge_vectors(graph_from_atoms(atoms, 4.0)).norm(dim=1).numpy() for atoms in frames)
    return min(float(np.min(of_frame, initial=np.inf)) for of_frame in lengths)


def main(checkpoint: str, training: str, temperature: str, structure: str | None = None, repeat: str = "1") -> None:
    """Run the simulation and print how near the atoms were allowed to come."""
    frames = read(training)
    shortest = shortest_distance(frames)
    start = frames[0] if structure is None else read(structure)[0]
    print(f"shortest distance in {training}: {shortest:.3f} Å; none below {ALLOWED * shortest:.3f} Å is allowed")
    gnnpot.md(
        checkpoint,
        start,
        temperature=3.0 * float(temperature),
        steps=STEPS,
        repeat=int(repeat),
        min_distance=ALLOWED * shortest,
        output=f"runs/short_range/{Path(checkpoint).resolve().name}",
        overwrite=True,
    )
    print(f"kept for {STEPS / 1000:g} ps at {3.0 * float(temperature):g} K")


if __name__ == "__main__":
    main(*sys.argv[1:])
