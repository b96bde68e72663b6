"""Layers in parts: the same results, whatever the size of the parts."""

import pytest
import torch
from ase.build import bulk, molecule
from ase.data import atomic_numbers

from gnnpot.data.graph import AtomicGraph, collate, graph_from_atoms
from gnnpot.models.gnnff import GNNFF
from gnnpot.models.gnnff_conservative import GNNFFConservative
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive
from gnnpot.nn import parts
from gnnpot.nn.parts import Part, by_parts, in_parts

ELEMENTS = ["H", "O", "Si", "Ge"]


def crystals() -> AtomicGraph:
    """A crystal, a molecule and a lone atom, so that parts hold several structures and an atom without edges."""
    crystal = bulk("Si", cubic=True)
    crystal.numbers[::3] = atomic_numbers["Ge"]
    crystal.rattle(0.1, seed=1)
    lone = molecule("H2O")[:1]
    return collate([graph_from_atoms(atoms, 4.0) for atoms in (crystal, molecule("H2O"), lone)])


def models() -> dict[str, Potential]:
    torch.manual_seed(0)
    sizes = (4.0, 6, 4, 2.0, 2, 3.5)
    made = {
        "direct": GNNFF(ELEMENTS, *sizes),
        "direct with angles": GNNFF(ELEMENTS, *sizes, l_max=1, symmetrize=True),
        "conservative": GNNFFConservative(ELEMENTS, *sizes),
        "conservative with triplets": GNNFFConservative(ELEMENTS, *sizes, l_max=None),
    }
    return {name: model.double() for name, model in made.items()}


def properties_of(model: Potential) -> list[str]:
    return ["forces"] if "forces" in model.outputs else ["energy", "energies", "forces", "stress"]


@pytest.mark.parametrize("n_bytes", [20_000, 200_000])
@pytest.mark.parametrize("name", models())
def test_parts_change_nothing(name, n_bytes, monkeypatch):
    model, graph = models()[name], crystals()
    whole = derive(model, graph, properties_of(model))
    monkeypatch.setitem(parts.WORKING_BYTES, "cpu", n_bytes)
    found = derive(model, graph, properties_of(model))
    for key, value in whole.items():
        torch.testing.assert_close(found[key], value, rtol=1e-11, atol=1e-11, equal_nan=True)


def test_training_is_not_in_parts(monkeypatch):
    """Weights and second derivatives have no way through parts."""
    model, graph = models()["conservative"], crystals()
    monkeypatch.setitem(parts.WORKING_BYTES, "cpu", 1)
    derive(model, graph, ["forces"], differentiable=True)["forces"].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_memory_does_not_hold_inner_values(monkeypatch):
    """Of many parts only inputs and the result are saved for the way back."""
    x = torch.ones(64, 3, dtype=torch.float64, requires_grad=True)
    rows = [Part({"n": slice(k, k + 8), "back": torch.arange(64).flip(0)[k : k + 8]}) for k in range(0, 64, 8)]
    calls = []

    def function(part, here, there):
        calls.append(len(here))
        return (here.exp() * there).sin()

    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.shape) or t, lambda t: t):
        found = by_parts(function, rows, [(x, "n"), (x, "back")], out="n")
    assert saved == [x.shape, x.shape]
    (gradient,) = torch.autograd.grad(found.square().sum(), [x])
    plain = by_parts(
        function, [Part({"n": slice(None), "back": torch.arange(64).flip(0)})], [(x, "n"), (x, "back")], "n"
    )
    (expected,) = torch.autograd.grad(plain.square().sum(), [x])
    torch.testing.assert_close(gradient, expected, rtol=1e-14, atol=0)
    assert calls == 16 * [8] + [64]


def test_all_rows_outside_of_the_context():
    cpu = torch.device("cpu")
    assert parts.rows_per_part(10**9, 1000, cpu) == 10**9
    with in_parts(True):
        assert parts.rows_per_part(10**9, 1000, cpu) == parts.WORKING_BYTES["cpu"] // 1000
        assert parts.rows_per_part(10, 1000, cpu) == 10
