"""Layers evaluated part by part, so that memory does not grow with what a layer writes on its way.

A layer's result is put together from parts of its rows. On the way back every part is evaluated again and
differentiated at once, so that only the layer's inputs and its result are kept: one more evaluation, for a memory that
does not hold the layer's inner values of more than one part (checkpointing, T. Chen et al., arXiv:1604.06174).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gnnpot.data.graph import gather

WORKING_BYTES = {"cpu": 2**25}
"""Memory that the inner values of one part may take, by device: on a processor little, for its caches."""

WORKING_BYTES_ELSEWHERE = 2**31
"""The same on accelerators, which need many rows to be busy."""

Rows: TypeAlias = slice | Tensor

_in_parts: ContextVar[bool] = ContextVar("in_parts", default=False)


@dataclass(frozen=True)
class Part:
    """Which rows of the layer's inputs and result belong to a part, by names; `slice(None)`: all, as they are."""

    rows: dict[str, Rows]


AnyPart = TypeVar("AnyPart", bound=Part)


@contextmanager
def in_parts(allowed: bool) -> Iterator[None]:
    """Within: large graphs are evaluated in parts. Then there are first derivatives, none by weights."""
    token = _in_parts.set(allowed)
    try:
        yield
    finally:
        _in_parts.reset(token)


def rows_per_part(n_rows: int, bytes_per_row: int, device: torch.device) -> int:
    """Rows that are evaluated together: all of ``n_rows`` outside of `in_parts`, or where they are few.

    >>> rows_per_part(10**6, 1000, torch.device("cpu"))
    1000000
    >>> with in_parts(True):
    ...     rows_per_part(10**6, 1000, torch.device("cpu"))
    33554
    """
    room = WORKING_BYTES.get(device.type, WORKING_BYTES_ELSEWHERE)
    return min(n_rows, max(room // bytes_per_row, 1)) if _in_parts.get() else n_rows


def by_parts(
    function: Callable[..., Tensor], parts: Sequence[AnyPart], inputs: Sequence[tuple[Tensor, str]], out: str
) -> Tensor:
    """The result of ``function(part, *rows of the inputs)``, all parts together.

    Args:
        function: makes the rows of a part.
        parts: their results make up the whole, each row once.
        inputs: tensors, with the name under which a part has the rows that it needs.
        out: name of the rows that a part makes.

    >>> halves = [Part({"n": slice(0, 2)}), Part({"n": slice(2, 3)})]
    >>> by_parts(lambda part, x: 2 * x, halves, [(torch.arange(3.0), "n")], out="n")
    tensor([0., 2., 4.])
    """
    tensors, names = [tensor for tensor, _ in inputs], [name for _, name in inputs]
    if len(parts) == 1:
        return function(parts[0], *_taken(parts[0], tensors, names))
    result: Tensor = _ByParts.apply(function, parts, names, out, *tensors)
    return result


class _ByParts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        function: Callable[..., Tensor],
        parts: Sequence[Part],
        names: Sequence[str],
        out: str,
        *tensors: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.function, ctx.parts, ctx.names, ctx.out = function, parts, names, out
        sizes = [_length(part.rows[out]) for part in parts]
        result = tensors[0].new_empty(0)
        for part in parts:
            values = function(part, *_taken(part, tensors, names))
            if not len(result):
                result = values.new_empty(sum(sizes), *values.shape[1:])
            result[part.rows[out]] = values
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        needed = [k for k, is_needed in enumerate(ctx.needs_input_grad[4:]) if is_needed]
        tensors = ctx.saved_tensors
        sums: list[Tensor | None] = [torch.zeros_like(x) if k in needed else None for k, x in enumerate(tensors)]
        for part in ctx.parts:
            leaves = [x.detach() for x in _taken(part, tensors, ctx.names)]
            with torch.enable_grad():
                wanted = [leaves[k].requires_grad_(True) for k in needed]
                values = ctx.function(part, *leaves)
            found = torch.autograd.grad(values, wanted, _take(gradients[0], part.rows[ctx.out]))
            for k, gradient in zip(needed, found, strict=True):
                _add(gradient, part.rows[ctx.names[k]], sums[k])
        return None, None, None, None, *sums


def _taken(part: Part, tensors: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
    return [_take(tensor, part.rows[name]) for tensor, name in zip(tensors, names, strict=True)]


def _take(tensor: Tensor, rows: Rows) -> Tensor:
    if isinstance(rows, Tensor):
        return gather(tensor, rows)
    return tensor if rows == slice(None) else tensor[rows]


def _add(values: Tensor, rows: Rows, out: Tensor | None) -> None:
    if out is None:
        return
    if isinstance(rows, Tensor):
        out.index_add_(0, rows, values)
    else:
        out[rows] += values


def _length(rows: Rows) -> int:
    return len(rows) if isinstance(rows, Tensor) else rows.stop - rows.start
