"""The door to derivatives, with a potential whose derivatives are known."""

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk

from gnnpot.data.graph import collate, edge_vectors, graph_from_atoms, sum_over_neighbors
from gnnpot.errors import PropertyNotAvailableError
from gnnpot.models.gradients import OutputSlopes
from gnnpot.models.potential import EnergyPotential, Potential
from gnnpot.models.properties import derive


class Springs(EnergyPotential):
    """E = ½ Σ_ij ½ (r_c - r_ij)⁴: every derivative on paper."""

    def __init__(self, elements=None, cutoff=3.5):
        super().__init__(elements, cutoff)
        self.strength = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def atomic_outputs(self, graph):
        r = edge_vectors(graph).norm(dim=1)
        return 0.25 * self.strength * sum_over_neighbors((self.cutoff - r) ** 4, graph)


class AnalyticSprings(Springs):
    """The same with its derivative written out."""

    def can_use_edge_gradients(self, graph, differentiable):
        return not differentiable

    def output_slopes(self, graph, differentiable):
        vectors = edge_vectors(graph)
        r = vectors.norm(dim=1, keepdim=True)
        return OutputSlopes(self.atomic_outputs(graph), -self.strength * (self.cutoff - r) ** 3 * vectors / r)


@pytest.fixture
def graph():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.set_cell(atoms.cell.array @ [[1, 0.1, 0], [0, 1, 0.2], [0, 0, 1]], scale_atoms=True)
    return graph_from_atoms(atoms, 3.5)


def test_forces_and_stress_on_paper(graph):
    values = derive(Springs(["Cu"]), graph, ["forces", "stress"])
    vectors = edge_vectors(graph)
    r = vectors.norm(dim=1, keepdim=True)
    pull = -((3.5 - r) ** 3) * vectors / r
    torch.testing.assert_close(values["forces"], 2 * sum_over_neighbors(pull, graph))
    virial = (vectors[:, :, None] * pull[:, None, :]).sum(0)
    torch.testing.assert_close(values["stress"][0], virial / torch.linalg.det(graph.cell[0]).abs())


@pytest.mark.parametrize("wanted", [["energy"], ["forces"], ["energies", "stress"], ["energy", "forces", "stress"]])
def test_edge_gradients_and_autograd_agree(graph, wanted):
    slab = bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    batch = collate([graph, graph_from_atoms(slab, 3.5)])
    plain = derive(Springs(["Cu"]), batch, wanted)
    fast = derive(AnalyticSprings(["Cu"]), batch, wanted)
    assert list(plain) == list(fast) == wanted
    for name in wanted:
        torch.testing.assert_close(plain[name], fast[name], equal_nan=True)
        assert not plain[name].requires_grad
        assert not fast[name].requires_grad


def test_training_takes_the_differentiable_way(graph):
    model = AnalyticSprings(["Cu"])
    derive(model, graph, ["forces"], differentiable=True)["forces"].square().sum().backward()
    assert model.strength.grad is not None


def test_derivatives_inside_no_grad(graph):
    expected = derive(Springs(["Cu"]), graph, ["forces"])["forces"]
    with torch.no_grad():
        torch.testing.assert_close(derive(Springs(["Cu"]), graph, ["forces"])["forces"], expected)


def test_structure_without_edges_has_zero_forces():
    values = derive(Springs(["Cu"]), graph_from_atoms(ase.Atoms("Cu"), 3.5), ["forces", "energy"])
    np.testing.assert_array_equal(values["forces"].numpy(), 0.0)


class Push(Potential):
    """A direct-force model."""

    outputs = frozenset({"forces"})

    def forward(self, graph):
        return {"forces": torch.ones_like(graph.positions)}


def test_direct_forces_pass_through_and_energy_is_refused(graph):
    assert derive(Push(["Cu"], 3.0), graph, ["forces"])["forces"].eq(1).all()
    with pytest.raises(PropertyNotAvailableError, match=r"Push gives forces, not stress.*hdnnp, schnet"):
        derive(Push(["Cu"], 3.0), graph, ["stress"])


def test_misspelled_property(graph):
    with pytest.raises(PropertyNotAvailableError, match="did you mean 'forces'"):
        derive(Springs(["Cu"]), graph, ["force"])
