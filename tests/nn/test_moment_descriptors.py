"""Functions of every center: plain torch against sums over pairs of neighbors, compiled loops against plain torch."""

import ase.data
import numpy as np
import pytest
import torch

from gnnpot.data.graph import cast, edge_vectors
from gnnpot.errors import ConfigError
from gnnpot.nn.element_properties import ELECTRONEGATIVITIES, HEAVIEST, PROPERTIES, element_properties
from gnnpot.nn.moment_descriptors import MomentEvaluation, MomentSet, plain_moment_descriptors
from gnnpot.nn.moment_functions import moment_grid, parse_moment_function
from tests.nn.test_descriptors import CUTOFF, ELEMENTS, batch_of_everything, types_of

LINES = [
    "M2 * one eta=0.5 shift=1",
    "M2 * radius eta=2 shift=1.5",
    "M3 * one one order=0 eta=0.5 shift=1,1",
    "M3 * one group order=1 eta=0.5 shift=1,2",
    "M3 * group one order=1 eta=0.5 shift=1,2",
    "M3 * electronegativity electronegativity order=2 eta=0.3 shift=2,2",
    "M3 * period radius order=3 eta=0.3 shift=2,2.5",
    "M2 * radius eta=2 shift=-0.3 distances=by_element",
    "M3 * one group order=1 eta=0.5 shift=-0.5,1 distances=by_element",
]


@pytest.fixture(params=["polynomial", "cosine"])
def moment_set(request):
    lines = [f"{line} cutoff={CUTOFF} {request.param}" for line in LINES]
    return MomentSet(ELEMENTS, [parse_moment_function(line) for line in lines])


def by_loops(moment_set, graph, types):
    """The double sums as they are defined."""
    covalent_radii = torch.tensor(ase.data.covalent_radii)[list(ELEMENTS)]
    vectors, out = edge_vectors(graph), torch.zeros(graph.n_atoms, moment_set.n_functions, dtype=torch.float64)
    for f, function in enumerate(moment_set.functions):
        w = element_properties(ELEMENTS, function.properties)[types[graph.neighbors]]
        r = vectors.norm(dim=1)
        x = (r / function.cutoff).clamp(max=1.0)
        smooth = 1 - 10 * x**3 + 15 * x**4 - 6 * x**5
        if function.envelope == "cosine":
            smooth = 0.5 * (torch.cos(torch.pi * x) + 1.0)
        u = r - covalent_radii[types[graph.edge_index]].sum(0) if function.by_element else r
        g = [torch.exp(-function.eta * (u - shift) ** 2) * smooth for shift in function.shifts]
        for i in range(graph.n_atoms):
            mine = (graph.centers == i).nonzero()[:, 0].tolist()
            if function.kind == "M2":
                out[i, f] = sum(float(w[j, 0] * g[0][j]) for j in mine)
                continue
            for j in mine:
                for k in mine:
                    cosine = float(vectors[j] @ vectors[k] / r[j] / r[k])
                    legendre = np.polynomial.legendre.legval(cosine, np.eye(4)[function.order])
                    out[i, f] += float(w[j, 0] * w[k, 1] * g[0][j] * g[1][k]) * legendre
    return out


def test_plain_torch_against_sums_over_pairs(moment_set):
    graph = batch_of_everything()
    found = plain_moment_descriptors(moment_set, graph, types_of(graph))
    torch.testing.assert_close(found, by_loops(moment_set, graph, types_of(graph)), rtol=1e-11, atol=1e-12)


def jacobian_weights(moment_set, graph):
    torch.manual_seed(0)
    return torch.randn(graph.n_atoms, moment_set.n_functions, dtype=torch.float64)


