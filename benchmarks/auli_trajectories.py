"""Copies of the Au-Li frames that know their trajectory: the tag without its last number.

python benchmarks/auli_trajectories.py $GNNPOT_DATA/auli FOLDER
"""

import sys
import tempfile
from pathlib import Path

from ase.io import read, write

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.parent.mkdir(parents=True, exist_ok=True)
unfinished = Path(tempfile.mkdtemp(prefix=".auli-", dir=folder.parent))
for path in sorted(source.glob("bulk_*.xyz.gz")):
    frames = read(path, ":")
    for atoms in frames:
        atoms.info["trajectory"] = f"{path.name.split('.')[0]} {atoms.info['tag'].rpartition('_')[0]}"
    write(unfinished / path.name.removesuffix(".gz"), frames, format="extxyz")
    print(f"{path.name}: {len(frames)} frames, {len({atoms.info['trajectory'] for atoms in frames})} trajectories")
unfinished.rename(folder)
