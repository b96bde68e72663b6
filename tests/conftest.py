"""What all tests share."""

import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--gates``: also train what takes minutes."""
    parser.addoption("--gates", action="store_true", help="also train the models of tests/test_accuracy.py (minutes)")


@pytest.fixture(scope="session")
def gnnpot_data() -> Path:
    """Folder of the larger first-principles data sets."""
    folder = os.environ.get("GNNPOT_DATA")
    if not folder:
        pytest.skip("GNNPOT_DATA is not set: the larger data sets are not at hand (see benchmarks/DATA.md)")
    return Path(folder)
