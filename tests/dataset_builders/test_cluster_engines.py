"""`igllm cluster` on the engines themselves, started as from a shell: a killed build run again has the plain bytes."""

import contextlib
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from quick_builds import check_shards, file_bytes, kill, wait_for_group

pytest.importorskip("datatrove", reason="datatrove is not installed: make cluster")
pytestmark = pytest.mark.slow

DISCS = ["two_d", "--num-scenes", "230", "--resolution", "32x32"]
CLEVR = ["clevr", "--split", "train", "--num-scenes", "120", "--resolution", "64x48", "--samples", "2"]


def run_igllm(command: list[str], arguments: list[str], out: Path) -> int:
    """Exit code of an `igllm` command; no process of it is left then."""
    running = start_igllm(command, arguments, out)
    code = running.wait()
    wait_for_group(running.pid)
    return code


def start_igllm(command: list[str], arguments: list[str], out: Path) -> "subprocess.Popen[bytes]":
    """An `igllm` command in a process group of its own."""
    line = [sys.executable, "-m", "trl_scripts.cli", *command, *arguments, "--out", str(out)]
    with out.with_name("log").open("ab") as log:
        return subprocess.Popen(line, stderr=log, start_new_session=True)


def plain_build(arguments: list[str], out: Path) -> dict[str, bytes]:
    """The files of `igllm build`."""
    assert run_igllm(["build", "--workers", "2"], arguments, out) == 0
    return file_bytes(out)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A plain build of nine shards in three splits."""
    return plain_build(DISCS, tmp_path_factory.mktemp("plain") / "out")


LOCAL = ["cluster", "local", "--workers", "2"]


def test_killed_at_random_moments(tmp_path: Path, discs: dict[str, bytes]) -> None:
    out, moments, kills = tmp_path / "out", random.Random(0), 0
    for seconds in (6 + 6 * moments.random(), 6 + 6 * moments.random()):
        running = start_igllm(LOCAL, DISCS, out)
        time.sleep(seconds)
        kill("group", running.pid)
        kills += running.wait() == -9
        wait_for_group(running.pid)
        check_shards(out, discs)
    assert kills
    assert run_igllm(LOCAL, DISCS, out) == 0
    assert file_bytes(out) == discs


def test_a_killed_blender_is_replaced(tmp_path: Path, discs: dict[str, bytes]) -> None:
    """What runs out of memory is the process with Blender in it."""
    out = tmp_path / "out"
    running = start_igllm(LOCAL, DISCS, out)
    wait_for_render_worker(running.pid).kill()
    assert running.wait() == 0
    wait_for_group(running.pid)
    assert f"a render worker died while building {out / 'two_d'} (" in (tmp_path / "log").read_text()
    assert file_bytes(out) == discs


def wait_for_render_worker(pid: int) -> psutil.Process:
    """A descendant of a process that has been spawned to render."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has just ended
                if any("multiprocessing.spawn" in word for word in process.cmdline()):
                    return process
        time.sleep(0.05)
    raise AssertionError("no worker was spawned")


def test_rendered_pictures_are_those_of_a_plain_build(tmp_path: Path) -> None:
    files = plain_build(CLEVR, tmp_path / "plain")
    assert run_igllm(["cluster", "local", "--workers", "1", "--threads", "2"], CLEVR, tmp_path / "out") == 0
    assert file_bytes(tmp_path / "out") == files
    assert len([name for name in files if name.endswith(".parquet")]) == 2


@pytest.fixture
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray's files in a folder of their own; the names of its sockets must be short."""
    pytest.importorskip("ray", reason="Ray is not installed: make cluster")
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "token").write_text(secrets.token_hex())  # else Ray makes one in the home folder
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", f"{folder}/token")
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield


@pytest.mark.usefixtures("ray_folder")
def test_one_node_of_ray(tmp_path: Path, discs: dict[str, bytes]) -> None:
    command = ["cluster", "ray", "--workers", "2", "--memory-gb", "1"]
    running = start_igllm(command, DISCS, tmp_path / "out")
    wait_for_render_worker(running.pid).kill()
    assert running.wait() == 2
    assert "shards were not rendered, first" in (tmp_path / "log").read_text()
    check_shards(tmp_path / "out", discs)
    assert run_igllm(command, DISCS, tmp_path / "out") == 0
    assert file_bytes(tmp_path / "out") == discs


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="there is no Slurm here")
def test_one_node_of_slurm(tmp_path: Path, discs: dict[str, bytes]) -> None:
    partition = subprocess.check_output(["sinfo", "-h", "-o", "%R"], text=True).split()[0]
    command = ["cluster", "slurm", "--partition", partition, "--time", "00:10:00", "--memory-gb", "1"]
    assert run_igllm(command, DISCS, tmp_path / "out") == 0
    deadline = time.monotonic() + 300
    while not (tmp_path / "out" / "README.md").exists():  # the last thing that is written
        assert time.monotonic() < deadline, subprocess.check_output(["squeue"], text=True)
        time.sleep(1)
    assert file_bytes(tmp_path / "out") == discs
