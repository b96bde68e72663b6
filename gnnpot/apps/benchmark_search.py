"""Hyperparameters for a benchmark: a stated space per model, searched by Optuna on validation errors alone."""

import itertools
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from gnnpot.apps.benchmark_cells import FAILED, FINISHED, UNFINISHED, run_cells, status_of
from gnnpot.apps.benchmark_plan import Entrant, refuse_shared, slug
from gnnpot.data.files import replacing
from gnnpot.errors import ConfigError, TrainingError, did_you_mean
from gnnpot.keys import metric_name
from gnnpot.report.formatting import significant
from gnnpot.report.terminal import say

SEARCH_KEYS = ("trials", "max_epochs", "max_time", "size", "seed", "spaces")
RANGE_KEYS = ("low", "high", "log")
OBJECTIVE = "geometric mean of the validation MAE of energy (meV/atom) and forces (meV/Å)"
BEST_FILE = "best.yaml"
SUMMARY_FILE = "search.json"

LayOut = Callable[[Entrant, Path], None]
"""Writes configuration and split (without test structures) of a trial of a model into a folder."""


@dataclass(frozen=True)
class SearchPlan:
    """What a search does, besides the spaces."""

    trials: int
    seed: int
    jobs: int
    launcher: str
    slurm: Mapping[str, Any]
    folder: Path

    def folder_of(self, entrant: Entrant, number: int) -> Path:
        """Where the training of a trial is."""
        return self.folder / "trials" / f"{slug(entrant.name)}-{number}"


def objective_of(folder: Path) -> float | None:
    """What a search minimizes: √(MAE_E · MAE_F) of the validation structures, or the one that a model has.

    None where the training is not finished. Test structures have no say: trials have none.
    """
    if status_of(folder) != FINISHED:
        return None
    errors = json.loads((folder / "metrics.json").read_text(encoding="utf-8")).get("val", {})
    values = [errors[key] for name in ("energy", "forces") if (key := metric_name(name, "mae")) in errors]
    if not values:
        raise ConfigError(f"{folder}: the validation structures have no energy and no forces to search by")
    return math.prod(values) ** (1.0 / len(values))


