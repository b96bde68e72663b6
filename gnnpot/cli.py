"""The command line: a verb is a public function, its options are the keys of ``configs/<verb>.yaml``."""

import importlib
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gnnpot._version import __version__
from gnnpot.errors import ConfigError, GnnpotError, GnnpotWarning, did_you_mean

INTERRUPTED = 130
FAILED = 1


@dataclass(frozen=True)
class Verb:
    """One verb: the function behind it, one sentence, and lines to learn from, three or one for each kind."""

    function: str
    sentence: str
    examples: tuple[str, ...]
    takes_config: bool = False
    positional: str | None = None


VERBS: dict[str, Verb] = {
    "fit": Verb(
        "gnnpot.training.fit:fit",
        "Train a potential on DFT data, test it, and write a report.",
        (
            "gnnpot fit                                        # SchNet on the bundled Li2O data, 2.5 minutes",
            "gnnpot fit model=hdnnp data.path=mine.extxyz trainer.max_time=00:00:30:00",
            "gnnpot fit resume=runs/my-run",
        ),
        takes_config=True,
    ),
    "finetune": Verb(
        "gnnpot.training.finetune:finetune",
        "Go on with a trained model on data of one's own; what is saved is never worse than where it started.",
        (
            "gnnpot finetune checkpoint=mp-schnet data.path=mine.extxyz",
            "gnnpot finetune checkpoint=runs/my-run data.path=mine.extxyz",
            "gnnpot finetune checkpoint=model/ data.path=mine.extxyz replay.path=old.extxyz forgetting.path=b.extxyz",
            "gnnpot finetune checkpoint=model/ data.path=mine.extxyz adapter_rank=4 freeze=[embedding] layer_decay=0.7",
        ),
        takes_config=True,
    ),
    "evaluate": Verb(
        "gnnpot.apps.evaluate:evaluate",
        "Compare a trained model with the labels of a file.",
        (
            "gnnpot evaluate checkpoint=runs/my-run data.path=test.extxyz",
            "gnnpot evaluate checkpoint=model/ data.path='[a.xyz,OUTCAR]' output=errors.json",
            "gnnpot evaluate checkpoint=model/ data.path=input.data data.units='{energy: hartree, length: bohr}'",
        ),
    ),
    "predict": Verb(
        "gnnpot.apps.predict:predict_file",
        "Write a model's energies, forces and stress for every structure of a file.",
        (
            "gnnpot predict checkpoint=runs/my-run data.path=structures.extxyz output=predicted.extxyz",
            "gnnpot predict checkpoint=model/ data.path=POSCAR output=one.extxyz properties=[forces]",
            "gnnpot predict checkpoint=model/ data.path='[a.cif,b.cif]' output=both.extxyz",
        ),
    ),
    "benchmark": Verb(
        "gnnpot.apps.benchmark:benchmark",
        "Train several models alike and compare them on one page: accuracy, cost, physics.",
        (
            "gnnpot benchmark data.path=mine.extxyz trainer.max_time=00:00:30:00   # three models, half an hour each",
            "gnnpot benchmark matrix=quick                      # bundled data, two sizes, two seeds, 3 minutes",
            "gnnpot benchmark models='[hdnnp,{ase: ase.calculators.emt.EMT}]' sizes=[50,200,null] seeds=[0,1,2]",
        ),
        takes_config=True,
    ),
    "md": Verb(
        "gnnpot.apps.md:md",
        "Molecular dynamics with a trained model: NVE, NVT or NPT.",
        (
            "gnnpot md checkpoint=runs/my-run structure=cell.cif temperature=600 steps=10000",
            "gnnpot md checkpoint=model/ structure=POSCAR repeat=[2,2,2] ensemble=nve timestep=1",
            "gnnpot md checkpoint=model/ structure=POSCAR ensemble=npt pressure=1 temperature=300",
        ),
    ),
    "relax": Verb(
        "gnnpot.apps.relax_many:relax_command",
        "Relax positions, and the cell if asked, under pressure if asked; or the positions of many structures.",
        (
            "gnnpot relax checkpoint=runs/my-run structure=many.extxyz@: output=relaxed.extxyz",
            "gnnpot relax checkpoint=model/ structure=POSCAR cell=true fmax=0.001",
            "gnnpot relax checkpoint=model/ structure=POSCAR cell=true pressure=10",
        ),
    ),
    "phonon": Verb(
        "gnnpot.apps.phonon:phonon",
        "Phonon bands, density of states, heat capacity; LO-TO splitting where the model predicts Born charges.",
        (
            "gnnpot phonon checkpoint=runs/my-run structure=POSCAR relax=true",
            "gnnpot phonon checkpoint=model/ structure=Si.cif supercell=[3,3,3] displacement=0.02",
            "gnnpot phonon checkpoint=runs/with-head structure=MgO.cif relax=true cell=true dielectric=3.1",
        ),
    ),
    "analyze": Verb(
        "gnnpot.apps.analyze:analyze",
        "Diffusion, ionic conductivity or the infrared spectrum of a simulation, with errors.",
        (
            "gnnpot analyze kind=diffusion trajectory=md/trajectory.extxyz",
            "gnnpot analyze kind=conductivity trajectory='[800K/trajectory.extxyz,1000K/trajectory.extxyz]'",
            "gnnpot analyze kind=infrared trajectory=md/trajectory.extxyz checkpoint=runs/with-head",
        ),
    ),
    "check": Verb(
        "gnnpot.apps.check:check",
        "Physics self-test of any model: symmetries, derivatives, smoothness, energy conservation.",
        (
            "gnnpot check checkpoint=runs/my-run",
            "gnnpot check checkpoint=model/ structure=cell.cif",
            "gnnpot check checkpoint=model/ output=check.json",
        ),
    ),
    "data": Verb(
        "gnnpot.apps.data:data",
        "Import, label, check, convert or split data; imports of any size, into a store that fit reads.",
        (
            "gnnpot data kind=import format=mptrj path=MPtrj_2022.9_full.json output=mptrj   # stopped? type it again",
            "gnnpot data kind=check path=mine.extxyz",
            "gnnpot data kind=split path=mptrj output=parts split.group_by=reduced_formula",
            "gnnpot data kind=label path=mine.extxyz output=taught.extxyz calculator=ase.calculators.emt.EMT",
            "gnnpot data kind=convert path=OUTCAR output=mine.extxyz",
        ),
    ),
    "info": Verb(
        "gnnpot.apps.info:info",
        "What is in a checkpoint or a data file; `gnnpot info pretrained` lists the shipped models.",
        ("gnnpot info runs/my-run", "gnnpot info train.extxyz", "gnnpot info pretrained", "gnnpot info mp-schnet"),
        positional="path",
    ),
}
"""All verbs, in the order in which a user meets them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return 0, or 1 after an error (its message goes to the error stream), or 130 where interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with warnings.catch_warnings(), _sigterm_as_interrupt():
            warnings.showwarning = _plain_warnings(warnings.showwarning)
            return _run(words)
    except GnnpotError as error:
        sys.stderr.write(f"gnnpot: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("gnnpot: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, by which clusters end jobs, do what Ctrl-C does: no half-written files, and a word on going on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _plain_warnings(default: Callable[..., None]) -> Callable[..., None]:
    """Show warnings of gnnpot as one sentence, without the line of code that gave them."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        if issubclass(category, GnnpotWarning):
            sys.stderr.write(f"warning: {message}\n")
        else:
            default(message, category, *where, **options)

    return show


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return 0
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"gnnpot {__version__}\n")
        return 0
    name, *overrides = words
    if name not in VERBS:
        raise ConfigError(f"there is no `gnnpot {name}`; {did_you_mean(name, VERBS)}")
    if "-h" in overrides or "--help" in overrides:
        sys.stdout.write(verb_help(name, overrides))
        return 0
    return call(name, overrides)


