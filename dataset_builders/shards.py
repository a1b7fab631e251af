"""A split is rendered in shards of 100 scenes; a shard is one Parquet file that is there whole or not at all."""

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from datasets import Dataset
from PIL import Image

from .families import FAMILIES
from .schema import FEATURES, scene_row

SHARD_SIZE = 100


@dataclass(frozen=True)
class SplitPlan:
    """Everything that decides the rows of one split, and the folder that holds them.

    Equal plans give equal rows; `num_scenes` may grow later without changing the shards that are complete.
    """

    out: Path
    family: str
    split: str
    num_scenes: int
    seed: int
    width: int
    height: int
    samples: int

    def __post_init__(self) -> None:
        splits = FAMILIES[self.family].splits
        if self.split not in splits:
            raise ValueError(f"family {self.family!r} has no split {self.split!r}: choose one of {', '.join(splits)}")
        for name in ("num_scenes", "width", "height", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed}")

    @property
    def folder(self) -> Path:
        """The folder of the family's Parquet files."""
        return self.out / self.family

    @property
    def num_shards(self) -> int:
        """Number of Parquet files, the last one possibly shorter."""
        return -(-self.num_scenes // SHARD_SIZE)

    def shard_path(self, shard: int) -> Path:
        """The Parquet file of a shard. Its name does not hold the number of shards, so that a split can grow."""
        return self.folder / f"{self.split}-{shard:05d}.parquet"

    def shard_indices(self, shard: int) -> range:
        """The scene indices of a shard."""
        return range(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, self.num_scenes))

    def is_complete(self, shard: int) -> bool:
        """Whether the shard is on disk with all its rows."""
        path = self.shard_path(shard)
        return path.exists() and pq.read_metadata(path).num_rows == len(self.shard_indices(shard))

    def parameters(self) -> dict[str, Any]:
        """What must not change between two runs into one folder."""
        values = asdict(self)
        del values["out"], values["num_scenes"]
        return values

    @property
    def parameters_path(self) -> Path:
        """Where the parameters of the split are kept beside its shards."""
        return self.folder / f"{self.split}.build.json"


def claim_folder(plan: SplitPlan) -> None:
    """Create the split's folder and record its parameters there.

    Raises:
        ValueError: if the folder holds the same split made with other parameters (mixing them would go unnoticed).
        OSError: if the folder cannot be written.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    if plan.parameters_path.exists():
        found = json.loads(plan.parameters_path.read_text())
        if found != plan.parameters():
            raise ValueError(
                f"{plan.parameters_path} was built with {found}, not {plan.parameters()}: "
                "use the same parameters or another --out folder"
            )
        return
    _write_whole(plan.parameters_path, lambda path: path.write_text(json.dumps(plan.parameters(), indent=2) + "\n"))


def render_shard(plan: SplitPlan, shard: int, render: Callable[..., np.ndarray], bpy_version: str) -> Iterator[int]:
    """Render one shard and write it; yields each scene's index as soon as it is rendered.

    Args:
        render: `RenderSession.render`.

    Raises:
        OSError: if the file cannot be written; no partial file stays behind under the shard's name.
    """
    rows = []
    for index in plan.shard_indices(shard):
        scene = FAMILIES[plan.family].sample(plan.family, plan.split, plan.seed, index)
        image = png_bytes(render(scene.objects, scene.camera, scene.lights))
        rows.append(scene_row(scene, image, plan.width, plan.height, bpy_version))
        yield index
    table = Dataset.from_list(rows, features=FEATURES)
    _write_whole(plan.shard_path(shard), table.to_parquet)


def png_bytes(pixels: np.ndarray) -> bytes:
    """Encode (height, width, 3) uint8 pixels as PNG; the same pixels give the same bytes (no time stamps)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write under a temporary name in the same folder, then rename: readers see the whole file or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
