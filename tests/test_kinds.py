"""Values of a wrong kind are named, and never a traceback."""

from collections.abc import Sequence

import pytest

from gnnpot.cli import main
from gnnpot.errors import ConfigError
from gnnpot.kinds import checked_kinds, hints_of


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (3.0, int, 3),
        (3, float, 3),
        (None, float | None, None),
        ("auto", str | int, "auto"),
        (2026, str, "2026"),
        ([1, 2], int | Sequence[int] | None, [1, 2]),
        (True, bool, True),
        ({"a": 1}, dict[str, int], {"a": 1}),
    ],
)
def test_what_fits_passes(value, hint, expected):
    found = checked_kinds({"key": value, "other": "x"}, {"key": hint})
    assert found == {"key": expected, "other": "x"}
    assert type(found["key"]) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("ten", int, "key=ten: give a whole number$"),
        (2.5, int, "key=2.5: give a whole number$"),
        (None, float, "key=null: give a number$"),
        ("warm", float | None, "key=warm: give a number or null$"),
        (1, bool, "key=1: give true or false$"),
        (True, float, "key=true: give a number$"),
        ("forces", Sequence[str] | None, "key=forces: give a list"),
        ([1], int, "give a whole number"),
    ],
)
def test_what_does_not_is_named(value, hint, message):
    with pytest.raises(ConfigError, match=message):
        checked_kinds({"key": value}, {"key": hint})


def test_annotations_that_cannot_be_read_check_nothing():
    def odd(x: "NoSuchName") -> None:  # noqa: F821
        """Annotated with a name that does not exist."""

    assert hints_of(odd) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["md", "checkpoint=a", "structure=b", "steps=many"], "steps=many: give a whole number"),
        (["md", "checkpoint=a", "structure=b", "temperature=null"], "temperature=null: give a number"),
        (["relax", "checkpoint=a", "structure=b", "cell=perhaps"], "cell=perhaps: give true or false"),
        (["predict", "checkpoint=a", "data.path=b", "properties=forces"], "properties=forces: give a list"),
        (["md", "checkpoint=a", "structure=Li2O", "field=0.1"], "field=0.1: give three numbers in V/Å, as [0,0,0.1]"),
        (["evaluate", "checkpoint=a", "data.path=b", "batch_size=half"], "batch_size=half"),
        (["check", "checkpoint=a", "steps=[1,2]"], "give a whole number"),
    ],
)
def test_a_verb_says_which_key(words, message, capsys):
    assert main(words) == 1
    assert message in capsys.readouterr().err
