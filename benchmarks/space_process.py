"""The Space as a process of its own, and its memory."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

APP = Path(__file__).parents[1] / "space" / "app.py"
START_SECONDS = 300.0
_READING_SECONDS = 0.1


@contextlib.contextmanager
def running_space(log: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, psutil.Popen]]:
    """`python space/app.py`: its address on this machine and its process, which is ended at last.

    Args:
        log: file for what it prints.
        environment: of the process.

    Raises:
        RuntimeError: if it does not start, with its log.
    """
    with log.open("w") as output:
        command = [sys.executable, "-u", str(APP)]
        process = psutil.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        yield _address(log, process), process
    finally:
        process.terminate()
        process.wait(60)


def _address(log: Path, process: psutil.Popen) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        lines = [line for line in log.read_text().splitlines() if "http://" in line]
        if lines:
            return f"{lines[0].split()[-1].rstrip('/')}/"
        time.sleep(0.2)
    raise RuntimeError(f"the Space has not started:\n{log.read_text()[-2000:]}")


class MemoryWatch:
    """Resident MB of a process, read ten times a second until `stop`."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.peak = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self) -> float:
        """MB at this moment."""
        return self.process.memory_info().rss / 1e6

    def restart(self) -> None:
        """Forget the peak."""
        self.peak = 0.0

    def stop(self) -> None:
        """Read no more."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_READING_SECONDS):
            try:
                self.peak = max(self.peak, self.now())
            except psutil.NoSuchProcess:  # the server is gone: its tests say so
                return
