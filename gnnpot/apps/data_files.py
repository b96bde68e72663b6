"""Data from one form into another: `import_data`, `convert_data`, `split_data`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from rich.console import Console

from gnnpot.apps.progress import StepProgress
from gnnpot.data.bundled import bundled_path
from gnnpot.data.destinations import write_data
from gnnpot.data.frame_store import FrameStore
from gnnpot.data.frames import Frames, atom_counts, selected, where
from gnnpot.data.import_sources import FileSource, JsonSource
from gnnpot.data.importing import Source, import_frames
from gnnpot.data.mp_api import MaterialsProject, connect
from gnnpot.data.mp_layouts import LAYOUTS, UNCORRECTED
from gnnpot.data.opening import open_frames
from gnnpot.data.readers.sources import PathLike, source_files
from gnnpot.data.splits import Split, SplitKind, split_frames
from gnnpot.errors import ConfigError
from gnnpot.report.page import Column, Table
from gnnpot.report.terminal import rich_table, say

Paths = PathLike | Sequence[PathLike]

MEGABYTE = 1_000_000
SPLIT_FILE = "split.json"


def import_data(
    path: Paths,
    output: str | Path,
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    energy: str = UNCORRECTED,
    skip_broken: bool = False,
    client: Any = None,
) -> FrameStore:
    """Write frames into a frame store, which `gnnpot fit` reads in place of a file.

    MPtrj, MPF.2021.2.8 and MatPES are read record by record, so that a file may be larger than the memory. An import
    that was interrupted goes on when it is called again, and ends with the same bytes.

    Args:
        path: the files; with ``format="mp_api"`` identifiers of materials.
        output: folder of the store.
        format: ``mptrj``, ``mpf``, ``matpes``, ``mp_api``, or a format that is read as elsewhere (None: recognized).
        units: of files whose format leaves them open.
        keys: names of the labels in such files.
        energy: ``uncorrected`` or ``corrected`` (MP2020), which of MPtrj's energies is the label. Both are kept.
        skip_broken: leave out frames that cannot be used, and say how many.
        client: of the Materials Project; None makes one with the user's key.

    Raises:
        ConfigError: an energy that the layout does not hold.
        DataError: a file or frame that cannot be used; what was imported before it stays, to go on with.
    """
    source = _source(path, format, units, keys, energy, client)
    console = Console()
    scale = MEGABYTE if source.noun == "bytes" else 1
    noun = "MB" if source.noun == "bytes" else source.noun
    with StepProgress(f"import ({noun})", max(source.size // scale, 1), console, noun=noun) as bar:

        def progress(done: int, n_frames: int) -> None:
            if bar.wants_figures(done // scale):
                bar.update(done // scale, f"{n_frames:,} frames")

        store = import_frames(source, output, skip_broken, progress)
    for table in store_tables(store):
        console.print(rich_table(table))
    say(console, f"{len(store):,} frames in {store.folder}; to train on them: gnnpot fit data.path={store.folder}")
    return store


def convert_data(
    path: Paths,
    output: str | Path,
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    charge: float | None = None,
    only: Mapping[str, Any] | None = None,
) -> Path:
    """Write frames of any format that is read as extended XYZ, as n2p2's ``input.data``, or as a frame store.

    Args:
        path: files or frame stores.
        output: ``NAME.xyz`` or ``NAME.extxyz`` (``.gz`` behind it to compress), ``NAME.data`` for n2p2 (bohr and
            hartree), or a name without a suffix, the folder of a new frame store.
        format: of the files; None: recognized.
        units: of files whose format leaves them open.
        keys: names of the labels in the files.
        charge: total charge in e of frames that state none.
        only: entries of the frames that are written, as ``{"functional": "GGA"}``.

    Raises:
        DataError: files that cannot be read, no frame with these entries, or frames that the other format cannot hold.
    """
    frames = where(open_paths(path, format, units, keys, charge), only or {})
    written = write_data(output, frames, {"title": "converted", "energy": "as in the files"})
    say(Console(), f"{len(frames):,} frames written to {written}")
    return written


def split_data(
    path: Paths,
    output: str | Path,
    kind: SplitKind | None = None,
    fractions: Sequence[float] | Mapping[str, float] = (0.7, 0.1, 0.2),
    group_by: str | None = None,
    seed: int = 0,
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    charge: float | None = None,
    only: Mapping[str, Any] | None = None,
) -> Split:
    """Write training, validation and test frames, and ``split.json``, into a folder.

    Parts of a frame store are frame stores, those of files are ``train.extxyz`` and so on.

    Args:
        path: files or frame stores.
        output: the folder.
        kind: ``random``, ``grouped``, or None: grouped where a key covers all frames.
        fractions: of training, validation and test.
        group_by: what stays together: ``material``, ``reduced_formula``, ``trajectory``, any key of the frames.
        seed: of the draw.
        format: of the files.
        units: of the files.
        keys: names of the labels in the files.
        charge: total charge in e of frames that state none.
        only: entries of the frames that are split, as ``{"functional": "GGA"}``.

    Raises:
        ConfigError: fractions that do not add up to 1; a folder that holds a split already.
        DataError: fewer frames or groups than parts.
    """
    folder = Path(output).expanduser()
    if (folder / SPLIT_FILE).exists():
        raise ConfigError(f"output={folder} holds a split already: choose another folder, or delete it")
    frames = where(open_paths(path, format, units, keys, charge), only or {})
    split = split_frames(frames, kind, fractions, group_by, seed)
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if isinstance(frames, Frames) else ".extxyz"
    rows = []
    for name, chosen in split.parts.items():
        if len(chosen):
            part = selected(frames, chosen)
            write_data(folder / f"{name}{suffix}", part, {"title": f"{name} part of a split"})
            rows.append((name, f"{len(part):,}", f"{int(atom_counts(part).sum()):,}", f"{name}{suffix}"))
    split.save(folder / SPLIT_FILE)
    columns = (
        Column("part", is_number=False),
        Column("frames"),
        Column("atoms"),
        Column("written to", is_number=False),
    )
    console = Console()
    console.print(rich_table(Table(columns, tuple(rows))))
    say(console, f"split: {split.reason}; in {folder}")
    return split


def store_tables(store: FrameStore) -> list[Table]:
    """What is in a frame store: its figures, and how many frames each functional has."""
    contents = store.contents
    labels = contents.total("labels")
    facts = {
        "from": contents.description.get("title", "unknown"),
        "energies": contents.description.get("energy", "unknown"),
        "frames": f"{contents.n_frames:,}",
        "atoms": f"{contents.n_atoms:,}",
        "elements": f"{len(contents.total('elements'))}",
        **{name: f"{n:,} frames" for name, n in labels.items()},
        "left out": f"{contents.position.get('skipped', 0):,} frames",
        "sha256": contents.sha256[:12],
    }
    columns = (Column("", is_number=False), Column("", is_number=False))
    by_functional = tuple((name, f"{n:,}") for name, n in contents.total("functionals").items())
    return [
        Table(columns, tuple(facts.items()), title=str(store.folder)),
        Table((Column("functional", is_number=False), Column("frames")), by_functional),
    ]


def _source(
    path: Paths,
    format: str | None,
    units: Mapping[str, str] | None,
    keys: Mapping[str, str] | None,
    energy: str,
    client: Any,
) -> Source:
    if format not in (*LAYOUTS, "mp_api"):
        if energy != UNCORRECTED:
            raise ConfigError(f"energy={energy} is for format=mptrj; name another energy by keys='{{energy: NAME}}'")
        return FileSource(path, format, units, keys)
    if units or keys:
        raise ConfigError(f"format={format} has its own units and names: leave out units= and keys=")
    if format == "mp_api":
        if energy != UNCORRECTED:
            raise ConfigError(f"energy={energy}: trajectories of the Materials Project hold uncorrected energies only")
        materials = [path] if isinstance(path, str | os.PathLike) else list(path)
        return MaterialsProject([str(material) for material in materials], connect() if client is None else client)
    return JsonSource(source_files(path), str(format), energy)


def open_paths(
    path: Paths,
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    charge: float | None = None,
) -> Sequence[Atoms]:
    """Frames of files, bundled data and frame stores; those of stores stay on disk."""
    listed = [path] if isinstance(path, str | os.PathLike) else list(path)
    names = {str(bundled): str(one) for one in listed if (bundled := bundled_path(str(one))) is not None}
    frames = open_frames([bundled_path(str(one)) or one for one in listed], format, units, keys, charge)
    if names and isinstance(frames, list):
        for atoms in frames:
            atoms.info["source"] = names.get(atoms.info["source"], atoms.info["source"])
    return frames
