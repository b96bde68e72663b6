import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from gnnpot.nn.splines import N_WEIGHTS, PIECES, QUASI_INTERPOLATION, QuinticSpline

CUTOFF, N_INTERVALS = 5.0, 40


@pytest.fixture
def spline() -> QuinticSpline:
    return QuinticSpline(CUTOFF, N_INTERVALS).double()


def value(spline: QuinticSpline, coefficients: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
    first, weights = spline(distances)
    return (weights * coefficients[first[:, None] + torch.arange(N_WEIGHTS)]).sum(dim=1)


def derivatives(y: torch.Tensor, x: torch.Tensor, n: int) -> list[torch.Tensor]:
    found = [y]
    for _ in range(n):
        found += torch.autograd.grad(found[-1].sum(), x, create_graph=True)
    return [d.detach() for d in found]


def test_value_and_all_derivatives_are_those_of_scipys_b_spline(spline: QuinticSpline) -> None:
    coefficients = torch.randn(N_INTERVALS + 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    distances = torch.linspace(0.01, CUTOFF - 0.01, 77, dtype=torch.float64, requires_grad=True)
    knots = spline.spacing * np.arange(-5, N_INTERVALS + 6)
    oracle = BSpline(knots, coefficients.numpy(), 5)
    x = distances.detach().numpy()
    for order, found in enumerate(derivatives(value(spline, coefficients, distances), distances, 4)):
        expected = oracle(x, nu=order)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12 * np.abs(expected).max())


def test_polynomials_of_the_fifth_degree_are_met_exactly(spline: QuinticSpline) -> None:
    def polynomial(r: torch.Tensor) -> torch.Tensor:
        return 1.0 - 2.0 * r + 0.3 * r**3 - 0.02 * r**5

    distances = torch.linspace(0.0, CUTOFF, 200, dtype=torch.float64)
    coefficients = spline.coefficients(polynomial(spline.knots)[:, None])[:, 0]
    torch.testing.assert_close(value(spline, coefficients, distances), polynomial(distances), rtol=0.0, atol=1e-12)


def test_the_error_falls_with_the_sixth_power_of_the_spacing() -> None:
    distances = torch.linspace(0.0, CUTOFF, 1000, dtype=torch.float64)
    errors = []
    for n_intervals in (40, 80):
        spline = QuinticSpline(CUTOFF, n_intervals).double()
        coefficients = spline.coefficients(torch.sin(3.0 * spline.knots)[:, None])[:, 0]
        errors.append(float((value(spline, coefficients, distances) - torch.sin(3.0 * distances)).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(64.0, rel=0.1)


def test_constants_are_exact_sums() -> None:
    columns = np.array(PIECES).sum(axis=0)
    assert columns.tolist() == [120.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert sum(QUASI_INTERPOLATION) == pytest.approx(1.0, abs=1e-15)


def test_a_change_of_precision_and_back_loses_nothing() -> None:
    there_and_back = QuinticSpline(CUTOFF, N_INTERVALS).double().float().double()
    plain = QuinticSpline(CUTOFF, N_INTERVALS).double()
    assert torch.equal(there_and_back.knots, plain.knots)
    assert torch.equal(there_and_back.pieces, plain.pieces)
