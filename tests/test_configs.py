"""Configurations: shipped ones compose, wrong ones are explained, none can run code."""

import importlib
import inspect

import pytest
import yaml

from gnnpot.cli import VERBS
from gnnpot.config import build, compose, config_dir, flatten, group_entries, verbs
from gnnpot.errors import ConfigError


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_composes(verb):
    required = {"checkpoint": "model", "structure": "cell.cif", "path": "x", "data.path": "x.extxyz"}
    required |= {"kind": "check", "trajectory": "x.extxyz"}
    text = (config_dir() / f"{verb}.yaml").read_text(encoding="utf-8")
    needed = [key for key, value in flatten(yaml.safe_load(text)).items() if value == "???"]
    assert set(needed) <= required.keys()
    composed = flatten(compose(verb, [f"{key}={required[key]}" for key in needed]))
    assert {key: composed[key] for key in needed} == {key: required[key] for key in needed}


@pytest.mark.parametrize(("verb", "key"), [("md", "structure"), ("predict", "data.path"), ("info", "path")])
def test_a_missing_value_names_the_key(verb, key):
    with pytest.raises(ConfigError, match=rf"needs .*{key}.*type .*{key}="):
        compose(verb)


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if not verb.takes_config])
def test_keys_are_the_arguments_of_the_function(verb):
    module, _, name = VERBS[verb].function.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    keys = yaml.safe_load((config_dir() / f"{verb}.yaml").read_text(encoding="utf-8"))
    keys.pop("defaults", None)
    assert list(keys) == list(parameters)


def test_verbs_and_files_match():
    assert set(VERBS) == set(verbs())


@pytest.mark.parametrize("group", ["model", "head", "data", "trainer", "optimizer", "loss", "experiment"])
def test_every_group_entry_composes(group):
    for entry in group_entries(group):
        override = f"+{group}={entry}" if group == "experiment" else f"{group}={entry}"
        try:
            compose("fit", [override])
        except ConfigError:
            compose("fit", [override.lstrip("+")])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.max_epoch=3"], "did you mean 'trainer.max_epochs'"),
        (["model=schnett"], "did you mean 'schnet'"),
        (["model.cutof=3"], "did you mean 'model.cutoff'"),
        (["trainer.max_epochs"], "key=value"),
        (["data.pth=x"], "did you mean 'data.path'"),
        (["modle=schnet"], "did you mean 'model'"),
        (["model.elements=[{a: [b=c]}]"], r"quotes of its own, as models=\"\[hdnnp,"),
    ],
)
def test_mistyped_keys_name_the_nearest(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose("fit", overrides)


def test_unknown_verb():
    with pytest.raises(ConfigError, match="did you mean 'fit'"):
        compose("fitt")


@pytest.mark.parametrize("path", ["a b (1).xyz", "x=y,z.xyz", "it's.xyz", "C:\\data\\x.xyz", "normal.xyz", "~/x.xyz"])
def test_paths_may_hold_any_character(path):
    assert compose("fit", [f"data.path={path}"])["data"]["path"] == path


def test_lists_of_paths():
    assert compose("fit", ["data.path=[a.xyz,b.xyz]"])["data"]["path"] == ["a.xyz", "b.xyz"]


def test_lists_of_words():
    composed = compose("fit", ["model=hdnnp", "model.descriptors=[pairwise,chebyshev]"])
    assert composed["model"]["descriptors"] == ["pairwise", "chebyshev"]
    assert compose("fit", ["model=hdnnp"])["model"]["descriptors"] == "pairwise"


def test_durations_stay_text():
    assert compose("fit", ["trainer.max_time='00:00:15:00'"])["trainer"]["max_time"] == "00:00:15:00"


def test_the_users_own_configs_are_found(tmp_path, monkeypatch):
    folder = tmp_path / "configs" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\ntrainer:\n  max_epochs: 7\n")
    monkeypatch.chdir(tmp_path)
    assert compose("fit", ["experiment=mine"])["trainer"]["max_epochs"] == 7


ALLOWED = ("gnnpot.models",)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "gnnpot.config.importlib.import_module",
        "gnnpot.models.store.shutil.rmtree",
        "gnnpot.models.store.Path",
        "gnnpot.models.store.load",
        "gnnpot.models.nothing.Nothing",
        "gnnpot.modelsx.Evil",
        "SchNet",
        "",
    ],
)
def test_build_refuses_what_is_not_allowed(target):
    with pytest.raises(ConfigError, match="_target_"):
        build({"_target_": target}, ALLOWED)


def test_build_names_the_nearest_argument():
    with pytest.raises(ConfigError, match="did you mean 'cutoff'"):
        build({"_target_": "gnnpot.models.schnet.SchNet", "elements": ["Si"], "cutof": 3.0}, ALLOWED)


def test_flatten():
    assert flatten({"a": {"b": {"c": 1}, "d": []}, "e": {}}) == {"a.b.c": 1, "a.d": [], "e": {}}
