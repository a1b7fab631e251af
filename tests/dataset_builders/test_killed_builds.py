"""A build that is killed at any moment and run again ends with the bytes of an undisturbed one."""

import itertools
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from quick_builds import KillAtStep, QuickBuild, Victim, check_shards, file_bytes, kill, wait_for_group

KILLED = -9
VICTIMS: tuple[Victim, ...] = ("group", "parent")
THREE_SCENES = ["two_d", "--split", "train", "--num-scenes", "3", "--resolution", "16x16", "--workers", "1"]
ALL_SPLITS = ["two_d", "--num-scenes", "5", "--resolution", "16x16", "--workers", "2"]


def start_build(arguments: list[str], out: Path, setup: KillAtStep | None = None) -> QuickBuild:
    out.parent.mkdir(exist_ok=True)
    return QuickBuild([*arguments, "--out", str(out)], out.with_name("log"), setup)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a build that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert start_build(THREE_SCENES, out).wait() == 0
    files = file_bytes(out)
    shards = {f"two_d/train-0000{shard}.parquet" for shard in range(2)}
    assert set(files) == {"README.md", "contact_sheets/two_d_train.jpg", "two_d/train.build.json", *shards}
    return files


@pytest.mark.parametrize(
    ("victim", "every"),
    [
        ("group", 3),
        ("parent", 5),
        pytest.param("group", 1, marks=pytest.mark.slow),
        pytest.param("parent", 1, marks=pytest.mark.slow),
    ],
)
def test_killed_before_a_file_operation(
    tmp_path: Path, undisturbed: dict[str, bytes], victim: Victim, every: int
) -> None:
    half_written = set()
    for step in itertools.count(0, every):
        out = tmp_path / str(step) / "out"
        code = start_build(THREE_SCENES, out, KillAtStep(out, step, victim)).wait()
        half_written |= {Path(name).suffix for name in file_bytes(out) if Path(name).name.startswith(".")}
        check_shards(out, undisturbed)
        if code == 0:  # the build has fewer operations
            break
        assert code == KILLED
        assert start_build(THREE_SCENES, out).wait() == 0
        assert file_bytes(out) == undisturbed
    if victim == "group":  # a worker whose parent was killed may still come to the end of its file
        assert half_written == {".json", ".parquet", ".jpg", ".md"}


def test_killed_at_random_moments(tmp_path: Path) -> None:
    out, moments = tmp_path / "out", random.Random(0)
    start = time.monotonic()
    assert start_build(ALL_SPLITS, tmp_path / "undisturbed").wait() == 0
    seconds, undisturbed = time.monotonic() - start, file_bytes(tmp_path / "undisturbed")
    for victim in 3 * VICTIMS:
        running = start_build(ALL_SPLITS, out)
        time.sleep(moments.uniform(0, seconds / 2))
        running.kill(victim)
        assert running.wait() in (KILLED, 0)  # 0: it had just ended
        check_shards(out, undisturbed)
    assert start_build(ALL_SPLITS, out).wait() == 0
    assert file_bytes(out) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["two_d", "--num-scenes", "450", "--resolution", "64x64"],
        ["clevr", "--split", "train", "--num-scenes", "120", "--resolution", "64x48", "--samples", "2"],
        ["six_dof", "--split", "train", "--num-scenes", "120", "--resolution", "32x32", "--samples", "1"],
        ["shapenet", "--split", "val_ood_shape", "--num-scenes", "120", "--resolution", "32x32", "--samples", "1"],
    ],
    ids=["two_d", "clevr", "six_dof", "shapenet"],
)
def test_the_command_killed_at_random_moments(tmp_path: Path, arguments: list[str]) -> None:
    moments, victims = random.Random(0), itertools.cycle(VICTIMS)
    start = time.monotonic()
    assert run_command(arguments, tmp_path / "undisturbed") == 0
    seconds, undisturbed = time.monotonic() - start, file_bytes(tmp_path / "undisturbed")
    kills = builds = 0
    while kills < 6:
        out = tmp_path / str(builds)
        code = run_command(arguments, out, next(victims), moments.uniform(0, seconds))
        check_shards(out, undisturbed)
        if code == 0:  # it ended sooner: the next one begins anew
            assert file_bytes(out) == undisturbed
            builds += 1
        else:
            assert code == KILLED
            kills += 1
    assert run_command(arguments, out) == 0
    assert file_bytes(out) == undisturbed


def run_command(arguments: list[str], out: Path, victim: Victim = "group", killed_after: float | None = None) -> int:
    """Exit code of `igllm build` in processes as a shell starts them; no process of it is left then."""
    command = [sys.executable, "-m", "trl_scripts.cli", "build", *arguments, "--workers", "2", "--out", str(out)]
    running = subprocess.Popen(command, start_new_session=True)
    try:
        return running.wait(killed_after)
    except subprocess.TimeoutExpired:
        kill(victim, running.pid)
        return running.wait()
    finally:
        wait_for_group(running.pid)
