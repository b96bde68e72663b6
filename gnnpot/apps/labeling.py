"""Frames with the labels of another calculator: `label_data`; what is computed is kept until all is written."""

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console

from gnnpot.apps.data_files import Paths, open_paths
from gnnpot.apps.foreign import calculator_named, predicted_by
from gnnpot.apps.progress import StepProgress
from gnnpot.data.destinations import write_data
from gnnpot.data.hashing import data_sha256
from gnnpot.data.labels import attach_labels, frame_name
from gnnpot.errors import DataError
from gnnpot.report.terminal import say

LABEL_CALCULATOR = "label_calculator"
LABEL_VERSION = "label_version"
LABEL_LICENCE = "label_licence"

JOURNAL = ".labels.jsonl"
"""Behind the name of the output: the file of the labels computed so far."""


def label_data(
    path: Paths,
    output: str | Path,
    calculator: str | Any,
    arguments: Mapping[str, Any] | None = None,
    licence: str | None = None,
    units: Mapping[str, str] | None = None,
    skip_broken: bool = False,
) -> Path:
    """Label frames with energies, forces and stress of an ASE calculator; labels that they had are left out.

    Every frame says who labeled it: ``label_calculator``, ``label_version`` (of its package) and ``label_licence``.
    After an error or an interruption the same call goes on where it was: labels are kept in ``OUTPUT.labels.jsonl``
    until all are written.

    Args:
        path: files or frame stores.
        output: as of `convert_data`.
        calculator: dotted name of a class, as ``chgnet.model.dynamics.CHGNetCalculator``, or a calculator.
        arguments: of its constructor.
        licence: of its weights.
        units: of files whose format leaves the length open.
        skip_broken: leave out frames that the calculator cannot compute, and say how many.

    Raises:
        ConfigError: a class that cannot be imported or does not take the arguments.
        DataError: files that cannot be read, a frame that the calculator cannot compute, or kept labels of another
            calculator or other frames.
    """
    named = isinstance(calculator, str)
    teacher = calculator_named(calculator, arguments or {}, "calculator=") if named else calculator
    frames = open_paths(path, None, units, None, None)
    facts = _teacher_facts(calculator if named else type(teacher), licence)
    console = Console()
    failed: list[str] | None = [] if skip_broken else None
    settings = dict(arguments or {}) if named else repr(getattr(teacher, "parameters", None))
    with LabelJournal(output, {**facts, "arguments": settings}) as journal:
        with StepProgress("label", len(frames), console, noun="frames") as bar:
            labeled = _labelled(frames, teacher, facts, journal, bar, failed)
            written = write_data(output, labeled, {"title": "labeled frames", **facts})
        journal.path.unlink(missing_ok=True)
    n_failed = len(failed or [])
    say(console, f"{len(frames) - n_failed:,} frames labeled by {facts[LABEL_CALCULATOR]} written to {written}")
    if failed:
        say(console, f"{n_failed:,} of {len(frames):,} frames are left out, the first: {failed[0]}")
    return written


