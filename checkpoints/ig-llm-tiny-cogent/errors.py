"""The one error of the scene-program language, and the value checks that every reader of it shares."""

from numbers import Integral

import numpy as np

from .vocabulary import MAX_NUMBER

_QUOTE_CHARACTERS = 40


class SceneProgramError(ValueError):
    """A text, JSON value or object that is not a scene program (SCENE_PROGRAM, "Grammar").

    Attributes:
        expected: What would have been right at this place, in words.
        line, column: Place in the text, counted from 1 in characters; `None` when the source was not a text.
        attribute: Name of the attribute whose value was wrong; `None` when it was not about one attribute.
    """

    def __init__(
        self,
        message: str,
        *,
        expected: str = "",
        line: int | None = None,
        column: int | None = None,
        attribute: str | None = None,
    ) -> None:
        super().__init__(message)
        self.expected = expected
        self.line = line
        self.column = column
        self.attribute = attribute

    def moved(self, place: str, line: int | None = None, column: int | None = None) -> "SceneProgramError":
        """The same error with its place (`"line 2, column 7"`, `"objects[1]"`) put before the message."""
        return SceneProgramError(
            f"{place}: {self}", expected=self.expected, line=line, column=column, attribute=self.attribute
        )


def unexpected(expected: str, got: str, attribute: str | None = None) -> SceneProgramError:
    """The error "expected ..., got ..." (about `attribute`); to be raised by the caller."""
    name = "" if attribute is None else f"{attribute}: "
    return SceneProgramError(f"{name}expected {expected}, got {got}", expected=expected, attribute=attribute)


def mismatch(expected: str, value: object, attribute: str | None = None) -> SceneProgramError:
    """`unexpected` for a `value` that is quoted."""
    return unexpected(expected, quote(value), attribute)


def quote(value: object) -> str:
    """A bounded description of any bad value; never fails, however long or deep the value is."""
    if isinstance(value, str):
        return repr(value if len(value) <= _QUOTE_CHARACTERS else value[:_QUOTE_CHARACTERS] + "…")
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, Integral):  # repr of a huge int is an error of its own
        return str(value) if abs(value) < 10**_QUOTE_CHARACTERS else f"an integer over {_QUOTE_CHARACTERS} digits"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def checked_number(value: object, attribute: str) -> float:
    """`value` as a float, finite and |value| <= `MAX_NUMBER`; otherwise (also for bool) `SceneProgramError`."""
    if isinstance(value, (np.integer, np.floating)):
        value = value.item()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER:  # nan fails
        return float(value)
    raise mismatch(f"a number with |value| <= {MAX_NUMBER:.0f}", value, attribute)


def checked_numbers(values: object, count: int, attribute: str) -> tuple[float, ...]:
    """`values` (list, tuple or 1-D array) as a tuple of `count` floats; otherwise `SceneProgramError`."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, (list, tuple)) or len(values) != count:
        raise mismatch(f"{count} numbers", values, attribute)
    return tuple(checked_number(value, attribute) for value in values)
