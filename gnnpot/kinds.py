"""Are the values of a configuration of the kinds that a function asks for? Said by key, before anything is done."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from gnnpot.errors import ConfigError

NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a word or a path"}

EXAMPLES = {
    "field": "three numbers in V/Å, as [0,0,0.1], or an alternating field, as {amplitude: [0,0,0.1], frequency: 5}"
}
"""What stands for a list in keys whose values have a form of their own."""


def checked_kinds(values: Mapping[str, Any], hints: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values, of which those with a hint have the kind that it names.

    A whole number stands for a number, a number without a fraction (``1e4``) for a whole one, and any number for the
    text that it was written as, where a text is asked for.

    Args:
        values: values by key.
        hints: type annotations by key; other keys pass.
        prefix: what stands before the key in a message, as ``model.``.

    Raises:
        ConfigError: a value of another kind; the message names the key and what it takes.

    >>> checked_kinds({"steps": 1e4, "fmax": 1}, {"steps": int, "fmax": float | None})
    {'steps': 10000, 'fmax': 1}
    """
    return {
        name: _checked(prefix + name, value, hints[name]) if name in hints else value for name, value in values.items()
    }


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Type annotations of the parameters of a function or of a class; none where they cannot be told.

    >>> hints_of(checked_kinds)["prefix"]
    <class 'str'>
    """
    target = function.__init__ if inspect.isclass(function) else function
    try:
        hints = typing.get_type_hints(target)
    except (NameError, TypeError):
        return {}
    hints.pop("return", None)
    return hints


def _checked(key: str, value: Any, hint: Any) -> Any:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = set(typing.get_args(hint)) if is_union else {hint}
    plain = [kind for kind in NAMES if kind in kinds]
    others = kinds - {*plain, types.NoneType}
    if Any in kinds or (value is None and types.NoneType in kinds):
        return value
    if isinstance(value, bool | str) and type(value) in kinds:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if float in kinds or (int in kinds and isinstance(value, int)):
            return value
        if int in kinds and float(value).is_integer():
            return int(value)
        if str in kinds:
            return str(value)
    if others and not isinstance(value, bool | int | float | str) and value is not None:
        return value
    lists = EXAMPLES.get(key.rpartition(".")[2], "a list, as [a,b]")
    wanted = [NAMES[kind] for kind in plain] + ([lists] if others and str not in kinds else [])
    wanted += ["null"] if types.NoneType in kinds else []
    raise ConfigError(f"{key}={_as_typed(value)}: give {' or '.join(wanted)}")


def _as_typed(value: Any) -> str:
    """A value as the command line writes it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
