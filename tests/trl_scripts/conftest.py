"""A Hub to push to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import LocalHub, logged_in_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    """An empty Hub that this process is logged in to."""
    with logged_in_hub(tmp_path / "cache") as served:
        yield served
