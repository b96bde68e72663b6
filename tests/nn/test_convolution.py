"""The compiled convolution against sums over pairs, and its derivatives against finite differences."""

import pytest
import torch

from gnnpot.nn.convolution import Pairs, convolve, convolve_plainly, only_geometry, only_parameters

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
PAIRS = Pairs(torch.tensor([[0, 1, 2, 2, 0], [1, 3, 2, 0, 1]]), torch.tensor([0, 2, 1, 3, 1]))
"""Among them a pair of an atom with its own image, and one that stands there twice."""


@pytest.fixture
def inputs() -> Inputs:
    rng = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (9, 3), (5, 6))
    values, table, weights = (
        torch.randn(*shape, dtype=torch.float64, generator=rng, requires_grad=True) for shape in shapes
    )
    return values, table, weights


def test_against_sums_over_pairs(inputs: Inputs) -> None:
    values, table, weights = (x.detach() for x in inputs)
    expected = torch.zeros_like(values)
    for p, (i, j) in enumerate(PAIRS.atoms.T.tolist()):
        first = int(PAIRS.first[p])
        filters = weights[p] @ table[first : first + 6]
        expected[i] += values[j] * filters
        expected[j] += values[i] * filters
    torch.testing.assert_close(convolve(*inputs, PAIRS), expected)
    torch.testing.assert_close(convolve_plainly(*inputs, PAIRS), expected)


def test_first_and_second_derivatives(inputs: Inputs) -> None:
    assert torch.autograd.gradcheck(lambda *x: convolve(*x, PAIRS), inputs)
    assert torch.autograd.gradgradcheck(lambda *x: convolve(*x, PAIRS), inputs)


def forces_and_gradients(function, inputs: Inputs, create_graph: bool) -> list[torch.Tensor]:
    """What a step of training computes: the derivatives of a function of ∂/∂v and ∂/∂w, by everything."""
    values, _, weights = inputs
    energy = function(*inputs, PAIRS).sin().sum()
    forces = torch.autograd.grad(energy, (values, weights), create_graph=True)
    loss = energy + sum((force**3).sum() for force in forces)
    return [*forces, *torch.autograd.grad(loss, inputs, create_graph=create_graph)]


@pytest.mark.parametrize("create_graph", [False, True], ids=["fused", "differentiable"])
def test_training_on_forces_against_plain_differentiation(inputs: Inputs, create_graph: bool) -> None:
    found = forces_and_gradients(convolve, inputs, create_graph)
    expected = forces_and_gradients(convolve_plainly, inputs, create_graph)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_third_derivatives_against_plain_differentiation(inputs: Inputs) -> None:
    def third(function):
        total = sum((gradient**2).sum() for gradient in forces_and_gradients(function, inputs, create_graph=True))
        return torch.autograd.grad(total, inputs)

    for ours, theirs in zip(third(convolve), third(convolve_plainly), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_nobody_asks_for_is_not_computed(inputs: Inputs) -> None:
    values, table, weights = inputs
    with only_geometry():
        found = torch.autograd.grad(convolve(*inputs, PAIRS).sum(), inputs, allow_unused=True)
    assert [gradient is None for gradient in found] == [False, True, False]
    with only_parameters():
        (force,) = torch.autograd.grad(convolve(*inputs, PAIRS).sin().sum(), values, create_graph=True)
        found = torch.autograd.grad((force**2).sum(), (values, table, weights), allow_unused=True)
    assert [gradient is None for gradient in found] == [False, False, True]
