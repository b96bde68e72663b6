"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def gnnpot_data() -> Path:
    """Folder of the larger first-principles data sets."""
    folder = os.environ.get("GNNPOT_DATA")
    if not folder:
        pytest.skip("GNNPOT_DATA is not set: the larger data sets are not at hand (see benchmarks/DATA.md)")
    return Path(folder)
