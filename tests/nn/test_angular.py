"""Spherical harmonics and sums over angles against Legendre polynomials, loops and finite differences."""

import pytest
import torch
from torch import Tensor

from gnnpot.errors import ConfigError
from gnnpot.nn.angular import SphericalHarmonics, moments, projections
from gnnpot.nn.convolution import only_parameters

CENTERS = torch.tensor([0, 0, 0, 2, 2, 3])
N_ATOMS = 4
"""Among them an atom without edges."""


def directions(seed: int, n: int = 6) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, 3, dtype=torch.float64, generator=rng), dim=1)


def channels(l_max: int) -> Tensor:
    rng = torch.Generator().manual_seed(9)
    return torch.randn(6, l_max + 1, 4, dtype=torch.float64, generator=rng, requires_grad=True)


def legendre(x: Tensor) -> list[Tensor]:
    return [torch.ones_like(x), x, 1.5 * x**2 - 0.5, 2.5 * x**3 - 1.5 * x]


@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_addition_theorem(l_max: int) -> None:
    harmonics = SphericalHarmonics(l_max).double()
    a, b = directions(1), directions(2)
    products = harmonics(a) * harmonics(b)
    assert products.shape[1] == (l_max + 1) ** 2
    for degree, expected in enumerate(legendre((a * b).sum(dim=1))[: l_max + 1]):
        found = products[:, degree**2 : (degree + 1) ** 2].sum(dim=1)
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-14)


def test_degrees_beyond_three_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.l_max=4: give a degree of spherical harmonics from 0 to 3"):
        SphericalHarmonics(4)


def test_a_change_of_precision_and_back_loses_nothing() -> None:
    once, again = SphericalHarmonics(3).double(), SphericalHarmonics(3).double().float().double()
    assert torch.equal(once(directions(1)), again(directions(1)))


def test_projections_are_sums_over_angles() -> None:
    y, phi = SphericalHarmonics(3).double()(directions(1)), channels(3).detach()
    found = projections(moments(phi, y, CENTERS, N_ATOMS), y, CENTERS)
    polynomials = torch.stack(legendre(directions(1) @ directions(1).T))
    same_center = (CENTERS[:, None] == CENTERS).double()
    torch.testing.assert_close(found, torch.einsum("ek,lek,klc->elc", same_center, polynomials, phi))


def test_first_and_second_derivatives() -> None:
    y = SphericalHarmonics(2).double()(directions(1)).requires_grad_()

    def there_and_back(phi: Tensor, harmonics: Tensor) -> Tensor:
        return projections(moments(phi, harmonics, CENTERS, N_ATOMS).tanh(), harmonics, CENTERS)

    assert torch.autograd.gradcheck(there_and_back, (channels(2), y))
    assert torch.autograd.gradgradcheck(there_and_back, (channels(2), y))


def test_derivatives_by_directions_are_left_out_where_only_parameters_count() -> None:
    y, phi = SphericalHarmonics(2).double()(directions(1)).requires_grad_(), channels(2)
    with only_parameters():
        found = torch.autograd.grad(moments(phi, y, CENTERS, N_ATOMS).sum(), (phi, y), allow_unused=True)
    assert found[0] is not None
    assert found[1] is None
