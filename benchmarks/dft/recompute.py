"""Recompute one frame of the bundled first-principles data with Quantum ESPRESSO, and compare.

    python benchmarks/dft/recompute.py Li2O 1

needs ``pw.x`` on the path and the folder of pseudopotentials that comes with it, named by ``ESPRESSO_PSEUDO`` (the
package quantum-espresso-data of a Linux distribution holds the files). A 3-atom cell takes seconds, a 12-atom cell
about a minute on one core.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.data import atomic_masses, atomic_numbers

from gnnpot import read
from gnnpot.data.bundled import bundled_path
from gnnpot.data.labels import labels_of
from gnnpot.keys import ENERGY, FORCES, STRESS


@dataclass(frozen=True)
class Level:
    """Level of theory of one bundled set."""

    pseudopotentials: dict[str, str]
    cutoff_wavefunction: int
    cutoff_density: int


LEVELS = {
    "Li2O": Level({"Li": "Li.pbesol-s-rrkjus_psl.0.2.1.UPF", "O": "O.pbesol-n-rrkjus_psl.0.1.UPF"}, 45, 360),
    "MgO": Level({"Mg": "Mg.pz-n-vbc.UPF", "O": "O.pz-rrkjus.UPF"}, 35, 210),
}


def scf_input(atoms: ase.Atoms, level: Level, mesh: str, folder: Path) -> str:
    """Input of pw.x; ``mesh`` is the frame's own ``kpts``, as "4x4x4 shifted"."""
    divisions, _, shifted = mesh.partition(" ")
    grid = [*divisions.split("x"), *(["1"] * 3 if shifted == "shifted" else ["0"] * 3)]
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    lines = [
        f"&control\n calculation='scf', prefix='x', outdir='{folder}/tmp', tprnfor=.true., tstress=.true.,",
        f" pseudo_dir='{os.environ.get('ESPRESSO_PSEUDO', 'pseudo')}', disk_io='low'\n/",
        f"&system\n ibrav=0, nat={len(atoms)}, ntyp={len(symbols)}, ecutwfc={level.cutoff_wavefunction},",
        f" ecutrho={level.cutoff_density}\n/\n&electrons\n conv_thr=1e-10, mixing_beta=0.7\n/\nATOMIC_SPECIES",
    ]
    lines += [f"{s} {atomic_masses[atomic_numbers[s]]:.4f} {level.pseudopotentials[s]}" for s in symbols]
    lines += ["CELL_PARAMETERS angstrom", *(" ".join(f"{x:.10f}" for x in row) for row in atoms.cell.array)]
    lines += ["ATOMIC_POSITIONS angstrom"]
    lines += [f"{a.symbol} " + " ".join(f"{x:.10f}" for x in a.position) for a in atoms]
    return "\n".join([*lines, "K_POINTS automatic", " ".join(grid), ""])


def recompute(name: str, frame: int) -> int:
    """Print the stored and the new labels; 0 if they agree."""
    atoms = read(bundled_path(name))[frame]
    stored = labels_of(atoms)
    with tempfile.TemporaryDirectory() as folder:
        text = scf_input(atoms, LEVELS[name], str(atoms.info["kpts"]), Path(folder))
        found = subprocess.run(["pw.x"], input=text, capture_output=True, text=True, cwd=folder, check=True)
        output = Path(folder) / "scf.out"
        output.write_text(found.stdout)
        (new,) = read(output)
    ok = True
    for key, tolerance in ((ENERGY, 2e-4), (FORCES, 2e-3), (STRESS, 2e-4)):
        difference = np.abs(np.asarray(labels_of(new)[key.name]) - np.asarray(stored[key.name])).max()
        ok = ok and bool(difference < tolerance)
        print(f"{name} frame {frame}: {key.name:<7} largest difference {difference:.2e} {key.unit}")
    return 0 if ok else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(LEVELS))
    parser.add_argument("frame", type=int)
    arguments = parser.parse_args()
    sys.exit(recompute(arguments.name, arguments.frame))
