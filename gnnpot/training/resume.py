"""Going on with a training: which configuration holds, and what may have changed since."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from gnnpot.config import compose, flatten, nearest_key
from gnnpot.data.files import replacing
from gnnpot.errors import ConfigError, TrainingError
from gnnpot.report.terminal import say

CONFIG_FILE = "config.yaml"
CHECKPOINT_FILE = "last.ckpt"

HARMLESS = (
    "trainer.max_epochs",
    "trainer.max_time",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.accelerator",
    "trainer.strategy",
    "trainer.early_stopping",
    "trainer.progress",
    "data.cache",
    "data.cache_limit",
    "data.level_of_theory",
    "run_dir",
    "resume",
)
"""Keys that may change when a training goes on: they say how long and where, not what is learned from what."""


GROUPS = ("model", "head", "data", "trainer", "optimizer", "loss", "experiment")
OPEN_ENDED = ("model.", "head", "optimizer.", "data.units.", "data.keys.")
"""Where keys are checked by what they configure, not by the defaults."""


def completed(config: dict[str, Any], verb: str = "fit") -> dict[str, Any]:
    """A whole configuration from one that gives only some keys; groups may be named, as ``{"model": "hdnnp"}``.

    Raises:
        ConfigError: a key that does not exist.
    """
    named = {key: value for key, value in config.items() if key in GROUPS and isinstance(value, str)}
    whole = compose(verb, [f"{key}={value}" for key, value in named.items()])
    given = {key: value for key, value in config.items() if key not in named}
    known = flatten(whole)
    for key in flatten(given):
        if key not in known and key not in whole and not key.startswith(OPEN_ENDED):
            raise ConfigError(f"unknown key {key!r} for gnnpot {verb}; {nearest_key(key, known)}")
    return merged(whole, given)


def merged(base: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """Nested dict with the values of ``update`` in place of those of ``base``.

    Where ``_target_`` names another class, the arguments of the old one go, but for those that are groups of keys.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    result = dict(base)
    if "_target_" in update and update["_target_"] != base.get("_target_"):
        result = {key: value for key, value in base.items() if isinstance(value, dict)}
    for key, value in update.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def save_config(config: dict[str, Any], run_dir: Path) -> None:
    """Write the configuration of a run."""
    with replacing(run_dir / CONFIG_FILE) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def resumed_config(config: dict[str, Any], run_dir: Path, verb: str = "fit") -> dict[str, Any]:
    """Configuration under which the training in ``run_dir`` goes on.

    It is the run's own. What was typed along with ``resume=`` (what differs from the defaults) must agree with it,
    but for the keys in `HARMLESS`, which take the new value.

    Raises:
        ConfigError: no training there, one of another verb, or a change that matters, shown key by key.
    """
    if not (run_dir / CONFIG_FILE).is_file():
        raise ConfigError(
            f"resume={run_dir}: no training here ({CONFIG_FILE} is missing); give a run directory, as runs/my-run"
        )
    saved = yaml.safe_load((run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    _refuse_other_verb(saved, run_dir, verb)
    saved = _with_newer_keys(saved, run_dir)
    old, default, given = flatten(saved), flatten(compose(verb)), flatten(config)
    typed = {key: value for key, value in given.items() if key not in default or default[key] != value}
    changed = {k: v for k, v in typed.items() if k not in HARMLESS and (k not in old or old[k] != v)}
    if changed:
        rows = [
            f"  {key}: {_shown(old.get(key, 'not set'))} in the run, {_shown(value)} now"
            for key, value in changed.items()
        ]
        raise ConfigError(
            f"resume={run_dir}: the configuration changed in a way that matters, so this would be another training:\n"
            + "\n".join(rows)
            + "\nLeave these keys out to go on with the run's own values, or start anew without resume="
        )
    for key in HARMLESS:
        if key in typed and key not in ("run_dir", "resume"):
            section, _, name = key.partition(".")
            saved[section][name] = typed[key]
    return {**saved, "run_dir": str(run_dir), "resume": str(run_dir)}


def _refuse_other_verb(saved: dict[str, Any], run_dir: Path, verb: str) -> None:
    """Only a fine-tuning compares itself with others."""
    started_by = "finetune" if "compare" in saved else "fit"
    if started_by != verb:
        raise ConfigError(
            f"resume={run_dir}: this is a run of gnnpot {started_by}; type gnnpot {started_by} resume={run_dir}"
        )


def _with_newer_keys(saved: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """The configuration of a run with the keys that its version of gnnpot did not have, at what it did."""
    saved["data"].setdefault("charge", None)
    path, model = run_dir / CHECKPOINT_FILE, saved["model"]
    may_repel = str(model.get("_target_")).rpartition(".")[2] in ("HDNNP", "SchNet", "GNNFFConservative")
    if may_repel and "short_range" not in model and path.is_file():
        weights = read_checkpoint(path)["state_dict"]
        if not any(name.endswith("repulsion.outer_radii") for name in weights):
            model["short_range"] = None
    return saved


def _shown(value: Any) -> str:
    """A value as the configuration writes it."""
    return "null" if value is None else str(value)


def checkpoint_of(run_dir: Path, max_epochs: int | None) -> Path | None:
    """The checkpoint to go on from; None where the training was stopped before its first one.

    Raises:
        TrainingError: the file cannot be read.
        ConfigError: more epochs are done than ``trainer.max_epochs`` allows.
    """
    path = run_dir / CHECKPOINT_FILE
    if not path.is_file():
        return None
    done = int(read_checkpoint(path)["epoch"])
    if max_epochs is not None and done > max_epochs:
        raise ConfigError(
            f"resume={run_dir}: trainer.max_epochs={max_epochs}, but {done} epochs are done; give a larger number, or "
            "leave it out to go on to the run's own"
        )
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a ``last.ckpt``, read without running code.

    Raises:
        TrainingError: the file cannot be read.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}: {error}); delete it to start the run anew"
        ) from None
    return content


@contextmanager
def telling_how_to_go_on(console: Console, verb: str, run_dir: Path) -> Iterator[None]:
    """At Ctrl-C and SIGTERM say what to type, where something is saved to go on with."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        if (run_dir / CHECKPOINT_FILE).is_file():
            say(console, how_to_go_on(interruption, verb, run_dir))
        raise


def how_to_go_on(interruption: BaseException, verb: str, run_dir: Path) -> str:
    """What to type after an interruption.

    >>> print(how_to_go_on(KeyboardInterrupt("interrupted after 3 steps and saved"), "fit", Path("runs/a")))
    interrupted after 3 steps and saved; go on with
      gnnpot fit resume=runs/a
    The best model so far is in runs/a/model
    """
    what = str(interruption) or "interrupted"
    return f"{what}; go on with\n  gnnpot {verb} resume={run_dir}\nThe best model so far is in {run_dir / 'model'}"
