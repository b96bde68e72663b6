"""Every error gnnpot raises on purpose, and every warning it gives.

The tree::

    GnnpotError
    ├── ConfigError                  a key, a value or a name in a configuration
    ├── DataError                    a file, a frame or a label
    │   └── UnknownElementError      an element that a model has not learned
    ├── PropertyNotAvailableError    a property that a model can neither give nor derive
    ├── CheckpointError              a model folder that cannot be trusted or read
    ├── TrainingError                a training that cannot start or go on
    │   └── DivergenceError          a loss or a gradient that is no number
    └── SimulationError              an MD or a relaxation that left the physical range

    GnnpotWarning
    ├── DataWarning                  data that look wrong and may be right
    └── PhysicsWarning               a simulation outside of the range where its model is known to hold

A message says what was wrong, the value, where it stands, and what to type instead.
"""

import difflib
from collections.abc import Iterable


class GnnpotError(Exception):
    """Base of all errors that a user can cause; the command line prints its message without a traceback."""


class ConfigError(GnnpotError):
    """A key, value or name in a configuration that does not exist or does not fit."""


class DataError(GnnpotError):
    """A file, frame or label that cannot be used as it is."""


class UnknownElementError(DataError):
    """An element for which a model has no parameters."""


class PropertyNotAvailableError(GnnpotError):
    """A property that a model can neither give nor derive."""


class CheckpointError(GnnpotError):
    """A checkpoint that is unreadable, tampered with, or of a newer format."""


class TrainingError(GnnpotError):
    """A training that cannot start or cannot go on."""


class DivergenceError(TrainingError):
    """A loss or a gradient that is no number."""


class SimulationError(GnnpotError):
    """A simulation that left the range where the potential means something."""


class GnnpotWarning(UserWarning):
    """Base of all warnings of gnnpot."""


class DataWarning(GnnpotWarning):
    """Data that look wrong and may be right: the user should look."""


class PhysicsWarning(GnnpotWarning):
    """A simulation outside of the range where what it rests on is known to hold."""


class ExtrapolationWarning(GnnpotWarning):
    """A model is asked about surroundings of atoms that its training set does not have."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Sentence that names the nearest known word, or lists all of them.

    >>> did_you_mean("cutof", ["cutoff", "elements"])
    "did you mean 'cutoff'?"
    """
    candidates = sorted(known)
    nearest = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean '{nearest[0]}'?"
    return "known: " + ", ".join(candidates) if candidates else "nothing is known here"
