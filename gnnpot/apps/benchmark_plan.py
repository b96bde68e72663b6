"""What a benchmark is going to run: models, data sets, sizes and seeds, as the configuration names them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from gnnpot.config import group_entries
from gnnpot.data.splits import Split
from gnnpot.errors import ConfigError, did_you_mean

KEPT_APART = {
    "seed": "seeds=[...]",
    "run_dir": "output=DIR",
    "resume": "output=DIR",
    "data.": "data.KEY=... or datasets",
    "trainer.max_": "trainer.max_epochs or trainer.max_time, for all models",
}
"""Beginnings of keys that no model may have to itself, with what is typed instead."""

NOT_COMPARED = ("model.", "data.split.", "run_dir", "resume")
"""Beginnings of keys that differ by right: the model itself, and the split, which is one file for all."""

ASE_KEYS = ("ase", "name", "arguments")


@dataclass(frozen=True)
class Entrant:
    """One model of the comparison: settings of `fit` to train it, or a finished calculator of others."""

    name: str
    overrides: tuple[str, ...] = ()
    calculator: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_trained(self) -> bool:
        """Whether it is trained here."""
        return self.calculator is None


@dataclass(frozen=True)
class Cell:
    """One run of the benchmark: a model on a data set, with a number of training structures and a seed."""

    data: str
    model: str
    size: int | None
    seed: int
    folder: Path

    @property
    def title(self) -> str:
        """What a person calls it.

        >>> Cell("MgO", "schnet", 20, 1, Path("x")).title
        'schnet on MgO, 20 structures, seed 1'
        """
        size = "all structures" if self.size is None else f"{self.size:,} structures"
        return f"{self.model} on {self.data}, {size}, seed {self.seed}"


@dataclass(frozen=True)
class DataRecord:
    """One data set: its frames, the split that all models share, and how it was read."""

    name: str
    frames: Sequence[Atoms]
    split: Split
    settings: Mapping[str, Any]
    level_of_theory: str

    @property
    def test(self) -> list[Atoms]:
        """The test frames."""
        return [self.frames[k] for k in self.split.test]


def entrants_of(models: Sequence[Any], overrides: Sequence[str] = ()) -> list[Entrant]:
    """The models of a configuration: names, ``{name: overrides}``, or ``{ase: dotted name of a calculator}``.

    >>> [e.overrides for e in entrants_of(["schnet", {"hdnnp": ["model.cutoff=6"]}])]
    [('model=schnet',), ('model=hdnnp', 'model.cutoff=6')]

    Raises:
        ConfigError: no model, one that does not exist, two of the same name, or a setting that all share.
    """
    _refuse_all_but_lists("models", models, "[hdnnp,schnet]")
    _refuse_all_but_lists("overrides", overrides, "[batch_size=8]")
    if not models:
        raise ConfigError("models=[]: name at least one, as models=[hdnnp,schnet]")
    found = [_entrant(entry) for entry in models]
    names = [entrant.name for entrant in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"models: {twice!r} stands there twice; give one a name of its own, as {{{twice}-2: [...]}}")
    for where, words in [("overrides", overrides), *((f"models.{e.name}", e.overrides) for e in found)]:
        refuse_shared(where, words)
    return found


def _entrant(entry: Any) -> Entrant:
    if isinstance(entry, str):
        return Entrant(entry, _with_model(entry, []))
    if isinstance(entry, Mapping) and "ase" in entry:
        return _calculator(entry)
    if isinstance(entry, Mapping) and len(entry) == 1:
        name, overrides = next(iter(entry.items()))
        if overrides is None or (isinstance(overrides, list) and all(isinstance(word, str) for word in overrides)):
            return Entrant(str(name), _with_model(str(name), overrides or []))
    raise ConfigError(
        f"models: {entry!r} is no model; give a name, as schnet, {{NAME: [overrides of fit]}}, as "
        '{wide: ["model=schnet","model.n_features=128"]}, or {ase: package.module.Calculator}'
    )


def _refuse_all_but_lists(key: str, value: Any, example: str) -> None:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{key}={value!r}: give a list, as {key}={example}")


def _calculator(entry: Mapping[str, Any]) -> Entrant:
    for key in entry:
        if key not in ASE_KEYS:
            raise ConfigError(f"models: {{ase: {entry['ase']}}} has no key {key!r}; {did_you_mean(str(key), ASE_KEYS)}")
    dotted = str(entry["ase"])
    if "." not in dotted:
        raise ConfigError(f"models: ase={dotted!r} is no dotted name of a calculator, as ase.calculators.emt.EMT")
    name = str(entry.get("name") or _class_in(dotted))
    arguments = entry.get("arguments") or {}
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"models: {{ase: {dotted}, arguments: {arguments!r}}}: give their names, as {{sigma: 2.5}}")
    return Entrant(name, calculator=dotted, arguments=dict(arguments))


def _class_in(dotted: str) -> str:
    """Name of the class in a dotted name, which may go on with a method that makes one.

    >>> _class_in("ase.calculators.tersoff.Tersoff.from_lammps"), _class_in("package.calculator")
    ('Tersoff', 'calculator')
    """
    words = dotted.split(".")
    return next((word for word in reversed(words) if word[:1].isupper()), words[-1])


def _with_model(name: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides, which begin with the model that they configure."""
    words = list(overrides)
    if any(word.startswith(("model=", "experiment=", "checkpoint=")) for word in words):
        return tuple(words)
    if name not in group_entries("model"):
        hint = did_you_mean(name, group_entries("model"))
        raise ConfigError(f'models: {name!r} is no model ({hint}), and its settings name none, as "model=schnet"')
    return (f"model={name}", *words)


