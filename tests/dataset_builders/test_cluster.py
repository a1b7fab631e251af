"""A build on datatrove is the plain build, byte for byte, whatever dies on the way."""

import multiprocessing
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quick_builds import file_bytes
from shard_files import make_plan

from dataset_builders import render_pool, shards
from dataset_builders.build import build_family, plan_build
from dataset_builders.shards import SplitPlan
from trl_scripts.cli import main

pytest.importorskip("datatrove", reason="datatrove is not installed: make cluster")

from dataset_builders import cluster
from dataset_builders.cluster import FinishDataset, RenderShards, build_locally, missing_shards, submit_to_slurm

TINY: dict[str, Any] = {"num_scenes": 5, "resolution": (16, 16)}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scenes a shard and workers that need not import anything."""
    monkeypatch.setattr(shards, "SHARD_SIZE", 2)
    monkeypatch.setattr(render_pool, "_CONTEXT", multiprocessing.get_context("fork"))


def build_by_datatrove(out: Path, **changes: Any) -> list[SplitPlan]:
    """Build `two_d` with one of datatrove's tasks at a time."""
    plans = plan_build("two_d", out, **{**TINY, **changes})
    build_locally(plans, out.with_name("logs"), workers=1)
    return plans


@pytest.mark.parametrize("world_size", [1, 3, 9, 20])
def test_every_shard_belongs_to_one_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    plans = [make_plan(tmp_path, num_scenes=500), make_plan(tmp_path, split="val_id", num_scenes=301)]
    rendered: list[tuple[str, int]] = []
    record: Callable[..., None] = lambda plan, numbers, **_: rendered.extend((plan.split, n) for n in numbers)  # noqa: E731
    monkeypatch.setattr(cluster, "render_shards", record)
    for rank in range(world_size):
        RenderShards(missing_shards(plans)).run(None, rank, world_size)
    assert sorted(rendered) == [("train", n) for n in range(5)] + [("val_id", n) for n in range(4)]


@pytest.mark.usefixtures("quick")
def test_the_same_bytes_as_a_plain_build(tmp_path: Path) -> None:
    build_family("two_d", tmp_path / "plain", workers=1, **TINY)
    build_by_datatrove(tmp_path / "out")
    files = file_bytes(tmp_path / "out")
    assert len([name for name in files if name.endswith(".parquet")]) == 9
    assert files == file_bytes(tmp_path / "plain")


@pytest.mark.usefixtures("quick")
def test_what_is_left_to_do_is_read_from_the_folder(tmp_path: Path) -> None:
    """datatrove's completion marks would leave out a shard that was deleted, and one that was short and may grow."""
    out = tmp_path / "out"
    plans = build_by_datatrove(out, num_scenes=3)
    kept = plans[0].shard_path(0)
    plans[1].shard_path(0).unlink()
    before = kept.stat().st_mtime_ns
    build_by_datatrove(out)
    assert kept.stat().st_mtime_ns == before
    build_family("two_d", tmp_path / "plain", workers=1, **TINY)
    assert file_bytes(out) == file_bytes(tmp_path / "plain")


@pytest.mark.usefixtures("quick")
def test_a_finished_build_renders_nothing_and_still_has_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    build_by_datatrove(out)
    (out / "README.md").unlink()
    monkeypatch.setattr(cluster, "render_shards", lambda *_, **__: pytest.fail("rendered again"))
    build_by_datatrove(out)
    assert "two_d_val_ood.jpg" in (out / "README.md").read_text()


def test_no_card_while_shards_are_missing(tmp_path: Path) -> None:
    plans = plan_build("two_d", tmp_path, num_scenes=150)
    with pytest.raises(RuntimeError, match=r"6 shards were not rendered, first .*train-00000.parquet: run the"):
        FinishDataset(plans).run()
    assert not (tmp_path / "README.md").exists()


