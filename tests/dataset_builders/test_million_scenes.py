"""docs/million_scenes.md is what its command writes, and its figures add up."""

import json
from pathlib import Path

import pytest
from shard_files import make_plan, write_shard

from benchmarks import million_scenes
from benchmarks.million_scenes import Cost, row_bytes

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "million_scenes.md"


def test_the_document_is_what_its_command_writes() -> None:
    assert DOCUMENT.read_text() == million_scenes.report()


def test_whole_shards_are_counted_and_rendered_in_whole_rounds() -> None:
    cost = Cost(core_seconds=0.5, startup=10.0, row_bytes=1000.0)
    assert cost.task_seconds == 60
    assert cost.core_hours(100) == pytest.approx(1 / 60)
    assert cost.core_hours(101) == pytest.approx(2 / 60)
    assert cost.hours(300, cores=2) == pytest.approx(2 / 60)  # three tasks on two cores
    assert cost.hours(300, cores=100) == pytest.approx(1 / 60)


def test_bytes_of_a_row_are_those_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(tmp_path)
    path = write_shard(plan, 0)
    monkeypatch.setattr(million_scenes, "WIDTH", plan.width)
    monkeypatch.setattr(million_scenes, "HEIGHT", plan.height)
    assert row_bytes(plan.folder) == (path.stat().st_size / 3, 3)
    parameters = json.loads(plan.parameters_path.read_text())
    plan.parameters_path.write_text(json.dumps({**parameters, "width": 16}))
    with pytest.raises(ValueError, match=r"train.build.json: the pictures that were timed have 32x24 pixels"):
        row_bytes(plan.folder)


def test_a_folder_without_scenes_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no Parquet files in {tmp_path}: build some scenes first"):
        row_bytes(tmp_path)
