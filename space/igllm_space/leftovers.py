"""What Gradio's own clean-up leaves: uploads that were broken off or refused, and the folders of deleted files."""

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette


def remove_leftovers(folder: Path, age: float) -> None:
    """Delete files that lie in `folder` itself, and empty folders in it, `age` seconds after their last change.

    Gradio keeps whole files one folder deeper and deletes those itself. It works meanwhile: what it has moved away, or
    filled, since it was looked at is left to it.
    """
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > age:
                _remove(path)


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
    """The lifespan of a server that calls `remove_leftovers` every so many seconds."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(remove_leftovers, folder, age)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(repeat())
        yield
        task.cancel()

    return lifespan
