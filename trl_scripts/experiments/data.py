"""The scenes of an experiment: `igllm build`, and the rows that it made."""

from pathlib import Path

from datasets import Dataset

from ..commands import cannot_write
from ..errors import NO_BLENDER, CommandError
from ..scene_rows import load_split
from .recipe import DataPlan
from .towers import parse_size


def build_data(plan: DataPlan, folder: Path) -> None:
    """Build what is missing of the splits in `folder`; finished shards are kept.

    Raises:
        CommandError: as `igllm build` does, and if the folder was built in another way.
    """
    try:
        from dataset_builders.build import build_family

        for split, scenes in plan.splits.items():
            build_family(
                plan.family,
                folder,
                splits=(split,),
                num_scenes=scenes,
                seed=plan.seed,
                resolution=None if plan.resolution is None else parse_size(plan.resolution),
                samples=plan.samples,
                ground_truth=plan.ground_truth,
            )
    except ImportError as error:
        raise CommandError(f"{error}; {NO_BLENDER}") from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    except (ValueError, RuntimeError) as error:
        raise CommandError(f"cannot build the data of the recipe: {error}") from error


def load_rows(plan: DataPlan, folder: Path, split: str, limit: int | None = None) -> Dataset:
    """The first scenes of a split, as many as the recipe says or `limit`.

    Raises:
        CommandError: if there is no such split in the folder, or a shard is damaged.
    """
    scenes = plan.splits[split]
    return load_split(str(folder), plan.family, split, scenes if limit is None else min(limit, scenes))