class LabelJournal:
    """Labels that were computed, a line of JSON for each frame, behind a line that says by whom.

    Inside ``with`` it is written to; what stops the labeling is told how many labels are kept.

    Args:
        output: of the labeling.
        origin: calculator, version, licence and arguments.

    Raises:
        DataError: there is a journal of another origin.
    """

    def __init__(self, output: str | Path, origin: Mapping[str, Any]) -> None:
        target = Path(output).expanduser()
        self.path = target.with_name(target.name + JOURNAL)
        self._header = json.dumps(dict(origin), sort_keys=True, default=str)
        self.n_kept = self._count() if self.path.is_file() else 0
        self._kept = self._read(self.n_kept)
        self._next = next(self._kept, None)
        self._is_of_others = False

    def _count(self) -> int:
        """Number of frames that are kept; a last line that is not whole is cut off."""
        with self.path.open("r+b") as file:
            n_lines, n_bytes, header = 0, 0, b""
            for line in file:
                if line.endswith(b"\n"):
                    header = line if n_lines == 0 else header
                    n_lines, n_bytes = n_lines + 1, n_bytes + len(line)
            file.truncate(n_bytes)
        if n_lines and header.decode() != self._header + "\n":
            raise DataError(
                f"{self.path} holds labels of {header.decode().strip()}, asked for is {self._header}: delete it to "
                "begin anew, or ask for the same again"
            )
        return max(n_lines - 1, 0)

    def _read(self, n_frames: int) -> Iterator[dict[str, Any]]:
        """The frames that were kept before, in their order."""
        if n_frames > 0:
            with self.path.open(encoding="utf-8") as file:
                yield from (json.loads(line) for line in islice(file, 1, 1 + n_frames))

    def __enter__(self) -> "LabelJournal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.is_file() or self.path.stat().st_size == 0
        self._file = self.path.open("a", encoding="utf-8")
        if is_new:
            self._write(self._header)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if error is None or self._is_of_others:
            return
        if self.n_kept == 0:
            self.path.unlink(missing_ok=True)
            return
        told = f"{self.n_kept:,} labeled frames are kept in {self.path}: the same call goes on from there"
        if isinstance(error, DataError):
            raise DataError(f"{error}. {told}") from error.__cause__
        say(Console(), told)

    def labels(self, number: int, frame: Atoms) -> dict[str, Any] | None:
        """Labels of this frame; None: it has to be computed.

        Raises:
            DataError: those of this number are of another structure.
        """
        while self._next is not None and self._next["frame"] < number:
            self._next = next(self._kept, None)
        entry = self._next
        if entry is None or entry["frame"] != number:
            return None
        if entry["structure"] != data_sha256([frame]):
            self._is_of_others = True
            raise DataError(
                f"{self.path} holds labels of other structures than {frame_name(frame)}: delete it to begin anew"
            )
        self._next = next(self._kept, None)
        return {name: value if name == "energy" else np.array(value) for name, value in entry["labels"].items()}

    def keep(self, number: int, frame: Atoms, labels: Mapping[str, Any]) -> None:
        """Write the labels of a frame."""
        plain = {name: np.asarray(value).tolist() for name, value in labels.items()}
        self._write(json.dumps({"frame": number, "structure": data_sha256([frame]), "labels": plain}))
        self.n_kept += 1

    def _write(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()


def _labelled(
    frames: Sequence[Atoms],
    teacher: Any,
    facts: Mapping[str, str],
    journal: LabelJournal,
    bar: StepProgress,
    failed: list[str] | None,
) -> Iterator[Atoms]:
    """Frames with the teacher's labels; what it cannot compute is noted in ``failed``, or raised where that is None."""
    for number, frame in enumerate(frames):
        labels = journal.labels(number, frame)
        try:
            if labels is None:
                labels = _taught(frame, teacher, facts[LABEL_CALCULATOR])
                journal.keep(number, frame, labels)
        except DataError as error:
            if failed is None:
                raise
            failed.append(str(error))
        else:
            atoms = frame.copy()
            attach_labels(atoms, labels)
            atoms.info |= facts
            yield atoms
        if bar.wants_figures(number + 1):
            bar.update(number + 1, "")


def _taught(frame: Atoms, teacher: Any, name: str) -> dict[str, Any]:
    """The calculator's labels of one frame.

    Raises:
        DataError: it fails, gives neither energy nor forces, or something that is no number.
    """
    try:
        found = predicted_by(teacher, frame)
    except Exception as error:
        raise DataError(
            f"{frame_name(frame)}: {name} fails ({type(error).__name__}: {error}); skip_broken=true leaves such frames "
            "out"
        ) from error
    if not {"energy", "forces"} & found.keys():
        raise DataError(f"{frame_name(frame)}: {name} gives neither energy nor forces")
    for label, value in found.items():
        if not np.isfinite(value).all():
            raise DataError(
                f"{frame_name(frame)}: {name} gives {label} that are no finite numbers; skip_broken=true leaves such "
                "frames out"
            )
    return found


def _teacher_facts(calculator: str | type[Any], licence: str | None) -> dict[str, str]:
    """Name, version of the package and licence of a calculator."""
    name = calculator if isinstance(calculator, str) else f"{calculator.__module__}.{calculator.__qualname__}"
    try:
        version = importlib.metadata.version(name.partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return {LABEL_CALCULATOR: name, LABEL_VERSION: version, LABEL_LICENCE: licence or "not stated"}