def call(name: str, overrides: Sequence[str]) -> int:
    """Compose the configuration of a verb and call its function; 0, or 1 if the result says that it failed."""
    from gnnpot.config import compose
    from gnnpot.kinds import checked_kinds, hints_of

    verb = VERBS[name]
    words = list(overrides)
    if verb.positional and words and "=" not in words[0]:
        words[0] = f"{verb.positional}={words[0]}"
    config = compose(name, words)
    module, _, function_name = verb.function.partition(":")
    function = getattr(importlib.import_module(module), function_name)
    result: Any = function(config) if verb.takes_config else function(**checked_kinds(config, hints_of(function)))
    return 0 if getattr(result, "ok", True) else FAILED


def overview() -> str:
    """Text of ``gnnpot --help``."""
    lines = [
        f"gnnpot {__version__}: interatomic potentials from DFT data",
        "",
        "  gnnpot VERB [key=value ...]",
        "",
    ]
    lines += [f"  {name:<10}{verb.sentence}" for name, verb in VERBS.items()]
    lines += ["", "`gnnpot VERB --help` shows a verb's keys and examples. Start with: gnnpot fit", ""]
    return "\n".join(lines)


def verb_help(name: str, overrides: Sequence[str] = ()) -> str:
    """Text of ``gnnpot VERB --help``: the sentence, three examples, and the configuration with its comments.

    Groups chosen by the overrides (``gnnpot fit model=hdnnp --help``) are shown in the place of the defaults.
    """
    from gnnpot.config import config_dir

    verb = VERBS[name]
    text = (config_dir() / f"{name}.yaml").read_text(encoding="utf-8")
    lines = [f"gnnpot {name}: {verb.sentence}", "", "Examples"]
    lines += [f"  {example}" for example in verb.examples]
    lines += ["", "Keys and their defaults (any of them as key=value, nested ones with dots)"]
    lines += [f"  {line}" if line else "" for line in text.splitlines()]
    lines += _groups(text, dict(word.split("=", 1) for word in overrides if "=" in word))
    return "\n".join(lines) + "\n"


def _groups(text: str, typed: dict[str, str]) -> list[str]:
    """The groups that a configuration composes, their entries, and the keys of the chosen ones."""
    from gnnpot.config import config_dir, group_entries

    chosen = dict(re.findall(r"^  - (\w+): (\w+)", text, re.MULTILINE))
    groups = [group for group in chosen if (config_dir() / group).is_dir()]
    chosen |= {group: entry for group, entry in typed.items() if group in groups}
    if not groups:
        return []
    lines = ["", "Groups (chosen as group=name)"]
    lines += [f"  {group} = {' | '.join(group_entries(group))}" for group in groups]
    for group in groups:
        file = config_dir() / group / f"{chosen[group]}.yaml"
        if file.is_file():
            lines += ["", f"{group}={chosen[group]} (its keys as {group}.key=value)"]
            lines += [f"  {line}" for line in file.read_text(encoding="utf-8").splitlines()]
    return lines
