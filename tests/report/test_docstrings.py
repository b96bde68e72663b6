"""The examples in the docstrings of the reports run."""

import doctest
import importlib
import pkgutil

import pytest

import gnnpot.report

MODULES = [module.name for module in pkgutil.iter_modules(gnnpot.report.__path__, "gnnpot.report.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
