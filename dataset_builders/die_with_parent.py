"""Worker processes that do not outlive the process that started them."""

import multiprocessing
import os
import threading


def die_with_parent() -> None:
    """End this worker of `multiprocessing` as soon as its parent has ended, however it did.

    A worker whose parent was killed would otherwise work on beside the next build, then wait for ever for more.
    """
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
