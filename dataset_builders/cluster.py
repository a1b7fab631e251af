"""A build as a `datatrove` pipeline over shards: on this machine, on a Ray cluster or on Slurm.

datatrove only decides where and when; every shard is rendered by `render_pool.render_shards`, so that the files are
those of `build_family`, byte for byte. Plans come from `build.plan_build`. `make cluster` installs datatrove and Ray.

Which shards are left to do is read from the dataset folder, not from datatrove's own completion marks: a split may
grow, and a shard may be deleted.
"""

import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import get_timestamp

from .dataset_card import write_dataset_card
from .render_pool import PICTURE_SECONDS, render_shards
from .shards import SplitPlan

# Slurm's own default limit of a job array (MaxArraySize) is 1001.
_MAX_SLURM_JOBS = 1000


class RenderShards(PipelineStep):
    """Renders shards: those of task `rank` of `world_size` are every `world_size`-th one, from number `rank` on.

    Each task has a process of its own for Blender. If that dies, for want of memory say, the task fails with a message
    instead of hanging datatrove's pool.

    Args:
        shards: (plan, number) of each shard; what is complete by then is skipped.
        threads: threads of each Blender process.
        picture_seconds: as of `render_pool.render_shards`.
    """

    name = "render shards"
    type = "ig-llm"

    def __init__(
        self, shards: Sequence[tuple[SplitPlan, int]], threads: int = 1, picture_seconds: float = PICTURE_SECONDS
    ) -> None:
        super().__init__()
        self.shards = shards
        self.threads = threads
        self.picture_seconds = picture_seconds

    def run(self, data: object, rank: int = 0, world_size: int = 1) -> None:
        """Render the shards of one task; `data` is not looked at. Errors as in `render_shards`."""
        for plan, shard in self.shards[rank::world_size]:
            with self.track_time("shard"):
                render_shards(plan, [shard], threads=self.threads, picture_seconds=self.picture_seconds)


