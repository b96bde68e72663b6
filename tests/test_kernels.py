"""The switch between compiled loops and plain torch: the same numbers, and one place that decides."""

import json
import os
import subprocess
import sys

import pytest
import torch

from gnnpot import kernels
from gnnpot.errors import ConfigError

EVALUATE = """
import json, sys, torch
from ase.build import bulk
from gnnpot.config import build, compose
from gnnpot.data.graph import graph_from_atoms
from gnnpot.models.properties import derive
results = {}
for name in ("hdnnp", "schnet", "gnnff", "gnnff_conservative"):
    arguments = {**compose("fit", [f"model={name}"])["model"], "elements": ["Mg", "O"], "cutoff": 3.5}
    if name == "hdnnp":
        pairs = ("Mg O", "O Mg")
        arguments["functions"] = [f"G2 {pair} eta=1 shift=2 cutoff=3.5 polynomial" for pair in pairs]
    torch.manual_seed(0)
    model = build(arguments, ("gnnpot.models",)).double()
    atoms = bulk("MgO", "rocksalt", a=4.3)
    atoms.rattle(0.05, seed=1)
    graph = graph_from_atoms(atoms, model.cutoff)
    results[name] = derive(model, graph, ["forces"])["forces"].tolist()
print(json.dumps(results), [m for m in sys.modules if m.endswith("_kernels") and "neighbor" not in m])
"""


def evaluate(choice):
    environment = {**os.environ, kernels.VARIABLE: choice}
    done = subprocess.run([sys.executable, "-c", EVALUATE], capture_output=True, text=True, check=True, env=environment)
    numbers, loaded = done.stdout.strip().rsplit(" [", 1)
    return json.loads(numbers), loaded


def test_plain_torch_gives_the_numbers_of_the_compiled_loops():
    plain, loaded = evaluate("plain")
    assert "gnnpot.nn.descriptor_kernels" not in loaded
    fast, loaded = evaluate("compiled")
    assert "gnnpot.nn.descriptor_kernels" in loaded
    assert plain.keys() == fast.keys()
    for name, forces in plain.items():
        torch.testing.assert_close(torch.tensor(fast[name]), torch.tensor(forces), rtol=0.0, atol=1e-8)


def test_another_word_is_refused_by_name(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "compield")
    kernels.kernels.cache_clear()
    with pytest.raises(ConfigError, match=r"GNNPOT_KERNELS=compield.*compiled"):
        kernels.kernels()
    kernels.kernels.cache_clear()


def test_accelerators_take_plain_torch():
    assert not kernels.kernels_serve(torch.device("cuda"))
    assert "Numba" in kernels.description()
