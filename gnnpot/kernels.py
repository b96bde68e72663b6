"""The one switch between the compiled loops (the default on the CPU) and plain torch, which gives the same numbers.

`GNNPOT_KERNELS=plain` in the environment turns the compiled loops of the models off, to compare or to bisect; they need
no compiler on the machine. Accelerators always take plain torch.
"""

import functools
import os
from typing import TYPE_CHECKING

from gnnpot.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import torch

VARIABLE = "GNNPOT_KERNELS"
CHOICES = ("compiled", "plain")


@functools.cache
def kernels() -> str:
    """What the models compute with on the CPU: ``compiled`` or ``plain``.

    Raises:
        ConfigError: the environment variable has another value.
    """
    asked = os.environ.get(VARIABLE, CHOICES[0])
    if asked not in CHOICES:
        raise ConfigError(
            f"{VARIABLE}={asked} in the environment: give compiled or plain; {did_you_mean(asked, CHOICES)}"
        )
    return asked


def kernels_serve(device: "torch.device") -> bool:
    """Whether the compiled loops work on tensors of this device."""
    return device.type == "cpu" and kernels() == "compiled"


def description() -> str:
    """A line for people."""
    if kernels() == "plain":
        return f"plain torch, as {VARIABLE}=plain asks"
    from importlib.metadata import version

    return f"compiled loops on the CPU (Numba {version('numba')}), plain torch elsewhere"
