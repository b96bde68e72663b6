"""`gnnpot data`: import, label, check, convert and split data, each by a function of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnpot.apps.data_check import check_data
from gnnpot.apps.data_files import convert_data, import_data, split_data
from gnnpot.apps.labeling import label_data
from gnnpot.data.splits import SplitKind
from gnnpot.errors import ConfigError, did_you_mean

SPLIT = {"kind": None, "fractions": (0.7, 0.1, 0.2), "group_by": None, "seed": 0}


@dataclass(frozen=True)
class DataRequest:
    """What the command line asks for."""

    path: Any
    output: Any
    format: str | None
    units: Mapping[str, str] | None
    keys: Mapping[str, str] | None
    charge: float | None
    only: Mapping[str, Any] | None
    energy: str
    skip_broken: bool
    calculator: str | None
    arguments: Mapping[str, Any]
    licence: str | None
    split: Mapping[str, Any]


def data(
    kind: str,
    path: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    charge: float | None = None,
    only: Mapping[str, Any] | None = None,
    energy: str = "uncorrected",
    skip_broken: bool = False,
    calculator: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    licence: str | None = None,
    split: Mapping[str, Any] | None = None,
) -> Any:
    """Do one kind of work with data; each is a function of Python, too, which has the details.

    ``import``: `import_data`; ``label``: `label_data`; ``check``: `check_data`; ``convert``: `convert_data`; ``split``:
    `split_data`.

    Args:
        kind: import, label, check, convert or split.
        path: a file, a pattern, a frame store, or a list of them; identifiers of materials for ``format=mp_api``.
        output: where the result goes; ``check`` has none.
        format: of the files; None: recognized.
        units: of files whose format leaves them open.
        keys: names of the labels in the files.
        charge: total charge in e of frames that state none.
        only: of ``convert`` and ``split``, entries of the frames that are taken, as ``{functional: GGA}``.
        energy: of an import, ``uncorrected`` or ``corrected``.
        skip_broken: of an import and of labels, leave out what cannot be used.
        calculator: that labels.
        arguments: of its constructor.
        licence: of its weights.
        split: ``{kind, fractions, group_by, seed}``.

    Raises:
        ConfigError: an unknown kind, or a key that is missing for it.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={kind} is unknown; {did_you_mean(str(kind), KINDS)}")
    asked = {**SPLIT, **(split or {})}
    unknown = sorted(asked.keys() - SPLIT.keys())
    if unknown:
        raise ConfigError(f"split.{unknown[0]} is unknown; {did_you_mean(unknown[0], SPLIT)}")
    if output is None and kind != "check":
        raise ConfigError(f"gnnpot data kind={kind} needs output=: the {OUTPUTS[kind]}")
    request = DataRequest(
        path,
        output,
        format,
        units,
        keys,
        charge,
        only,
        energy,
        skip_broken,
        calculator,
        arguments or {},
        licence,
        asked,
    )
    return KINDS[kind](request)


def _import(asked: DataRequest) -> Any:
    if asked.charge is not None:
        raise ConfigError("charge= is given where the frames are used: gnnpot fit data.charge=0")
    return import_data(asked.path, asked.output, asked.format, asked.units, asked.keys, asked.energy, asked.skip_broken)


def _label(asked: DataRequest) -> Any:
    if asked.calculator is None:
        raise ConfigError("kind=label needs calculator=: an ASE calculator, as ase.calculators.emt.EMT")
    return label_data(
        asked.path, asked.output, asked.calculator, asked.arguments, asked.licence, asked.units, asked.skip_broken
    )


def _check(asked: DataRequest) -> Any:
    return check_data(asked.path, asked.format, asked.units, asked.keys, asked.charge)


def _convert(asked: DataRequest) -> Any:
    return convert_data(asked.path, asked.output, asked.format, asked.units, asked.keys, asked.charge, asked.only)


def _split(asked: DataRequest) -> Any:
    drawn = asked.split
    kind: SplitKind | None = drawn["kind"]
    return split_data(
        asked.path, asked.output, kind, drawn["fractions"], drawn["group_by"], int(drawn["seed"]),
        asked.format, asked.units, asked.keys, asked.charge, asked.only,
    )  # fmt: skip


KINDS: dict[str, Callable[[DataRequest], Any]] = {
    "import": _import,
    "label": _label,
    "check": _check,
    "convert": _convert,
    "split": _split,
}
"""Every kind by its name."""

OUTPUTS = {
    "import": "folder of the frame store",
    "label": "file or frame store of the labeled frames",
    "convert": "file or frame store to write",
    "split": "folder of train, val and test",
}
"""What output= is for each kind."""
