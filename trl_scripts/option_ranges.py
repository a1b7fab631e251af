"""Ranges of numeric options, refused in one line before anything is loaded."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import CommandError


@dataclass(frozen=True)
class Range:
    """Which values an option may have.

    Attributes:
        name: in words, as it stands in the message.
        holds: whether a value is in it; false for NaN.
    """

    name: str
    holds: Callable[[float], bool]


POSITIVE = Range("finite and above 0", lambda value: 0 < value < math.inf)
NOT_NEGATIVE = Range("0 or positive", lambda value: 0 <= value < math.inf)
AT_LEAST_ONE = Range("at least 1", lambda value: value >= 1)
DECAY = Range("at least 0 and below 1", lambda value: 0 <= value < 1)
SEED = Range("at least 0 and below 2**32", lambda value: 0 <= value < 2**32)
SHARE = Range("above 0 and below 1", lambda value: 0 < value < 1)


def check_ranges(options: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Look at the options that `ranges` names; of a list at every number, and None may stand for "not given".

    Raises:
        CommandError: for the first value that is out of its range; the message names the option.
    """
    for name, allowed in ranges.items():
        value = options[name]
        values = value if isinstance(value, list) else [value]
        if not all(item is None or allowed.holds(item) for item in values):
            raise CommandError(f"--{name} must be {allowed.name}, got {value}")
