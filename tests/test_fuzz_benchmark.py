"""What fuzzing writes down: a process that does not live to the end of its inputs is a crash."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fuzz

RUNS = 5000


def fake_run(
    monkeypatch: pytest.MonkeyPatch, end: int | Exception, inputs: int | None, kept: str | None = None
) -> None:
    """Let the worker write a report of `inputs` without a crash, keep an input called `kept`, and end with `end`."""

    def run(command: list[str], *, stdout: Any, **arguments: object) -> subprocess.CompletedProcess[str]:
        folder = Path(command[-1])
        stdout.write("#4000 cov: 12 ft: 34\ndeadly signal\n")
        if inputs is not None:
            report = {"inputs": inputs, "crashes": 0, "crash_inputs": {}}
            (folder / "report.json").write_text(json.dumps(report))
        if kept is not None:
            (folder / kept).write_bytes(b"\x00bad")
        if isinstance(end, Exception):
            raise end
        return subprocess.CompletedProcess(command, end)

    monkeypatch.setattr(subprocess, "run", run)


def test_a_process_that_does_its_inputs_has_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_run(monkeypatch, 0, RUNS)
    report = fuzz.fuzz("parser", RUNS, 1, None)
    assert report == {"inputs": RUNS, "crashes": 0, "crash_inputs": {}, "coverage": 12, "features": 34}


@pytest.mark.parametrize("kept", ["crash-1", "oom-1", "timeout-1", None])
@pytest.mark.parametrize("exit_code", [77, -9])
def test_a_process_that_ends_badly_is_a_crash(
    exit_code: int, kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_run(monkeypatch, exit_code, 4000, kept)
    report = fuzz.fuzz("parser", RUNS, 1, 60)
    assert report["crashes"] == 1
    ((message, data),) = report["crash_inputs"].items()
    assert str(exit_code) in message and "deadly signal" in message
    assert data is None if kept is None else base64.b64decode(data) == b"\x00bad"


def test_a_process_that_ends_well_before_its_last_input_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_run(monkeypatch, 0, 4000)
    assert fuzz.fuzz("parser", RUNS, 1, None)["crashes"] == 1


def test_a_process_that_is_ended_because_its_minutes_are_over_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_run(monkeypatch, subprocess.TimeoutExpired("worker", 60), 4000)
    assert fuzz.fuzz("parser", RUNS, 1, 1)["crashes"] == 0


def test_a_process_without_a_report_is_an_error_that_shows_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_run(monkeypatch, 77, None)
    with pytest.raises(RuntimeError, match=r"(?s)parser.*77.*deadly signal"):
        fuzz.fuzz("parser", RUNS, 1, None)
