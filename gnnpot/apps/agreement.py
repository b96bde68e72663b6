"""Whether two response heads agree: where they do not, neither has seen enough of such structures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from gnnpot.apps.calculator import prepared
from gnnpot.errors import PropertyNotAvailableError
from gnnpot.keys import BORN
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import predict
from gnnpot.models.properties import available_properties

SUSPECT = 3.0
"""Disagreement, over its median in the frames, from which an atom is worth a look."""


def response_disagreement(
    first: Potential | str | Path, second: Potential | str | Path, frames: Sequence[Atoms], device: str = "cpu"
) -> list[dict[str, Any]]:
    """How far the Born charges of two models are apart, best of a polarization and a tensor head trained alike.

    The heads differ in what they can represent and in their mistakes, so that |Z_A - Z_B| grows where the data end:
    a flag, not an error bar.

    Returns:
        For each frame ``disagreement`` ``(n_atoms,)`` e, the root mean square over the nine components of an atom;
        ``rms`` e, that of the frame; ``suspects``, numbers of the atoms above 3 times the median of all frames.

    Raises:
        PropertyNotAvailableError: a model without a response head.
    """
    models = [prepared(model, device, "float64") for model in (first, second)]
    for model in models:
        if BORN.name not in available_properties(model.outputs):
            raise PropertyNotAvailableError(
                f"{model.title} gives no Born charges: compare two models with response heads, as of gnnpot fit "
                "head=polarization and head=born_tensor"
            )
    one, other = (predict(model, frames, [BORN.name]) for model in models)
    apart = [_apart(a[BORN.name], b[BORN.name]) for a, b in zip(one, other, strict=True)]
    limit = SUSPECT * float(np.median(np.concatenate(apart))) if apart else 0.0
    return [
        {
            "disagreement": values,
            "rms": float(np.sqrt(np.square(values).mean())),
            "suspects": np.flatnonzero(values > limit).tolist(),
        }
        for values in apart
    ]


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.square(one - other).mean(axis=(1, 2))))
