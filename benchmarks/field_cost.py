"""What an electric field costs in MD: steps with and without it in turn, in one process.

    python benchmarks/field_cost.py runs/demo-response --structure Li2O --repeat 2 2 2

Prints the ratio of the medians, and the spread over the rounds. One core: OMP_NUM_THREADS=1.
"""

import argparse
import statistics
import time

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

import gnnpot
from gnnpot.apps.ensembles import degrees_of_freedom, set_velocities
from gnnpot.apps.structures import load_structure


def simulation(atoms: Atoms, checkpoint: str, field: list[float] | None, temperature: float) -> VelocityVerlet:
    """NVE of a copy of the atoms, its loops compiled and its neighbor list searched."""
    own = atoms.copy()
    own.calc = gnnpot.Calculator(checkpoint, field=field)
    set_velocities(own, temperature, degrees_of_freedom(own, True), np.random.default_rng(0))
    dynamics = VelocityVerlet(own, units.fs)
    dynamics.run(5)
    return dynamics


def main() -> None:
    """Time rounds of steps, alternating."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--structure", default="Li2O")
    parser.add_argument("--repeat", type=int, nargs=3, default=[2, 2, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--temperature", type=float, default=600.0)
    given = parser.parse_args()
    atoms = load_structure(given.structure, given.repeat)
    runs = {
        name: simulation(atoms, given.checkpoint, field, given.temperature)
        for name, field in (("bare", None), ("field", [0.0, 0.0, 0.1]))
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(given.rounds):
        for name, dynamics in runs.items():
            start = time.process_time()
            dynamics.run(given.steps)
            seconds[name].append((time.process_time() - start) / given.steps)
    ratios = [b / a for a, b in zip(seconds["bare"], seconds["field"], strict=True)]
    for name, values in seconds.items():
        print(f"{name:5} {1000 * statistics.median(values):8.2f} ms/step of {len(atoms)} atoms (processor time)")
    print(f"field / bare: {statistics.median(ratios):.2f} (rounds {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
