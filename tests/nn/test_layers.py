"""Shared layers."""

import numpy as np
import pytest
import torch

from gnnpot.errors import ConfigError, UnknownElementError
from gnnpot.nn.layers import ElementTable, ShiftedSoftplus, build_activation, mlp


def test_shifted_softplus():
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)
    expected = np.log(0.5 * np.exp(x.numpy()) + 0.5)
    np.testing.assert_allclose(ShiftedSoftplus()(x).numpy(), expected, rtol=1e-12, atol=1e-15)


def test_twisted_tanh_is_a_tanh_on_a_slope():
    x = torch.linspace(-30, 30, 13, dtype=torch.float64, requires_grad=True)
    values = build_activation("twisted_tanh")(x)
    points = x.detach().numpy()
    np.testing.assert_allclose(values.detach().numpy(), np.tanh(points) + 0.1 * points, rtol=1e-14, atol=1e-15)
    (slopes,) = torch.autograd.grad(values.sum(), x)
    np.testing.assert_allclose(slopes.numpy(), 1.0 / np.cosh(points) ** 2 + 0.1, rtol=1e-9)


def test_mlp_has_no_activation_after_the_last_layer():
    layers = mlp([3, 4, 2], "tanh")
    assert [type(layer).__name__ for layer in layers] == ["Linear", "Tanh", "Linear"]


def test_unknown_activation():
    with pytest.raises(ConfigError, match="did you mean 'tanh'"):
        build_activation("tan")


def test_element_table():
    table = ElementTable([3, 8])
    assert table(torch.tensor([8, 3])).tolist() == [1, 0]
    with pytest.raises(UnknownElementError, match=r"Fe.*knows Li, O"):
        table(torch.tensor([8, 26]))
