"""The loop resumes where a kill has left it, and its schedule ends with the steps or the time."""

import json
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from trl_scripts.baselines import timed_training
from trl_scripts.baselines.attribute_net import AttributeNet, AttributeNetConfig
from trl_scripts.baselines.timed_training import (
    CLOCK_FILE,
    TrainingClock,
    TrainingPlan,
    batch_indices,
    fit,
    is_finished,
)
from trl_scripts.finite_loss import NonFiniteLossError

PLAN = TrainingPlan(steps=8, seconds=None, batch_size=3, learning_rate=1e-2, warmup_steps=2)
FINISHED = {"config.json", "model.safetensors", CLOCK_FILE}


class _KilledError(Exception):
    pass


def make_net() -> AttributeNet:
    torch.manual_seed(0)
    return AttributeNet(AttributeNetConfig(embedding_size=2, hidden_sizes=[2], depths=[1], image_size=[8, 8]))


def make_loss(kill_at: int | None = None) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """A loss on ten random images; raises at a call."""
    generator = torch.Generator().manual_seed(1)
    images, targets = torch.rand(10, 6, 8, 8, generator=generator), torch.rand(10, 20, generator=generator)
    calls = 0

    def loss(net: Any, indices: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        if calls == kill_at:
            raise _KilledError
        calls += 1
        return (net(images[indices]).logits - targets[indices]).square().mean()

    return loss


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(make_net(), 10, make_loss(), PLAN, tmp_path / "whole")
    monkeypatch.setattr(timed_training, "SAVE_SECONDS", -1.0)
    with pytest.raises(_KilledError):
        fit(make_net(), 10, make_loss(kill_at=5), PLAN, tmp_path / "killed")
    assert not is_finished(tmp_path / "killed")
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["checkpoint-5"]
    torch.manual_seed(5)
    fit(make_net(), 10, make_loss(kill_at=3), PLAN, tmp_path / "killed")  # three steps are left
    whole, resumed = (AttributeNet.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(weights, resumed[name]) for name, weights in whole.items())
    assert {path.name for path in (tmp_path / "killed").iterdir()} == FINISHED
    assert json.loads((tmp_path / "killed" / CLOCK_FILE).read_text())["step"] == 8


def kill_half_written(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int) -> None:
    """The files of the `call`-th use of a method that saves are cut in half."""
    save, calls = getattr(owner, method), iter(range(1, 100))

    def save_half(self: Any, folder: str | Path, *args: Any, **kwargs: Any) -> None:
        save(self, folder, *args, **kwargs)
        if next(calls) == call:
            for path in Path(folder).glob("*"):
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise _KilledError

    monkeypatch.setattr(owner, method, save_half)


def kill_before_rename(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Killed where a file or folder of that name would appear."""
    replace = os.replace

    def replace_others(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise _KilledError
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_others)


def kill_half_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when an older checkpoint is half removed."""

    def remove_half(folders: Iterable[Path]) -> None:
        for folder in folders:
            next(folder.glob("*.safetensors")).unlink()
            raise _KilledError

    monkeypatch.setattr(timed_training, "_remove", remove_half)


@pytest.mark.parametrize(
    "kill",
    [
        partial(kill_half_written, owner=Accelerator, method="save_state", call=1),
        partial(kill_half_written, owner=Accelerator, method="save_state", call=4),
        partial(kill_before_rename, name="checkpoint-4"),
        kill_half_removed,
        partial(kill_half_written, owner=AttributeNet, method="save_pretrained", call=1),
        partial(kill_before_rename, name="model.safetensors"),
    ],
    ids=["first save", "fourth save", "before it is named", "removing older ones", "saving the net", "naming it"],
)
def test_a_run_killed_while_it_saves_resumes_from_the_last_whole_checkpoint(
    kill: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(make_net(), 10, make_loss(), PLAN, tmp_path / "whole")
    monkeypatch.setattr(timed_training, "SAVE_SECONDS", -1.0)
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        kill(patch)
        fit(make_net(), 10, make_loss(), PLAN, tmp_path / "killed")
    assert not is_finished(tmp_path / "killed")
    fit(make_net(), 10, make_loss(), PLAN, tmp_path / "killed")
    whole, resumed = (AttributeNet.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(weights, resumed[name]) for name, weights in whole.items())
    assert {path.name for path in (tmp_path / "killed").iterdir()} == FINISHED


def make_spoilt_loss(call: int, factor: float) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """`make_loss` times a factor, in one call."""
    loss, calls = make_loss(), iter(range(100))

    def spoilt(net: Any, indices: torch.Tensor) -> torch.Tensor:
        value = loss(net, indices)
        return value * factor if next(calls) == call else value

    return spoilt


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (float("nan"), "the loss of step 6 is nan: "),
        (float("inf"), "the loss of step 6 is inf: "),
        (1e38, "the gradient of step 6 is (inf|nan): "),  # its square is infinite, the loss is not
    ],
)
def test_a_loss_or_gradient_that_is_no_number_stops_before_its_step(
    factor: float, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(make_net(), 10, make_loss(), PLAN, tmp_path / "whole")
    monkeypatch.setattr(timed_training, "SAVE_SECONDS", -1.0)
    folder = tmp_path / "net"
    with pytest.raises(NonFiniteLossError, match=message) as stopped:
        fit(make_net(), 10, make_spoilt_loss(5, factor), PLAN, folder)
    assert f"{folder / 'checkpoint-5'} is kept" in str(stopped.value) and "\n" not in str(stopped.value)
    report = folder / "non_finite_step_6.json"
    assert str(report) in str(stopped.value)
    assert json.loads(report.read_text())["examples"] == batch_indices(5, 10, PLAN).tolist()
    assert not is_finished(folder)
    fit(make_net(), 10, make_loss(), PLAN, folder)  # the checkpoint was a good one
    whole, resumed = (AttributeNet.from_pretrained(place).state_dict() for place in (tmp_path / "whole", folder))
    assert all(torch.equal(weights, resumed[name]) for name, weights in whole.items())


def test_a_loss_that_is_no_number_before_the_first_checkpoint_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match="net holds no checkpoint yet"):
        fit(make_net(), 10, make_spoilt_loss(0, float("nan")), PLAN, tmp_path / "net")


def test_a_finished_net_is_left_as_it_is(tmp_path: Path) -> None:
    fit(make_net(), 10, make_loss(), PLAN, tmp_path / "net")
    fit(make_net(), 10, make_loss(kill_at=0), PLAN, tmp_path / "net")


def test_the_schedule_ends_with_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = TrainingClock(TrainingPlan(steps=1000, seconds=50, batch_size=1, learning_rate=1.0, warmup_steps=0))
    assert clock.learning_rate_factor(0) == pytest.approx(1)
    now += 25
    assert clock.progress == 0.5 and clock.learning_rate_factor(3) == pytest.approx(0.5)
    now += 25
    assert clock.progress == 1 and clock.learning_rate_factor(6) == pytest.approx(0)


def test_time_spent_before_a_kill_counts_and_that_between_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    plan = TrainingPlan(steps=1000, seconds=50, batch_size=1, learning_rate=1.0)
    clock = TrainingClock(plan)
    now, clock.step = 20.0, 7
    state = clock.state_dict()
    now = 1000.0
    resumed = TrainingClock(plan)
    resumed.load_state_dict(state)
    assert (resumed.step, resumed.seconds) == (7, 20.0)
    now = 1005.0
    assert resumed.progress == 0.5


def test_a_run_out_of_time_is_finished(tmp_path: Path) -> None:
    plan = TrainingPlan(steps=10**9, seconds=0.2, batch_size=3, learning_rate=1e-2)
    fit(make_net(), 10, make_loss(), plan, tmp_path / "net")
    assert is_finished(tmp_path / "net")
    spent = json.loads((tmp_path / "net" / CLOCK_FILE).read_text())
    assert spent["seconds"] >= 0.2 and spent["step"] > 0


def test_an_epoch_has_every_example_once_and_epochs_differ() -> None:
    epochs = [torch.cat([batch_indices(3 * epoch + step, 9, PLAN) for step in range(3)]) for epoch in range(2)]
    assert all(epoch.sort().values.tolist() == list(range(9)) for epoch in epochs)
    assert not torch.equal(*epochs)
    assert all(len(batch_indices(step, 11, PLAN)) == 3 for step in range(9))
