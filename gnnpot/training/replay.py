"""Frames of the first training: mixed in again, or held out to see what a fine-tuning forgets."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.bundled import bundled_path
from gnnpot.data.frames import labelled, selected
from gnnpot.data.graph import AtomicGraph, graph_from_atoms
from gnnpot.data.labels import attach_labels, labels_of
from gnnpot.data.opening import open_frames
from gnnpot.errors import ConfigError, DataError, DataWarning, UnknownElementError
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import refuse_unfit
from gnnpot.models.store import resolve
from gnnpot.training.evaluation import trainable_properties
from gnnpot.training.references import Refit, energy_scale_of, fit_references

SHIPPED = "shipped"
REPLAY_FILES = ("replay.extxyz.gz", "replay.extxyz")
HELD_OUT_FILES = ("held_out.extxyz.gz", "held_out.extxyz")
"""Names of files beside a checkpoint: training frames to mix in again, frames that it was not trained on."""

EXPECTED = ("energy", "forces")
"""Labels without which old frames say little of what is forgotten."""

REFERENCES = ("base", "fit")
NOTABLE = 0.05
"""eV/atom by which energies of the replay must miss the checkpoint's references before that is worth a warning."""


def shipped_file(checkpoint: str, names: Sequence[str]) -> Path | None:
    """The first of some files that lies beside a checkpoint; None where none does."""
    folder = resolve(checkpoint)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def old_frames(config: dict[str, Any], key: str, names: Sequence[str], potential: Potential) -> list[ase.Atoms]:
    """Frames that ``<key>.path`` names, at random at most ``<key>.n_frames`` of them; none where it is null.

    Raises:
        ConfigError: ``shipped``, and the checkpoint comes without.
        UnknownElementError: a frame with an element that the model does not know.
        DataError: no frame has a label of what the model learns.
    """
    path = config[key]["path"]
    if path is None:
        return []
    if path == SHIPPED:
        found = shipped_file(config["checkpoint"], names)
        if found is None:
            raise ConfigError(
                f"{key}.path=shipped: the checkpoint {config['checkpoint']} comes without {names[0]}; give a file of "
                f"frames, as {key}.path=frames.extxyz"
            )
        path = str(found)
    if isinstance(path, str):
        path = bundled_path(path) or path
    frames = open_frames(path, charge=0.0 if potential.takes_charge else None)
    n_wanted = int(config[key]["n_frames"])
    if n_wanted < 1:
        raise ConfigError(f"{key}.n_frames={n_wanted} must be at least 1")
    drawn = np.random.default_rng(int(config["seed"])).permutation(len(frames))[:n_wanted]
    chosen = list(selected(frames, np.sort(drawn)))
    try:
        refuse_unfit(potential, chosen)
    except UnknownElementError as error:
        raise UnknownElementError(f"{key}.path={path}: {error}") from None
    _look_at_labels(f"{key}.path={path}", chosen, trainable_properties(potential.outputs))
    return chosen


def _look_at_labels(place: str, frames: Sequence[ase.Atoms], properties: Sequence[str]) -> None:
    """Refuse frames without any label of these properties; warn where all lack energy or forces (`DataWarning`)."""
    missing = [name for name, mask in labelled(frames, properties).items() if not mask.any()]
    if len(missing) == len(properties):
        raise DataError(f"{place}: none of the {len(frames)} frames has {' or '.join(missing)}; give labeled frames")
    if told := [name for name in missing if name in EXPECTED]:
        warnings.warn(f"{place}: none of the {len(frames)} frames has {' or '.join(told)}", DataWarning, stacklevel=3)


def replay_refit(config: dict[str, Any], base: Potential, frames: Sequence[ase.Atoms]) -> Refit | None:
    """Shifts of the zero of the replay's energies against the checkpoint's; None: there are none, as by default.

    Warns (`DataWarning`) where ``replay.references=base`` and the energies have another zero.

    Raises:
        ConfigError: ``replay.references`` is neither ``base`` nor ``fit``.
    """
    choice = config["replay"]["references"]
    if choice not in REFERENCES:
        raise ConfigError(f"replay.references={choice}: give base or fit")
    if not frames:
        return None
    refit = fit_references(base, _graphs(frames, base.cutoff))
    if choice == "fit" or refit is None:
        return refit
    if refit.rms_before > NOTABLE and refit.rms_before > 3.0 * refit.rms_after:
        warnings.warn(
            f"the energies of replay.path miss those of the checkpoint by {1000 * refit.rms_before:,.0f} meV/atom, of "
            f"which a shift of each element explains all but {1000 * refit.rms_after:,.0f}: they have another zero "
            "than the first training. Type replay.references=fit",
            DataWarning,
            stacklevel=2,
        )
    return None


def at_references_of(
    potential: Potential, base: Potential, frames: Sequence[ase.Atoms], refit: Refit | None
) -> list[ase.Atoms]:
    """Copies of frames whose energies are measured from the reference energies of ``potential``.

    E → E + Σ_i [E0(Z_i) - E0_source(Z_i)], E0_source the references of the base with the shifts of ``refit``: what the
    network has to give, E less the references of its own source, is the same before and after, so that two levels of
    theory in one training never pull at each other's zero.
    """
    new, old = energy_scale_of(potential), energy_scale_of(base)
    if new is None or old is None:
        return list(frames)
    moves = dict(zip(potential.elements, new.reference_energies.tolist(), strict=True))
    for number, energy in zip(base.elements, old.reference_energies.tolist(), strict=True):
        moves[number] -= energy + (0.0 if refit is None else refit.of(chemical_symbols[number]))
    moved = []
    for atoms in frames:
        labels = labels_of(atoms)
        if "energy" in labels:
            labels["energy"] += sum(moves[int(number)] for number in atoms.numbers)
        fresh = copy.deepcopy(atoms)
        attach_labels(fresh, labels)
        moved.append(fresh)
    return moved


def _graphs(frames: Sequence[ase.Atoms], cutoff: float) -> Iterator[AtomicGraph]:
    return (graph_from_atoms(atoms, cutoff) for atoms in frames)
