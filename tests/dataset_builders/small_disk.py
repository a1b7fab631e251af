"""Run as a script in a mount namespace of its own: builds on disks that are too small, then on the same with room.

`small_disk.py RESULTS KIB...` writes RESULTS/KIB/{full,read_only,mended} (copies of the disk after each build), the
standard error of each beside them as .log, and the exit codes as .code.
"""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

from quick_builds import use_two_scenes_a_shard_and_forked_workers

from trl_scripts.cli import main

BUILD = ["build", "two_d", "--split", "train", "--num-scenes", "5", "--resolution", "16x16", "--workers", "2", "--out"]


def build_on_small_disk(results: Path, kib: int) -> None:
    disk, results = results / "disk", results / str(kib)
    results.mkdir()
    disk.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk))
    run_build(disk, results / "full")
    mount("-o", "remount,ro", str(disk))
    run_build(disk, results / "read_only")
    mount("-o", "remount,rw,size=16m", str(disk))
    run_build(disk, results / "mended")
    subprocess.run(["umount", str(disk)], check=True)


def run_build(disk: Path, result: Path) -> None:
    with result.with_suffix(".log").open("w") as log, contextlib.redirect_stderr(log):
        code = main([*BUILD, str(disk)])
    result.with_suffix(".code").write_text(str(code))
    shutil.copytree(disk, result)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    use_two_scenes_a_shard_and_forked_workers()
    for kib in sys.argv[2:]:
        build_on_small_disk(Path(sys.argv[1]), int(kib))
