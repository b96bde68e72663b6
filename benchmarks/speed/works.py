"""What both sides share: the structures, and the description of a work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase import units
from ase.md.verlet import VelocityVerlet

TEMPERATURE = 300.0
N_TRAINING = 8
"""Structures in a training step."""
SCHNET = {"cutoff": 5.0, "n_features": 64, "n_interactions": 3, "n_radial": 32}
GNNFF = {"cutoff": 5.0, "n_features": 64, "n_edge_features": 32, "n_interactions": 3}
EVERY = 8
"""Each eighth of the 214 silicon structures makes a pass over the symmetry functions."""


@dataclass(frozen=True)
class Work:
    """Something that can be repeated, and what a repeat is."""

    repeat: Callable[[], object]
    amount: float
    unit: str
    flops: float = 0.0
    """Floating-point operations that the equations ask for, at the least."""
    bytes: float = 0.0
    """Bytes that must pass between the processor and its memory."""


def silicon(data: Path) -> list[ase.Atoms]:
    """The 214 training structures of mlearn's silicon set, without their labels."""
    frames = ase.io.read(data / "mlearn" / "Si_train.xyz", index=":")
    for atoms in frames:
        atoms.calc = None
    return frames


def first_frame(data: Path, n_atoms: int = 63) -> ase.Atoms:
    """Its first structure of 63 atoms, repeated to 63, 504 or 1701 atoms."""
    atoms = ase.io.read(data / "mlearn" / "Si_train.xyz", index=0)
    return atoms.repeat(round((n_atoms / len(atoms)) ** (1 / 3)))


def dynamics(atoms: ase.Atoms) -> Callable[[], object]:
    """A step of velocity Verlet of 1 fs, from velocities of 300 K with a fixed seed."""
    rng = np.random.default_rng(0)
    masses = atoms.get_masses()[:, None]
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * np.sqrt(masses * units.kB * TEMPERATURE))
    verlet = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    return lambda: verlet.run(1)
