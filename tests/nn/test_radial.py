"""Cutoffs and radial bases."""

import numpy as np
import pytest
import torch

from gnnpot.errors import ConfigError
from gnnpot.nn.radial import CosineCutoff, GaussianBasis, PolynomialCutoff, build_envelope


def derivatives(function, at, order):
    r = torch.tensor([at], dtype=torch.float64, requires_grad=True)
    value = function(r)
    found = [value]
    for _ in range(order):
        (value,) = torch.autograd.grad(value.sum(), r, create_graph=True)
        found.append(value)
    return [float(v.detach()) for v in found]


def test_polynomial_is_twice_continuously_differentiable_at_the_cutoff():
    np.testing.assert_allclose(derivatives(PolynomialCutoff(5.0), 5.0 - 1e-6, 2), 0.0, atol=1e-5)
    np.testing.assert_allclose(derivatives(PolynomialCutoff(5.0), 5.1, 2), 0.0, atol=0)
    np.testing.assert_allclose(derivatives(PolynomialCutoff(5.0), 0.0, 2), [1.0, 0.0, 0.0], atol=1e-12)


def test_cosine_has_a_jump_in_curvature_alone():
    value, slope, curvature = derivatives(CosineCutoff(5.0), 5.0 - 1e-6, 2)
    assert abs(value) < 1e-10
    assert abs(slope) < 1e-6
    assert curvature == pytest.approx(0.5 * (np.pi / 5.0) ** 2, rel=1e-4)


def test_both_fall_monotonically():
    r = torch.linspace(0, 6, 500, dtype=torch.float64)
    for envelope in (PolynomialCutoff(5.0), CosineCutoff(5.0)):
        assert (envelope(r).diff() <= 1e-14).all()


def test_unknown_envelope_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'polynomial'"):
        build_envelope("polynomal", 5.0)


def test_gaussians():
    basis = GaussianBasis(n_radial=11, cutoff=5.0).double()
    values = basis(torch.tensor([1.0, 1.25], dtype=torch.float64))
    assert values.shape == (2, 11)
    assert values[0, 2] == pytest.approx(1.0, abs=1e-6)
    assert values[1, 2] == pytest.approx(np.exp(-0.5 * 0.5**2), rel=1e-5)
    wide = GaussianBasis(n_radial=11, cutoff=5.0, width=2.0).double()
    assert wide(torch.tensor(1.25, dtype=torch.float64))[2] == pytest.approx(np.exp(-0.5 * 0.25**2), rel=1e-5)
    with pytest.raises(ConfigError, match="gaussian_width=0"):
        GaussianBasis(n_radial=11, cutoff=5.0, width=0.0)
    with pytest.raises(ConfigError, match="n_radial=1"):
        GaussianBasis(n_radial=1, cutoff=5.0)


def test_gaussians_have_no_denormal_numbers():
    """Far from their center neither they nor products of two of them, as those of a force and its gradient."""
    distances = torch.linspace(0.5, 6.0, 400, requires_grad=True)
    values = GaussianBasis(32, 6.0)(distances)
    (slopes,) = torch.autograd.grad(values.sum(), distances, create_graph=True)
    tiny = torch.finfo(torch.float32).tiny
    for numbers in (values, values * values, slopes):
        assert bool(((numbers == 0.0) | (numbers.abs() >= tiny)).all())
    assert float((values * values).detach().min()) < 1e-30
