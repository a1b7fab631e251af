"""Files that are there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file under a temporary name beside `path`, with the same suffix, then rename it.

    An existing file stays as it was until the new one is complete.

    Raises:
        OSError: if the place cannot be written, before `write` is called; and whatever `write` raises.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    temporary.touch()
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
