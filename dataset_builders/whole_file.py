"""Files that are there whole or not at all."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import psutil


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file under a temporary name beside `path`, with the same suffix, then rename it.

    An existing file stays as it was until the new one is complete and on the disk.

    Raises:
        OSError: if the place cannot be written, before `write` is called; and whatever `write` raises.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    temporary.touch()
    try:
        write(temporary)
        _flush_to_disk(temporary)  # else a power cut could leave an empty file under the final name
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, names: str) -> None:
    """Remove the temporaries of `write_whole` that killed processes left in `folder`, which may be missing.

    What a running process of this machine is writing is left alone; processes of other machines are not seen.

    Args:
        names: shell pattern of the files that were to be written, e.g. "train*".

    Raises:
        OSError: if a file cannot be removed.
    """
    for path in folder.glob(f".*-{names}"):
        match = re.match(r"\.(\d+)-", path.name)
        if match and not _is_running(int(match[1])):
            path.unlink(missing_ok=True)  # a worker that has just ended may have removed it


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
