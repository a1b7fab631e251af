"""Files are there whole or not at all."""

from pathlib import Path

import pytest

from dataset_builders.whole_file import write_whole


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
