"""`igllm cluster`: `igllm build` through datatrove, on this machine, on a Ray cluster or on Slurm."""

import argparse
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import NO_BLENDER, CommandError

if TYPE_CHECKING:
    from dataset_builders.shards import SplitPlan

ENGINES = {
    "local": "processes of this machine",
    "ray": "a Ray cluster",
    "slurm": "a Slurm job array: submits it and returns",
}
NO_DATATROVE = "`make cluster` installs datatrove and Ray (docs/clusters.md)"


def add_cluster_arguments(parser: argparse.ArgumentParser, engine: str) -> None:
    """Declare what `run_cluster` reads for one of `ENGINES`, beside the flags of `igllm build`."""
    default = "one per core" if engine == "local" else "no limit"
    parser.add_argument("--workers", type=int, help=f"tasks at a time (default: {default})")
    parser.add_argument("--threads", type=int, default=1, help="cores of each task (default: 1)")
    parser.add_argument("--logs", type=Path, help="folder for datatrove's logs (default: --out with .logs behind it)")
    if engine == "ray":
        parser.add_argument("--address", help='of a running cluster, or "auto" (default: a new one on this machine)')
        parser.add_argument("--memory-gb", type=int, default=2, help="memory that a task reserves (default: 2)")
    if engine == "slurm":
        parser.add_argument("--partition", required=True)
        parser.add_argument("--time", required=True, metavar="HH:MM:SS", help="limit of one job")
        parser.add_argument("--memory-gb", type=int, default=2, help="memory for each core (default: 2)")
        parser.add_argument(
            "--sbatch", type=_option, action="append", default=[], metavar="NAME=VALUE", help="e.g. account=vision"
        )


def run_cluster(parsed: argparse.Namespace) -> int:
    """Build, or with Slurm submit; see `dataset_builders.cluster`.

    Raises:
        CommandError: for bad input, a missing package, a folder that cannot be written, or shards that failed.
    """
    # The other commands, and --help, should not wait for these imports.
    from .commands import cannot_write, scene_arguments

    for name in ("workers", "threads", *(() if parsed.engine == "local" else ("memory_gb",))):
        if (value := getattr(parsed, name)) is not None and value < 1:
            raise CommandError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    parsed.out = parsed.out.resolve()  # tasks may have another working folder
    try:
        _import_engine(parsed.engine)
        from dataset_builders.build import plan_build

        _run_engine(plan_build(parsed.family, parsed.out, **scene_arguments(parsed)), parsed)
    except ImportError as error:
        raise CommandError(f"{error}; {NO_BLENDER}") from error
    except ConnectionError as error:  # an OSError that says nothing of the folder
        raise CommandError(f"lost a worker ({error}): run the command again, finished shards are kept") from error
    except OSError as error:
        raise cannot_write(parsed.out, error) from error
    except (ValueError, RuntimeError, subprocess.CalledProcessError) as error:
        raise CommandError(str(error)) from error
    return 0


def _import_engine(engine: str) -> None:
    try:
        import datatrove  # noqa: F401

        if engine == "ray":
            import ray  # noqa: F401
    except ImportError as error:
        raise CommandError(f"{error}; {NO_DATATROVE}") from error


def _run_engine(plans: "list[SplitPlan]", parsed: argparse.Namespace) -> None:
    from dataset_builders.cluster import build_locally, build_on_ray, submit_to_slurm

    logs = (parsed.logs or parsed.out.with_name(f"{parsed.out.name}.logs")).resolve()
    if parsed.engine == "local":
        workers = parsed.workers or max(1, (os.cpu_count() or 1) // parsed.threads)
        build_locally(plans, logs, workers=workers, threads=parsed.threads, picture_seconds=parsed.picture_seconds)
        return
    settings = {
        "workers": parsed.workers or -1,
        "threads": parsed.threads,
        "memory_gb": parsed.memory_gb,
        "picture_seconds": parsed.picture_seconds,
    }
    if parsed.engine == "ray":
        try:
            build_on_ray(plans, logs, address=parsed.address, **settings)
        except ConnectionError as error:
            raise CommandError(f"no Ray cluster at {parsed.address!r}: {error}") from error
        return
    sbatch = dict(parsed.sbatch)
    submit_to_slurm(plans, logs, partition=parsed.partition, time=parsed.time, sbatch=sbatch, **settings)


def _option(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (separator and name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, e.g. account=vision")
    return name, value
