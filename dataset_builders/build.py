"""Build splits: a pool of Blender workers renders the missing shards, then the dataset card is written."""

import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .dataset_card import write_dataset_card
from .families import FAMILIES
from .shards import SplitPlan, claim_folder, render_shard

_POLL_SECONDS = 0.5
_rendered: "Synchronized[int]"  # set in each worker by `_start_worker`, as is the session
_session: Any


def build_family(
    family: str,
    out: Path,
    *,
    splits: tuple[str, ...] | None = None,
    num_scenes: int | None = None,
    seed: int = 0,
    resolution: tuple[int, int] | None = None,
    samples: int = 16,
    workers: int | None = None,
) -> None:
    """Render a benchmark family into `out` as Parquet shards with a dataset card.

    Complete shards of an earlier run with the same parameters are kept.

    Args:
        family: a key of `FAMILIES`; also the name of the dataset configuration.
        splits: which splits; all of the family when None.
        num_scenes: scenes per split; the family's own sizes when None.
        seed: dataset seed, >= 0.
        resolution: (width, height) in pixels; the family's own when None.
        samples: Cycles samples per pixel before denoising.
        workers: Blender processes; one per core when None.

    Raises:
        ValueError: for a bad family, split or number, or a folder built with other parameters.
        OSError: if the folder cannot be written.
        RuntimeError: if a worker process dies.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}: choose one of {', '.join(FAMILIES)}")
    known = FAMILIES[family]
    width, height = resolution or known.resolution
    for split in splits or known.splits:
        size = num_scenes if num_scenes is not None else known.split_sizes.get(split, 1)
        plan = SplitPlan(out, family, split, size, seed, width, height, samples)
        claim_folder(plan)
        _render_missing_shards(plan, workers or os.cpu_count() or 1)
        write_dataset_card(out)


def _render_missing_shards(plan: SplitPlan, workers: int) -> None:
    missing = [shard for shard in range(plan.num_shards) if not plan.is_complete(shard)]
    if not missing:
        return
    context = multiprocessing.get_context("spawn")  # Blender's state must not be inherited
    counter = context.Value("q", 0)
    total = sum(len(plan.shard_indices(shard)) for shard in missing)
    with (
        tqdm(total=total, unit="img", desc=f"{plan.family} {plan.split}", mininterval=1.0) as progress,
        ProcessPoolExecutor(min(workers, len(missing)), context, _start_worker, (plan, workers, counter)) as pool,
    ):
        pending: set[Future[None]] = {pool.submit(_work, plan, shard) for shard in missing}
        while pending:
            done, pending = wait(pending, timeout=_POLL_SECONDS)
            progress.update(counter.value - progress.n)
            _raise_first_error(done, pool, plan)


def _raise_first_error(done: set[Future[None]], pool: ProcessPoolExecutor, plan: SplitPlan) -> None:
    for future in done:
        try:
            future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"a render worker died while building {plan.folder}; finished shards are kept: run the command again"
            ) from error
        except Exception:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker(plan: SplitPlan, workers: int, counter: "Synchronized[int]") -> None:
    global _rendered, _session
    from .rendering.session import RenderQuality, RenderSession

    _rendered = counter
    threads = max(1, (os.cpu_count() or 1) // workers)
    _session = RenderSession(RenderQuality(plan.width, plan.height, plan.samples, threads=threads))


def _work(plan: SplitPlan, shard: int) -> None:
    import bpy

    for _ in render_shard(plan, shard, _session.render, bpy.app.version_string):
        with _rendered.get_lock():
            _rendered.value += 1
