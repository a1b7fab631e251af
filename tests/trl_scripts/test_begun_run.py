"""A run goes on with the arguments that it was begun with."""

from pathlib import Path

import pytest

from trl_scripts.begun_run import check_begun_with, note_arguments
from trl_scripts.errors import CommandError


def test_what_differs_is_named_and_what_may_change_passes(tmp_path: Path) -> None:
    path = tmp_path / "arguments.json"
    note_arguments(path, {"size": (40, 64), "minutes": 3.0})
    check_begun_with(path, {"size": (40, 64), "minutes": 3.0})
    check_begun_with(path, {"size": [40, 64], "minutes": None, "new": 1}, changeable={"minutes"})
    with pytest.raises(CommandError, match=r"was begun with minutes=3\.0, now it is None: .*another --output_dir"):
        check_begun_with(path, {"size": [40, 64], "minutes": None})
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "arguments.json"
    check_begun_with(path, {"size": 1})  # a run that has noted nothing
    path.write_text('{"size": 1')
    with pytest.raises(CommandError, match=r"arguments\.json is damaged: "):
        check_begun_with(path, {"size": 1})
