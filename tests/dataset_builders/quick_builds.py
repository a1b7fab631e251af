"""`igllm build` in processes of their own that start in milliseconds, so that many can be killed.

Two things differ from the command in a shell: a shard is two scenes, and workers are forked rather than spawned
(`two_d` needs no Blender). A server process has done the imports; every build is a fork of it with its own process
group.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import psutil
import pyarrow.parquet as pq
from tqdm import tqdm

from dataset_builders import render_pool, shards
from dataset_builders.painters import Painter
from trl_scripts.cli import main

Victim = Literal["group", "parent", "worker"]
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pytest", "dataset_builders.build", "trl_scripts.commands"])
_FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove")  # of sys.audit, raised before the operation
_SECONDS_TO_END = 30.0


class QuickBuild:
    """One `igllm build` that has just been started.

    Args:
        arguments: of `igllm build`.
        log: file for its standard error.
        setup: called in the new process before the build.
    """

    def __init__(self, arguments: list[str], log: Path, setup: Callable[[], object] | None = None) -> None:
        ready, sender = _SERVER.Pipe(duplex=False)
        self.process: BaseProcess = _SERVER.Process(target=_run, args=(arguments, log, setup, sender))
        self.process.start()
        ready.recv()

    def wait(self) -> int:
        """Wait until no process of the build is left; returns the exit code, or minus the signal that killed it."""
        self.process.join(_SECONDS_TO_END)
        assert self.process.pid is not None
        if self.process.exitcode is None:
            kill("group", self.process.pid)
            raise AssertionError(f"the build did not end within {_SECONDS_TO_END} s")
        wait_for_group(self.process.pid)
        return self.process.exitcode

    def kill(self, victim: Victim) -> None:
        """End the build or only its parent process with SIGKILL."""
        assert self.process.pid is not None
        kill(victim, self.process.pid)


class KillAtStep:
    """A `setup` that kills the build before its file operation number `step`, counted from 0, below `folder`."""

    def __init__(self, folder: Path, step: int, victim: Victim) -> None:
        self.folder, self.step, self.victim = str(folder), step, victim

    def __call__(self) -> None:
        self.steps = multiprocessing.RawValue("i", 0)  # counts its workers' operations too
        self.parent = os.getpid()
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FILE_EVENTS and str(arguments[0]).startswith(self.folder):
            self.steps.value += 1
            if self.steps.value == self.step + 1:
                kill(self.victim, self.parent)


class FailAtScene:
    """A `setup` whose workers stop (SIGSTOP, as good as hung) or die (SIGKILL) at a scene, so many `times`."""

    def __init__(self, scene: int, times: int, failure: signal.Signals) -> None:
        self.scene, self.times, self.failure = scene, times, failure

    def __call__(self) -> None:
        render_pool._POLL_SECONDS = 0.05
        self.left = multiprocessing.RawValue("i", self.times)
        self.render_row = shards.render_row
        shards.render_row = self._render_row  # type: ignore[method-assign]

    def _render_row(self, plan: shards.SplitPlan, index: int, painter: Painter) -> dict[str, Any]:
        if index == self.scene and self.left.value:
            self.left.value -= 1
            os.kill(os.getpid(), self.failure)
        return self.render_row(plan, index, painter)


def use_two_scenes_a_shard_and_forked_workers() -> None:
    """Change the builder in this process and those it starts."""
    shards.SHARD_SIZE = 2
    multiprocessing.set_start_method("fork", force=True)
    # Spawned workers have a lock of their own; a shared one would stay locked when a worker is killed.
    tqdm.set_lock(threading.RLock())
    render_pool._CONTEXT = multiprocessing.get_context("fork")  # type: ignore[assignment]


def kill(victim: Victim, parent: int) -> None:
    """SIGKILL to the process group of `parent`, to `parent` alone, or to this process if it is a worker of it."""
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        if victim == "group":
            os.killpg(parent, signal.SIGKILL)
        elif victim == "parent":
            os.kill(parent, signal.SIGKILL)
        elif os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def wait_for_group(group: int) -> None:
    """Wait until every process of a process group has ended: also workers whose parent was killed must."""
    deadline = time.monotonic() + _SECONDS_TO_END
    while left := [process for process in psutil.process_iter() if _is_in_group(process, group)]:
        if time.monotonic() > deadline:
            kill("group", group)
            raise AssertionError(f"still running: {left}")
        time.sleep(0.01)


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_shards(folder: Path, undisturbed: dict[str, bytes]) -> set[str]:
    """Assert that every shard that can be seen is readable and complete; returns their names."""
    found = {name: data for name, data in file_bytes(folder).items() if is_shard(name)}
    for name, data in found.items():
        assert pq.read_table(folder / name).num_rows > 0
        assert data == undisturbed[name]
    return set(found)


def is_shard(name: str) -> bool:
    """Whether a path is that of a shard, not of one that is being written."""
    return name.endswith(".parquet") and not Path(name).name.startswith(".")


def _run(arguments: list[str], log: Path, setup: Callable[[], object] | None, ready: Any) -> None:
    os.setsid()
    with log.open("w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    use_two_scenes_a_shard_and_forked_workers()
    if setup is not None:
        setup()
    ready.send(None)
    sys.exit(main(["build", *arguments]))


def _is_in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
