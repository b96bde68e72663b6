"""Weights that are published elsewhere: a card names their address and SHA-256, and only what fits is taken."""

import hashlib
import http.client
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from gnnpot.data.files import replacing
from gnnpot.data.folder_cache import default_cache_dir
from gnnpot.errors import CheckpointError, GnnpotWarning

CHUNK = 1 << 20
TIMEOUT = 60.0
"""Seconds without an answer."""

SCHEMES = ("https", "http")


def published_weights(card: Mapping[str, Any], file: Path) -> Path:
    """File of the weights that a card names by ``weights_url``, ``weights_sha256`` and ``weights_bytes``.

    They are fetched at the first use, kept in the user's cache folder, and compared with the card each time.

    Args:
        card: content of a ``model.yaml``.
        file: where it stands, for messages.

    Raises:
        CheckpointError: an incomplete card, no network, or content that is not what the card says.
    """
    url, sha256, size = str(card.get("weights_url")), str(card.get("weights_sha256")), card.get("weights_bytes")
    if urlsplit(url).scheme not in SCHEMES:
        raise CheckpointError(f"{file}: weights_url={url} should begin with https://")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not isinstance(size, int) or size < 1:
        raise CheckpointError(
            f"{file}: weights_url needs weights_sha256 (64 hexadecimal digits, here {sha256}) and weights_bytes (a "
            f"number, here {size}) beside it, which tell whether what comes is what was published"
        )
    kept = default_cache_dir() / "weights" / f"{sha256}.safetensors"
    if not kept.is_file() or hashlib.sha256(kept.read_bytes()).hexdigest() != sha256:
        _fetch(url, sha256, size, kept, file)
    return kept


def _fetch(url: str, sha256: str, size: int, kept: Path, file: Path) -> None:
    """Write what an address gives to ``kept`` if it is right; never more than a byte beyond its size is read."""
    by_hand = f"fetch it otherwise and put it beside {file} as model.safetensors"
    warnings.warn(f"fetching {size / 1e6:.1f} MB of weights from {url}, kept in {kept}", GnnpotWarning, stacklevel=5)
    digest, n_read = hashlib.sha256(), 0
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as temporary:
            with urlopen(url, timeout=TIMEOUT) as answer, temporary.open("wb") as stream:
                while n_read <= size and (chunk := answer.read(min(CHUNK, size + 1 - n_read))):
                    digest.update(chunk)
                    stream.write(chunk)
                    n_read += len(chunk)
            if n_read != size or digest.hexdigest() != sha256:
                more = "more than " if n_read > size else ""
                raise CheckpointError(
                    f"{url}: {more}{min(n_read, size):,} bytes with sha256 {digest.hexdigest()[:12]}… came, and {file} "
                    f"was written for {size:,} bytes with {sha256[:12]}…: it was changed, or broke off. Nothing is "
                    f"kept; try again, or {by_hand}"
                )
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CheckpointError(f"{url}: the weights of {file} cannot be fetched ({error}); {by_hand}") from None
