"""The arguments of a run that may be killed: it goes on with those it was begun with, or not at all."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from dataset_builders.whole_file import write_whole

from .errors import CommandError, one_line


def check_begun_with(path: Path, used: dict[str, Any], changeable: Collection[str] = ()) -> None:
    """See that a run that goes on has the arguments that `note_arguments` has written for it.

    What was not noted then passes, and so does a folder without the file.

    Args:
        path: the JSON file, in the folder of the run.
        used: every argument of today's run.
        changeable: names of those that may be others than then.

    Raises:
        CommandError: if one of the others differs, or the file cannot be read.
    """
    if not path.is_file():
        return
    try:
        begun = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise CommandError(f"{path} is damaged: {one_line(error)}; choose another --output_dir") from error
    for name, value in json.loads(json.dumps(used)).items():  # as they come back from the file
        if name in begun and name not in changeable and begun[name] != value:
            raise CommandError(
                f"{path.parent} was begun with {name}={begun[name]!r}, now it is {value!r}: go on with the same, or "
                "choose another --output_dir"
            )


def note_arguments(path: Path, used: dict[str, Any]) -> None:
    """Write what a run was begun with, or is gone on with, for `check_begun_with` and for readers."""
    text = json.dumps(used, indent=2) + "\n"
    write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))
