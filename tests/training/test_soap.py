import copy

import pytest
import torch
from torch import Tensor

from gnnpot.training.soap import SOAP


def random_rotation(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=torch.manual_seed(seed)))[0]


def narrow_valley(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A linear regression whose inputs are correlated over three orders of magnitude, in no direction of the axes."""
    torch.manual_seed(seed)
    scales = torch.logspace(0, -3, 6, dtype=torch.float64)
    inputs = torch.randn(200, 6, dtype=torch.float64) * scales @ random_rotation(6, 1)
    return inputs, inputs @ torch.randn(6, 4, dtype=torch.float64)


def minimized(optimizer: torch.optim.Optimizer, weight: Tensor, steps: int = 400) -> float:
    inputs, targets = narrow_valley()
    loss = torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((inputs @ weight - targets) ** 2).mean()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_path_does_not_depend_on_the_axes_of_weights():
    left, right = random_rotation(4, 2), random_rotation(4, 3)
    torch.manual_seed(4)
    gradients = [torch.randn(4, 4, dtype=torch.float64) for _ in range(25)]
    plain, turned = (torch.nn.Parameter(torch.zeros(4, 4, dtype=torch.float64)) for _ in range(2))
    optimizers = [SOAP([w], lr=0.01, eps=1e-12, update_bases_every=3) for w in (plain, turned)]
    for gradient in gradients:
        plain.grad, turned.grad = gradient, left @ gradient @ right
        for optimizer in optimizers:
            optimizer.step()
    assert plain.abs().max() > 0.01
    torch.testing.assert_close(left @ plain @ right, turned, rtol=0.0, atol=1e-6)


def test_bases_diagonalize_the_correlations_of_a_steady_gradient():
    torch.manual_seed(5)
    weight = torch.nn.Parameter(torch.zeros(4, 6, dtype=torch.float64))
    optimizer = SOAP([weight], update_bases_every=1)
    steady = torch.randn(4, 6, dtype=torch.float64)
    for _ in range(300):
        weight.grad = steady.clone()
        optimizer.step()
    state = optimizer.state[weight]
    diagonal = state["left_basis"].t() @ steady @ steady.t() @ state["left_basis"]
    expected = torch.linalg.eigvalsh(steady @ steady.t()).flip(0)
    torch.testing.assert_close(diagonal, torch.diag(expected), rtol=1e-8, atol=1e-8)


def test_reaches_the_floor_of_a_narrow_valley_before_adam():
    weights = [torch.nn.Parameter(torch.zeros(6, 4, dtype=torch.float64)) for _ in range(2)]
    soap = minimized(SOAP([weights[0]], lr=0.02), weights[0])
    adam = minimized(torch.optim.Adam([weights[1]], lr=0.02, betas=(0.95, 0.95)), weights[1])
    assert soap < 0.1 * adam


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 2)])
def test_weights_without_two_axes_follow_adam(shape):
    torch.manual_seed(6)
    ours, theirs = (torch.nn.Parameter(torch.ones(shape, dtype=torch.float64)) for _ in range(2))
    optimizers = SOAP([ours], lr=0.1), torch.optim.Adam([theirs], lr=0.1, betas=(0.95, 0.95), eps=1e-30)
    ours.grad = torch.ones(shape, dtype=torch.float64)
    optimizers[0].step()
    for _ in range(20):
        ours.grad = theirs.grad = torch.randn(shape, dtype=torch.float64)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_long_axes_and_single_rows_take_no_basis():
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((8, 3), (1, 5))]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer = SOAP(weights, longest_axis=6)
    optimizer.step()
    assert [sorted(k for k in optimizer.state[w] if k.endswith("basis")) for w in weights] == [["right_basis"]] * 2


def test_goes_on_bitwise_from_saved_state():
    weight = torch.nn.Parameter(torch.zeros(6, 4, dtype=torch.float64))
    optimizer = SOAP([weight], lr=0.01, update_bases_every=7)
    minimized(optimizer, weight, steps=33)
    again = torch.nn.Parameter(weight.detach().clone())
    resumed = SOAP([again])
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    minimized(optimizer, weight, steps=33)
    minimized(resumed, again, steps=33)
    assert torch.equal(weight, again)


def test_weights_without_gradient_in_a_step_stay():
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = SOAP([weight])
    optimizer.step()
    for _ in range(3):
        weight.grad = torch.zeros(3, 2)
        optimizer.step()
    assert torch.equal(weight, torch.ones(3, 2))


def test_weight_decay_shrinks_weights_in_proportion():
    weight = torch.nn.Parameter(torch.full((3, 2), 2.0))
    optimizer = SOAP([weight], lr=0.1, weight_decay=0.5)
    for _ in range(3):
        weight.grad = torch.zeros(3, 2)
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 2), 2.0 * 0.95**2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1.0}, "lr=-1.0 must not be negative"),
        ({"betas": (0.9, 1.0)}, "betas: 1.0 must be at least 0 and below 1"),
        ({"update_bases_every": 0}, "update_bases_every=0 must be at least 1 step"),
    ],
)
def test_arguments_outside_of_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        SOAP([torch.nn.Parameter(torch.zeros(2, 2))], **arguments)
