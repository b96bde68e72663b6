"""Training, validation and test sets: drawn once, saved with a hash of the data, never straddled by a group."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import ase
import numpy as np
import numpy.typing as npt

from gnnpot.data.files import replacing
from gnnpot.data.frames import atom_counts, cell_formulas, entries_of, fingerprint, joined
from gnnpot.data.groups import choose_group_key, group_names
from gnnpot.errors import ConfigError, DataError, did_you_mean

SplitKind = Literal["random", "grouped", "file"]
IntArray = npt.NDArray[np.int64]

PARTS = ("train", "val", "test")
FORMAT_VERSION = 1
STRATIFY_BY = ("n_atoms", "config_type")
"""What a random split keeps in proportion: the sizes of the cells and the kinds of configuration."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which frames train, validate and test, as sorted indices into the frames, and how they were chosen."""

    train: IntArray
    val: IntArray
    test: IntArray
    kind: SplitKind
    group_by: str | None
    seed: int
    data_sha256: str
    reason: str

    @property
    def parts(self) -> dict[str, IntArray]:
        """``{"train": ..., "val": ..., "test": ...}``."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def __str__(self) -> str:
        sizes = ", ".join(f"{len(indices)} {name}" for name, indices in self.parts.items())
        return f"{sizes} frames ({self.reason})"

    def to_json(self) -> dict[str, Any]:
        """Plain content of ``split.json``."""
        facts = {name: getattr(self, name) for name in ("kind", "group_by", "seed", "data_sha256", "reason")}
        indices = {name: part.tolist() for name, part in self.parts.items()}
        return {"format_version": FORMAT_VERSION, **facts, **indices}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str = "split") -> "Split":
        """Split from the plain content of ``split.json``.

        Raises:
            DataError: a newer format, a missing key, or parts that overlap.
        """
        if content.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"{where}: split of format {content.get('format_version')!r}, this gnnpot reads {FORMAT_VERSION}"
            )
        try:
            train, val, test = (np.array(content[name], dtype=np.int64).reshape(-1) for name in PARTS)
            group_by = None if content["group_by"] is None else str(content["group_by"])
            split = cls(
                train,
                val,
                test,
                content["kind"],
                group_by,
                int(content["seed"]),
                content["data_sha256"],
                content["reason"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: not a split, {error!r}; draw it anew") from error
        repeated = [index for index, n in Counter(np.concatenate([train, val, test]).tolist()).items() if n > 1]
        if repeated:
            raise DataError(f"{where}: frame {repeated[0]} stands in two parts; draw the split anew")
        return split

    def save(self, path: str | Path) -> None:
        """Write ``split.json``, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_json()) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, frames: Sequence[ase.Atoms]) -> "Split":
        """Read ``split.json`` and check that it was drawn from these very frames.

        Raises:
            DataError: unreadable, or of other data.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: the split cannot be read ({error})") from error
        if not isinstance(content, dict):
            raise DataError(f"{path}: not a split; draw it anew")
        split = cls.from_json(content, str(path))
        split.check(frames, str(path))
        return split

    def check(self, frames: Sequence[ase.Atoms], where: str = "split") -> None:
        """Raise `DataError` unless the split was drawn from these very frames in this order."""
        found = fingerprint(frames)
        if found != self.data_sha256:
            n_frames = sum(len(part) for part in self.parts.values())
            raise DataError(
                f"{where}: drawn from other data ({n_frames} frames, sha256 {self.data_sha256[:12]}) than given "
                f"({len(frames)} frames, sha256 {found[:12]}). Give the files of that run in the same order, or "
                "draw a new split in a new run_dir"
            )


def split_frames(
    frames: Sequence[ase.Atoms],
    kind: SplitKind | None = None,
    fractions: Sequence[float] | Mapping[str, float] = (0.8, 0.1, 0.1),
    group_by: str | None = None,
    seed: int = 0,
    stratify_by: Sequence[str] = STRATIFY_BY,
) -> Split:
    """Draw training, validation and test frames.

    Args:
        frames: all frames.
        kind: "random", "grouped" (whole groups fall on one side), or None: grouped when ``group_by`` is given or
            when a trajectory, geometry or ``config_type`` key divides all frames finely enough
            (see `choose_group_key`), else random. ``Split.reason`` says what was chosen and why.
        fractions: of (train, val, test), or by these names; they add up to 1.
        group_by: key of ``atoms.info``, or "composition", "reduced_formula", "material" (its identifier, else the
            reduced formula), "source" (the file) or "geometry" (frames whose atoms stand at the same places, where
            there is no such key).
        seed: another seed, another split; the same seed, the same split.
        stratify_by: for random splits, keys of ``atoms.info`` (or "n_atoms", "composition") whose values appear
            in every part in proportion. Keys that no frame has are passed over.

    Raises:
        ConfigError: an unknown kind, fractions that do not add up to 1.
        DataError: fewer frames or groups than parts; a frame without the key to group by.

    >>> from ase.build import bulk
    >>> split = split_frames([bulk("Si")] * 8 + [bulk("Si", cubic=True)] * 2, fractions=(0.5, 0.0, 0.5))
    >>> len(split.train), len(split.val), len(split.test), {8, 9} <= set(split.train)
    (5, 0, 5, False)
    """
    shares = _checked_fractions(fractions)
    if kind is not None and kind not in get_args(SplitKind):
        raise ConfigError(f"data.split.kind={kind!r} does not exist, {did_you_mean(str(kind), get_args(SplitKind))}")
    if kind == "file":
        raise ConfigError("data.split.kind=file needs the files: give data.train_path and data.test_path")
    if kind == "random" and group_by is not None:
        raise ConfigError(
            f"data.split.kind=random does not look at data.split.group_by={group_by}; type data.split.kind=grouped"
        )
    key, reason = (group_by, f"grouped by {group_by}, as asked") if group_by else choose_group_key(frames)
    if kind == "random":
        key, reason = None, "random, as asked"
    if kind == "grouped" and key is None:
        raise DataError(f"data.split.kind=grouped finds no key to group by: {reason}. Type data.split.group_by=KEY")
    rng = np.random.default_rng(seed)
    if key is None:
        assigned = _stratified(_strata(frames, stratify_by), _part_sizes(len(frames), shares, "frames"), rng)
    else:
        assigned = _whole_groups(group_names(frames, key), shares, key, rng)
    train, val, test = (np.flatnonzero(assigned == part) for part in range(3))
    return Split(train, val, test, "grouped" if key else "random", key, seed, fingerprint(frames), reason)


def split_files(
    train: Sequence[ase.Atoms],
    val: Sequence[ase.Atoms] | None = None,
    test: Sequence[ase.Atoms] | None = None,
    kind: SplitKind | None = None,
    fractions: Sequence[float] | Mapping[str, float] = (0.8, 0.1, 0.1),
    group_by: str | None = None,
    seed: int = 0,
    stratify_by: Sequence[str] = STRATIFY_BY,
) -> Split:
    """Split by files; without validation frames, some of the training frames validate.

    These are drawn by `split_frames`, in the ratio of the first two ``fractions``. The indices count through
    ``[*train, *(val or []), *(test or [])]``, and so does the hash.

    Raises:
        ConfigError, DataError: as `split_frames`; ``group_by`` where nothing is left to divide.

    >>> frames = [ase.Atoms("H", positions=[[k, 0, 0]]) for k in range(12)]
    >>> split = split_files(frames[:10], test=frames[10:], fractions=(0.8, 0.2, 0.0))
    >>> len(split.train), len(split.val), split.test.tolist()
    (8, 2, [10, 11])
    """
    val, test = val or [], test or []
    key, reason = None, "from files"
    chosen, validating = np.arange(len(train)), np.arange(len(train), len(train) + len(val))
    if val and group_by:
        raise ConfigError(
            f"data.split.group_by={group_by} has nothing to divide where data.val_path is given; leave out one of them"
        )
    if not val:
        first, second, _ = _checked_fractions(fractions)
        shares = (first / (first + second), second / (first + second), 0.0)
        cut = split_frames(train, None if kind == "file" else kind, shares, group_by, seed, stratify_by)
        chosen, validating, key = cut.train, cut.val, cut.group_by
        reason = f"from files; validation frames cut from the training files, {cut.reason}"
    tested = np.arange(len(train) + len(val), len(train) + len(val) + len(test))
    return Split(chosen, validating, tested, "file", key, seed, fingerprint(joined([train, val, test])), reason)


def _checked_fractions(fractions: Sequence[float] | Mapping[str, float]) -> tuple[float, float, float]:
    if isinstance(fractions, Mapping):
        for name in fractions:
            if name not in PARTS:
                raise ConfigError(f"data.split.fractions: no part '{name}', {did_you_mean(name, PARTS)}")
        fractions = [fractions.get(name, 0.0) for name in PARTS]
    values = [float(value) for value in fractions]
    if len(values) != 3 or min(values) < 0 or values[0] == 0 or not abs(sum(values) - 1) < 1e-6:
        raise ConfigError(
            f"data.split.fractions={values}: three shares (train, val, test) that add up to 1 are needed, the "
            "first above 0; type for example data.split.fractions=[0.8,0.1,0.1]"
        )
    return values[0], values[1], values[2]


def _part_sizes(n: int, shares: tuple[float, ...], what: str) -> IntArray:
    """Whole numbers that add up to n, in proportion to the shares (largest remainders), none of them 0."""
    wanted = np.array(shares) > 0
    if n < wanted.sum():
        fewer = "[0.8,0.2,0]" if n > 1 else "[1,0,0]"
        raise DataError(
            f"{n} {what} cannot be split into {wanted.sum()} parts; give more data, or leave parts out, as "
            f"data.split.fractions={fewer}"
        )
    exact = n * np.array(shares)
    sizes = np.where(wanted, np.maximum(np.floor(exact), 1), 0).astype(np.int64)
    while sizes.sum() < n:
        sizes[np.argmax(np.where(wanted, exact - sizes, -np.inf))] += 1
    while sizes.sum() > n:
        sizes[np.argmax(np.where(sizes > 1, sizes - exact, -np.inf))] -= 1
    return sizes


def _strata(frames: Sequence[ase.Atoms], keys: Sequence[str]) -> list[tuple[str, ...]]:
    """Values of the keys of every frame; keys that no frame has are left out."""
    columns: list[list[str]] = []
    for key in keys:
        if key == "n_atoms":
            columns.append([f"{n:09d}" for n in atom_counts(frames).tolist()])
        elif key == "composition":
            columns.append(cell_formulas(frames))
        else:
            values = entries_of(frames, key)
            if any(value is not None for value in values):
                columns.append([str(value) for value in values])
    return list(zip(*columns, strict=True)) if columns else [()] * len(frames)


def _stratified(strata: list[tuple[str, ...]], sizes: IntArray, rng: np.random.Generator) -> IntArray:
    """Part of every frame: walk through the strata, always giving to the part that lags behind its quota most."""
    shuffled = rng.permutation(len(strata))
    order = sorted(shuffled.tolist(), key=lambda index: strata[index])
    quota = sizes / max(len(strata), 1)
    lag = quota * rng.random()
    left = sizes.copy()
    assigned = np.zeros(len(strata), dtype=np.int64)
    for index in order:
        lag = lag + quota
        part = int(np.argmax(np.where(left > 0, lag, -np.inf)))
        lag[part] -= 1
        left[part] -= 1
        assigned[index] = part
    return assigned


def _whole_groups(names: list[str], shares: tuple[float, ...], key: str, rng: np.random.Generator) -> IntArray:
    """Part of every frame: the largest groups first, each to the part that misses most frames."""
    groups = Counter(names)
    open_parts = [part for part in range(3) if shares[part] > 0]
    if len(groups) < len(open_parts):
        raise DataError(
            f"data.split.group_by={key} makes {len(groups)} group(s) of {len(names)} frames, {len(open_parts)} parts "
            "need as many; group by another key, give a fraction of 0 to a part, or type data.split.kind=random"
        )
    unique = sorted(groups)
    order = sorted(rng.permutation(len(unique)).tolist(), key=lambda k: -groups[unique[k]])
    missing = len(names) * np.array(shares)
    part_of: dict[str, int] = {}
    empty = set(open_parts)
    for n_left, k in zip(range(len(order), 0, -1), order, strict=True):
        allowed = empty if n_left == len(empty) else open_parts
        part = max(sorted(allowed), key=lambda p: missing[p])
        part_of[unique[k]] = part
        missing[part] -= groups[unique[k]]
        empty.discard(part)
    return np.array([part_of[name] for name in names], dtype=np.int64)