def refuse_shared(where: str, overrides: Iterable[str]) -> None:
    """Raise ConfigError for an override that would make one training differ in what all have in common."""
    for word in overrides:
        for beginning, instead in KEPT_APART.items():
            key = word.partition("=")[0].lstrip("+~")
            if key == beginning or (key.startswith(beginning) and beginning[-1] in "._"):
                raise ConfigError(f"{where}: {word} would not be the same for all trainings; type {instead}")


def data_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings ``data`` of `fit` for each data set, by its name.

    Raises:
        ConfigError: entries without names, an entry that is neither a file nor settings, a key that does not exist,
            or two names of one folder.
    """
    shared = dict(config["data"])
    if not config["datasets"]:
        return {_name_of(shared["train_path"] or shared["path"]): shared}
    if not isinstance(config["datasets"], Mapping):
        raise ConfigError(
            f"datasets={config['datasets']!r}: give each a name, as datasets={{MgO: MgO, mine: mine.extxyz}}"
        )
    found: dict[str, dict[str, Any]] = {}
    for name, entry in config["datasets"].items():
        own = dict(entry) if isinstance(entry, Mapping) else {"path": entry}
        for key in own:
            if key not in shared:
                raise ConfigError(f"datasets.{name}: data.{key} is unknown; {did_you_mean(str(key), shared)}")
        if isinstance(own.get("split"), Mapping):
            own["split"] = {**shared["split"], **own["split"]}
        if slug(str(name)) in found:
            raise ConfigError(f"datasets: {name!r} would share the folder {slug(str(name))!r} with another; rename it")
        found[slug(str(name))] = {**_without_files(shared, own), **own}
    return found


def _without_files(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What a data set shares with others: not their files, where it names its own."""
    files = ("train_path", "val_path", "test_path")
    if any(own.get(name) for name in ("path", *files)):
        return {**shared, **dict.fromkeys(files)}
    return dict(shared)


def _name_of(path: str | Sequence[str]) -> str:
    """Name of a data set by its file, or by the first of several.

    >>> _name_of("data/Li2O.xyz.gz"), _name_of(["a.xyz", "b.xyz"])
    ('Li2O', 'a-and-1-more')
    """
    first = path if isinstance(path, str) else path[0]
    stem = re.sub(r"(\.(gz|xz|bz2|extxyz|xyz|json|db|traj|data))+$", "", Path(first).name)
    return slug(stem if isinstance(path, str) or len(path) == 1 else f"{stem}-and-{len(path) - 1}-more")


