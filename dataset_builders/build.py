"""Plan the splits of a benchmark family and build them: shards in `out`, and the dataset card."""

import logging
import os
from pathlib import Path

from .dataset_card import check_card_place, write_dataset_card
from .families import find_family
from .mesh_index import index_meshes
from .render_pool import PICTURE_SECONDS, render_shards
from .shards import SplitPlan, check_claim, claim_folder

_LOGGER = logging.getLogger(__name__)


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
    ground_truth: bool = False,
    meshes: Path | None = None,
    picture_seconds: float = PICTURE_SECONDS,
) -> None:
    """Render a benchmark family into `out` as Parquet shards with a dataset card.

    Complete shards of an earlier run with the same parameters are kept.

    Args:
        family: what `find_family` knows; also the name of the dataset configuration.
        splits: which splits; all of the family when None.
        num_scenes: scenes per split; the family's own sizes when None.
        seed: dataset seed, in [0, 2**32).
        resolution: (width, height) in pixels; the family's own when None.
        samples: Cycles samples per pixel before denoising.
        workers: Blender processes; one per core when None.
        ground_truth: also fill the columns `instance_mask` and `depth`.
        meshes: folder of the user's shapes (`MeshFolder`), for families that take them; what does not load is named
            on standard error and left out.
        picture_seconds: as of `render_shards`.

    Raises:
        ValueError: for a bad family, split or number, a folder of meshes without any, a folder built with other
            parameters, or one with a README.md of something else; nothing has been rendered then.
        OSError, ImportError, RuntimeError: as of `render_shards`.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    plans = plan_build(
        family,
        out,
        splits=splits,
        num_scenes=num_scenes,
        seed=seed,
        resolution=resolution,
        samples=samples,
        ground_truth=ground_truth,
        meshes=meshes,
    )
    for plan in plans:
        shards = range(plan.num_shards)
        render_shards(plan, shards, workers or os.cpu_count() or 1, None, True, picture_seconds)
        write_dataset_card(out)


def plan_build(
    family: str,
    out: Path,
    *,
    splits: tuple[str, ...] | None = None,
    num_scenes: int | None = None,
    seed: int = 0,
    resolution: tuple[int, int] | None = None,
    samples: int = 16,
    ground_truth: bool = False,
    meshes: Path | None = None,
) -> list[SplitPlan]:
    """Check the parameters, claim the folders in `out` and return what is to be rendered, split by split.

    `render_shards` then renders it, in any order and on any machine that shares `out`; arguments and errors as in
    `build_family`.
    """
    known = find_family(family)
    width, height = resolution or known.resolution
    sizes = {split: known.split_size(split) if num_scenes is None else num_scenes for split in splits or known.splits}
    meshes = None if meshes is None else meshes.resolve()
    plans = [
        SplitPlan(out, family, split, size, seed, width, height, samples, ground_truth, meshes)
        for split, size in sizes.items()
    ]
    check_card_place(out)
    for plan in plans:
        check_claim(plan)  # of all splits before anything is written
    if meshes is not None:
        prepare_meshes(meshes, plans, os.cpu_count() or 1)
    for plan in plans:
        claim_folder(plan)
    return plans


def prepare_meshes(meshes: Path, plans: list[SplitPlan], workers: int) -> None:
    """Write the index of a folder of meshes beside the shards, and name on standard error what is left out.

    Args:
        meshes: folder in the layout of `MeshFolder`.
        plans: splits of one family in one dataset folder.
        workers: processes at most.

    Raises:
        ValueError: as of `index_meshes`, or if the folder has no shapes for one of the splits.
    """
    plans[0].folder.mkdir(parents=True, exist_ok=True)
    is_in_use = any(plans[0].folder.glob("[!.]*.parquet"))  # not what a killed build was writing
    index = index_meshes(meshes, plans[0].folder, workers, is_in_use)
    for path, reason in index.left_out.items():
        _LOGGER.warning("left out %s: %s", meshes / path, reason)
    for plan in plans:
        plan.sample(0)
