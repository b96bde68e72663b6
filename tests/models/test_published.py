"""A card without weights: they are fetched from where it says, and taken only if they are what it says."""

import functools
import http.server
import threading
from pathlib import Path

import pytest
import torch
import yaml

from gnnpot.errors import CheckpointError, GnnpotWarning
from gnnpot.models import store
from gnnpot.models.schnet import SchNet

FETCHING = pytest.mark.filterwarnings("ignore:fetching:gnnpot.errors.GnnpotWarning")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture
def server(tmp_path):
    """Address of a server of files that a test puts into ``tmp_path / "site"``."""
    (tmp_path / "site").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gnnpot" / "weights"


@pytest.fixture
def published(tmp_path, server, cache):
    """Folder of a card whose weights lie on the server."""
    torch.manual_seed(0)
    folder = store.save(SchNet(["Li", "O"], cutoff=4.0, n_features=8, n_radial=6, n_interactions=1), tmp_path / "model")
    weights = (folder / store.WEIGHTS).rename(tmp_path / "site" / "far.safetensors")
    edit(folder, weights_url=f"{server}/far.safetensors", weights_bytes=weights.stat().st_size)
    return folder


def edit(folder: Path, **changes: object) -> None:
    card = {**yaml.safe_load((folder / store.CARD).read_text()), **changes}
    (folder / store.CARD).write_text(yaml.safe_dump({k: v for k, v in card.items() if v is not None}))


def test_fetched_once_and_then_offline(published, cache, tmp_path):
    with pytest.warns(GnnpotWarning, match=r"fetching 0\.0 MB of weights from http"):
        first = store.load(published)
    assert [path.name for path in cache.iterdir()] == [first.card["weights_sha256"] + ".safetensors"]
    (tmp_path / "site" / "far.safetensors").unlink()
    again = store.load(published)
    assert torch.equal(first.embedding.weight, again.embedding.weight)


@FETCHING
def test_a_damaged_copy_is_fetched_anew(published, cache):
    store.load(published)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"damaged")
    store.load(published)
    assert kept.stat().st_size > 1000


@FETCHING
@pytest.mark.parametrize("change", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:-1], lambda b: b + b"0"])
def test_other_content_is_refused_and_not_kept(published, cache, tmp_path, change):
    file = tmp_path / "site" / "far.safetensors"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(CheckpointError, match=r"sha256 .*was written for.*put it beside .*as model\.safetensors"):
        store.load(published)
    assert not list(cache.iterdir())


@FETCHING
def test_without_a_network_the_card_says_what_to_do(published, tmp_path):
    edit(published, weights_url="http://127.0.0.1:9/far.safetensors")
    with pytest.raises(CheckpointError, match=r"cannot be fetched .*put it beside"):
        store.load(published)
    (tmp_path / "site" / "far.safetensors").rename(published / store.WEIGHTS)
    assert store.load(published).elements == (3, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_url": "file:///etc/passwd"}, "should begin with https"),
        ({"weights_sha256": "../" * 20}, "64 hexadecimal digits"),
        ({"weights_bytes": None}, "weights_bytes"),
    ],
)
def test_a_card_that_cannot_be_verified_fetches_nothing(published, cache, changes, message):
    edit(published, **changes)
    with pytest.raises(CheckpointError, match=message):
        store.load(published)
    assert not cache.exists()
