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
