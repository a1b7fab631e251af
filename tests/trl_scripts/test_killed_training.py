"""A training that is killed, runs out of disk or meets a NaN loses nothing that was good."""

import contextlib
import itertools
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from datasets import load_dataset
from fault_runs import in_fork, kill_at_micro_batch, kill_before, kill_within_state, mount_private_disk, run_sft
from safetensors.torch import load_file
from test_sft_push import save_base, save_scenes

from trl_scripts.scene_collator import SceneCollator
from trl_scripts.scene_trainer import SceneSFTTrainer
from trl_scripts.whole_checkpoints import last_whole_checkpoint

KILLED, NOT_PERMITTED = -9, 77
LOSSES = ("loss", "ce_loss", "number_loss")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, four scenes, their features, and `undisturbed`, a training that nothing happened to."""
    folder = tmp_path_factory.mktemp("killed_training")
    save_base(folder / "base")
    save_scenes(folder / "scenes")
    assert in_fork(lambda: run_sft(folder, folder / "undisturbed")) == 0
    return folder


def curve(out: Path) -> list[tuple[Any, ...]]:
    """(step, losses…) of every entry of the log."""
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    return [(entry["step"], *(entry[name] for name in LOSSES)) for entry in history if "loss" in entry]


def check_same(out: Path, undisturbed: Path) -> None:
    """Assert that losses and weights are those of the undisturbed training."""
    assert [entry[0] for entry in curve(out)] == [entry[0] for entry in curve(undisturbed)] == [2, 3, 4, 6, 7]
    for found, expected in zip(curve(out), curve(undisturbed), strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    weights, others = (load_file(place / "model.safetensors") for place in (out, undisturbed))
    for name, expected in others.items():
        torch.testing.assert_close(weights[name], expected, rtol=0, atol=1e-6, msg=name)


def run_killed(folder: Path, out: Path, kill: Callable[[], None]) -> None:
    def task() -> int:
        kill()
        return run_sft(folder, out)

    assert in_fork(task) == KILLED


def test_the_curve_of_a_training_that_is_killed_again_and_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kills: list[tuple[Callable[[], None], str | None]] = [
        (partial(kill_before, "_save_optimizer_and_scheduler", 2), None),  # the model alone is there
        (partial(kill_at_micro_batch, 4), "checkpoint-2"),  # within an epoch
        (partial(kill_within_state, 4), "checkpoint-2"),
        (partial(kill_before, "_save_rng_state", 6), "checkpoint-4"),
        (partial(kill_at_micro_batch, 3), "checkpoint-6"),  # at the end of an epoch
    ]
    for kill, last in kills:
        run_killed(folder, out, kill)
        assert last_whole_checkpoint(out) == (None if last is None else str(out / last))
    assert in_fork(lambda: run_sft(folder, out)) == 0
    check_same(out, folder / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, 8))
def test_the_curve_of_a_training_that_is_killed_before_a_step(folder: Path, tmp_path: Path, step: int) -> None:
    out = tmp_path / "out"
    run_killed(folder, out, partial(kill_at_micro_batch, step))
    assert in_fork(lambda: run_sft(folder, out)) == 0
    check_same(out, folder / "undisturbed")


@pytest.mark.parametrize("room", [pytest.param(0.0, marks=pytest.mark.slow), 0.4])  # of a checkpoint
def test_a_full_disk_keeps_the_last_checkpoint(folder: Path, tmp_path: Path, room: float) -> None:
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()

    def train_twice() -> int:
        if not mount_private_disk(disk, 32):
            return NOT_PERMITTED
        out = disk / "out"
        step = SceneSFTTrainer.training_step
        ballast = disk / "ballast"

        def training_step(self: SceneSFTTrainer, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step == 3 and not (tmp_path / "full").exists():
                size = sum(path.stat().st_size for path in (out / "checkpoint-2").rglob("*"))
                ballast.write_bytes(bytes(shutil.disk_usage(disk).free - int(room * size)))
                (tmp_path / "full").touch()
            return step(self, *args, **kwargs)

        SceneSFTTrainer.training_step = training_step  # type: ignore[method-assign]
        with log.open("w") as file, contextlib.redirect_stderr(file):
            code = run_sft(folder, out)
        kept = sorted(path.name for path in out.glob("checkpoint-*"))
        (tmp_path / "full").write_text(json.dumps([code, kept]))
        ballast.unlink()
        code = run_sft(folder, out)
        shutil.copytree(out, tmp_path / "out")
        return code

    code = in_fork(train_twice)
    if code == NOT_PERMITTED:
        pytest.skip("no private mounts on this system")
    assert code == 0
    assert json.loads((tmp_path / "full").read_text()) == [2, ["checkpoint-2"]]
    message = log.read_text().splitlines()[-1]
    assert message.startswith(f"sft.py: cannot write to {disk / 'out'}: ")
    last = disk / "out" / "checkpoint-2"
    assert message.endswith(f"; make room and run the command again: {last} is whole, training goes on from there")
    check_same(tmp_path / "out", folder / "undisturbed")


def test_a_loss_that_is_no_number_stops_training(folder: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"

    def task() -> int:
        with log.open("w") as file, contextlib.redirect_stderr(file):
            return run_sft(folder, out, learning_rate=1e30, save_steps=1)

    assert in_fork(task) == 2
    message = log.read_text().splitlines()[-1]
    (report,) = out.glob("non_finite_step_*.json")
    content = json.loads(report.read_text())
    step = content["step"]
    assert message.startswith(f"sft.py: the {'loss' if 'loss' in content else 'gradient'} of step {step} is ")
    assert str(report) in message
    programs = load_dataset(str(folder / "scenes"), "clevr", split="train")["program"][:]
    assert len(content["rows"]) == 2
    assert all(programs[row["index"]] == row["program"] for row in content["rows"])
    tensors = load_file(report.with_suffix(".safetensors"))
    assert len(tensors["input_ids"]) == len(tensors["image_features"]) == 2
    assert last_whole_checkpoint(out) == str(out / f"checkpoint-{step - 1}")


def test_draws_depend_on_seed_epoch_and_rows_alone(folder: Path) -> None:
    rows = list(load_dataset(str(folder / "scenes"), "clevr", split="train").add_column("index", list(range(4))))
    processor = tiny.make_processor()

    def draw(seed: int, epoch: int, *indices: int) -> list[list[int]]:
        collator = SceneCollator(processor, None, shuffle_attributes=True, sample_synonyms=True, seed=seed)
        collator([rows[3]])  # leaves no trace
        collator.set_epoch(epoch)
        return collator([rows[index] for index in indices])["input_ids"].tolist()

    assert draw(0, 1, 0, 2) == draw(0, 1, 0, 2)
    different = [draw(0, 1, 0, 2), draw(0, 2, 0, 2), draw(1, 1, 0, 2), draw(0, 1, 2, 0)[::-1]]
    assert all(one != other for one, other in itertools.combinations(different, 2))