def test_a_worker_that_dies_ends_the_build_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise RuntimeError("a render worker died")

    monkeypatch.setattr(cluster, "render_shards", die)
    arguments = ["two_d", "--num-scenes", "1", "--workers", "1", "--out", str(tmp_path / "out")]
    assert main(["cluster", "local", *arguments]) == 2
    assert capfd.readouterr().err.splitlines()[-1] == "igllm cluster: a render worker died"


def test_the_patience_with_a_picture_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patience: list[float] = []

    def render(*_: Any, picture_seconds: float, **__: Any) -> None:
        patience.append(picture_seconds)
        raise RuntimeError("a render worker died")

    monkeypatch.setattr(cluster, "render_shards", render)
    arguments = ["two_d", "--split", "train", "--num-scenes", "1", "--workers", "1", "--picture-seconds", "7"]
    assert main(["cluster", "local", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert patience == [7]


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an `sbatch` that submits nothing keeps arguments and scripts; test_cluster_engines has the real one."""
    sbatch, kept = tmp_path / "bin" / "sbatch", tmp_path / "kept"
    sbatch.parent.mkdir()
    kept.mkdir()
    sbatch.write_text(
        f'#!/bin/sh\nn=$(ls {kept} | wc -l)\necho "$*" > {kept}/$n\nfor last; do :; done\n'
        f'cat "$last" >> {kept}/$n\necho Submitted batch job $((100 + n))\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")
    return kept


def test_what_is_submitted_to_slurm(tmp_path: Path, submitted: Path) -> None:
    plans = plan_build("two_d", tmp_path / "out", splits=("train",), num_scenes=150_000, resolution=(16, 16))
    settings: dict[str, Any] = {"partition": "cpu", "time": "01:30:00", "workers": 40, "threads": 2, "memory_gb": 3}
    submit_to_slurm(plans, tmp_path / "logs", sbatch={"account": "vision"}, picture_seconds=7, **settings)
    render, _, card, _ = (path.read_text() for path in sorted(submitted.iterdir()))  # each with datatrove's statistics
    for line in (
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem-per-cpu=3G",
        "#SBATCH --partition=cpu",
        "#SBATCH --time=01:30:00",
        "#SBATCH --account=vision",
        "#SBATCH --array=0-749%40",  # 1,500 shards, two for each job: no array is longer than 1,000
        f'export PATH="{Path(sys.prefix) / "bin"}:$PATH"',
    ):
        assert line in render.splitlines()
    assert "launch_pickled_pipeline" in render
    assert "--dependency=afterok:100" in card
    assert "#SBATCH --kill-on-invalid-dep=yes" in card.splitlines()
    (launched,) = tmp_path.glob("logs/*/render/executor.pik")
    command = [
        "-c",
        "import dill, sys; step = dill.load(open(sys.argv[1], 'rb')).pipeline[0]; "
        "print(len(step.shards), step.picture_seconds)",
    ]
    assert subprocess.run([sys.executable, *command, launched], capture_output=True, check=True).stdout == b"1500 7\n"


def test_the_documented_command_submits_the_documented_script(tmp_path: Path, submitted: Path) -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "clusters.md").read_text()
    (command,) = re.findall(r"^igllm (cluster slurm (?:.*\\\n)*.*)$", document, re.MULTILINE)
    (script,) = re.findall(r"```\n(#!/bin/bash\n.*?)```", document, re.DOTALL)
    out = tmp_path / "data"
    arguments = command.replace("\\\n", " ").replace("/shared/data", str(out)).split()
    assert main(arguments) == 0
    (time,) = (path.name for path in out.with_name("data.logs").iterdir())
    script = script.replace("/shared", str(tmp_path)).replace("TIME", time).replace("BIN", f"{sys.prefix}/bin")
    assert (submitted / "0").read_text().split("\n", 1)[1].rstrip("\n") == script.rstrip("\n")


def test_without_slurm_nothing_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    plans = plan_build("two_d", tmp_path / "out", num_scenes=1)
    with pytest.raises(RuntimeError, match="no `sbatch` here: submit from a machine of the Slurm cluster"):
        submit_to_slurm(plans, tmp_path / "logs", partition="cpu", time="01:00:00")
