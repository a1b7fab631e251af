"""From text to a scene: a hand-written one-pass parser of the closed grammar (SCENE_PROGRAM, "Grammar").

Nothing is evaluated. Every pattern is tried at one place, has no nested repetition, and the position only moves
forward, so that the time is linear in the text whatever it holds.
"""

import re
from collections.abc import Callable, Sequence

from .errors import SceneProgramError, checked_number, quote, unexpected
from .rotations import Rotation, nearest_rotation, representation_size
from .scene_program import SceneObject, SceneProgram, check_same_kind, object_from_attributes
from .vocabulary import (
    ATTRIBUTES,
    MAX_NUMBER_DIGITS,
    MAX_OBJECTS,
    MAX_PROGRAM_CHARACTERS,
    NUM_TOKEN,
    SPELLINGS,
    canonical_word,
)

_FENCE = "```"
_FENCE_LANGUAGE = re.compile(r"[A-Za-z0-9_+-]*")
_BLANKS = re.compile(r"[ \t]*")
# Every token with the blanks before it: one match for each of the some 30 tokens of an object is what parsing costs.
_END_OF_LINE = re.compile(r"[ \t]*(\r?\n)")
_NAME = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_]*)")
_WORD = re.compile(r"[ \t]*('[a-z0-9_-]+'|\"[a-z0-9_-]+\")")
_NUMBER = re.compile(r"[ \t]*([+-]?[0-9]+(?:\.[0-9]+)?)")
_PUNCTUATION = re.compile(r"[ \t]*([(),=])")
_GOT_CHARACTERS = 20


def parse_program(text: str, *, rotation: str = "6d", numbers: Sequence[float] | None = None) -> SceneProgram:
    """Reads a scene program; attributes in any order, synonyms as their canonical words.

    Args:
        text: The program, or a text of which only the first closed ``` fence is read.
        rotation: Representation of full rotations, which the text does not name (a key of `REPRESENTATION_SIZES`).
        numbers: Values of the `[NUM]` places in the order of the text, exactly as many as there are.

    Returns:
        The scene; without any statement an empty one.

    Raises:
        SceneProgramError: With line, column and what was expected, for every text outside the grammar or the limits
            `MAX_PROGRAM_CHARACTERS`, `MAX_OBJECTS`, `MAX_NUMBER_DIGITS`, `MAX_NUMBER`.
        TypeError: If `text` is not a str.
        ValueError: If `rotation` is not a representation.
    """
    return _Parser(text, rotation, numbers, Rotation).program()


def parse_predicted_program(
    text: str, *, rotation: str = "6d", numbers: Sequence[float] | None = None
) -> SceneProgram:
    """As `parse_program`, for what a model has written: numbers that define no rotation are read by
    `nearest_rotation`, so that every text of the grammar is a scene, and still is one with three decimals."""
    return _Parser(text, rotation, numbers, nearest_rotation).program()


