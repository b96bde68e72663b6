"""The ``data`` of evaluate, predict and info: which files, and how to read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from gnnpot.data.bundled import bundled_path
from gnnpot.data.charges import fill_charges
from gnnpot.data.readers import read
from gnnpot.errors import ConfigError, did_you_mean

DATA_KEYS = ("path", "format", "units", "keys", "charge")

Data = Mapping[str, Any] | str | Path | Sequence[str | Path]


def frames_from(data: Data) -> list[Atoms]:
    """Frames of ``data``: ``{path, format, units, keys, charge}``, or the path or paths alone.

    A path that does not exist may name bundled data. ``charge`` is that of frames that state none.

    >>> len(frames_from("Li2O"))
    270

    Raises:
        ConfigError: a key that does not exist, or no path.
        DataError: a file that cannot be read.
    """
    settings = dict(data) if isinstance(data, Mapping) else {"path": data}
    for key in settings:
        if key not in DATA_KEYS:
            raise ConfigError(f"data.{key} is unknown; {did_you_mean(str(key), DATA_KEYS)}")
    paths = settings.pop("path", None)
    if not paths:
        raise ConfigError("data.path is missing: give a file, or a list of files as data.path='[a.xyz,b.xyz]'")
    given = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    names = {str(bundled): path for path in given if (bundled := bundled_path(path)) is not None}
    charge = settings.pop("charge", None)
    if charge is not None and (isinstance(charge, bool) or not isinstance(charge, int | float)):
        raise ConfigError(f"data.charge={charge}: give the total charge of the cell in e, or null")
    frames = read([str(bundled_path(path) or path) for path in given], **settings)
    fill_charges(frames, charge)
    for frame in frames:
        frame.info["source"] = names.get(frame.info["source"], frame.info["source"])
    return frames
