"""Pictures to upload."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """Makes the file of a picture of one colour, by its red; PNG keeps it exactly."""

    def make(red: int, name: str = "picture.png", size: tuple[int, int] = (32, 24)) -> Path:
        Image.new("RGB", size, (red, 0, 0)).save(tmp_path / name)
        return tmp_path / name

    return make
