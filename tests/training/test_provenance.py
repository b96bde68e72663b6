import json

import pytest

from gnnpot.training import provenance as module
from gnnpot.training.provenance import peak_memory_mb, provenance


def test_provenance_is_plain_and_names_versions_data_and_seed() -> None:
    found = provenance("a" * 64, seed=3)
    assert json.loads(json.dumps(found)) == found
    assert {"gnnpot", "torch", "python", "cpu", "threads"} <= found.keys()
    assert (found["data_sha256"], found["seed"]) == ("a" * 64, 3)


def test_no_repository_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "git_commit" not in provenance("", seed=0)
    assert module._processor()


def test_memory_is_in_megabytes() -> None:
    assert 10 < peak_memory_mb() < 1e6
