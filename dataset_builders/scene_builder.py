"""The families as `datasets` builder classes, for those who want rows in the `datasets` cache without a folder.

```python
builder = ClevrBuilder(num_scenes=100, seed=0, width=160, height=120)
builder.download_and_prepare(num_proc=2)
rows = builder.as_dataset(split="train")
```

`datasets` has no resume: a failure in one shard loses all of them. Long builds are for `build_family` (`igllm build`),
which makes the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from .build import prepare_meshes
from .families import find_family
from .schema import FEATURES
from .shards import SplitPlan, render_row


@dataclass
class SceneBuilderConfig(datasets.BuilderConfig):
    """Size, seed, resolution and quality of a build; None takes the family's own numbers.

    Attributes:
        num_scenes: scenes in each split.
        seed: dataset seed, in [0, 2**32).
        width, height: pixels.
        samples: Cycles samples per pixel before denoising.
        ground_truth: also fill the columns `instance_mask` and `depth`.
        meshes: folder of the user's shapes (`MeshFolder`), for `shapenet`. The cache knows it by its path: after a
            change in it ask for `download_mode="force_redownload"`.
    """

    num_scenes: int | None = None
    seed: int = 0
    width: int | None = None
    height: int | None = None
    samples: int = 16
    ground_truth: bool = False
    meshes: str | None = None


class SceneBuilder(datasets.GeneratorBasedBuilder):
    """Base class of the families' builders: a subclass names its `FAMILY`."""

    FAMILY: ClassVar[str]
    BUILDER_CONFIG_CLASS = SceneBuilderConfig
    config: SceneBuilderConfig

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=FEATURES, license="CC BY 4.0")

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        plans = [self._plan(split) for split in find_family(self.FAMILY).splits]
        if plans[0].meshes is not None:
            prepare_meshes(plans[0].meshes, plans, workers=1)
        return [
            # Lists are what `num_proc` divides among processes.
            datasets.SplitGenerator(name=plan.split, gen_kwargs={"plan": plan, "shards": list(range(plan.num_shards))})
            for plan in plans
        ]

    def _plan(self, split: str) -> SplitPlan:
        family, config = find_family(self.FAMILY), self.config
        width = family.resolution[0] if config.width is None else config.width
        height = family.resolution[1] if config.height is None else config.height
        size = family.split_size(split) if config.num_scenes is None else config.num_scenes
        place = Path(self.cache_dir)
        meshes = None if config.meshes is None else Path(config.meshes).resolve()
        return SplitPlan(
            place, self.FAMILY, split, size, config.seed, width, height, config.samples, config.ground_truth, meshes
        )

    def _generate_examples(self, plan: SplitPlan, shards: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        painter = find_family(plan.family).make_painter(plan.paint_request(threads=1))
        for shard in shards:
            for index in plan.shard_indices(shard):
                yield index, render_row(plan, index, painter)


class ClevrBuilder(SceneBuilder):
    """CLEVR's rules, every shape in every colour: `train`, `val_id`."""

    FAMILY = "clevr"


class ClevrCogentBuilder(SceneBuilder):
    """CLEVR-CoGenT: `train` and `val_id` in condition A, `val_ood` in condition B."""

    FAMILY = "clevr_cogent"


class ClevrRgbBuilder(SceneBuilder):
    """CLEVR in random colours without names, for towers: `train`, `val_id`; `program` is null."""

    FAMILY = "clevr_rgb"


class TwoDBuilder(SceneBuilder):
    """A disc on a sparse checkerboard: `train`, `val_id`, and `val_ood` on the whole square."""

    FAMILY = "two_d"


class So3Builder(SceneBuilder):
    """One object in all rotations: `train`, `val_id`, and `val_ood` in the 24 holes."""

    FAMILY = "so3"


class SixDofBuilder(SceneBuilder):
    """One object in any rotation, anywhere in view: `train`, `val_id`."""

    FAMILY = "six_dof"


class ShapenetBuilder(SceneBuilder):
    """Textured objects of several categories: `train`, `val_id`, `val_ood_texture`, and `val_ood_shape`."""

    FAMILY = "shapenet"
