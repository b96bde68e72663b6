"""What a simulation says: `analyze`."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from gnnpot.apps.analysis import Analysis, Request
from gnnpot.apps.conductivity import conductivity
from gnnpot.apps.diffusion import diffusion
from gnnpot.apps.evaluate import write_json
from gnnpot.apps.field_report import analysis_in_field
from gnnpot.apps.infrared import infrared
from gnnpot.data.files import replacing
from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.models.potential import Potential
from gnnpot.report.terminal import rich_table, say

KINDS: dict[str, Callable[[Request], Analysis]] = {
    "diffusion": diffusion,
    "conductivity": conductivity,
    "infrared": infrared,
    "field": analysis_in_field,
}
"""Every kind by its name: a function of the request."""


@dataclass(frozen=True)
class AnalysisResult:
    """What an analysis left behind."""

    output: Path
    """Folder with ``report.html``, ``KIND.json``, ``KIND.csv`` and figures."""
    record: dict[str, Any] = field(repr=False)
    """What ``KIND.json`` holds."""


def analyze(
    kind: str,
    trajectory: str | Path | Sequence[str | Path],
    checkpoint: str | Path | Potential | None = None,
    temperature: float | Sequence[float] | None = None,
    interval: float | None = None,
    skip: float = 0.1,
    species: Sequence[str] | None = None,
    charges: Mapping[str, float] | None = None,
    fit: Sequence[float] | None = None,
    blocks: int = 5,
    born_every: int = 1,
    max_time: float | None = None,
    window: str = "hann",
    seed: int = 0,
    output: str | Path = "analysis",
    overwrite: bool = False,
    device: str = "cpu",
) -> AnalysisResult:
    """Transport coefficients and spectra from trajectories, with errors, a table and a report.

    ``diffusion``: D = slope of the mean squared displacement / 6, per element. ``conductivity``: from collective
    displacements of the charge with Born charges and with integer charges, beside Nernst-Einstein. Both give an
    activation energy where trajectories of several temperatures are given. ``infrared``: the absorption spectrum from
    the correlation of dP/dt. ``field``: drift, mobility and energy account of ``gnnpot md field=...``, by its folder;
    of several field strengths, the mobility at zero field.

    Args:
        kind: ``diffusion``, ``conductivity``, ``infrared`` or ``field``.
        trajectory: a file, or several of different temperatures.
        checkpoint: model with a response head, which predicts Born charges along the trajectory; None takes those that
            frames are labeled with.
        temperature: K, one or one for each trajectory; None takes that of ``md.json`` or of the velocities.
        interval: fs between frames; None takes that of the frames or of ``md.json``.
        skip: share of each trajectory left out at its start.
        species: elements of ``diffusion``; None takes all.
        charges: integer charges of ``conductivity`` by element, e; None takes guessed oxidation numbers.
        fit: ps, range of the straight line; None takes 0.1 to 0.5 of a block.
        blocks: number of parts of a trajectory from which errors come.
        born_every: frames from one with predicted Born charges to the next; linear between them.
        max_time: ps, length of the correlation of ``infrared``; None takes a quarter of the trajectory, at most 2.
        window: of the correlation: ``hann``, ``blackman`` or ``none``.
        seed: of the bootstrap.
        output: folder for ``report.html``, ``KIND.json``, ``KIND.csv`` and figures.
        overwrite: replace an earlier analysis in ``output``.
        device: where the model runs.

    Raises:
        ConfigError: a setting that does not fit; time or temperature that nothing tells.
        DataError: a file that is no trajectory, or too short a one.
        PropertyNotAvailableError: a model without a response head.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r} is unknown; {did_you_mean(str(kind), KINDS)}")
    if blocks < 2:
        raise ConfigError(f"blocks={blocks}: an error needs 2 or more")
    folder = Path(output)
    if (folder / f"{kind}.json").exists() and not overwrite:
        raise ConfigError(f"output={folder} holds an earlier {kind}.json: choose another output=, or overwrite=true")
    request = Request(
        trajectory, checkpoint, temperature, interval, skip, species, charges, fit, blocks, born_every, max_time,
        window, seed, device,
    )  # fmt: skip
    found = KINDS[kind](request)
    _write(folder, kind, found)
    console = Console()
    for table in found.tables:
        console.print(rich_table(table))
    for sentence in found.sentences:
        say(console, sentence)
    say(console, f"Written to {folder}: report.html, {kind}.json, {kind}.csv")
    return AnalysisResult(folder, found.record)


def _write(folder: Path, kind: str, found: Analysis) -> None:
    write_json(folder / f"{kind}.json", found.record)
    with replacing(folder / f"{kind}.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(found.columns)
        writer.writerows(zip(*(values.tolist() for values in found.columns.values()), strict=True))
    for name, figure in found.figures.items():
        with replacing(folder / f"{name}.svg") as temporary:
            temporary.write_bytes(figure.image)
    found.page.write(folder / "report.html")
