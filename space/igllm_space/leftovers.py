"""What Gradio's own clean-up leaves: uploads that were broken off or refused, and the folders of deleted files."""

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

_LOGGER = logging.getLogger(__name__)


def remove_leftovers(folder: Path, age: float) -> None:
    """Delete files that lie in `folder` itself, and empty folders in it, `age` seconds after their last change.

    Gradio keeps whole files one folder deeper and deletes those itself. It works meanwhile: what it has moved away, or
    filled, since it was looked at is left to it. What cannot be deleted is logged, and does not keep the others.

    Raises:
        OSError: if the folder cannot be listed.
    """
    for path in folder.iterdir():
        try:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > age:
                    _remove(path)
        except OSError as error:
            _LOGGER.warning("%s stays: %s", path, error)


def _remove(path: Path) -> None:
    if path.is_file():
        path.unlink()
        return
    try:
        path.rmdir()
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def clean_up(folder: Path, every: float, age: float) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """The lifespan of a server that calls `remove_leftovers` every so many seconds.

    Whatever goes wrong is logged, and the next round is made all the same: else the disk would fill up unseen.
    """

    async def repeat() -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await asyncio.to_thread(remove_leftovers, folder, age)
            except Exception:
                _LOGGER.exception("%s was not cleaned up; the next try is in %g seconds", folder, every)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(repeat())
        yield
        task.cancel()

    return lifespan
