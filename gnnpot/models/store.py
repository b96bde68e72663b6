"""Checkpoints: a folder that a person can read, with ``model.yaml`` and ``model.safetensors``.

Nothing in it can run code: the YAML is plain data and may name only classes of ``gnnpot.models``, the weights are
safetensors. Loading is strict: every tensor must be there with its shape. A folder of n2p2 (``input.nn``) is read
wherever a checkpoint is. A card alone that says ``weights_url`` stands for weights that are fetched at their first use.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize

from gnnpot._version import __version__
from gnnpot.config import build, check_class, pretrained_dir
from gnnpot.errors import CheckpointError, ConfigError, did_you_mean
from gnnpot.models.n2p2 import is_n2p2, load_n2p2
from gnnpot.models.potential import Potential
from gnnpot.models.published import published_weights

FORMAT_VERSION = 4
CARD = "model.yaml"
WEIGHTS = "model.safetensors"
ALLOWED = ("gnnpot.models",)
LARGEST_SHIPPED = 5_000_000
"""Bytes of a checkpoint that comes with gnnpot, with all that lies beside it."""

UNITS = {"length": "Å", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å³ (ASE sign)", "charge": "e"}


def _without_repulsion(card: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Models of version 1 have no short-range repulsion."""
    for part in (card["model"], card["model"].get("backbone", {})):
        if str(part.get("_target_", "")).rpartition(".")[2] in ("HDNNP", "SchNet", "GNNFFConservative"):
            part.setdefault("short_range", None)


def _with_narrow_gaussians(card: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Gaussians of models up to version 2 are as wide as their spacing."""
    for part in (card["model"], card["model"].get("backbone", {})):
        if str(part.get("_target_", "")).rpartition(".")[2] in ("SchNet", "GNNFF", "GNNFFConservative"):
            part.setdefault("gaussian_width", 1.0)


def _with_vectors_alone(card: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Polarization heads up to version 3 know no tensors."""
    head = card["model"].get("head", {})
    if str(head.get("_target_", "")).rpartition(".")[2] == "PolarizationHead":
        head.setdefault("l_max", 1)


UPGRADES: dict[int, Callable[[dict[str, Any], dict[str, torch.Tensor]], None]] = {
    1: _without_repulsion,
    2: _with_narrow_gaussians,
    3: _with_vectors_alone,
}
"""For each older format version, the function that brings card and weights to the next one, in place."""


def save(potential: Potential, folder: str | Path, card: dict[str, Any] | None = None) -> Path:
    """Write a checkpoint; an older one in the same place survives until the new one is complete.

    Args:
        potential: the model.
        folder: where ``model.yaml`` and ``model.safetensors`` go.
        card: what else a reader should know: level of theory, ``trained_on``, ``metrics``.

    Raises:
        CheckpointError: the disk is full or not writable; what was there before is untouched.
    """
    folder = Path(folder)
    weights = serialize({name: v.detach().cpu().contiguous() for name, v in potential.state_dict().items()})
    described = _card(potential, card or {})
    described["model_sha256"] = _model_sha256(described)
    described["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            (fresh / CARD).write_text(text, encoding="utf-8")
            (fresh / WEIGHTS).write_bytes(weights)
            _replace(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: the checkpoint could not be written ({error}); nothing was lost") from error
    return folder


def _replace(fresh: Path, folder: Path) -> None:
    """Put a finished folder in the place of an older one, which comes back if that fails."""
    fresh.chmod(0o755)
    if not folder.exists():
        fresh.rename(folder)
        return
    aside = fresh.with_name(fresh.name + ".old")
    folder.rename(aside)
    try:
        fresh.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside)


def _card(potential: Potential, extra: dict[str, Any]) -> dict[str, Any]:
    from ase.data import chemical_symbols

    target = f"{type(potential).__module__}.{type(potential).__qualname__}"
    symbols = [chemical_symbols[z] for z in potential.elements]
    card: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "gnnpot_version": __version__,
        "model": {"_target_": target, **potential.arguments()},
        "dtype": str(potential.dtype).removeprefix("torch."),
        "elements": symbols,
        "units": UNITS,
    }
    scale = getattr(potential, "energy_scale", None)
    if scale is not None:
        values = scale.reference_energies.tolist()
        card["reference_energies_ev"] = dict(zip(symbols, values, strict=True))
    return {**card, **{key: value for key, value in extra.items() if key not in card}}


def resolve(path_or_name: str | Path) -> Path:
    """Folder of a checkpoint: a path, a run directory that holds ``model/``, or the name of a shipped one.

    A folder with ``input.nn`` of n2p2 is one too.

    Raises:
        CheckpointError: there is none; the message names the nearest shipped one.
    """
    path = Path(path_or_name).expanduser()
    for folder in (path, path / "model"):
        if (folder / CARD).is_file() or is_n2p2(folder):
            return folder
    shipped = pretrained_dir() / str(path_or_name)
    if "/" not in str(path_or_name) and (shipped / CARD).is_file():
        return shipped
    names = pretrained_names()
    hint = did_you_mean(str(path_or_name), names) if names else "none is shipped with this version"
    raise CheckpointError(
        f"{path_or_name}: no checkpoint here (a folder with {CARD} and {WEIGHTS}, a run directory with model/, or a "
        f"folder of n2p2 with input.nn), and no shipped one of that name; {hint}"
    )


def pretrained_names() -> list[str]:
    """Names of the checkpoints that come with gnnpot."""
    return sorted(path.parent.name for path in pretrained_dir().glob(f"*/{CARD}"))


def read_card(path_or_name: str | Path) -> dict[str, Any]:
    """What ``model.yaml`` says, as plain data.

    Raises:
        CheckpointError: not there, not YAML, or written by a newer gnnpot.
    """
    folder = resolve(path_or_name)
    file = folder / CARD
    if not file.is_file():
        return _n2p2(folder).card
    try:
        card = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{file}: not a readable model card ({error})") from None
    if not isinstance(card, dict) or not isinstance(card.get("model"), dict) or "format_version" not in card:
        raise CheckpointError(f"{file}: not a model card of gnnpot (format_version and model are missing)")
    version = card["format_version"]
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{file}: format_version {version!r} is not a format of gnnpot")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{file}: format_version {version} was written by gnnpot {card.get('gnnpot_version')}; this is gnnpot "
            f"{__version__}, which reads up to {FORMAT_VERSION}. Update gnnpot"
        )
    return card


