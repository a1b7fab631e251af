"""The JSON files that a checkpoint's card is written from: a figure is there, or an error says who measures it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CommandError

EVALUATION = "evaluation"
"""The folder in a checkpoint's that holds them."""

MEASURED_BY = {
    "training": "python -m trl_scripts.make_checkpoint",
    "scenes": "python -m trl_scripts.measure_checkpoint",
    "reading": "python -m trl_scripts.measure_checkpoint",
    "real_images": "python -m trl_scripts.measure_checkpoint",
    "robustness": "python -m benchmarks.robustness",
}
"""The name of each file, without `.json`, and the command that writes it."""


@dataclass(frozen=True)
class Figures:
    """An object of a measured file: the file and the command that writes it are for error messages."""

    content: dict[str, Any]
    path: Path
    command: str

    def value(self, *keys: str) -> Any:
        """What stands under these keys, one within the other.

        Raises:
            CommandError: if nothing does.
        """
        found: Any = self.content
        for key in keys:
            if not isinstance(found, dict) or found.get(key) is None:
                raise self._missing(keys, "")
            found = found[key]
        return found

    def number(self, *keys: str) -> float:
        """A finite number; CommandError if there is none."""
        found = self.value(*keys)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise self._missing(keys, f": it is {found!r}, not a number")
        return found

    def text(self, *keys: str) -> str:
        """A text that is not empty; CommandError if there is none."""
        found = self.value(*keys)
        if not isinstance(found, str) or not found.strip():
            raise self._missing(keys, f": it is {found!r}, not a text")
        return found

    def items(self, *keys: str) -> list[Any]:
        """A list that is not empty, of items that are not; CommandError if there is none."""
        found = self.value(*keys)
        # NaN alone differs from itself.
        if not isinstance(found, list) or not found or any(item in (None, "") or item != item for item in found):
            raise self._missing(keys, f": it is {found!r}, not a list of what is known")
        return found

    def parts(self, *keys: str) -> list["Figures"]:
        """A list of objects, each to be asked in turn; CommandError if there is none."""
        return [Figures(item, self.path, self.command) for item in self.items(*keys)]

    def _missing(self, keys: tuple[str, ...], found: str) -> CommandError:
        return CommandError(f"{self.path} has no figure {'/'.join(keys)}{found}; measure again by `{self.command}`")


@dataclass(frozen=True)
class Measured:
    """All that was measured of a checkpoint; `splits` are the reports in scenes.json."""

    training: Figures
    splits: list[Figures]
    reading: Figures
    real_images: Figures
    robustness: Figures


def read_measured(checkpoint: Path) -> Measured:
    """Read the files of a checkpoint.

    Raises:
        CommandError: if one is missing or no JSON object.
    """
    files = {name: _read(checkpoint / EVALUATION / f"{name}.json", command) for name, command in MEASURED_BY.items()}
    splits = files.pop("scenes").parts("splits")
    return Measured(splits=splits, **files)


def _read(path: Path, command: str) -> Figures:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CommandError(f"there is no {path}: `{command}` writes it") from error
    except ValueError as error:
        raise CommandError(f"{path} is not JSON ({error}): measure again by `{command}`") from error
    if not isinstance(content, dict):
        raise CommandError(f"{path} holds no JSON object: measure again by `{command}`")
    return Figures(content, path, command)
