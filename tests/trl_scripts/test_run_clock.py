"""The seconds of a training go on after a resume; its memory is the largest."""

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from trl_scripts import run_clock
from trl_scripts.run_clock import PEAK_MEMORY, SECONDS, RunClock, peak_memory_mb


def log(clock: RunClock, state: TrainerState, arguments: TrainingArguments) -> dict[str, float]:
    state.log_history.append({"loss": 1.0})
    clock.on_log(arguments, state, TrainerControl())
    return state.log_history[-1]


def test_seconds_go_on_after_a_resume(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    now = [100.0]
    monkeypatch.setattr(run_clock.time, "monotonic", lambda: now[0])
    arguments, state, first = TrainingArguments(output_dir=str(tmp_path), use_cpu=True), TrainerState(), RunClock()
    first.on_train_begin(arguments, state, TrainerControl())
    now[0] = 130.0
    assert log(first, state, arguments)[SECONDS] == 30
    now[0], second = 7000.0, RunClock()  # the machine was off for a while
    second.on_train_begin(arguments, state, TrainerControl())
    now[0] = 7005.0
    entry = log(second, state, arguments)
    assert entry[SECONDS] == 35 and entry["loss"] == 1.0
    assert entry[PEAK_MEMORY] == pytest.approx(peak_memory_mb(), rel=0.1)


def test_memory_is_in_megabytes() -> None:
    assert 50 < peak_memory_mb() < 100_000  # torch alone is more than 50
