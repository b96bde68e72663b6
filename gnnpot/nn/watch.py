"""Whether tensors are still what they were, for what is made of them once and kept."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Made = TypeVar("Made")


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


def kept_until_weights_change(make: Callable[[Any], Made]) -> Callable[[Any], Made]:
    """Keep what a method makes of the weights of its module, until `WeightWatch` sees a change."""
    name = f"_kept_{make.__name__}"

    @wraps(make)
    def current(module: nn.Module) -> Made:
        kept: tuple[WeightWatch, Made] | None = module.__dict__.get(name)
        if kept is None or not kept[0].sees_no_change():
            kept = module.__dict__[name] = WeightWatch(module), make(module)
        return kept[1]

    return current


class Remembered:
    """The last value of a function of tensors, for as long as it is asked of the same ones.

    In MD the numbers of the atoms stay from step to step, and what follows from them alone. A tensor is the same while
    it is the same object and torch has counted no write to it; those made in inference mode, where nothing is counted,
    are never the same. What is remembered serves in and out of that mode. Nobody may write to the value. Threads may
    ask at the same time. Copies remember nothing.

    >>> numbers, remembered = torch.tensor([1, 2]), Remembered()
    >>> first = remembered.value((numbers,), lambda: 2 * numbers)
    >>> remembered.value((numbers,), lambda: 2 * numbers) is first
    True
    >>> numbers += 1
    >>> remembered.value((numbers,), lambda: 2 * numbers)
    tensor([4, 6])
    """

    def __init__(self) -> None:
        self._last: tuple[tuple[tuple[Tensor, int], ...], Tensor] | None = None

    def value(self, of: tuple[Tensor, ...], make: Callable[[], Tensor]) -> Tensor:
        """The value for these tensors; ``make`` computes it where they are others than the last."""
        if any(tensor.is_inference() for tensor in of):
            return make()
        last = self._last
        if last is not None and _are(of, last[0]):
            return last[1]
        versions = tuple((tensor, tensor._version) for tensor in of)
        with torch.inference_mode(False):
            value = make()
        self._last = versions, value
        return value

    def __deepcopy__(self, memo: dict[int, Any]) -> "Remembered":
        return Remembered()

    def __reduce__(self) -> tuple[Any, ...]:
        return Remembered, ()


def _are(tensors: tuple[Tensor, ...], known: tuple[tuple[Tensor, int], ...]) -> bool:
    """Whether these are the known tensors, each as often written to as then."""
    if len(tensors) != len(known):
        return False
    return all(a is b and a._version == version for a, (b, version) in zip(tensors, known, strict=True))
