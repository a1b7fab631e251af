"""A split is rendered in shards of 100 scenes; a shard is one Parquet file that is there whole or not at all."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from .families import FAMILIES, find_family
from .mesh_index import INDEX_NAME, IndexedMeshes, read_index
from .painters import Painter, PaintRequest
from .random_streams import NUMBER_LIMIT
from .sampled_scene import SampledScene
from .schema import FEATURES, scene_row
from .shape_catalog import catalog_of
from .whole_file import remove_leftovers, write_whole

SHARD_SIZE = 100
PARAMETERS_SUFFIX = ".build.json"


@dataclass(frozen=True)
class SplitFiles:
    """The shards of one split and the folder that holds them; a subclass adds what decides the rows.

    `num_scenes` may grow later without changing the shards that are complete.
    """

    out: Path
    family: str
    split: str
    num_scenes: int

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
        return path.exists() and count_rows(path) == len(self.shard_indices(shard))

    def shards_on_disk(self) -> list[Path]:
        """The shards that are there, complete or short, in order."""
        return sorted(self.folder.glob(f"{self.split}-*.parquet"))

    def parameters(self) -> dict[str, Any]:
        """What must not change between two runs into one folder."""
        values = asdict(self)
        del values["out"], values["num_scenes"]
        return values

    @property
    def parameters_path(self) -> Path:
        """Where the parameters of the split are kept beside its shards."""
        return self.folder / f"{self.split}{PARAMETERS_SUFFIX}"


@dataclass(frozen=True)
class SplitPlan(SplitFiles):
    """A split to render. Equal plans give equal rows.

    `meshes` is a folder of the user's whose index lies beside the shards (`index_meshes`), or None.
    """

    seed: int
    width: int
    height: int
    samples: int
    ground_truth: bool = False
    meshes: Path | None = None

    def __post_init__(self) -> None:
        family = find_family(self.family)
        family.split_size(self.split)  # refuses an unknown split
        if self.meshes is not None and not family.takes_meshes:
            takers = ", ".join(known.name for known in FAMILIES.values() if known.takes_meshes)
            raise ValueError(f"family {self.family!r} has shapes of its own, a folder of meshes is for {takers}")
        for name in ("num_scenes", "width", "height", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if family.fills_squares and self.width > self.height:
            raise ValueError(
                f"{self.family} scenes fill a square: {self.width}x{self.height} pixels would cut objects off, "
                "ask for at least as many rows as columns"
            )
        if not 0 <= self.seed < NUMBER_LIMIT:
            raise ValueError(f"seed must be in [0, 2**32), got {self.seed}")

    def parameters(self) -> dict[str, Any]:
        """As of `SplitFiles`. The folder of meshes may move: what it holds is in its index."""
        values = super().parameters()
        del values["meshes"]
        return values if self.meshes is None else {**values, "meshes": INDEX_NAME}

    def sample(self, index: int) -> SampledScene:
        """Draw one scene; OSError if the index of the meshes is gone."""
        arguments: tuple[Any, ...] = (self.family, self.split, self.seed, index)
        if self.meshes is not None:
            arguments += (catalog_of(read_index(self.folder / INDEX_NAME)),)
        return find_family(self.family).sample(*arguments)

    def paint_request(self, threads: int) -> PaintRequest:
        """What to ask of a painter with so many threads (0: all cores)."""
        meshes = None if self.meshes is None else IndexedMeshes(self.meshes, self.folder / INDEX_NAME)
        return PaintRequest(self.width, self.height, self.samples, self.ground_truth, threads, meshes)


def check_claim(plan: SplitFiles) -> None:
    """See whether `claim_folder` would take the split's folder; nothing is written.

    Raises:
        ValueError: if the folder holds the same split made with other parameters (mixing them would go unnoticed) or
            with more scenes (a smaller split would leave a gap).
    """
    if plan.shards_on_disk():
        _check_same_parameters(plan)
        _check_not_smaller(plan)


def claim_folder(plan: SplitFiles) -> None:
    """Create the split's folder, record its parameters there and remove what a killed build left half written.

    Raises:
        ValueError: as of `check_claim`.
        OSError: if the folder cannot be written.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    check_claim(plan)
    remove_leftovers(plan.folder, f"{plan.split}*")
    write_whole(plan.parameters_path, lambda path: path.write_text(_parameters_text(plan)))


def _parameters_text(plan: SplitFiles) -> str:
    return json.dumps(plan.parameters(), indent=2) + "\n"


def _check_same_parameters(plan: SplitFiles) -> None:
    found, wanted = plan.parameters_path.read_text(), _parameters_text(plan)
    if found != wanted:
        raise ValueError(
            f"{plan.parameters_path} holds {' '.join(found.split())}, not {' '.join(wanted.split())}: "
            "use the same parameters or another --out folder"
        )


def _check_not_smaller(plan: SplitFiles) -> None:
    last = plan.num_shards - 1
    beyond = [path for path in plan.shards_on_disk() if path > plan.shard_path(last)]
    if plan.shard_path(last).exists() and count_rows(plan.shard_path(last)) > len(plan.shard_indices(last)):
        beyond.insert(0, plan.shard_path(last))
    if beyond:
        raise ValueError(
            f"{beyond[0]} goes beyond the {plan.num_scenes} scenes asked for: "
            "ask for at least as many as are there or use another --out folder"
        )


def count_rows(path: Path) -> int:
    """Return the number of rows of a Parquet file; ValueError if it is damaged."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and build again") from error


def render_row(plan: SplitPlan, index: int, painter: Painter) -> dict[str, Any]:
    """Sample and paint one scene and return its row in the layout of `FEATURES`."""
    scene = plan.sample(index)
    return scene_row(scene, painter.paint(scene), painter.bpy_version)


def render_shard(plan: SplitPlan, shard: int, painter: Painter) -> Iterator[int]:
    """Render one shard and write it; yields each scene's index as soon as it is rendered.

    Raises:
        OSError: if the file cannot be written; no partial file stays behind under the shard's name.
    """
    rows = []
    for index in plan.shard_indices(shard):
        rows.append(render_row(plan, index, painter))
        yield index
    write_shard(plan, shard, rows)


def write_shard(plan: SplitFiles, shard: int, rows: list[dict[str, Any]]) -> None:
    """Write the rows (in the layout of `FEATURES`) of one shard; OSError if the file cannot be written."""
    table = Dataset.from_list(rows, features=FEATURES)
    write_whole(plan.shard_path(shard), table.to_parquet)
