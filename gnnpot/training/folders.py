"""The folder of a training: made when it starts, gone again if nothing came of it."""

import contextlib
import itertools
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from gnnpot.errors import ConfigError
from gnnpot.training.resume import CONFIG_FILE


def new_run_dir(asked: str | None, verb: str, model: str) -> Path:
    """Make the folder that is asked for, or one of its own for this moment and model.

    Raises:
        ConfigError: the folder holds a run already.
    """
    if asked is not None:
        run_dir = Path(asked).expanduser()
        if (run_dir / CONFIG_FILE).exists():
            raise ConfigError(
                f"run_dir={run_dir} holds a run already: choose another folder, delete it, or go on with "
                f"`gnnpot {verb} resume={run_dir}`"
            )
        run_dir.mkdir(parents=True, exist_ok=True)
        return run_dir
    name = f"{datetime.now().strftime('%Y%m%d-%H%M%S')}-{model}"
    for attempt in itertools.count(1):
        run_dir = Path("runs") / (name if attempt == 1 else f"{name}-{attempt}")
        with contextlib.suppress(FileExistsError):
            run_dir.mkdir(parents=True)
            break
    return run_dir


@contextlib.contextmanager
def no_empty_folder_left(run_dir: Path) -> Iterator[None]:
    """Take the run directory away again if an error comes before anything stands in it."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            run_dir.rmdir()
        raise