def slug(name: str) -> str:
    """Name of a folder.

    >>> slug("GaN (charged)")
    'GaN-charged'
    """
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "data"


def cells_of(
    entrants: Sequence[Entrant],
    data: Iterable[str],
    sizes: Sequence[int | None],
    seeds: Sequence[int],
    output: Path,
) -> list[Cell]:
    """Every run of the benchmark: the models side by side, small training sets first.

    A finished calculator of others is evaluated once on each data set.

    Raises:
        ConfigError: a size or seed that is none, or two folders of one name.
    """
    _refuse_values(sizes, seeds)
    in_order = sorted(dict.fromkeys(sizes), key=lambda size: float("inf") if size is None else size)
    cells = []
    for name in data:
        cells += [Cell(name, e.name, None, 0, _folder(output, name, e.name, "")) for e in entrants if not e.is_trained]
        for size in in_order:
            for seed in dict.fromkeys(seeds):
                suffix = f"-{'all' if size is None else size}-seed{seed}"
                cells += [
                    Cell(name, e.name, size, seed, _folder(output, name, e.name, suffix))
                    for e in entrants
                    if e.is_trained
                ]
    folders = [cell.folder for cell in cells]
    if len(set(folders)) < len(folders):
        raise ConfigError("models: two of them would share a folder; give them names that differ in their letters")
    return cells


def _folder(output: Path, data: str, model: str, suffix: str) -> Path:
    return output / "cells" / data / f"{slug(model)}{suffix}"


def _refuse_values(sizes: Sequence[int | None], seeds: Sequence[int]) -> None:
    _refuse_all_but_lists("sizes", sizes, "[50,200,null]")
    _refuse_all_but_lists("seeds", seeds, "[0,1,2]")
    wrong = [s for s in sizes if s is not None and (isinstance(s, bool) or not isinstance(s, int) or s < 1)]
    if wrong or not sizes:
        raise ConfigError(f"sizes={list(sizes)}: give numbers of training structures, as sizes=[50,200,null]")
    if not seeds or any(not isinstance(s, int) or isinstance(s, bool) for s in seeds):
        raise ConfigError(f"seeds={list(seeds)}: give whole numbers, as seeds=[0,1,2]")


def own_settings(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a model is trained with that the others are not, besides the model itself: by dotted key, its and theirs.

    Args:
        own: flat settings of `fit` of the model,
        shared: and of a model without settings of its own.

    >>> own_settings({"loss.forces.kind": "mse", "model.cutoff": 5}, {"loss.forces.kind": "huber", "model.cutoff": 6})
    {'loss.forces.kind': {'own': 'mse', 'shared': 'huber'}}
    """
    keys = [key for key in (*own, *(k for k in shared if k not in own)) if not key.startswith(NOT_COMPARED)]
    return {key: {"own": own.get(key), "shared": shared.get(key)} for key in keys if own.get(key) != shared.get(key)}


def typed_settings(
    overrides: Sequence[str], composed: Mapping[str, Any], default: Mapping[str, Any], section: str
) -> dict[str, Any] | None:
    """What overrides of `fit` say about one of its sections; None if they choose the whole section anew.

    A key counts if it is named, or if a file that is named (``experiment=...``) sets it away from its default.

    Args:
        overrides: as typed.
        composed: the configuration of `fit` with them,
        default: and without.
        section: as ``optimizer``.
    """
    named = {word.partition("=")[0].lstrip("+~") for word in overrides}
    if section in named:
        return None
    return _differences(composed[section], default[section], f"{section}.", named)


def _differences(new: Mapping[str, Any], old: Mapping[str, Any], prefix: str, named: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            inner = _differences(value, old[key], f"{prefix}{key}.", named)
            found |= {key: inner} if inner else {}
        elif key not in old or value != old[key] or prefix + key in named:
            found[key] = value
    return found
