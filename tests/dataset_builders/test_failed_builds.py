"""A build that cannot go on says so in one line, keeps what is finished and goes on when it is run again."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from quick_builds import FailAtScene, KillAtStep, QuickBuild, check_shards, file_bytes, is_shard
from small_disk import BUILD

FIVE_SCENES = BUILD[1:]  # three shards, two workers
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def build(out: Path, setup: Callable[[], object] | None = None, *flags: str) -> tuple[int, str]:
    """Exit code and standard error of a build."""
    log = out.with_name("log")
    code = QuickBuild([*FIVE_SCENES, str(out), *flags], log, setup).wait()
    return code, log.read_text()


def only_message(error: str) -> str:
    """The last line of standard error; nothing but the progress bar stands above it."""
    *above, message = error.splitlines()
    assert all(line.startswith("two_d train:") or not line for line in above)
    return message


def retries(error: str, out: Path, fate: str) -> int:
    """How many lines on standard error say that a worker of the build died or hung and that it goes on."""
    start = f"a render worker {fate} while building {out / 'two_d'} ("
    return sum(start in line and line.endswith("): trying again") for line in error.splitlines())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a build that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert build(out)[0] == 0
    return file_bytes(out)


def has_private_mounts() -> bool:
    """Whether this system lets an ordinary user mount a file system that only his own processes see."""
    return shutil.which("unshare") is not None and subprocess.run([*NAMESPACE, "true"], check=False).returncode == 0


@pytest.mark.skipif(not has_private_mounts(), reason="no private mounts on this system")
def test_a_full_disk(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    sizes = {"4": 0, "24": 1, "40": 2, "56": 3}  # KiB: the shards that have room
    command = [*NAMESPACE, sys.executable, "-m", "small_disk", str(tmp_path), *sizes]
    path = os.pathsep.join(sys.path)
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert done.stderr == done.stdout == ""  # also of workers
    for size, room in sizes.items():
        results, disk = tmp_path / size, tmp_path / "disk"
        assert [(results / f"{name}.code").read_text() for name in ("full", "read_only", "mended")] == ["2", "2", "0"]
        full, read_only = (only_message((results / f"{name}.log").read_text()) for name in ("full", "read_only"))
        assert full.startswith(f"igllm build: cannot write to {disk}: [Errno 28] No space left on device")
        assert full.endswith("; make room and run the command again: finished shards are kept")
        assert read_only.startswith(f"igllm build: cannot write to {disk}: [Errno 30] Read-only file system: ")
        assert read_only.endswith("; choose another --out folder")
        assert len(check_shards(results / "full", undisturbed)) <= room
        assert file_bytes(results / "read_only") == file_bytes(results / "full")
        assert file_bytes(results / "mended") == undisturbed
    assert check_shards(tmp_path / "40" / "full", undisturbed)


def test_files_that_may_not_grow(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    assert build(out)[0] == 0
    shards = sorted(name for name in undisturbed if is_shard(name))
    (out / shards[1]).unlink()
    largest = 4096  # bytes: more than the parameters, less than a shard
    code, error = build(out, partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest, largest)))
    assert code == 2
    message = only_message(error)
    assert message == f"igllm build: cannot write to {out}: [Errno 27] File too large; choose another --out folder"
    assert check_shards(out, undisturbed) == {shards[0], shards[2]}
    assert build(out)[0] == 0
    assert file_bytes(out) == undisturbed


@pytest.mark.parametrize("step", [9, 12, 16])  # file operations of workers: before, while and after the first write
def test_a_worker_that_is_killed_is_replaced(tmp_path: Path, undisturbed: dict[str, bytes], step: int) -> None:
    out = tmp_path / "out"
    code, error = build(out, KillAtStep(out, step, "worker"))
    assert code == 0
    assert retries(error, out, "died") == 1
    assert file_bytes(out) == undisturbed


@pytest.mark.parametrize("failure", [signal.SIGKILL, signal.SIGSTOP])
def test_a_scene_at_which_workers_die_or_hang_is_tried_again(
    tmp_path: Path, undisturbed: dict[str, bytes], failure: signal.Signals
) -> None:
    out = tmp_path / "out"
    code, error = build(out, FailAtScene(3, 1, failure), "--picture-seconds", "1")
    assert code == 0
    assert retries(error, out, "hung" if failure == signal.SIGSTOP else "died") == 1
    assert "train scene 3" in error
    assert file_bytes(out) == undisturbed


@pytest.mark.parametrize(
    ("failure", "fate", "advice"),
    [
        (signal.SIGKILL, "died", "fewer --workers if memory ran out"),
        pytest.param(signal.SIGSTOP, "hung", "a longer --picture-seconds if they are slow", marks=pytest.mark.slow),
    ],
)
def test_a_scene_at_which_workers_die_or_hang_every_time_is_named(
    tmp_path: Path, undisturbed: dict[str, bytes], failure: signal.Signals, fate: str, advice: str
) -> None:
    out = tmp_path / "out"
    code, error = build(out, FailAtScene(3, 3, failure), "--picture-seconds", "1")
    assert code == 2
    assert retries(error, out, fate) == 2
    message = error.splitlines()[-1]
    assert message.startswith(f"igllm build: a render worker {fate} while building {out / 'two_d'} (train scene ")
    assert "train scene 3" in message
    assert message.endswith(f", 3 times in all; finished shards are kept: run the command again, with {advice}")
    check_shards(out, undisturbed)
    assert build(out)[0] == 0
    assert file_bytes(out) == undisturbed


def test_a_place_where_no_folder_can_be_made(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("of somebody")
    for out in (file, file / "out", Path("/proc/out"), Path("/dev/null")):
        code = QuickBuild([*FIVE_SCENES, str(out)], tmp_path / "log").wait()
        assert code == 2
        message = only_message((tmp_path / "log").read_text())
        assert message.startswith(f"igllm build: cannot write to {out}: [Errno ")
        assert message.endswith("; choose another --out folder")
    assert file_bytes(tmp_path) == {"file": b"of somebody", "log": (tmp_path / "log").read_bytes()}


def test_a_file_in_the_place_of_the_family(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "two_d").write_text("of somebody")
    code, error = build(out)
    assert code == 2
    assert only_message(error).startswith(f"igllm build: cannot write to {out}: [Errno 17] File exists: '{out}/two_d'")
    assert file_bytes(out) == {"two_d": b"of somebody"}
    (out / "two_d").unlink()
    assert build(out)[0] == 0
    assert file_bytes(out) == undisturbed
