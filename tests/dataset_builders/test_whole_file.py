"""Files are there whole or not at all."""

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from dataset_builders.whole_file import remove_leftovers, write_whole


def _write_half(path: Path) -> None:
    path.write_text("half")
    raise OSError(28, "No space left on device")


def test_file_appears_under_its_name_only(tmp_path: Path) -> None:
    write_whole(tmp_path / "card.md", lambda path: path.write_text("whole"))
    assert [path.name for path in tmp_path.iterdir()] == ["card.md"]
    assert (tmp_path / "card.md").read_text() == "whole"


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "card.md", _write_half)
    assert not list(tmp_path.iterdir())


def test_failure_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "card.md", _write_half)
    assert [path.name for path in tmp_path.iterdir()] == ["card.md"]
    assert (tmp_path / "card.md").read_text() == "old"


def test_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    names = []
    write_whole(tmp_path / "scene.blend", lambda path: (names.append(path.name), path.touch()))
    assert names[0] != "scene.blend"
    assert names[0].endswith(".blend")


def test_an_unwritable_place_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    calls: list[Path] = []
    with pytest.raises(NotADirectoryError):
        write_whole(tmp_path / "file" / "card.md", calls.append)
    assert not calls


def test_a_file_that_did_not_reach_the_disk_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="quota"):
        write_whole(tmp_path / "card.md", lambda path: path.write_text("whole"))
    assert not list(tmp_path.iterdir())


def _ended_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_leftovers_of_ended_processes_are_removed(tmp_path: Path) -> None:
    left = tmp_path / f".{_ended_process()}-train-00000.parquet"
    kept = [
        f".{_ended_process()}-val_id-00000.parquet",  # not asked for
        f".{os.getpid()}-train-00001.parquet",  # being written
        ".notes-train.txt",
        f"{_ended_process()}-train.txt",
        "train-00002.parquet",
    ]
    for path in (left, *(tmp_path / name for name in kept)):
        path.touch()
    remove_leftovers(tmp_path, "train*")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_leftovers_of_a_killed_process_nobody_waited_for_are_removed(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])  # stays as a zombie until the end of the test
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    (tmp_path / f".{process.pid}-README.md").touch()
    remove_leftovers(tmp_path, "README.md")
    assert not list(tmp_path.iterdir())
    process.wait()


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "missing", "*")
