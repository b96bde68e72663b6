"""Configurations: composed by Hydra's rules into plain dicts, and built into objects under an allow-list.

``configs/`` and ``pretrained/`` are found from a wheel (inside the package) and from a checkout or an editable
install (beside it). A user's own ``./configs`` is searched too.
"""

import importlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.kinds import checked_kinds, hints_of

PATH_KEYS = re.compile(
    r"(^|\.)(path|\w+_path|checkpoint|structure|output|run_dir|resume|trajectory|cache)$|^hydra\.searchpath$"
)
"""Keys whose values are paths and may hold characters of the override grammar: = ( ) , and spaces."""

PLAIN_VALUE = re.compile(r"^(\[.*\]|\{.*\}|'.*'|\".*\"|null|true|false)$", re.DOTALL)


def config_dir() -> Path:
    """Folder of the shipped configurations."""
    return _shipped("configs")


def pretrained_dir() -> Path:
    """Folder of the shipped checkpoints."""
    return _shipped("pretrained")


def _shipped(name: str) -> Path:
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"the folder {name}/ is missing from this installation of gnnpot ({package}); reinstall it")


def verbs() -> list[str]:
    """Names of the verbs that have a configuration."""
    return sorted(path.stem for path in config_dir().glob("*.yaml"))


def compose(verb: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose ``configs/<verb>.yaml`` with overrides in Hydra's grammar.

    Raises:
        ConfigError: an unknown verb, group entry or key (the message names the nearest right one), or an
            override that cannot be parsed.

    >>> compose("fit", ["model=hdnnp", "trainer.max_epochs=3"])["trainer"]["max_epochs"]
    3
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if verb not in verbs():
        raise ConfigError(f"no configuration for {verb!r}; {did_you_mean(verb, verbs())}")
    arguments = [_quote(override) for override in overrides]
    user_configs = Path.cwd() / "configs"
    if user_configs.is_dir() and user_configs.resolve() != config_dir().resolve():
        arguments.append(f"hydra.searchpath=['file://{user_configs}']")
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            composed = hydra_compose(verb, overrides=arguments)
        missing = sorted(OmegaConf.missing_keys(composed))
        if missing:
            example = " ".join(f"{key}=..." for key in missing)
            raise ConfigError(f"gnnpot {verb} needs {', '.join(missing)}: type {example} (see gnnpot {verb} --help)")
        plain: Any = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(verb, overrides, str(error))) from None
    return dict(plain)


def _quote(override: str) -> str:
    """Quote the value of a path key, so that a path may hold any character.

    >>> _quote("data.path=run (1)/a=b.xyz")
    "data.path='run (1)/a=b.xyz'"
    """
    key, separator, value = override.partition("=")
    if not separator or not PATH_KEYS.search(key.lstrip("+~")) or PLAIN_VALUE.match(value):
        return override
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    return f"{key}='{escaped}'"


def _explain(verb: str, overrides: Sequence[str], message: str) -> str:
    """Turn Hydra's message into one that names the nearest right key or entry."""
    for override in overrides:
        key, separator, value = override.partition("=")
        key = key.lstrip("+~")
        if not separator:
            return f"{override!r}: an override is key=value, for instance model=schnet or trainer.max_epochs=100"
        group = config_dir() / key
        if group.is_dir():
            entries = group_entries(key)
            if value not in entries and value not in ("null", ""):
                return f"{key}={value}: no such {key}; {did_you_mean(value, entries)} (there are: {', '.join(entries)})"
    known = _known_keys(verb, overrides)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if known and key not in known and not (config_dir() / key).is_dir():
            return f"unknown key {key!r} for gnnpot {verb}; {nearest_key(key, known)}"
    if "override_grammar" in message:
        hint = "models=\"[hdnnp,{far: ['model.cutoff=7']}]\""
        return f"{message.splitlines()[0]}: put what holds = or : within a list in quotes of its own, as {hint}"
    return message


def group_entries(group: str) -> list[str]:
    """Names that a configuration group offers, the user's own included.

    >>> "schnet" in group_entries("model")
    True
    """
    folders = (config_dir() / group, Path.cwd() / "configs" / group)
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})


def nearest_key(key: str, known: Iterable[str]) -> str:
    """Sentence that names the known key or group of keys nearest to a mistyped one.

    >>> nearest_key("modle", ["model.cutoff", "model.elements", "seed"])
    "did you mean 'model'?"
    >>> nearest_key("model.cutoff", ["model.charge", "seed"])
    'known: model.charge'
    """
    names = set(known)
    groups = {name.rpartition(".")[0] for name in names} - {""}
    group = key.rpartition(".")[0]
    if group in groups:
        return did_you_mean(key, {name for name in names if name.startswith(f"{group}.")})
    return did_you_mean(key, names | groups)


def _known_keys(verb: str, overrides: Sequence[str]) -> list[str]:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    groups = [o for o in overrides if (config_dir() / o.partition("=")[0]).is_dir()]
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            composed: Any = OmegaConf.to_container(hydra_compose(verb, overrides=groups), resolve=False)
    except HydraException:
        return []
    return list(flatten(composed))


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested dict.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check_class(target: str, allowed: Iterable[str]) -> type[Any]:
    """Import the class that ``_target_`` names, if the module that *defines* it is allowed.

    Checking the name alone would let ``gnnpot.config.importlib`` through.

    Args:
        target: dotted path of a class.
        allowed: module names; a class is allowed if its own ``__module__`` is one of them or lies below one.

    Raises:
        ConfigError: not a class, not there, or not allowed.
    """
    prefixes = tuple(allowed)

    def within(module: str) -> bool:
        return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)

    module_name, _, class_name = str(target).rpartition(".")
    if not within(module_name):
        raise ConfigError(f"_target_: {target!r} is not allowed here; only classes of {', '.join(prefixes)} are")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        raise ConfigError(f"_target_: there is no {target!r}") from None
    if not isinstance(found, type) or not within(found.__module__):
        raise ConfigError(f"_target_: {target!r} is not a class of {', '.join(prefixes)}")
    return found


def build(config: dict[str, Any], allowed: Iterable[str], **extra: Any) -> Any:
    """Build the object that ``{"_target_": "module.Class", **arguments}`` describes.

    Raises:
        ConfigError: the class is not allowed, an argument does not exist (the nearest right one is named), or one
            has a value that the class does not take.
    """
    import inspect

    arguments = {key: value for key, value in config.items() if key != "_target_"}
    if "_target_" not in config:
        raise ConfigError(f"a configuration without _target_ cannot be built: {config}")
    found = check_class(config["_target_"], allowed)
    parameters = inspect.signature(found).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for name in arguments:
        if name not in parameters and not open_ended:
            raise ConfigError(f"{found.__name__} has no argument {name!r}; {did_you_mean(name, parameters)}")
    arguments = checked_kinds(arguments, hints_of(found), f"{found.__name__}: ")
    try:
        return found(**arguments, **extra)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{found.__name__} cannot be made of {arguments}: {error}") from error
