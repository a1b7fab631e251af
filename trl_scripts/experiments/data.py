"""The scenes of an experiment: `igllm build`, and the rows that it made."""

from pathlib import Path

from datasets import Dataset, load_dataset

from ..commands import cannot_write
from ..errors import NO_BLENDER, CommandError
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
    """The first scenes of a split, as many as the recipe says or `limit`."""
    rows = load_dataset(str(folder), plan.family, split=split)
    return rows.select(range(min(limit or len(rows), plan.splits[split], len(rows))))
