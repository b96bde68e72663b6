"""Layers that several potentials share."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from gnnpot.errors import ConfigError, UnknownElementError, did_you_mean
from gnnpot.nn.watch import Remembered

LOG_2 = math.log(2.0)


class ShiftedSoftplus(nn.Module):
    """ssp(x) = ln(½ eˣ + ½), the activation of SchNet: infinitely smooth, ssp(0) = 0.

    >>> ShiftedSoftplus()(torch.zeros(1))
    tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, same shape."""
        return nn.functional.softplus(x) - LOG_2


class TwistedTanh(nn.Module):
    """tanh(x) + a·x, which never saturates (LeCun et al., Efficient BackProp, 1998); a = 0.1."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, same shape."""
        return torch.tanh(x) + 0.1 * x


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "shifted_softplus": ShiftedSoftplus,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "twisted_tanh": TwistedTanh,
}


def build_activation(name: str) -> nn.Module:
    """Activation by the name it has in a configuration.

    Raises:
        ConfigError: the name is not one of `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"activation={name!r} is unknown; {did_you_mean(str(name), ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def mlp(sizes: Sequence[int], activation: str, last_bias: bool = True) -> nn.Sequential:
    """Dense layers of the given sizes with the activation between them, none after the last.

    ``last_bias=False`` leaves out the constant of the last layer, where only differences of its output count.

    >>> mlp([8, 4, 1], "tanh")(torch.zeros(3, 8)).shape
    torch.Size([3, 1])
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), build_activation(activation)]
    if not last_bias:
        layers[-2] = nn.Linear(sizes[-2], sizes[-1], bias=False)
    return nn.Sequential(*layers[:-1])


class ElementTable(nn.Module):
    """Translates atomic numbers into the types 0, 1, ... of a model's elements.

    >>> ElementTable([3, 8])(torch.tensor([8, 3, 3]))
    tensor([1, 0, 0])
    """

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        table = torch.full((len(chemical_symbols),), -1, dtype=torch.int64)
        table[list(elements)] = torch.arange(len(elements))
        self.elements = tuple(elements)
        self.register_buffer("table", table, persistent=False)
        self._last = Remembered()

    table: Tensor

    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """Type of every atom, ``(n_atoms,)``.

        Raises:
            UnknownElementError: an element that the model has not learned (checked where it costs no wait for
                an accelerator: on the CPU).
        """
        return self._last.value((atomic_numbers, self.table), lambda: self._looked_up(atomic_numbers))

    def _looked_up(self, atomic_numbers: Tensor) -> Tensor:
        types = self.table.index_select(0, atomic_numbers)
        if types.device.type == "cpu" and types.numel() and int(types.min()) < 0:
            self.refuse(atomic_numbers)
        return types

    def refuse(self, atomic_numbers: Tensor) -> None:
        """Raise `UnknownElementError` if any element is unknown; waits for the device."""
        unknown = sorted(set(atomic_numbers.tolist()) - set(self.elements))
        if unknown:
            names = ", ".join(chemical_symbols[z] for z in unknown)
            known = ", ".join(chemical_symbols[z] for z in self.elements)
            raise UnknownElementError(
                f"{names}: this model knows {known}. Use a model trained with these elements, or train one"
            )


class KeepsFloat64(nn.Module):
    """A module whose float64 buffers stay float64 when the model around it is cast to another precision."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "KeepsFloat64":
        exact = {name: b for name, b in self._buffers.items() if b is not None and b.dtype == torch.float64}
        super()._apply(fn, recurse)
        for name, buffer in exact.items():
            moved = self._buffers[name]
            self._buffers[name] = buffer if moved is None else buffer.to(moved.device)
        return self