def test_compiled_loops_against_plain_torch(moment_set):
    graph = batch_of_everything()
    types, weights = types_of(graph), jacobian_weights(moment_set, graph)
    evaluation = MomentEvaluation(moment_set, graph, types)
    moving = graph.replace(positions=graph.positions.clone().requires_grad_(True))
    expected = plain_moment_descriptors(moment_set, moving, types)
    torch.testing.assert_close(evaluation.descriptors(), expected.detach(), rtol=1e-11, atol=1e-11)
    (by_position,) = torch.autograd.grad((weights * expected).sum(), moving.positions)
    by_edge = evaluation.pulled_back(weights)
    found = torch.zeros_like(by_position).index_add(0, graph.neighbors, by_edge).index_add(0, graph.centers, -by_edge)
    torch.testing.assert_close(found, by_position, rtol=1e-10, atol=1e-10)


def test_the_pull_back_is_linear_and_its_derivatives_exact(moment_set):
    graph = batch_of_everything()
    evaluation = MomentEvaluation(moment_set, graph, types_of(graph))
    weights = jacobian_weights(moment_set, graph)[:, :].requires_grad_(True)
    assert torch.autograd.gradcheck(evaluation.pulled_back, (weights,), atol=1e-8)
    assert torch.autograd.gradgradcheck(evaluation.pulled_back, (weights,), atol=1e-8)


def test_single_precision(moment_set):
    graph = batch_of_everything()
    exact = MomentEvaluation(moment_set, graph, types_of(graph))
    single = MomentEvaluation(moment_set, cast(graph, torch.float32), types_of(graph))
    weights = jacobian_weights(moment_set, graph)
    assert single.descriptors().dtype == torch.float32
    torch.testing.assert_close(single.descriptors().double(), exact.descriptors(), rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(single.pulled_back(weights), exact.pulled_back(weights), rtol=2e-4, atol=2e-4)


def test_lines_read_back_and_mistakes_are_named():
    functions = moment_grid(1.0, 5.0, n_radial=4, n_angular=2, envelope="polynomial")
    assert [parse_moment_function(str(function)) for function in functions] == functions
    assert len(functions) == 4 * 5 + 2 * 15 * 3
    by_element = moment_grid(1.0, 5.0, n_radial=4, n_angular=2, envelope="polynomial", by_element=True)
    assert [parse_moment_function(str(function)) for function in by_element] == by_element
    assert sorted({function.shifts[0] for function in by_element}) == [-0.6, 0.3, 1.2, 1.75, 2.1]
    for line, message in {
        "M2 * mass eta=1 shift=1 cutoff=4 polynomial": "'mass' is no property of elements",
        "M3 * one eta=1 shift=1 cutoff=4 polynomial": "M3 two of each",
        "M3 * one one order=9 eta=1 shift=1,1 cutoff=4 polynomial": "order of M3 is 0 to 3",
        "T3 * order=2 cutoff=4 polynomial": "M2 and M3",
        "M2 Li one eta=1 shift=1 cutoff=4 polynomial": "M2 and M3",
        "M2 * one eta=1 shift=1 zeta=2 cutoff=4 polynomial": "unknown zeta",
        "M2 * one eta=1 shift=1 distances=by_elements cutoff=4 polynomial": "did you mean 'by_element'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            parse_moment_function(line)
    with pytest.raises(ConfigError, match="given twice"):
        MomentSet(ELEMENTS, [functions[0], functions[0]])


def test_properties_of_the_elements():
    table = element_properties(range(1, HEAVIEST + 1))
    assert len(ELECTRONEGATIVITIES) == HEAVIEST
    torch.testing.assert_close(table[:, 1:].mean(0), torch.zeros(len(PROPERTIES) - 1, dtype=torch.float64))
    torch.testing.assert_close(table[:, 1:].std(0, correction=0), torch.ones(len(PROPERTIES) - 1, dtype=torch.float64))
    with pytest.raises(ConfigError, match="not of 104"):
        element_properties([1, 104])
    apart = torch.cdist(table, table) + 10.0 * torch.eye(HEAVIEST)
    assert float(apart[:94, :94].min()) > 0.01, ase.data.chemical_symbols[int(apart[:94, :94].argmin()) // 94 + 1]