class FinishDataset(PipelineStep):
    """Checks that no shard is missing and writes the dataset card: the last step, in one task."""

    name = "write dataset card"
    type = "ig-llm"

    def __init__(self, plans: Sequence[SplitPlan]) -> None:
        super().__init__()
        self.plans = plans

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the card; RuntimeError if there are shards that were not rendered."""
        left = [str(plan.shard_path(shard)) for plan, shard in missing_shards(self.plans)]
        if left:
            raise RuntimeError(f"{len(left)} shards were not rendered, first {left[0]}: run the command again")
        write_dataset_card(self.plans[0].out)


def missing_shards(plans: Sequence[SplitPlan]) -> list[tuple[SplitPlan, int]]:
    """(plan, number) of every shard that is not complete on disk."""
    return [(plan, shard) for plan in plans for shard in range(plan.num_shards) if not plan.is_complete(shard)]


def build_locally(
    plans: Sequence[SplitPlan],
    logs: Path,
    *,
    workers: int,
    threads: int = 1,
    picture_seconds: float = PICTURE_SECONDS,
) -> None:
    """Render what is missing with `workers` processes of this machine, one shard to a task.

    Args:
        plans: splits of one dataset folder.
        logs: folder for datatrove's logs and statistics, one folder for each run.
        workers: tasks at a time.
        threads: threads of each.
        picture_seconds: as of `render_pool.render_shards`.

    Raises:
        OSError, ImportError, RuntimeError: as in `render_shards`; finished shards are kept.
    """
    if shards := missing_shards(plans):
        LocalPipelineExecutor(
            [RenderShards(shards, threads, picture_seconds)],
            tasks=len(shards),
            workers=min(workers, len(shards)),
            logging_dir=str(_new_logs(logs)),
            skip_completed=False,
        ).run()
    FinishDataset(plans).run()


def build_on_ray(
    plans: Sequence[SplitPlan],
    logs: Path,
    *,
    address: str | None = None,
    workers: int = -1,
    threads: int = 1,
    memory_gb: int = 2,
    picture_seconds: float = PICTURE_SECONDS,
) -> None:
    """Render what is missing on a Ray cluster whose nodes share the dataset folder, `logs` and this Python.

    Args:
        plans, logs: as in `build_locally`.
        address: of a running cluster, "auto" for the one of this machine; None starts one on this machine alone.
        workers: tasks at a time, -1 for as many as the cluster has cores and memory for.
        threads: cores of each task.
        memory_gb: memory that a task reserves, in GiB.
        picture_seconds: as of `render_pool.render_shards`.

    Raises:
        RuntimeError: if shards are missing in the end (the logs say why), or for an error of Ray's own.
        ConnectionError: if there is no cluster at `address`.
    """
    import ray

    if shards := missing_shards(plans):
        executor = RayPipelineExecutor(
            [RenderShards(shards, threads, picture_seconds)],
            tasks=len(shards),
            workers=workers,
            cpus_per_task=threads,
            mem_per_cpu_gb=memory_gb / threads,
            logging_dir=str(_new_logs(logs)),
            skip_completed=False,
        )
        try:
            with ray.init(address=address, include_dashboard=False if address is None else None):
                executor.run()
        except ray.exceptions.RayError as error:
            raise RuntimeError(f"Ray: {error}") from error
    FinishDataset(plans).run()  # Ray's executor ends without an error when tasks have failed


def submit_to_slurm(
    plans: Sequence[SplitPlan],
    logs: Path,
    *,
    partition: str,
    time: str,
    workers: int = -1,
    threads: int = 1,
    memory_gb: int = 2,
    picture_seconds: float = PICTURE_SECONDS,
    sbatch: dict[str, str] | None = None,
) -> None:
    """Submit a job array that renders what is missing, and behind it a job that writes the card; then return.

    Args:
        plans, logs: as in `build_locally`, on a file system that the nodes share.
        partition: Slurm's.
        time: limit of one job, e.g. "02:00:00"; a job renders up to a thousandth of the shards.
        workers: jobs at a time, -1 for no limit.
        threads: cores of each job.
        memory_gb: memory for each core, in GiB.
        picture_seconds: as of `render_pool.render_shards`.
        sbatch: more options of sbatch, e.g. `{"account": "vision"}`.

    Raises:
        RuntimeError: if there is no `sbatch` here.
        subprocess.CalledProcessError: if sbatch refuses.
    """
    if shutil.which("sbatch") is None:
        raise RuntimeError("there is no `sbatch` here: submit from a machine of the Slurm cluster")
    shards = missing_shards(plans)
    if not shards:
        FinishDataset(plans).run()
        return
    folder = _new_logs(logs)
    settings = _slurm_settings(partition, time, memory_gb, sbatch or {})
    render = SlurmPipelineExecutor(
        [RenderShards(shards, threads, picture_seconds)],
        tasks=len(shards),
        tasks_per_job=math.ceil(len(shards) / _MAX_SLURM_JOBS),
        workers=workers,
        cpus_per_task=threads,
        job_name="igllm-render",
        logging_dir=str(folder / "render"),
        **settings,
    )
    SlurmPipelineExecutor(
        [FinishDataset(plans)],
        tasks=1,
        depends=render,
        job_name="igllm-card",
        logging_dir=str(folder / "card"),
        **settings,
    ).run()


def _slurm_settings(partition: str, time: str, memory_gb: int, sbatch: dict[str, str]) -> dict[str, Any]:
    """What both of Slurm's jobs have in common, as keywords of `SlurmPipelineExecutor`."""
    return {
        "partition": partition,
        "time": time,
        "mem_per_cpu_gb": memory_gb,
        "qos": "",  # the cluster's own unless it is among `sbatch`
        "sbatch_args": {"kill-on-invalid-dep": "yes", **sbatch},  # no card when a shard has failed
        "env_command": f'export PATH="{Path(sys.prefix) / "bin"}:$PATH"',  # of datatrove's commands
        "skip_completed": False,
    }


def _new_logs(logs: Path) -> Path:
    """A folder for one run: the completion marks of another one mean nothing to it."""
    return logs / get_timestamp()
