"""Shards without Blender: what the tests of shards, card and command line build from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builders.dataset_card import write_dataset_card
from dataset_builders.painters import Painter, Picture
from dataset_builders.sampled_scene import SampledScene
from dataset_builders.shards import SplitPlan, claim_folder, render_shard

WIDTH, HEIGHT = 32, 24


def make_plan(out: Path, **changes: Any) -> SplitPlan:
    """A plan of three tiny pictures of `clevr` / `train`."""
    values: dict[str, Any] = {"family": "clevr", "split": "train", "num_scenes": 3, "seed": 0}
    return SplitPlan(**{"out": out, "width": WIDTH, "height": HEIGHT, "samples": 1, **values, **changes})


def paint(scene: SampledScene) -> Picture:
    """A picture in the place of a rendered one, different for scenes of different size."""
    return Picture(np.full((HEIGHT, WIDTH, 3), 10 * len(scene.objects), dtype=np.uint8))


PAINTER = Painter(paint, "4.5")


def write_shard(plan: SplitPlan, shard: int, bpy_version: str | None = "4.5") -> Path:
    """Write one shard as a build does, with painted pictures."""
    claim_folder(plan)
    painter = replace(PAINTER, bpy_version=bpy_version)
    assert list(render_shard(plan, shard, painter)) == list(plan.shard_indices(shard))
    return plan.shard_path(shard)


def write_split(plan: SplitPlan, bpy_version: str = "4.5") -> None:
    """Write all shards of a split that are not complete, and the card."""
    for shard in range(plan.num_shards):
        if not plan.is_complete(shard):
            write_shard(plan, shard, bpy_version)
    write_dataset_card(plan.out)
