"""Whether the weights of a module are still what they were, for tables that are made of them."""

from typing import Any

import torch
from torch import nn


class WeightWatch:
    """Remembers the parameters of a module.

    Where none of them is trainable, they count as unchanged while every parameter is the same tensor in the same
    memory and torch has counted no write to it (``_version``: optimizers and ``load_state_dict`` are counted, writes
    to ``parameter.data`` are not). Where any is trainable, all values are compared: averaging of weights writes to
    ``.data``; so are weights made in torch's inference mode, where nothing is counted. Copies of a watch are blind:
    they see a change.

    >>> layer = nn.Linear(2, 2)
    >>> watch = WeightWatch(layer)
    >>> watch.sees_no_change()
    True
    >>> layer.weight.data.zero_()[0, 0]
    tensor(0.)
    >>> watch.sees_no_change()
    False
    """

    def __init__(self, module: nn.Module) -> None:
        self._places: list[tuple[dict[str, Any], str, Any]] = []
        for part in module.modules():
            self._places += [(part._modules, name, child) for name, child in part._modules.items()]
            self._places += [(part._parameters, name, weight) for name, weight in part._parameters.items()]
        weights = [weight for part in module.modules() for weight in part._parameters.values() if weight is not None]
        # the alias keeps the memory from being given to another tensor
        self._aliases = [weight.detach() for weight in weights]
        self._counts = not any(weight.is_inference() for weight in weights)
        self._states = [(weight, weight.data_ptr(), weight._version if self._counts else 0) for weight in weights]
        self._copies = [weight.detach().clone() for weight in weights]

    def sees_no_change(self) -> bool:
        """Whether module, parameters and their values are those of the construction."""
        if not self._places:
            return False
        for place, name, part in self._places:
            if place.get(name) is not part:
                return False
        frozen = self._counts
        for weight, address, version in self._states:
            if weight.data_ptr() != address or (self._counts and weight._version != version):
                return False
            frozen = frozen and not weight.requires_grad
        return frozen or all(map(torch.equal, (state[0] for state in self._states), self._copies))

    def __deepcopy__(self, memo: dict[int, Any]) -> "WeightWatch":
        return WeightWatch(nn.Module())

    def __reduce__(self) -> tuple[Any, ...]:
        return WeightWatch, (nn.Module(),)
