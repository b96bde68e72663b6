from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def resources() -> Path:
    """Folder of the small hand-made files."""
    return Path(__file__).parents[2] / "resources"
