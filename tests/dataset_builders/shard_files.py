"""Shards without Blender: what the tests of shards, card and command line build from."""

from pathlib import Path
from typing import Any

import numpy as np

from dataset_builders.dataset_card import write_dataset_card
from dataset_builders.shards import SplitPlan, claim_folder, render_shard

WIDTH, HEIGHT = 32, 24


def make_plan(out: Path, **changes: Any) -> SplitPlan:
    """A plan of three tiny pictures of `clevr` / `train`."""
    values: dict[str, Any] = {"family": "clevr", "split": "train", "num_scenes": 3, "seed": 0}
    return SplitPlan(**{"out": out, "width": WIDTH, "height": HEIGHT, "samples": 1, **values, **changes})


def paint(objects: Any, camera: Any, lights: Any) -> np.ndarray:
    """A picture in the place of `RenderSession.render`, different for scenes of different size."""
    return np.full((HEIGHT, WIDTH, 3), 10 * len(tuple(objects)), dtype=np.uint8)


def write_shard(plan: SplitPlan, shard: int, bpy_version: str = "4.5") -> Path:
    """Write one shard as a build does, with painted pictures."""
    claim_folder(plan)
    assert list(render_shard(plan, shard, paint, bpy_version)) == list(plan.shard_indices(shard))
    return plan.shard_path(shard)


def write_split(plan: SplitPlan, bpy_version: str = "4.5") -> None:
    """Write all shards of a split that are not complete, and the card."""
    for shard in range(plan.num_shards):
        if not plan.is_complete(shard):
            write_shard(plan, shard, bpy_version)
    write_dataset_card(plan.out)
