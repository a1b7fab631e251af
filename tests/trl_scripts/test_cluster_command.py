"""`igllm cluster`: what it refuses in one line. Its builds are in tests/dataset_builders/test_cluster.py."""

import sys
from pathlib import Path

import pytest

from trl_scripts import cluster
from trl_scripts.cli import main


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error of a command that fails."""
    assert main(["cluster", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("engine", ["local", "ray", "slurm"])
def test_what_is_not_installed_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    monkeypatch.setitem(sys.modules, "datatrove", None)
    flags = ["--partition", "cpu", "--time", "01:00:00"] if engine == "slurm" else []
    error = error_of(capsys, engine, "two_d", *flags, "--out", str(tmp_path / "out"))
    assert "datatrove" in error and "`make cluster` installs datatrove and Ray" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("engine", "flag"), [("local", "--workers"), ("local", "--threads"), ("ray", "--memory-gb")])
def test_numbers_below_one_are_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str, flag: str
) -> None:
    error = error_of(capsys, engine, "two_d", flag, "0", "--out", str(tmp_path))
    assert error == f"igllm cluster: {flag} must be at least 1, got 0"


def test_a_process_that_is_lost_is_no_missing_ray_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*_: object) -> None:
        raise BrokenPipeError("a worker is gone")

    monkeypatch.setattr(cluster, "_import_engine", lambda _: None)
    monkeypatch.setattr(cluster, "_run_engine", lose)
    error = error_of(capsys, "local", "two_d", "--num-scenes", "1", "--out", str(tmp_path / "out"))
    assert error == "igllm cluster: lost a worker (a worker is gone): run the command again, finished shards are kept"


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        ([], "engine"),
        (["slurm", "two_d", "--out", "out", "--time", "01:00:00"], "--partition"),
        (["slurm", "two_d", "--out", "out", "--partition", "cpu"], "--time"),
        (["slurm", "two_d", "--sbatch", "account"], "'account' is not NAME=VALUE"),
        (["local", "two_d", "--address", "auto", "--out", "out"], "--address"),
    ],
)
def test_flags_belong_to_an_engine(capsys: pytest.CaptureFixture[str], arguments: list[str], missing: str) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["cluster", *arguments])
    assert raised.value.code == 2
    assert missing in capsys.readouterr().err