def load(path_or_name: str | Path, device: str | torch.device = "cpu", dtype: str | None = None) -> Potential:
    """Load a checkpoint, ready for inference.

    Args:
        path_or_name: a folder, a run directory, or a shipped name.
        device: where to put it.
        dtype: ``float32`` or ``float64``; by default the precision it was trained in.

    Raises:
        CheckpointError: unreadable, tampered with, incomplete, of a newer format, or published weights that cannot
            be fetched.
    """
    folder = resolve(path_or_name)
    potential = _stored(folder) if (folder / CARD).is_file() else _n2p2(folder)
    if dtype is not None:
        potential.to(_dtype(dtype))
    return potential.to(device).eval()


def _n2p2(folder: Path) -> Potential:
    potential = load_n2p2(folder)
    potential.card = _card(potential, {"trained_by": "n2p2 (bohr and hartree in its files)"})
    return potential


def _stored(folder: Path) -> Potential:
    card = read_card(folder)
    _refuse_changed_model(folder / CARD, card)
    file = folder / WEIGHTS
    if "weights_url" in card and not file.is_file():
        file = published_weights(card, folder / CARD)
    weights = _read_weights(file, card["weights_sha256"])
    for version in range(card["format_version"], FORMAT_VERSION):
        UPGRADES[version](card, weights)
    try:
        if not issubclass(check_class(card["model"].get("_target_", ""), ALLOWED), Potential):
            raise ConfigError(f"_target_: {card['model']['_target_']!r} is not a potential")
        potential: Potential = build(card["model"], ALLOWED)
        potential.to(_dtype(card.get("dtype", "float32")))
        potential.load_state_dict(weights, strict=True)
    except (ConfigError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: {CARD} and {WEIGHTS} do not make a model: {error}") from None
    potential.card = card
    return potential


def _model_sha256(card: dict[str, Any]) -> str:
    """Hash of what says how the weights are used: class and arguments of the model, and its precision."""
    text = json.dumps([card["model"], card.get("dtype")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_changed_model(file: Path, card: dict[str, Any]) -> None:
    """Another cutoff fits the same weights and gives wrong numbers: only what was saved is loaded."""
    for name in ("model_sha256", "weights_sha256"):
        if name not in card:
            raise CheckpointError(f"{file}: {name} is missing, which tells a changed file: copy the checkpoint again")
    stated, found = card["model_sha256"], _model_sha256(card)
    if stated != found:
        raise CheckpointError(
            f"{file}: the section model or dtype was changed since the checkpoint was saved (its sha256 is "
            f"{found[:12]}…, and {str(stated)[:12]}… is written there). The weights belong to the model they were "
            "trained in: copy the checkpoint again"
        )


def _dtype(name: str) -> torch.dtype:
    types = {"float32": torch.float32, "float64": torch.float64}
    if name not in types:
        raise ConfigError(f"dtype={name!r}: {did_you_mean(str(name), types)}")
    return types[name]


def _read_weights(file: Path, sha256: object) -> dict[str, torch.Tensor]:
    try:
        content = file.read_bytes()
        weights = deserialize(content)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: not readable as safetensors ({error}); copy the checkpoint again") from None
    found = hashlib.sha256(content).hexdigest()
    if sha256 != found:
        raise CheckpointError(
            f"{file}: its sha256 is {found[:12]}…, but {CARD} was written for {str(sha256)[:12]}…; the two files do "
            "not belong together or were changed. Copy the checkpoint again"
        )
    return weights
