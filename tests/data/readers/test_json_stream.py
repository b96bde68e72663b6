"""Records out of large JSON: the same as the standard reader's, from any record on, and errors that name the byte."""

import gzip
import json
import tracemalloc

import pytest

from gnnpot.data.readers import json_stream
from gnnpot.data.readers.json_stream import json_records
from gnnpot.errors import DataError

DATA = {f"mp-{k}": {"numbers": [0.1 * k, -1e-9, k], "text": 'é"\\' * (k % 7), "nothing": None} for k in range(40)}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks that end everywhere inside of records."""
    monkeypatch.setattr(json_stream, "BLOCK", 50)
    monkeypatch.setattr(json_stream, "NEAR_THE_END", 40)


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("compressed", [False, True])
def test_members_of_an_object(tmp_path, indent, ascii_only, compressed):
    content = json.dumps(DATA, indent=indent, ensure_ascii=ascii_only).encode()
    path = tmp_path / ("a.json.gz" if compressed else "a.json")
    path.write_bytes(gzip.compress(content) if compressed else content)
    records = list(json_records(path))
    assert {record.key: record.value for record in records} == DATA
    for k in (0, 17, 39):
        assert content[: records[k].end].endswith(b"}")
        assert list(json_records(path, records[k].end, k + 1)) == records[k + 1 :]


def test_elements_of_a_list_and_lines(tmp_path):
    values = list(DATA.values())
    (tmp_path / "a.json").write_text(json.dumps(values))
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(value) for value in values) + "\n")
    for name in ("a.json", "a.jsonl"):
        records = list(json_records(tmp_path / name))
        assert [record.value for record in records] == values
        assert [r.value for r in json_records(tmp_path / name, records[4].end, 5)] == values[5:]


def test_an_empty_list_has_no_records(tmp_path):
    (tmp_path / "a.json").write_text(" [ ] ")
    assert list(json_records(tmp_path / "a.json")) == []


@pytest.mark.parametrize("n_bytes", [1, 9, 200, 900, -1])
def test_a_truncated_file_names_record_and_byte(tmp_path, n_bytes):
    content = json.dumps(DATA)
    (tmp_path / "a.json").write_text(content[:n_bytes])
    with pytest.raises(DataError, match=r"a\.json, record \d+, byte [\d,]+: the file is cut off"):
        list(json_records(tmp_path / "a.json"))


def test_broken_json_names_record_and_byte(tmp_path):
    content = bytearray(json.dumps(DATA).encode())
    colon = content.index(b'": [', content.index(b'"mp-7"')) + 1
    content[colon] = ord("@")
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"record 7, byte {colon}: broken JSON"):
        list(json_records(tmp_path / "a.json"))


def test_a_truncated_compressed_file(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(DATA).encode())[:300])
    with pytest.raises(DataError, match=r"record \d+, byte .* inside its compression"):
        list(json_records(tmp_path / "a.json.gz"))


def test_what_is_no_json_and_what_follows_it(tmp_path):
    (tmp_path / "a.json").write_text("hello")
    with pytest.raises(DataError, match="record 0, byte 0: expected an object or a list, found 'h'"):
        list(json_records(tmp_path / "a.json"))
    (tmp_path / "a.json").write_text('{"a": 1} x')
    with pytest.raises(DataError, match="byte 9: something follows the end"):
        list(json_records(tmp_path / "a.json"))


def test_a_record_that_is_the_whole_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "LARGEST_RECORD", 1000)
    (tmp_path / "a.json").write_text(json.dumps({"data": DATA}))
    with pytest.raises(DataError, match="is the file of the layout that format= names"):
        list(json_records(tmp_path / "a.json"))


def test_memory_is_that_of_a_record_not_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "BLOCK", 1 << 16)
    with (tmp_path / "a.json").open("w") as file:
        file.write("[" + ",".join(json.dumps([0.123456789] * 500) for _ in range(1500)) + "]")
    assert (tmp_path / "a.json").stat().st_size > 8_000_000
    tracemalloc.start()
    n_records = sum(1 for _ in json_records(tmp_path / "a.json"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_records == 1500
    assert peak < 2_000_000


def test_progress_counts_the_bytes_of_the_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(DATA))
    seen = []
    list(json_records(tmp_path / "a.json", progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == (tmp_path / "a.json").stat().st_size
