"""Builds with real workers: reproducible, resumable, and clear about what went wrong."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from shard_files import make_plan, write_shard

from dataset_builders import build, render_pool, shards
from dataset_builders.build import build_family
from dataset_builders.shards import SplitPlan

TINY: dict[str, Any] = {"num_scenes": 2, "resolution": (32, 24), "samples": 1}


def build_train(out: Path, num_scenes: int) -> None:
    build_family("clevr", out, splits=("train",), workers=1, **{**TINY, "num_scenes": num_scenes})


def column_bytes(path: Path) -> dict[str, Any]:
    """Every column of a Parquet file as plain values, pictures as their PNG bytes."""
    return dict(pq.read_table(path).to_pydict())


def test_every_split_of_the_family_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "render_shards", lambda plan, *_, **__: write_shard(plan, 0))
    build_family("clevr_cogent", tmp_path, **TINY)
    shards_of = {path.name for path in tmp_path.glob("clevr_cogent/*.parquet")}
    assert shards_of == {"train-00000.parquet", "val_id-00000.parquet", "val_ood-00000.parquet"}
    assert "| clevr_cogent | val_ood | 2 | 0 | 32x24 | 1 | 4." in (tmp_path / "README.md").read_text()


def test_builds_are_reproducible_and_resumable(tmp_path: Path) -> None:
    path = tmp_path / "first" / "clevr" / "train-00000.parquet"
    build_train(tmp_path / "first", num_scenes=2)
    before, written = column_bytes(path), path.stat().st_mtime_ns
    assert [scene["index"] for scene in before["scene"]] == [0, 1]
    build_train(tmp_path / "first", num_scenes=2)
    assert path.stat().st_mtime_ns == written  # finished: not touched

    import bpy  # noqa: F401  (a parent with Blender loaded must not disturb its workers)

    build_train(tmp_path / "first", num_scenes=3)
    after = column_bytes(path)
    assert len(after["program"]) == 3  # too short: rendered again, in another process
    assert {name: values[:2] for name, values in after.items()} == before
    build_train(tmp_path / "again", num_scenes=3)
    assert column_bytes(tmp_path / "again" / "clevr" / "train-00000.parquet") == after


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("clever", {}, "unknown family 'clever': choose one of clevr, "),
        ("clevr", {"splits": ("train", "val-ood")}, "no split 'val-ood': choose one of train, val_id"),
        ("clevr", {"num_scenes": 0}, "num_scenes must be at least 1, got 0"),
        ("clevr", {"workers": 0}, "workers must be at least 1, got 0"),
        ("clevr", {"seed": -1}, "got -1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, family: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_family(family, tmp_path / "out", **{**TINY, **change})
    assert not (tmp_path / "out").exists()


def test_other_parameters_are_refused_before_any_split_is_rendered(tmp_path: Path) -> None:
    write_shard(make_plan(tmp_path, split="val_id", seed=5), 0)
    with pytest.raises(ValueError, match=r"val_id\.build\.json holds"):
        build_family("clevr", tmp_path, **TINY)
    assert not list(tmp_path.glob("clevr/train-*.parquet"))


def test_a_foreign_readme_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(ValueError, match=r"README\.md is not the card"):
        build_family("clevr", tmp_path, **TINY)
    assert (tmp_path / "README.md").read_text() == "# My project\n"


# Workers are new processes: what stands in for `_work` must be found by its name, and leaves its traces in files.
def _die(plan: SplitPlan, shard: int) -> None:
    os._exit(9)


def _fail_first(plan: SplitPlan, shard: int) -> None:
    (plan.out / f"started-{shard}").touch()
    if shard == 0:
        raise OSError(28, "No space left on device", str(plan.shard_path(shard)))
    time.sleep(0.2)


def test_a_worker_that_dies_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_pool, "_work", _die)
    monkeypatch.setattr(render_pool, "_ATTEMPTS", 1)  # more of them: test_failed_builds.py
    with pytest.raises(RuntimeError, match=rf"worker died while building {tmp_path}.*run the command again"):
        build_family("clevr", tmp_path, workers=1, **TINY)


def test_an_error_in_a_worker_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_pool, "_work", _fail_first)
    monkeypatch.setattr(shards, "SHARD_SIZE", 1)
    with pytest.raises(OSError, match=r"No space left on device: .*train-00000\.parquet"):
        build_family("clevr", tmp_path, splits=("train",), workers=1, **{**TINY, "num_scenes": 40})
    assert len(list(tmp_path.glob("started-*"))) < 10


def test_planning_a_build_loads_neither_blender_nor_torch_nor_mesh_readers() -> None:
    code = "import sys, dataset_builders.build; print({'bpy', 'torch', 'trimesh'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
