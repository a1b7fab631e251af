"""Limits on length, objects, nesting and numbers, and reading time that is linear in the length."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz_lengths import SHAPES, read_json_of, seconds, text_of_length
from modeling_igllm import SceneProgram, SceneProgramError, parse_program
from modeling_igllm.vocabulary import MAX_NUMBER, MAX_NUMBER_DIGITS, MAX_OBJECTS, MAX_PROGRAM_CHARACTERS
from trl_scripts.commands import read_program
from trl_scripts.errors import CommandError

NUMBER = r"\|value\| <= 1000000"
TEN_MEGABYTES = 10_000_000
# name -> (text, message)
TEXTS: dict[str, tuple[str, str]] = {
    "nan": ("add(x=nan, y=1)", "a number, got 'nan"),
    "infinity": ("add(x=inf, y=1)", "a number, got 'inf"),
    "minus infinity": ("add(x=-Infinity, y=1)", "a number"),
    "exponent": ("add(x=1e308, y=1)", "',' or '\\)', got 'e308"),
    "too large": ("add(x=1000000.001, y=1)", NUMBER),
    "1e308 in digits": (f"add(x=1{'0' * 308}, y=1)", f"at most {MAX_NUMBER_DIGITS} digits"),
    "many digits of nothing": (f"add(x={'0' * 101}, y=1)", f"at most {MAX_NUMBER_DIGITS} digits"),
    "hexadecimal": ("add(x=0x10, y=1)", "',' or '\\)'"),
    "underscores": ("add(x=1_000, y=1)", "',' or '\\)'"),
    "complex": ("add(x=1j, y=1)", "',' or '\\)'"),
    "Arabic digit": ("add(x=\u0661, y=1)", "a number"),
    "full-width digit": ("add(x=\uff11, y=1)", "a number"),
    "superscript": ("add(x=\u00b2, y=1)", "a number"),
    "minus sign": ("add(x=\u22121, y=1)", "a number"),
    "Cyrillic a": ("\u0430dd(x=1, y=1)", "'add'"),
    "full-width bracket": ("add\uff08x=1, y=1)", "'\\('"),
    "curly quotes": ("add(size=\u2018small\u2019)", "a word of a-z"),
    "Cyrillic word": ("add(color='r\u0435d')", "a word of a-z"),
    "zero-width space": ("add(x=1,\u200b y=1)", "'x' or 'y'"),
    "no-break space": ("add(x=1,\u00a0y=1)", "'x' or 'y'"),
    "byte order mark": ("\ufeffadd(x=1, y=1)", "'add'"),
    "line separator": ("add(x=1, y=1)\u2028add(x=1, y=1)", "the end of the line"),
    "next line": ("add(x=1, y=1)\x85add(x=1, y=1)", "the end of the line"),
    "form feed": ("add(x=1, y=1)\x0c", "the end of the line"),
    "null": ("add(x=1, y=1)\x00", "the end of the line"),
    "null in a word": ("add(color='red\x00')", "a word of a-z"),
    "lone carriage return": ("add(x=1, y=1)\radd(x=1, y=1)", "the end of the line"),
    "lone surrogate": ("add(x=1, y=\ud800)", "a number"),
    "escape in a word": ("add(color='\\x72ed')", "a word of a-z"),
    "code": ("add(x=__import__('os').getpid(), y=1)", "a number"),
    "code before": ("import os\nadd(x=1, y=1)", "'add'"),
    "comment": ("add(x=1, y=1)  # a point", "the end of the line"),
    "deep brackets": ("add(loc=" + "(" * 100_000, "a number"),
    "ten megabytes in a line": ("x" * TEN_MEGABYTES, f"at most {MAX_PROGRAM_CHARACTERS} characters"),
    "ten megabytes of objects": ("add(x=1, y=1)\n" * (TEN_MEGABYTES // 14), "at most"),
    "too many objects": ("add(x=1,y=1)\n" * (MAX_OBJECTS + 1), f"at most {MAX_OBJECTS} objects"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_outside_the_grammar_or_the_limits_is_the_one_error(name: str) -> None:
    text, message = TEXTS[name]
    with pytest.raises(SceneProgramError, match=message) as caught:
        parse_program(text)
    assert len(str(caught.value)) < 400


def test_line_ends_and_the_largest_number_are_fine() -> None:
    assert parse_program("add(x=1, y=-2)\r\n\r\nadd(x=1000000, y=-1000000.000)\r\n").numbers == [1, -2, 1e6, -1e6]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# name -> (value of "objects", message)
VALUES: dict[str, tuple[Any, str]] = {
    **{
        f"x is {value}": ([{"x": value, "y": 1}], NUMBER)
        for value in (math.nan, math.inf, -math.inf, 1e308, -1e308, 10**400, MAX_NUMBER + 1, True, None, "1", [1])
    },
    "too many objects": ([{"x": 1, "y": 1}] * (MAX_OBJECTS + 1), f"at most {MAX_OBJECTS} objects"),
    "deep list": (nested(100_000), "an object with attributes"),
    "deep number": ([{"x": nested(100_000), "y": 1}], NUMBER),
    "long list": ([{"color": "red", "shape": "car", "loc": [0.0] * 10**6, "rotation": [0]}], "numbers"),
    "long word": (
        [{"color": "r" * TEN_MEGABYTES, "shape": "car", "loc": [0] * 3, "rotation": [1, 0, 0, 0, 1, 0]}],
        "one of",
    ),
    "long name": ([{"x" * TEN_MEGABYTES: 1}], "the missing attribute|one of the attributes"),
    "look-alike": ([{"color": "r\u0435d", "shape": "car", "loc": [0] * 3, "rotation": [1, 0, 0, 0, 1, 0]}], "one of"),
    "dunder": ([{"x": 1, "y": 1, "__class__": "x"}], "one of the attributes"),
    "no list": ({"x": 1}, "a list of at most"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_outside_the_language_or_the_limits_is_the_one_error(name: str) -> None:
    value, message = VALUES[name]
    with pytest.raises(SceneProgramError, match=message) as caught:
        SceneProgram.from_json({"objects": value})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        '{"objects": ' + "[" * 200_000,
        '{"objects": ' + "[" * 200_000 + "]" * 200_000 + "}",
        '{"objects": [{"x": ' + "1" * 100_000 + ', "y": 1}]}',
        '{"objects": [{"x": NaN, "y": 1}]}',
        '{"objects": [{"x": 1e999, "y": 1}]}',
        '{"objects": [{"x": 1, "y": 1}]',
        "\x00",
    ],
)
def test_a_json_file_that_is_none_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=str(path)):
        read_program(path)


def is_linear(read: Callable[[str], object], shape: str, length: int = 6000) -> bool:
    """Whether eight times the text takes less than 20 times as long: linear would be 8, quadratic 64."""
    short, long = (seconds(read, text_of_length(shape, factor * length)) for factor in (1, 8))
    return long < 20 * short + 0.005


@pytest.mark.parametrize("shape", SHAPES)
def test_parsing_takes_time_linear_in_the_length(shape: str) -> None:
    assert is_linear(parse_program, shape)


def test_reading_json_takes_time_linear_in_the_length() -> None:
    assert is_linear(read_json_of, "points")


def test_quadratic_time_would_be_seen() -> None:
    def quadratic(text: str) -> None:
        for end in range(0, len(text), 8):
            text.count("x", 0, end)

    assert not is_linear(quadratic, "one word")


def test_a_scene_of_json_is_what_json_says() -> None:
    assert SceneProgram.from_json(json.loads('{"objects": [{"x": 1, "y": 2.5}], "more": 1}')).numbers == [1, 2.5]
