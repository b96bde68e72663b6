"""What the processes of a training agree on: sums and maxima over all of them, while each goes on with its work."""

from collections.abc import Callable
from typing import Literal

import torch.distributed
from torch import Tensor

OPERATIONS = {"sum": torch.distributed.ReduceOp.SUM, "max": torch.distributed.ReduceOp.MAX}


def over_processes(values: Tensor, operation: Literal["sum", "max"]) -> Callable[[], Tensor]:
    """Begin to combine the values of all processes; the function returned waits for the result.

    Every process must begin the same ones in the same order. With one process the result is a copy of the values.

    >>> over_processes(torch.tensor([1.0, 2.0]), "sum")()
    tensor([1., 2.])
    """
    combined = values.detach().clone()
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return lambda: combined
    running = torch.distributed.all_reduce(combined, op=OPERATIONS[operation], async_op=True)

    def result() -> Tensor:
        if running is not None:
            running.wait()
        return combined

    return result
