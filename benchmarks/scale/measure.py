"""One size of one model in a process of its own, so that the peak of its memory is its own: prints a line of JSON."""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from gnnpot.apps.calculator import Calculator
from gnnpot.models.gnnff import GNNFF
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.schnet import SchNet

MODELS = {"hdnnp": HDNNP, "schnet": SchNet, "gnnff": GNNFF, "gnnff_conservative": GNNFFConservative}
GIB = 2.0**20
"""Kilobytes, the unit of the system's record."""


def structure(arguments: argparse.Namespace) -> Atoms:
    """Rattled silicon of about so many atoms, or a frame of a file repeated."""
    if arguments.file is None:
        n = max(round((arguments.atoms / 8) ** (1 / 3)), 1)
        atoms = bulk("Si", cubic=True).repeat(n)
    else:
        atoms = ase.io.read(arguments.file, index=0).repeat(arguments.repeat)
        atoms.calc = None
    atoms.rattle(0.03, seed=1)
    return atoms


def measure(arguments: argparse.Namespace) -> dict[str, float | int | str]:
    """Seconds of a step of molecular dynamics (median of wall clock and of processor time) and peak memory."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    atoms = structure(arguments)
    model = MODELS[arguments.model](sorted(set(atoms.get_chemical_symbols())))
    atoms.calc = Calculator(model)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    small = atoms[: min(len(atoms), 64)]
    small.calc = Calculator(model)
    small.get_forces()
    atoms.get_forces()
    random, wall, cpu = np.random.default_rng(0), [], []
    for _ in range(arguments.steps):
        atoms.positions += random.normal(scale=0.01, size=atoms.positions.shape)
        start, used = time.perf_counter(), time.process_time()
        atoms.get_forces()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return {
        "model": arguments.model,
        "n_atoms": len(atoms),
        "wall_s": float(np.median(wall)),
        "cpu_s": float(np.median(cpu)),
        "searches": atoms.calc.neighbors.n_searches,
        "start_gib": base / GIB,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB,
    }


def main() -> None:
    """Read the arguments, print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("--atoms", type=int, default=1000)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--repeat", type=int, nargs=3, default=(1, 1, 1))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    json.dump(measure(parser.parse_args()), sys.stdout)
    print()


if __name__ == "__main__":
    main()
