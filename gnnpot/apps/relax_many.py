"""Relaxation of many structures at once: `relax_many`, and the door of `gnnpot relax` to one or many."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from gnnpot.apps.batched_fire import Relaxed, relax_together
from gnnpot.apps.calculator import prepared
from gnnpot.apps.progress import StepProgress
from gnnpot.apps.relax import RelaxResult, relax
from gnnpot.apps.structures import Repeat, file_format, load_structure, snapshot
from gnnpot.data.files import replacing
from gnnpot.data.labels import frame_name, voigt_vector
from gnnpot.data.readers import read
from gnnpot.errors import ConfigError
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import Prediction, predict, refuse_unfit
from gnnpot.report.terminal import say

ALL_FRAMES = "@:"
"""Behind the name of a file: all of its structures."""


@dataclass(frozen=True)
class RelaxManyResult:
    """What the relaxations came to, in the order of the structures."""

    structures: list[Relaxed]
    output: Path

    @property
    def ok(self) -> bool:
        """Whether all converged: the command line's exit status."""
        return all(one.converged for one in self.structures)


def relax_command(
    checkpoint: str | Path | Potential,
    structure: str | Path | Atoms,
    cell: bool = False,
    pressure: float = 0.0,
    fmax: float = 0.01,
    steps: int = 1000,
    optimizer: str = "fire",
    output: str | Path = "relaxed.extxyz",
    repeat: Repeat = None,
    device: str = "cpu",
    dtype: str = "float64",
    skin: float = 0.5,
) -> RelaxResult | RelaxManyResult:
    """`relax` of one structure, or of all of a file (``structure=many.extxyz@:``) `relax_many`.

    Raises:
        ConfigError: a cell, a pressure or an optimizer other than FIRE for many structures.
    """
    if not str(structure).endswith(ALL_FRAMES) or Path(str(structure)).exists():
        return relax(checkpoint, structure, cell, pressure, fmax, steps, optimizer, output, repeat, device, dtype, skin)
    if cell or pressure != 0.0 or optimizer != "fire":
        raise ConfigError(
            f"structure={structure}: many structures are relaxed together by fire at fixed cells; leave cell, pressure "
            "and optimizer out, or relax them one by one"
        )
    frames = [load_structure(atoms, repeat) for atoms in read(str(structure).removesuffix(ALL_FRAMES))]
    return relax_many(checkpoint, frames, fmax, steps, output, device, dtype, skin)


def relax_many(
    checkpoint: str | Path | Potential,
    structures: Sequence[Atoms],
    fmax: float = 0.01,
    steps: int = 1000,
    output: str | Path = "relaxed.extxyz",
    device: str = "cpu",
    dtype: str = "float64",
    skin: float = 0.5,
) -> RelaxManyResult:
    """Relax the positions of many structures together, by FIRE; each ends where it would alone.

    Args:
        checkpoint: path or name of a trained model, or a potential.
        structures: atoms; they stay as they are. Constraints hold.
        fmax: eV/Å, the largest force that may be left on an atom.
        steps: most steps of each.
        output: ``.extxyz``, ``.xyz`` or ``.traj`` for all of them, with energy, forces and stress.
        device: where the model runs.
        dtype: ``float64``, or ``float32`` where fmax is above 0.01.
        skin: Å, see `gnnpot.Calculator`.

    Raises:
        ConfigError: a format of one structure, no structures, or figures that are not positive.
        UnknownElementError: a structure holds an element that the model does not know.
    """
    path = Path(output)
    if file_format(path) not in ("extxyz", "traj"):
        raise ConfigError(f"output={output} holds one structure; name it .extxyz, .xyz or .traj")
    if not structures:
        raise ConfigError("there are no structures to relax")
    if not fmax > 0.0 or steps < 1:
        raise ConfigError(f"fmax={fmax} eV/Å and steps={steps}: give a positive force and 1 step or more")
    potential = prepared(checkpoint, device, dtype)
    refuse_unfit(potential, structures)
    with StepProgress("relaxation", len(structures), noun="structures") as progress:

        def show(done: int) -> None:
            if progress.wants_figures(done):
                progress.update(done, "")

        found = relax_together(potential, structures, fmax, steps, skin, show)
    _write(path, found, potential)
    _say(found, fmax, path)
    return RelaxManyResult(found, path)


def _write(path: Path, found: Sequence[Relaxed], potential: Potential) -> None:
    """All structures with their labels, those that were given up without."""
    good = [one.atoms for one in found if one.problem is None]
    labels = iter(predict(potential, good) if good else [])
    frames = [_labelled(one.atoms, next(labels) if one.problem is None else {}) for one in found]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        ase.io.write(temporary, frames, format=file_format(path))


def _labelled(atoms: Atoms, prediction: Prediction) -> Atoms:
    frame = snapshot(atoms)
    known: dict[str, Any] = {name: prediction[name] for name in ("energy", "forces") if name in prediction}
    if "stress" in prediction and atoms.pbc.all():
        known["stress"] = voigt_vector(prediction["stress"])
    frame.calc = SinglePointCalculator(frame, **known) if known else None
    return frame


def _say(found: Sequence[Relaxed], fmax: float, path: Path) -> None:
    n_converged = sum(one.converged for one in found)
    n_steps = sum(one.n_steps for one in found)
    console = Console()
    say(console, f"{n_converged} of {len(found)} structures converged to fmax={fmax:g} eV/Å in {n_steps} steps")
    for one in found:
        if one.problem is not None:
            say(console, f"given up after {one.n_steps} steps: {frame_name(one.atoms)}: {one.problem}")
    if n_converged < len(found):
        say(console, "the others need more steps, a larger fmax, or a look at the structure")
    say(console, f"written to {path}")
