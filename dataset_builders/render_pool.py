"""A pool of Blender workers renders shards; one that dies or hangs is replaced."""

import atexit
import functools
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from datasets import disable_progress_bars
from tqdm import tqdm

from .die_with_parent import die_with_parent
from .families import find_family
from .painters import Painter, PaintRequest
from .shard_progress import ShardProgress
from .shards import SplitPlan, render_shard
from .whole_file import remove_leftovers

PICTURE_SECONDS = 1800.0
"""How long a worker may be at one picture before it counts as hung. The bundled families need seconds at most."""
_LOGGER = logging.getLogger(__name__)
_POLL_SECONDS = 0.5
# Blender keeps about 40 kB of every picture it has rendered; fresh workers every few shards keep memory flat.
_SHARDS_PER_WORKER = 3
_LESS_MEMORY = "fewer --workers if memory ran out"
# How often shards are begun before the build gives up: a worker that dies or hangs takes those of its pool with it.
_ATTEMPTS = 3
_CONTEXT = multiprocessing.get_context("spawn")  # Blender's state must not be inherited
_progress: ShardProgress  # set in each worker by `_start_worker`, as is the next one
_threads: int


def render_shards(
    plan: SplitPlan,
    shards: Iterable[int],
    workers: int = 1,
    threads: int | None = None,
    show_progress: bool = False,
    picture_seconds: float = PICTURE_SECONDS,
) -> None:
    """Render those of `shards` that are not complete on disk, in worker processes of their own.

    A worker that dies or hangs is replaced, and what was not finished is begun again.

    Args:
        plan: a split whose folder is claimed.
        shards: numbers of shards in [0, plan.num_shards).
        workers: Blender processes.
        threads: threads of each; all cores divided by the workers when None. Pixels do not depend on it.
        show_progress: whether to draw a progress bar.
        picture_seconds: a worker that needs longer than this for one picture is taken for hung and replaced.

    Raises:
        OSError: if the folder cannot be written.
        ImportError: if bpy is not installed.
        RuntimeError: if worker processes die or hang at the same shards again and again.
    """
    missing = [shard for shard in shards if not plan.is_complete(shard)]
    if not missing:
        return
    workers = min(workers, len(missing))
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    total = sum(len(plan.shard_indices(shard)) for shard in missing)
    # New pools rather than `max_tasks_per_child`, with which Python 3.11's executor can wait for ever (gh-115634).
    batch = workers * _SHARDS_PER_WORKER
    title = f"{plan.family} {plan.split}"
    with tqdm(total=total, unit="img", desc=title, mininterval=1.0, disable=not show_progress) as bar:
        for start in range(0, len(missing), batch):
            _render_batch(plan, missing[start : start + batch], workers, threads, picture_seconds, bar)


def _render_batch(
    plan: SplitPlan, shards: list[int], workers: int, threads: int, picture_seconds: float, bar: "tqdm[Any]"
) -> None:
    """Render some shards, in new pools as long as workers die or hang."""
    finished = bar.n
    for attempt in range(1, _ATTEMPTS + 1):
        left = [shard for shard in shards if not plan.is_complete(shard)]
        done = sum(len(plan.shard_indices(shard)) for shard in set(shards) - set(left))
        progress = ShardProgress(_CONTEXT, left)
        try:
            _render_in_pool(plan, progress, workers, threads, picture_seconds, bar, finished + done)
            return
        except BrokenProcessPool as error:
            what = _describe(plan, progress)
            if attempt == _ATTEMPTS:
                advice = "a longer --picture-seconds if they are slow" if progress.hung else _LESS_MEMORY
                raise RuntimeError(
                    f"{what}, {_ATTEMPTS} times in all; finished shards are kept: run the command again, with {advice}"
                ) from error
            _LOGGER.warning("%s: trying again", what)
            for shard in left:  # of nobody else, on a cluster
                remove_leftovers(plan.folder, plan.shard_path(shard).name)


def _describe(plan: SplitPlan, progress: ShardProgress) -> str:
    """What has happened to a pool, and the scenes at which it did: of dead workers one of several."""
    fate, shards = ("hung", progress.hung) if progress.hung else ("died", progress.begun)
    scenes = []
    for shard, rendered in shards.items():
        indices = plan.shard_indices(shard)
        scenes.append(indices[min(rendered, len(indices) - 1)])  # all rendered: it was being written
    place = " or ".join(f"{plan.split} scene {scene}" for scene in scenes) or "before its first scene"
    return f"a render worker {fate} while building {plan.folder} ({place})"


def _render_in_pool(
    plan: SplitPlan,
    progress: ShardProgress,
    workers: int,
    threads: int,
    picture_seconds: float,
    bar: "tqdm[Any]",
    finished: int,
) -> None:
    """Render shards with a pool of new workers, and keep the progress bar up to date; `finished` are done before.

    Raises:
        BrokenProcessPool: if a worker dies, or hangs and is killed.
    """
    with ProcessPoolExecutor(workers, _CONTEXT, _start_worker, (progress, threads)) as pool:
        pending = {pool.submit(_work, plan, shard) for shard in progress.shards}
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL_SECONDS)
                bar.update(finished + progress.rendered - bar.n)
                for future in done:
                    future.result()
                progress.kill_hung(picture_seconds)
        except BrokenProcessPool:
            raise
        except BaseException:  # Ctrl-C too: without this the pool would first render everything that is pending
            progress.stop()
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker(progress: ShardProgress, threads: int) -> None:
    global _progress, _threads
    _progress, _threads = progress, threads
    # Python does not unload bpy while the thread of `die_with_parent` runs, and Blender's clean-up then waits for
    # ever. There is nothing left to clean up: every shard is on disk.
    atexit.register(os._exit, 0)
    # A parent that has loaded bpy passes on its search path, where Blender's inner `bpy` hides the package itself.
    sys.path[:] = [entry for entry in sys.path if not (Path(entry) / "bpy_extras").is_dir()]
    disable_progress_bars()  # of writing Parquet: they would run across the build's own
    die_with_parent()


@functools.cache
def _painter(family: str, request: PaintRequest) -> Painter:
    # Made by the first shard rather than by `_start_worker`: only a shard's errors reach the parent process.
    return find_family(family).make_painter(request)


def _work(plan: SplitPlan, shard: int) -> None:
    _progress.begin(shard)
    for _ in render_shard(plan, shard, _painter(plan.family, plan.paint_request(_threads))):
        _progress.add(shard)
        if _progress.is_stopped:
            return
    _progress.end(shard)
