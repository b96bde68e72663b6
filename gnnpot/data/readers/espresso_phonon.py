"""Output of Quantum ESPRESSO's ph.x: Born charges and the dielectric tensor, through ASE.

Its rows are the directions of the field (Ex, Ey, Ez of "d Force / dE"; Px, Py, Pz of "d P / du"): field first, as
everywhere here.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.espresso import read_espresso_ph

from gnnpot.data.readers.sources import open_text
from gnnpot.errors import DataError


def read_espresso_phonon(path: Path) -> Iterator[Atoms]:
    """The structure of a ph.x output, with the response at q = 0.

    The cell has the six digits that ph.x prints. Of the two ways to Born charges, the derivatives of the forces are
    taken where both stand there, and of the printed tensors those without the acoustic sum rule imposed.

    Raises:
        DataError: no Born charges in the file (``epsil`` and ``zeu`` or ``zue`` are the keys of ph.x), or a list of
            them that does not fit to the atoms.
    """
    with open_text(path) as file:
        text = _without_imposed_sum_rule(file.read())
    try:
        found = read_espresso_ph(_Lines(text))
    except (ValueError, IndexError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is broken, or cut off: {error!r}") from error
    for result in found.values():
        born = result.get("borneffcharge", result.get("borneffcharge_dfpt"))
        if born is None or "atoms" not in result:
            continue
        atoms = result["atoms"]
        atoms.pbc = True
        if len(born) != len(atoms):
            raise DataError(f"{path}: {len(born)} Born charges for {len(atoms)} atoms; the file is cut off")
        results = {"born_effective_charges": np.array(born)}
        if "dieltensor" in result:
            results["dielectric_tensor"] = np.array(result["dieltensor"])
        atoms.calc = SinglePointCalculator(atoms, **results)
        yield atoms
        return
    raise DataError(
        f"{path} holds no Born charges at q = 0: run ph.x with epsil=.true. and zeu=.true., for an insulator"
    )


class _Lines:
    """Text with the one method that ASE's reader calls."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> str:
        return self._text


def _without_imposed_sum_rule(text: str) -> str:
    """The text without the second print of Born charges that newer versions make, corrected to fulfill the sum rule."""
    kept = []
    skipping = False
    for line in text.splitlines():
        if "Effective charges (d" in line:
            skipping = "with asr applied" in line
        if not skipping or not line.strip().startswith(("Effective", "Ex", "Ey", "Ez", "E*", "Px", "Py", "Pz", "atom")):
            kept.append(line)
    return "\n".join(kept)
