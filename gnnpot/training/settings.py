"""What can be seen to be wrong in the configuration of a training before anything is read."""

from typing import Any

from gnnpot.config import check_class, compose, flatten
from gnnpot.errors import ConfigError
from gnnpot.keys import TRAINABLE
from gnnpot.kinds import checked_kinds
from gnnpot.training.assembly import OPTIMIZERS, budget_of
from gnnpot.training.heads import head_class
from gnnpot.training.losses import loss_terms
from gnnpot.training.preparation import precision_of
from gnnpot.training.schedule import schedule_of

MAY_BE_NULL: dict[str, Any] = {
    "batch_size": int | None,
    "run_dir": str | None,
    "resume": str | None,
    "checkpoint": str | None,
    "adapter_rank": int | None,
    "compare.scratch": bool | None,
    "trainer.max_epochs": int | None,
    "trainer.max_time": str | int | None,
    "trainer.threads": int | None,
    "trainer.gradient_clip": float | None,
    "trainer.early_stopping": int | None,
    "trainer.ema": float | None,
    "trainer.validate_every": int | None,
    "data.cache": str | None,
    "data.charge": float | None,
    "data.split.kind": str | None,
    "data.split.group_by": str | None,
    "optimizer.lr": float | None,
    **{f"loss.{name}.final_weight": float | None for name in TRAINABLE},
}
"""Kinds of the keys that null switches off; all others have the kind of their default."""

CHECKED_ELSEWHERE = ("model.", "head.", "freeze", "data.path", "trainer.devices")
"""Keys that take several kinds of values, or are arguments of a class."""


def checked_settings(settings: dict[str, Any], verb: str = "fit") -> dict[str, Any]:
    """The whole configuration, with values of the right kinds.

    Raises:
        ConfigError: a value that does not fit; the message names its key.
    """
    head_class(settings)
    defaults = {key: type(value) for key, value in flatten(compose(verb)).items()}
    hints = {
        key: kind
        for key, kind in defaults.items()
        if kind in (bool, int, float, str) and not key.startswith(CHECKED_ELSEWHERE)
    }
    checked = _nested(settings, {**hints, **MAY_BE_NULL}, "")
    budget_of(checked)
    schedule_of(checked["optimizer"]["schedule"])
    precision_of(checked)
    loss_terms(checked["loss"], TRAINABLE)
    check_class(checked["optimizer"].get("_target_", ""), OPTIMIZERS)
    decay = checked["trainer"]["ema"]
    if decay is not None and not 0.0 < float(decay) < 1.0:
        raise ConfigError(f"trainer.ema={decay} must lie between 0 and 1, or be null for no average")
    if checked["trainer"]["num_nodes"] < 1:
        raise ConfigError(f"trainer.num_nodes={checked['trainer']['num_nodes']} must be at least 1")
    for key in ("early_stopping", "validate_every"):
        if checked["trainer"][key] is not None and checked["trainer"][key] < 1:
            raise ConfigError(f"trainer.{key}={checked['trainer'][key]} must be at least 1, or null")
    return checked


def _nested(config: dict[str, Any], hints: dict[str, Any], prefix: str) -> dict[str, Any]:
    own = {key: hints[prefix + key] for key in config if prefix + key in hints}
    checked = checked_kinds(config, own, prefix)
    return {
        key: _nested(value, hints, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in checked.items()
    }
