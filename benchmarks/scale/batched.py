"""Many small structures together and one by one: `python batched.py`, structures per second, one thread.

Rattled crystals of silicon of 2 to 16 atoms; untrained models of default sizes, energies, forces and stress; processor
times, the two ways alternating, medians of three. The last row relaxes positions to 0.05 eV/Å in a SchNet trained for a
minute on the bundled MgO.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

import gnnpot
from gnnpot.apps.batched_fire import relax_together
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.prediction import predict
from gnnpot.models.schnet import SchNet

ROUNDS = 3
FMAX = 0.05
SKIN = 0.5


def crystals(n: int, unit: Atoms, sizes: int) -> list[Atoms]:
    """Rattled supercells."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(n):
        atoms = unit.repeat(tuple(rng.integers(1, sizes + 1, 3)))
        atoms.rattle(0.05, seed=k)
        frames.append(atoms)
    return frames


def rates(n: int, *ways: Callable[[], object]) -> list[float]:
    """Structures per second of each way."""
    times: list[list[float]] = [[] for _ in ways]
    for k in range(ROUNDS + 1):
        for way, own in zip(ways, times, strict=True):
            start = time.process_time()
            way()
            if k:
                own.append(time.process_time() - start)
    return [n / statistics.median(own) for own in times]


def line(name: str, together: float, apart: float) -> str:
    """A row of the table."""
    return f"| {name} | {together:.0f} | {apart:.0f} | {together / apart:.1f} |"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| work | together, structures/s | one by one | ratio |\n|---|---:|---:|---:|")
    frames = crystals(200, bulk("Si"), 2)
    for model in (SchNet(["Si"]), GNNFFConservative(["Si"], cutoff=5.0)):
        ready = model.eval().requires_grad_(False)
        both = rates(200, lambda m=ready: predict(m, frames), lambda m=ready: predict(m, frames, batch_size=1))
        print(line(f"predict, {model.title}", *both), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        gnnpot.fit({"data": {"path": "MgO"}, "trainer": {"max_epochs": 40, "progress": False}, "run_dir": str(run)})
        trained = gnnpot.load(run).double().requires_grad_(False)
    crowd = crystals(40, bulk("MgO", "rocksalt", a=4.25), 2)
    both = rates(
        40,
        lambda: relax_together(trained, [atoms.copy() for atoms in crowd], FMAX, 200, SKIN),
        lambda: [relax_together(trained, [atoms.copy()], FMAX, 200, SKIN) for atoms in crowd],
    )
    print(line("relax, SchNet of MgO", *both))


if __name__ == "__main__":
    main()
