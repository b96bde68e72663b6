from pathlib import Path

import pytest

from gnnpot.data.readers.sources import plain_name, source_files
from gnnpot.errors import DataError


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("train_1.xyz", "train_2.xyz", "test.xyz"):
        (tmp_path / name).write_text("1\n\nH 0 0 0\n")
    return tmp_path


def test_one_file_a_list_and_a_pattern(folder):
    assert source_files(folder / "test.xyz") == [folder / "test.xyz"]
    names = [path.name for path in source_files([folder / "test.xyz", str(folder / "train_*.xyz")])]
    assert names == ["test.xyz", "train_1.xyz", "train_2.xyz"]


def test_relative_pattern(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert source_files("t*.xyz") == [Path("test.xyz"), Path("train_1.xyz"), Path("train_2.xyz")]


def test_a_name_with_brackets_is_a_file(folder):
    (folder / "a[1].xyz").write_text("1\n\nH 0 0 0\n")
    assert source_files(folder / "a[1].xyz") == [folder / "a[1].xyz"]


def test_missing_file_names_its_neighbor(folder):
    with pytest.raises(DataError, match=r"no file '.*trian_1.xyz': did you mean '.*train_1.xyz'"):
        source_files(folder / "trian_1.xyz")
    with pytest.raises(DataError, match=r"folder '.*nowhere' does not exist either"):
        source_files(folder / "nowhere" / "a.xyz")
    with pytest.raises(DataError, match="working folder"):
        source_files(folder / "quite-different.traj")


def test_folder_pattern_and_nothing(folder):
    with pytest.raises(DataError, match=r"is a folder: name its files, data.path='.*\*.xyz'"):
        source_files(folder)
    with pytest.raises(DataError, match="no file matches"):
        source_files(str(folder / "*.db"))
    with pytest.raises(DataError, match="no data file given"):
        source_files([])


def test_empty_file(folder):
    (folder / "empty.xyz").touch()
    with pytest.raises(DataError, match=r"empty.xyz' is empty"):
        source_files(folder / "empty.xyz")


def test_plain_name():
    assert plain_name(Path("OUTCAR.gz")) == "OUTCAR"
    assert plain_name(Path("a.tar")) == "a.tar"
