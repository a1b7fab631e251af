"""What Gradio's own clean-up leaves: uploads that were broken off or refused, and the folders of deleted files."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette


def remove_leftovers(folder: Path, age: float) -> None:
    """Delete files that lie in `folder` itself, and empty folders in it, `age` seconds after their last change.

    Gradio keeps whole files one folder deeper and deletes those itself.
    """
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime <= age:
            continue
        if path.is_file():
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()


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
