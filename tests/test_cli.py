"""The command line: help that teaches, errors in one line, exit codes."""

import re
import subprocess
import sys
import warnings

import pytest

from gnnpot import __version__
from gnnpot.cli import VERBS, main
from gnnpot.config import compose, flatten
from gnnpot.errors import DataWarning


def test_overview_names_every_verb(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in VERBS:
        assert f"  {name}" in text
    assert main([]) == 0


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gnnpot {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_shows_three_examples_and_its_keys(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.count(f"  gnnpot {verb}") >= 3
    assert "Keys and their defaults" in text


def test_help_of_fit_shows_every_key(capsys):
    main(["fit", "--help"])
    text = capsys.readouterr().out
    for key in flatten(compose("fit")):
        name = key.rpartition(".")[2]
        assert re.search(rf"\b{name}:", text), key


def test_help_shows_the_keys_of_the_group_that_is_typed(capsys):
    main(["fit", "model=hdnnp", "--help"])
    assert "n_angular: " in capsys.readouterr().out


def test_help_of_fit_lists_the_models(capsys):
    main(["fit", "--help"])
    assert "model = " in capsys.readouterr().out


def test_unknown_verb(capsys):
    assert main(["fitt"]) == 1
    assert "did you mean 'fit'" in capsys.readouterr().err


def test_a_users_error_is_one_message_without_traceback(capsys):
    assert main(["info", "no/such/file.xyz"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("gnnpot: ")
    assert "Traceback" not in error


def test_interrupt(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gnnpot.cli.call", interrupted)
    assert main(["fit"]) == 130


def test_as_a_module():
    found = subprocess.run([sys.executable, "-m", "gnnpot", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout == f"gnnpot {__version__}\n"


def test_a_warning_is_one_sentence(monkeypatch, capsys):
    def warned(*_):
        warnings.warn("the cell is odd", DataWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("gnnpot.cli.call", warned)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["fit"]) == 0
    assert capsys.readouterr().err == "warning: the cell is odd\n"


def test_a_missing_value_names_the_key_to_type(capsys):
    assert main(["md", "checkpoint=model"]) == 1
    assert "structure=" in capsys.readouterr().err
