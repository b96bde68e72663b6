"""Splits: sizes, proportions, whole groups, the same draw for the same seed, and refusals that say what to type."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk

from gnnpot.data.groups import choose_group_key, group_names
from gnnpot.data.hashing import data_sha256
from gnnpot.data.labels import attach_labels
from gnnpot.data.splits import Split, split_files, split_frames
from gnnpot.errors import ConfigError, DataError


def numbered(n: int, **info: Sequence[object]) -> list[ase.Atoms]:
    """Different one-atom frames with entries of info from lists that repeat."""
    frames = [ase.Atoms("H", positions=[[0.01 * k, 0.0, 0.0]]) for k in range(n)]
    for k, atoms in enumerate(frames):
        atoms.info = {name: values[k % len(values)] for name, values in info.items()}
    return frames


def assert_partition(split: Split, n: int) -> None:
    assert sorted(np.concatenate(list(split.parts.values())).tolist()) == list(range(n))
    assert all((np.diff(part) > 0).all() for part in split.parts.values())


@pytest.mark.parametrize("n", [3, 4, 7, 10, 29, 100, 1001])
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.7, 0.1, 0.2), (0.34, 0.33, 0.33)])
def test_random_sizes_follow_the_fractions(n: int, fractions: tuple[float, ...]) -> None:
    split = split_frames(numbered(n), "random", fractions)
    assert_partition(split, n)
    for part, fraction in zip(split.parts.values(), fractions, strict=True):
        assert len(part) >= 1
        assert abs(len(part) - fraction * n) <= 2


def test_fractions_by_name() -> None:
    by_name = split_frames(numbered(20), "random", {"test": 0.25, "train": 0.75})
    assert [len(part) for part in by_name.parts.values()] == [15, 0, 5]


def test_a_seed_draws_the_same_again_and_another_seed_draws_another() -> None:
    frames = numbered(60)
    first, again, other = (split_frames(frames, "random", seed=seed) for seed in (1, 1, 2))
    assert first.to_json() == again.to_json()
    assert first.test.tolist() != other.test.tolist()


def test_every_stratum_is_in_every_part_in_proportion() -> None:
    frames = [bulk("Si")] * 70 + [bulk("Si", cubic=True)] * 200
    frames = [atoms.copy() for atoms in frames]
    for k, atoms in enumerate(frames):
        atoms.info["config_type"] = "rattled" if k % 5 else "strained"
    split = split_frames(frames, "random", (0.7, 0.1, 0.2), seed=3)
    strata = [(len(atoms), atoms.info["config_type"]) for atoms in frames]
    everything = Counter(strata)
    assert len(everything) == 4
    for part, fraction in zip(split.parts.values(), (0.7, 0.1, 0.2), strict=True):
        for stratum, n in everything.items():
            found = sum(strata[k] == stratum for k in part)
            assert abs(found - fraction * n) <= 1.5, (stratum, found)


def test_strata_can_be_chosen() -> None:
    frames = numbered(50, phase=["solid"] * 9 + ["gas"])
    split = split_frames(frames, "random", (0.6, 0.2, 0.2), stratify_by=["phase"])
    assert [sum(frames[k].info["phase"] == "gas" for k in part) for part in split.parts.values()] == [3, 1, 1]


# ---------------------------------------------------------------- groups


def test_whole_groups_fall_on_one_side_and_fill_the_fractions() -> None:
    frames = numbered(300, trajectory=list(range(30)))
    split = split_frames(frames, seed=5)
    assert split.kind == "grouped"
    assert split.group_by == "trajectory"
    assert_partition(split, 300)
    assert [len(part) for part in split.parts.values()] == [240, 30, 30]
    groups = [{frames[k].info["trajectory"] for k in part} for part in split.parts.values()]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert split_frames(frames, seed=6).test.tolist() != split.test.tolist()


def test_unequal_groups_leave_no_part_empty() -> None:
    frames = numbered(100, batch=["a"] * 90 + ["b"] * 6 + ["c"] * 4)
    split = split_frames(frames, group_by="batch")
    assert sorted(len(part) for part in split.parts.values()) == [4, 6, 90]
    assert len(split.train) == 90


def test_group_by_composition_and_source_and_numbers() -> None:
    frames = [bulk(element) for element in ("Si", "Ge", "C") for _ in range(4)]
    for k, atoms in enumerate(frames):
        atoms.info = {"source": f"{k % 3}.xyz", "strain": 0.1 * (k % 4)}
    for key, n in (("composition", 3), ("source", 3), ("strain", 4)):
        names = group_names(frames, key)
        assert len(set(names)) == n
        split = split_frames(frames, group_by=key)
        parts = [{names[k] for k in part} for part in split.parts.values()]
        assert sum(len(part) for part in parts) == n


def test_group_by_geometry_keeps_the_same_structure_together() -> None:
    frames = []
    for k in range(12):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=k)
        for charge in range(3):
            copy = atoms[::-1] if charge == 1 else atoms.copy()
            copy.positions += 0.3 * charge
            copy.info = {"charge": charge, "true": k}
            frames.append(copy)
    split = split_frames(frames, group_by="geometry")
    for part in split.parts.values():
        assert set(Counter(frames[k].info["true"] for k in part).values()) == {3}


@pytest.mark.parametrize(
    ("info", "key", "reason"),
    [
        ({"trajectory": list(range(12))}, "trajectory", "12 groups cover all frames"),
        ({"config_type": list(range(10))}, "config_type", "10 groups"),
        ({"config_type": list("abc")}, None, "only 3 group"),
        ({"trajectory": list(range(60))}, None, "differs in every frame"),
        ({"trajectory": [0] * 40 + list(range(20))}, None, "one trajectory holds 41 of 60"),
        ({"trajectory": list("ab"), "config_type": list(range(12))}, "config_type", "12 groups"),
        ({}, None, "no trajectory, geometry or config_type key"),
    ],
)
def test_what_is_chosen_without_being_asked(info: dict[str, list[object]], key: str | None, reason: str) -> None:
    frames = numbered(60, **info)
    found, why = choose_group_key(frames)
    assert found == key
    assert reason in why
    split = split_frames(frames)
    assert (split.kind, split.group_by, split.reason) == ("grouped" if key else "random", key, why)


def test_a_key_on_some_frames_is_not_chosen() -> None:
    frames = numbered(60, trajectory=list(range(12)))
    del frames[7].info["trajectory"]
    assert choose_group_key(frames) == (None, "random: trajectory is on 59 of 60 frames only")
    with pytest.raises(DataError, match=r"1 of 60 frames have no 'trajectory', first .* composition, geometry"):
        split_frames(frames, group_by="trajectory")


# ---------------------------------------------------------------- files


def test_files_without_validation_cut_it_from_the_training_file() -> None:
    split = split_files(numbered(50), test=numbered(9), fractions=(0.8, 0.2, 0.0), seed=1)
    assert split.kind == "file"
    assert [len(part) for part in split.parts.values()] == [40, 10, 9]
    assert split.test.tolist() == list(range(50, 59))
    assert set(split.val) < set(range(50))
    assert "validation frames cut from the training files" in split.reason


def test_files_for_all_parts() -> None:
    split = split_files(numbered(5), numbered(3), numbered(2))
    assert [part.tolist() for part in split.parts.values()] == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]
    with pytest.raises(ConfigError, match="val_path"):
        split_files(numbered(5), numbered(3), group_by="trajectory")


# ---------------------------------------------------------------- saving


def test_saved_split_comes_back(tmp_path: Path) -> None:
    frames = numbered(30, trajectory=list(range(10)))
    split = split_frames(frames, seed=4)
    split.save(tmp_path / "run" / "split.json")
    back = Split.load(tmp_path / "run" / "split.json", frames)
    assert back.to_json() == split.to_json()
    assert str(back) == "24 train, 3 val, 3 test frames (grouped by trajectory: 10 groups cover all frames)"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["split.json"]
    (tmp_path / "run" / "other").touch()
    assert (tmp_path / "run" / "split.json").stat().st_mode == (tmp_path / "run" / "other").stat().st_mode


def test_a_split_of_other_data_is_refused(tmp_path: Path) -> None:
    frames = numbered(30)
    split_frames(frames).save(tmp_path / "split.json")
    frames[3].positions[0, 0] += 1e-9
    with pytest.raises(DataError, match="drawn from other data"):
        Split.load(tmp_path / "split.json", frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format 2"),
        ({"train": [0, 1, 1]}, "frame 1 stands in two parts"),
        ({"train": "all"}, "not a split"),
        ({"seed": None}, "not a split"),
    ],
)
def test_tampered_split_files(tmp_path: Path, change: dict[str, object], message: str) -> None:
    frames = numbered(30)
    path = tmp_path / "split.json"
    path.write_text(json.dumps({**split_frames(frames).to_json(), **change}))
    with pytest.raises(DataError, match=message):
        Split.load(path, frames)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_unreadable_split_files(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(DataError, match=r"split\.json"):
        Split.load(tmp_path / "split.json", numbered(3))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (float("nan"), 0.1, 0.1)]
)
def test_bad_fractions(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"data\.split\.fractions"):
        split_frames(numbered(10), "random", fractions)


def test_bad_words() -> None:
    with pytest.raises(ConfigError, match="did you mean 'grouped'"):
        split_frames(numbered(10), "groupd")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        split_frames(numbered(10), "random", {"trai": 0.9, "test": 0.1})
    with pytest.raises(ConfigError, match=r"data\.train_path"):
        split_frames(numbered(10), "file")
    with pytest.raises(ConfigError, match=r"data\.split\.kind=grouped"):
        split_frames(numbered(10), "random", group_by="trajectory")
    with pytest.raises(DataError, match=r"data\.split\.group_by=KEY"):
        split_frames(numbered(10), "grouped")


def test_too_few_frames_or_groups() -> None:
    with pytest.raises(DataError, match=r"2 frames cannot be split into 3 parts.*data\.split\.fractions=\["):
        split_frames(numbered(2), "random")
    with pytest.raises(DataError, match=r"makes 2 group\(s\) of 10 frames, 3 parts need as many"):
        split_frames(numbered(10, config_type=["a", "b"]), group_by="config_type")
    two_parts = split_frames(numbered(10, config_type=["a", "b"]), group_by="config_type", fractions=(0.5, 0, 0.5))
    assert [len(part) for part in two_parts.parts.values()] == [5, 0, 5]


# ---------------------------------------------------------------- hash


def test_hash_sees_the_content_and_nothing_else(tmp_path: Path) -> None:
    def frames() -> list[ase.Atoms]:
        found = [bulk("Si"), bulk("Ge")]
        attach_labels(found[0], {"energy": -1.0, "forces": np.zeros((2, 3))})
        return found

    reference = data_sha256(frames())
    renamed = frames()
    renamed[0].info.update(source="other.xyz", frame=7, config_type="bulk")
    assert data_sha256(renamed) == reference
    ase.io.write(tmp_path / "file.extxyz", frames())
    assert data_sha256(ase.io.read(tmp_path / "file.extxyz", ":")) == reference

    changed = [frames() for _ in range(7)]
    changed[0][0].positions[0, 0] += 1e-12
    changed[1][0].cell[0, 0] += 1e-12
    changed[2][0].pbc = [True, True, False]
    changed[3][0].numbers[0] = 6
    attach_labels(changed[4][1], {"energy": 0.0})
    changed[5].reverse()
    changed[6][0].info["charge"] = 1
    for k, variant in enumerate(changed):
        if k < 4:
            attach_labels(variant[0], {"energy": -1.0, "forces": np.zeros((2, 3))})
    hashes = [data_sha256(variant) for variant in changed]
    assert len({reference, *hashes}) == 8


def test_bundled_li2o_tests_cells_of_both_sizes(gnnpot_data: Path) -> None:
    frames = ase.io.read(gnnpot_data / "dft_Li2O" / "Li2O.xyz", ":")
    split = split_frames(frames, fractions=(0.7, 0.1, 0.2))
    sizes = Counter(len(frames[k]) for k in split.test)
    assert sizes == {3: 14, 12: 40}