class _Parser:
    """A place in the text that moves forward only, one method per rule of the grammar."""

    def __init__(
        self,
        text: str,
        rotation: str,
        numbers: Sequence[float] | None,
        make_rotation: Callable[[tuple[float, ...], str], Rotation],
    ) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {quote(text)}")
        representation_size(rotation)
        self.text = text
        self.rotation = rotation
        self.numbers = numbers
        self.make_rotation = make_rotation
        self.numbers_read = 0
        self.position = MAX_PROGRAM_CHARACTERS
        self.end = len(text)

    def program(self) -> SceneProgram:
        if self.end > MAX_PROGRAM_CHARACTERS:
            raise self.unexpected_here(f"at most {MAX_PROGRAM_CHARACTERS} characters")
        self.position, self.end = _program_span(self.text)
        objects: list[SceneObject] = []
        while self.more_statements():
            if len(objects) == MAX_OBJECTS:
                raise self.unexpected_here(f"at most {MAX_OBJECTS} objects")
            objects.append(self.statement(objects))
        if self.numbers is not None and self.numbers_read != len(self.numbers):
            places = f"{len(self.numbers)} {NUM_TOKEN} places, as many as numbers are given"
            raise self.located(unexpected(places, str(self.numbers_read)), self.position)
        return SceneProgram(tuple(objects))

    def more_statements(self) -> bool:
        """Skips blank lines; whether anything follows them."""
        while self.accept(_END_OF_LINE):
            pass
        return self.position < self.end

    def statement(self, earlier: list[SceneObject]) -> SceneObject:
        """One `add(...)` up to the end of its line, of the same kind as the `earlier` ones."""
        start = self.position
        self.take(_NAME, "add")
        self.take(_PUNCTUATION, "(")
        attributes, places = self.arguments()
        try:
            scene_object = object_from_attributes(attributes, self.rotation, self.make_rotation)
        except SceneProgramError as error:
            raise self.located(error, places.get(error.attribute, self.position - 1)) from None
        try:
            check_same_kind(earlier[0] if earlier else scene_object, scene_object)
        except SceneProgramError as error:
            raise self.located(error, start) from None
        if not self.accept(_END_OF_LINE) and self.position < self.end:
            raise self.unexpected_here("the end of the line")
        return scene_object

    def arguments(self) -> tuple[dict[str, object], dict[str | None, int]]:
        """`name=value` up to the closing bracket: the canonical values and the places where they stand."""
        attributes: dict[str, object] = {}
        places: dict[str | None, int] = {}
        while True:
            name = self.attribute_name(attributes)
            self.take(_PUNCTUATION, "=")
            self.skip_blanks()
            places[name] = self.position
            attributes[name] = self.value(name)
            if self.take(_PUNCTUATION, ",", ")") == ")":
                break
        if "size" in attributes or "material" in attributes:  # synonyms are words of CLEVR, not of mesh categories
            for name in SPELLINGS.keys() & attributes.keys():
                attributes[name] = canonical_word(name, str(attributes[name]))
        return attributes, places

    def attribute_name(self, known: dict[str, object]) -> str:
        name = self.take(_NAME, *ATTRIBUTES)
        if name in known:
            raise self.located(unexpected("an attribute not given before", quote(name)), self.position - len(name))
        return name

    def value(self, name: str) -> str | float | list[float]:
        """The value after `name=`; whether it is a legal one is checked with the whole statement."""
        if name in SPELLINGS:
            word = self.accept(_WORD)
            if word is None:
                raise self.unexpected_here("a word of a-z, 0-9, _ and - in quotes")
            return word[1:-1]
        if name in ("x", "y") or (name == "rotation" and not self.text.startswith("(", self.position, self.end)):
            return self.number()
        self.take(_PUNCTUATION, "(")
        values = [self.number()]
        while self.take(_PUNCTUATION, ",", ")") == ",":
            values.append(self.number())
        return values

    def number(self) -> float:
        """A number, or `[NUM]` and then the next one of `numbers`."""
        digits = self.accept(_NUMBER)
        if digits is not None:
            start = self.position - len(digits)
            if len(digits) > MAX_NUMBER_DIGITS and len(digits.lstrip("+-").replace(".", "")) > MAX_NUMBER_DIGITS:
                raise self.located(unexpected(f"at most {MAX_NUMBER_DIGITS} digits", quote(digits)), start)
            value: object = float(digits)
        elif self.text.startswith(NUM_TOKEN, self.position, self.end):
            start = self.position
            self.position += len(NUM_TOKEN)
            value = self.given_number(start)
        else:
            raise self.unexpected_here("a number")
        try:
            return checked_number(value, "number")
        except SceneProgramError as error:
            raise self.located(error, start) from None

    def given_number(self, start: int) -> object:
        if self.numbers is None:
            raise self.located(unexpected("a number written in digits (no numbers are given)", NUM_TOKEN), start)
        if self.numbers_read == len(self.numbers):
            expected = f"no {NUM_TOKEN} after place {len(self.numbers)}, as many as numbers are given"
            raise self.located(unexpected(expected, NUM_TOKEN), start)
        self.numbers_read += 1
        return self.numbers[self.numbers_read - 1]

    def skip_blanks(self) -> None:
        blanks = _BLANKS.match(self.text, self.position, self.end)
        assert blanks is not None  # matches the empty text as well
        self.position = blanks.end()

    def accept(self, pattern: re.Pattern[str]) -> str | None:
        """The token of `pattern` after blanks, if it stands there; else only the blanks are read."""
        found = pattern.match(self.text, self.position, self.end)
        if found is None:
            self.skip_blanks()
            return None
        self.position = found.end()
        return found[1]

    def take(self, pattern: re.Pattern[str], *expected: str) -> str:
        """The token of `pattern` after blanks, which must be one of `expected`."""
        found = pattern.match(self.text, self.position, self.end)
        if found is None or found[1] not in expected:
            self.skip_blanks()
            raise self.unexpected_here(" or ".join(repr(text) for text in expected))
        self.position = found.end()
        return found[1]

    def unexpected_here(self, expected: str) -> SceneProgramError:
        line_end = self.text.find("\n", self.position, self.end)
        rest = self.text[self.position : self.end if line_end == -1 else line_end][:_GOT_CHARACTERS]
        nothing = "the end of the text" if line_end == -1 else "the end of the line"
        return self.located(unexpected(expected, quote(rest) if rest else nothing), self.position)

    def located(self, error: SceneProgramError, position: int) -> SceneProgramError:
        line = self.text.count("\n", 0, position) + 1
        column = position - self.text.rfind("\n", 0, position)
        return error.moved(f"line {line}, column {column}", line, column)


def _program_span(text: str) -> tuple[int, int]:
    """Start and end of the program: inside the first closed fence if there is one, else the whole text.

    The rest of the opening line is dropped if it is empty or the name of a language.
    """
    opening = text.find(_FENCE)
    closing = text.find(_FENCE, opening + len(_FENCE)) if opening != -1 else -1
    if closing == -1:
        return 0, len(text)
    start = opening + len(_FENCE)
    line_end = text.find("\n", start, closing)
    if line_end != -1 and _FENCE_LANGUAGE.fullmatch(text[start:line_end].strip(" \t\r")):
        start = line_end + 1
    return start, closing
