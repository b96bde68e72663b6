import importlib
import inspect

import pytest

from gnnpot.cli import VERBS
from gnnpot.config import compose

REQUIRED = {"checkpoint": "model", "structure": "cell.cif", "data.path": "data.xyz", "path": "data.xyz"}


@pytest.mark.parametrize("verb", ["md", "relax", "check", "evaluate", "predict", "info"])
def test_keys_and_defaults_are_those_of_the_function(verb):
    module, _, name = VERBS[verb].function.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    required = {key for key, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
    needed = [f"{key}={value}" for key, value in REQUIRED.items() if key.partition(".")[0] in required]
    config = compose(verb, needed)
    assert list(config) == list(parameters)
    for key in parameters.keys() - required:
        assert config[key] == parameters[key].default, key