def space_of(entrant: Entrant, spaces: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The space of a model, by its own name or by that of the model that it configures; None: it stays as given.

    Raises:
        ConfigError: there is none, or an entry is neither a range nor a list of choices.
    """
    model = next((word.partition("=")[2] for word in entrant.overrides if word.startswith("model=")), entrant.name)
    if entrant.name in spaces and spaces[entrant.name] is None:
        return None
    space = spaces.get(entrant.name, spaces.get(model))
    if not isinstance(space, Mapping) or not space:
        raise ConfigError(
            f"search.spaces has nothing for {entrant.name!r}; {did_you_mean(entrant.name, spaces)}. For a model that "
            f"stays as given type +search.spaces.{entrant.name}=null"
        )
    refuse_shared("search.spaces", space)
    for key, entry in space.items():
        is_range = isinstance(entry, Mapping) and {"low", "high"} <= entry.keys() <= set(RANGE_KEYS)
        if not is_range and not (isinstance(entry, list) and entry):
            raise ConfigError(
                f"search.spaces.{entrant.name}.{key}={entry}: give {{low: 1, high: 2}} or a list of choices"
            )
    return space


def searched(
    entrants: Sequence[Entrant], spaces: Mapping[str, Any], plan: SearchPlan, lay_out: LayOut, console: Console
) -> list[Entrant]:
    """The models with the best settings that were found, one after the other, in the order given.

    Each has a study of its own in ``search/study.db``; a search that was stopped goes on: first with the trainings
    that were under way, in their folders, then with the trials that are left. The best settings are written to
    ``search/best.yaml``, as ``models`` that a benchmark takes.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    found, summary = [], {}
    for entrant in entrants:
        space = space_of(entrant, spaces) if entrant.is_trained else None
        if space is None:
            found.append(entrant)
            continue
        best, facts = _search(entrant, space, plan, lay_out, console)
        found.append(replace(entrant, overrides=(*entrant.overrides, *best)))
        summary[entrant.name] = facts
    _write(plan.folder / SUMMARY_FILE, json.dumps({"objective": OBJECTIVE, "models": summary}, indent=2) + "\n")
    models = [{e.name: list(e.overrides)} for e in found if e.is_trained]
    text = yaml.safe_dump({"models": models}, sort_keys=False, allow_unicode=True, width=1000)
    _write(plan.folder / BEST_FILE, f"# @package _global_\n# Lowest {OBJECTIVE}.\n{text}")
    say(console, f"best settings: {plan.folder / BEST_FILE} (as configs/matrix/NAME.yaml they are matrix=NAME)")
    return found


def _search(
    entrant: Entrant, space: Mapping[str, Any], plan: SearchPlan, lay_out: LayOut, console: Console
) -> tuple[list[str], dict[str, Any]]:
    """Overrides of the best trial of one model, and what is told of the search."""
    study = _study(entrant, plan)
    if plan.folder_of(entrant, 0).is_dir():
        # refuses other data, budgets and settings than the search began with
        lay_out(entrant, plan.folder_of(entrant, 0))
    _refuse_another_space(study, entrant, space, plan)
    begun = _begun(study)
    while (n_left := plan.trials - _n_ended(study, entrant, plan)) > 0:
        trials = begun or _asked(study, space, min(n_left, plan.jobs))
        begun = {}
        _run(study, entrant, trials, plan, lay_out, console)
    done = [t for t in study.trials if t.value is not None]
    if not done:
        raise ConfigError(f"search: no training of {entrant.name} finished; see {plan.folder / 'trials'}")
    best = min(done, key=lambda t: t.value)
    first = next((t.value for t in done if t.number == 0), None)
    facts = {"trials": _n_ended(study, entrant, plan), "value": best.value, "as_given": first, "space": dict(space)}
    overrides = list(best.user_attrs["overrides"])
    return overrides, {**facts, "overrides": overrides}


def _refuse_another_space(study: Any, entrant: Entrant, space: Mapping[str, Any], plan: SearchPlan) -> None:
    """Raise ConfigError where a study was begun with another space; its best trial may lie outside of this one."""
    stated = json.loads(json.dumps(dict(space)))
    known = study.user_attrs.get("space", stated)
    if known != stated:
        rows = [
            f"  {key}: {known.get(key, 'not there')} there, {stated.get(key, 'not there')} now"
            for key in (*stated, *(k for k in known if k not in stated))
            if known.get(key) != stated.get(key)
        ]
        raise ConfigError(
            f"search.spaces.{entrant.name}: the search in {plan.folder} was begun with another space:\n"
            + "\n".join(rows)
            + f"\nSet it back, choose another output=, or delete {plan.folder} to search anew"
        )
    study.set_user_attr("space", stated)


def _study(entrant: Entrant, plan: SearchPlan) -> Any:
    """The study of a model in the database of this search."""
    try:
        import optuna
    except ImportError:
        raise ConfigError("search= needs Optuna: pip install 'gnnpot[search]', or leave search=null") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=f"sqlite:///{plan.folder / 'study.db'}",
            study_name=entrant.name,
            load_if_exists=True,
        )
        # a search that goes on with the same seed would propose its first settings again
        seed, n_random = plan.seed + len(study.trials), max(4, plan.trials // 4)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_random)
    return study


def _begun(study: Any) -> dict[int, list[str]]:
    """Overrides, by number, of the trials under way when a search was stopped; one stopped as it was asked is none."""
    from optuna.trial import TrialState

    found: dict[int, list[str]] = {}
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if "overrides" in trial.user_attrs:
            found[trial.number] = list(trial.user_attrs["overrides"])
        elif trial.number == 0:
            found[0] = []
        else:
            study.tell(trial.number, state=TrialState.FAIL)
    return found


def _asked(study: Any, space: Mapping[str, Any], n: int) -> dict[int, list[str]]:
    """Overrides of new trials, by number; the first of a study has the settings as given."""
    found = {}
    for trial in [study.ask() for _ in range(n)]:
        found[trial.number] = [] if trial.number == 0 else proposed(trial, space)
        trial.set_user_attr("overrides", found[trial.number])
    return found


def _run(
    study: Any,
    entrant: Entrant,
    overrides: Mapping[int, Sequence[str]],
    plan: SearchPlan,
    lay_out: LayOut,
    console: Console,
) -> None:
    """Run trials, or go on with them, and tell the study; those that are stopped stay open for the next search."""
    from optuna.trial import TrialState

    numbers = {plan.folder_of(entrant, number): number for number in overrides}
    for folder, number in numbers.items():
        lay_out(replace(entrant, overrides=(*entrant.overrides, *overrides[number])), folder)
    is_stopped = False
    done = [(folder, FINISHED) for folder in numbers if status_of(folder) == FINISHED]
    left = [folder for folder in numbers if status_of(folder) != FINISHED]
    runs = run_cells(left, plan.jobs, plan.launcher, plan.slurm, plan.folder / "slurm")
    for folder, status in itertools.chain(done, runs):
        number, value = numbers[folder], objective_of(folder)
        if status == UNFINISHED:
            is_stopped = True
        elif value is None:
            study.tell(number, state=TrialState.FAIL)
        else:
            study.tell(number, value)
        shown = status if value is None else significant(value)
        settings = ", ".join(overrides[number]) or "as given"
        n_ended = _n_ended(study, entrant, plan)
        say(console, f"search {entrant.name} [{n_ended}/{plan.trials}]: {shown}   {settings}")
    if is_stopped:
        raise TrainingError(f"search: a training of {entrant.name} was stopped; the same command goes on with it")


def _n_ended(study: Any, entrant: Entrant, plan: SearchPlan) -> int:
    """Trials that count: those with a value, and those whose training failed by itself."""
    from optuna.trial import TrialState

    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) + sum(
        status_of(plan.folder_of(entrant, trial.number)) == FAILED for trial in failed
    )


def proposed(trial: Any, space: Mapping[str, Any]) -> list[str]:
    """Overrides of `fit` that a trial proposes within a space."""
    words = []
    for key, entry in space.items():
        if isinstance(entry, list):
            texts = [str(choice).replace(" ", "") for choice in entry]
            value: Any = trial.suggest_categorical(key, texts)
        elif isinstance(entry["low"], int) and isinstance(entry["high"], int):
            value = trial.suggest_int(key, entry["low"], entry["high"], log=bool(entry.get("log", False)))
        else:
            low, high = float(entry["low"]), float(entry["high"])
            value = f"{trial.suggest_float(key, low, high, log=bool(entry.get('log', False))):.4g}"
        words.append(f"{key}={value}")
    return words


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
