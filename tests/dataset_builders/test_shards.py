"""Shards: whole or absent, resumable, and never of two kinds in one folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from shard_files import HEIGHT, PAINTER, WIDTH, make_plan, paint, write_shard, write_split

from dataset_builders import shards
from dataset_builders.painters import Painter, Picture
from dataset_builders.sampled_scene import SampledScene
from dataset_builders.shards import claim_folder, count_rows, render_shard


@pytest.fixture(autouse=True)
def two_scenes_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", 2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_shards_cover_every_scene_once(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, num_scenes=5)
    assert [list(plan.shard_indices(shard)) for shard in range(plan.num_shards)] == [[0, 1], [2, 3], [4]]
    assert make_plan(tmp_path, num_scenes=4).num_shards == 2


def test_shard_holds_its_scenes_in_order(tmp_path: Path) -> None:
    path = write_shard(make_plan(tmp_path, num_scenes=4), 1)
    assert names(tmp_path) == ["train-00001.parquet", "train.build.json"]
    rows = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert [scene["index"] for scene in rows["scene"]] == [2, 3]
    for row in rows:
        assert (np.asarray(row["image"]) == 10 * len(row["scene"]["objects"])).all()
        assert row["image"].size == (WIDTH, HEIGHT)


def test_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = (write_shard(make_plan(tmp_path / name), 0) for name in ("first", "again"))
    assert pq.read_table(first).equals(pq.read_table(again))
    assert first.read_bytes() == again.read_bytes()


def test_other_seed_gives_other_rows(tmp_path: Path) -> None:
    first, other = (write_shard(make_plan(tmp_path / str(seed), seed=seed), 0) for seed in (0, 1))
    assert pq.read_table(first)["program"].to_pylist() != pq.read_table(other)["program"].to_pylist()


def test_a_failing_render_leaves_no_file(tmp_path: Path) -> None:
    def fail_on_second(scene: SampledScene) -> Picture:
        calls.append(scene)
        if len(calls) == 2:
            raise RuntimeError("no picture")
        return paint(scene)

    calls: list[Any] = []
    plan = make_plan(tmp_path)
    claim_folder(plan)
    with pytest.raises(RuntimeError, match="no picture"):
        list(render_shard(plan, 0, Painter(fail_on_second, "4.5")))
    assert names(tmp_path) == ["train.build.json"]


def test_a_failing_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(_: Dataset, path: Path) -> None:
        Path(path).write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    plan = make_plan(tmp_path)
    claim_folder(plan)
    monkeypatch.setattr(Dataset, "to_parquet", write_half)
    with pytest.raises(OSError, match="No space left"):
        list(render_shard(plan, 0, PAINTER))
    assert names(tmp_path) == ["train.build.json"]
    assert not plan.is_complete(0)


def test_an_abandoned_shard_leaves_no_file(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    claim_folder(plan)
    progress = render_shard(plan, 0, PAINTER)
    assert [next(progress), next(progress)] == [0, 1]
    progress.close()
    assert names(tmp_path) == ["train.build.json"]


def test_a_short_shard_is_not_complete(tmp_path: Path) -> None:
    write_split(make_plan(tmp_path, num_scenes=3))
    longer = make_plan(tmp_path, num_scenes=4)
    assert [longer.is_complete(shard) for shard in range(2)] == [True, False]


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    path = write_shard(plan, 0)
    path.write_bytes(path.read_bytes()[:-100])
    for read in (lambda: plan.is_complete(0), lambda: count_rows(path)):
        with pytest.raises(ValueError, match=rf"{path} is damaged .*delete it"):
            read()


@pytest.mark.parametrize("change", [{"seed": 1}, {"width": 64}, {"height": 48}, {"samples": 2}])
def test_other_parameters_in_one_folder_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    path = write_shard(make_plan(tmp_path), 0)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"train\.build\.json holds .* another --out folder") as raised:
        claim_folder(make_plan(tmp_path, **change))
    ((name, value),) = change.items()
    assert f'"{name}": {value}' in str(raised.value)
    assert path.read_bytes() == before


def test_other_parameters_are_welcome_while_there_are_no_shards(tmp_path: Path) -> None:
    claim_folder(make_plan(tmp_path))
    claim_folder(make_plan(tmp_path, seed=1))
    assert json.loads(make_plan(tmp_path).parameters_path.read_text())["seed"] == 1


def test_other_splits_and_families_share_a_folder(tmp_path: Path) -> None:
    write_shard(make_plan(tmp_path), 0)
    write_shard(make_plan(tmp_path, split="val_id", seed=1), 0)
    write_shard(make_plan(tmp_path, family="clevr_cogent", width=64), 0)


@pytest.mark.parametrize("num_scenes", [1, 2, 3])
def test_fewer_scenes_than_are_there_are_refused(tmp_path: Path, num_scenes: int) -> None:
    write_split(make_plan(tmp_path, num_scenes=4))
    with pytest.raises(ValueError, match=rf"parquet goes beyond the {num_scenes} scenes asked for"):
        claim_folder(make_plan(tmp_path, num_scenes=num_scenes))


@pytest.mark.parametrize("num_scenes", [4, 5])
def test_a_split_can_grow(tmp_path: Path, num_scenes: int) -> None:
    write_split(make_plan(tmp_path, num_scenes=4))
    claim_folder(make_plan(tmp_path, num_scenes=num_scenes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "val-ood"}, "'clevr' has no split 'val-ood': choose one of train, val_id"),
        ({"num_scenes": 0}, "num_scenes must be at least 1, got 0"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"samples": -1}, "samples must be at least 1, got -1"),
        ({"seed": -1}, r"seed must be in \[0, 2\*\*32\), got -1"),
        ({"seed": 2**32}, "got 4294967296"),
        ({"family": "six_dof"}, "six_dof scenes fill a square: 32x24 pixels would cut objects off"),
    ],
)
def test_impossible_plans_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_plan(tmp_path, **change)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        claim_folder(make_plan(tmp_path / "file"))
