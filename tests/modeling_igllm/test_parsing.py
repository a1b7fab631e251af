"""The closed grammar, line by line (SCENE_PROGRAM, "Grammar")."""

import random
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_scenes import CLEVR_TEXT, CUBE, POINT, POINT_TEXT, POSED, POSED_TEXT, SPHERE, representation_of, scenes

from modeling_igllm import (
    ClevrObject,
    Point2D,
    PosedObject,
    SceneProgram,
    SceneProgramError,
    format_program,
    parse_program,
)
from modeling_igllm.vocabulary import MAX_NUMBER_DIGITS, MAX_OBJECTS, MAX_PROGRAM_CHARACTERS

SPHERE_LINE, CUBE_LINE = CLEVR_TEXT.splitlines()


def failure(text: str, **arguments: Any) -> SceneProgramError:
    with pytest.raises(SceneProgramError) as caught:
        parse_program(text, **arguments)
    error = caught.value
    assert error.expected and error.line is not None and error.column is not None
    assert str(error).startswith(f"line {error.line}, column {error.column}: ") and error.expected in str(error)
    assert len(str(error)) < 400
    return error


@settings(max_examples=100, deadline=None)
@given(scenes())
def test_parse_of_format_is_the_rounded_scene(scene: SceneProgram) -> None:
    assert parse_program(format_program(scene), rotation=representation_of(scene)) == scene.rounded(3)


@pytest.mark.parametrize("text", ["", CLEVR_TEXT, POINT_TEXT, POSED_TEXT])
def test_format_of_parse_is_identity_on_canonical_text(text: str) -> None:
    assert format_program(parse_program(text)) == text


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_format_of_parse_is_identity_on_any_formatted_scene(scene: SceneProgram) -> None:
    text = format_program(scene)
    assert format_program(parse_program(text, rotation=representation_of(scene))) == text


def test_the_three_statements_become_their_types() -> None:
    assert parse_program(CLEVR_TEXT).objects == (SPHERE, CUBE)
    assert parse_program(POINT_TEXT).objects == (POINT,)
    assert parse_program(POSED_TEXT).objects == (POSED,)
    kinds = [type(parse_program(text).objects[0]) for text in (CLEVR_TEXT, POINT_TEXT, POSED_TEXT)]
    assert kinds == [ClevrObject, Point2D, PosedObject]


@pytest.mark.parametrize("text", ["", "\n", " \t\n\r\n  ", "```python\n```", "``````"])
def test_a_program_without_statements_is_an_empty_scene(text: str) -> None:
    assert parse_program(text) == SceneProgram(())


@pytest.mark.parametrize(
    "text",
    [
        "add(x=0.123,y=0.456)",
        "add(y=0.456, x=0.123)",
        "\t add \t( x = 0.123\t,y=+0.456 ) \t\n",
        "\n\r\n \t\nadd(x=0.123, y=0.456)\r\n\n",
        "add(x=00.1230, y=0.45600)",
    ],
)
def test_blanks_order_and_line_ends_are_free(text: str) -> None:
    assert parse_program(text).objects == (POINT,)


def test_crlf_separates_statements() -> None:
    assert parse_program(CLEVR_TEXT.replace("\n", "\r\n")).objects == (SPHERE, CUBE)


def test_attributes_come_in_any_order_and_in_either_quotes() -> None:
    text = (
        "add(rotation=0.412, loc=(-2.01, 0.125, 0.7), shape=\"cube\", material='rubber', color=\"gray\", size='large')"
    )
    assert parse_program(text).objects == (CUBE,)


@pytest.mark.parametrize(
    ("synonym", "word"),
    [
        ("ball", "sphere"),
        ("block", "cube"),
        ("big", "large"),
        ("tiny", "small"),
        ("metallic", "metal"),
        ("shiny", "metal"),
        ("matte", "rubber"),
    ],
)
def test_synonyms_are_read_as_canonical_words(synonym: str, word: str) -> None:
    line = SPHERE_LINE if word in SPHERE_LINE else CUBE_LINE
    assert f"'{word}'" in line
    assert parse_program(line.replace(word, synonym)) == parse_program(line)


def test_a_synonym_counts_for_its_own_attribute_only() -> None:
    assert failure(SPHERE_LINE.replace("small", "ball")).column == 10


def test_mesh_categories_are_not_synonyms() -> None:
    scene_object = parse_program(POSED_TEXT.replace("car_1a", "ball")).objects[0]
    assert isinstance(scene_object, PosedObject) and scene_object.shape == "ball"


def test_a_cube_may_come_without_yaw() -> None:
    text = CUBE_LINE.replace(", rotation=0.412", "")
    cube = parse_program(text).objects[0]
    assert isinstance(cube, ClevrObject) and cube.rotation is None


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("0", 0.0),
        ("-0.000", 0.0),
        ("+7", 7.0),
        ("007.50", 7.5),
        ("1000000", 1e6),
        ("-1000000.000", -1e6),
        ("0." + "3" * (MAX_NUMBER_DIGITS - 1), 1 / 3),
        ("0" * MAX_NUMBER_DIGITS, 0.0),
    ],
)
def test_numbers_of_the_grammar_are_read(number: str, value: float) -> None:
    assert parse_program(f"add(x={number}, y=0)").objects == (Point2D(value, 0.0),)


NOT_FINITE = ["nan", "inf", "-inf", "Infinity", "None"]
NOT_DECIMAL = ["-", ".5", "5.", "1e5", "1E5", "1_000", "0x10", "1j", "--1", "+-1", "1+1", "1.2.3", "1,2", "'1'", "(1)"]
OUT_OF_RANGE = ["1000000.001", "-1000001", "9" * MAX_NUMBER_DIGITS, "0" * (MAX_NUMBER_DIGITS + 1), "9" * 100_000]
LOOK_ALIKES = ["\u0661", "\uff11", "1\u0660", "\u00b2", "1.\u0665", "\u22121", "1\u066b5"]


@pytest.mark.parametrize("number", ["", "- 1", "1 2", *NOT_FINITE, *NOT_DECIMAL, *OUT_OF_RANGE, *LOOK_ALIKES])
def test_anything_else_is_no_number(number: str) -> None:
    assert failure(f"add(x={number}, y=0)").line == 1
    assert failure(SPHERE_LINE.replace("-0.567", number)).line == 1


@pytest.mark.parametrize(
    ("text", "line", "column", "expected"),
    [
        ("add", 1, 4, "'('"),
        ("add(", 1, 5, "'x' or 'y' or 'size'"),
        ("add()", 1, 5, "'x'"),
        ("ad(x=1, y=2)", 1, 1, "'add'"),
        ("Add(x=1, y=2)", 1, 1, "'add'"),
        ("addx=1, y=2)", 1, 1, "'add'"),
        ("import os", 1, 1, "'add'"),
        ("# comment\n" + POINT_TEXT, 1, 1, "'add'"),
        ("add(x=1, y=2) # comment", 1, 15, "end of the line"),
        ("add(x=1, y=2),", 1, 14, "end of the line"),
        ("add(x=1, y=2) add(x=1, y=2)", 1, 15, "end of the line"),
        ("add(x=1, y=2);add(x=1, y=2)", 1, 14, "end of the line"),
        ("add(x=1, y=2", 1, 13, "')'"),
        ("add(x=1, y=2,)", 1, 14, "'x'"),
        ("add(x=1,, y=2)", 1, 9, "'x'"),
        ("add(x=1 y=2)", 1, 9, "','"),
        ("add(x=1,\ny=2)", 1, 9, "'x'"),
        ("add(x\n=1, y=2)", 1, 6, "'='"),
        ("add(x:1, y=2)", 1, 6, "'='"),
        ("add(1, 2)", 1, 5, "'x'"),
        ("add(x=1)", 1, 8, "missing attribute y"),
        ("add(z=1)", 1, 5, "'x'"),
        ("add(x=1, y=2, x=1)", 1, 15, "not given before"),
        ("add(x=1, y=2, loc=(1, 2, 3))", 1, 19, "one of the attributes x, y"),
        ("add(x=1, y=2)\n\n  add(x=1, why=2)", 3, 12, "'x'"),
        ("add(x=1, y=2)\r\nadd(x=1, y=)\r\n", 2, 12, "a number"),
        ("add(x=1, y=2)\radd(x=1, y=2)", 1, 14, "end of the line"),
        ("add(x=1, y=2)\n\r", 2, 1, "'add'"),
        (POINT_TEXT + CLEVR_TEXT, 2, 1, "Point2D"),
        (CLEVR_TEXT + POSED_TEXT, 3, 1, "ClevrObject"),
        (SPHERE_LINE.replace("'small'", "small"), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "''"), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "'small\""), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "'Small'"), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "'small '"), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "'sma\\x6cl'"), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "'sm\u0430ll'"), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "b'small'"), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "'small' 'small'"), 1, 18, "','"),
        (SPHERE_LINE.replace("'small'", "1"), 1, 10, "in quotes"),
        (SPHERE_LINE.replace("'small'", "'medium'"), 1, 10, "one of small, large"),
        (SPHERE_LINE.replace("red", "pink"), 1, 25, "one of gray, red"),
        (SPHERE_LINE.replace("metal", "wood"), 1, 41, "one of metal, rubber"),
        (SPHERE_LINE.replace("sphere", "cone"), 1, 56, "one of cube, sphere, cylinder"),
        (SPHERE_LINE.replace(", loc=(1.234, -0.567, 0.350)", ""), 1, 64, "missing attribute loc"),
        ("add(x=1, y=2)\nadd(x=1, y=\x002)", 2, 12, "a number"),
        ("add(x=1, y=2)\x00", 1, 14, "end of the line"),
        ("\ufeffadd(x=1, y=2)", 1, 1, "'add'"),
        ("add(x=1,\u00a0y=2)", 1, 9, "'x'"),
        ("add(x=1,\u3000y=2)", 1, 9, "'x'"),
        ("add(x=1,\x0by=2)", 1, 9, "'x'"),
        ("add(x=1, y=2)\x0c", 1, 14, "end of the line"),
        ("add(x=1, y=2)\u2028add(x=1, y=2)", 1, 14, "end of the line"),
        ("add(x=1, y=2)\x85add(x=1, y=2)", 1, 14, "end of the line"),
        ("add(x=1, \uff59=2)", 1, 10, "'x'"),
        ("add(x=1, y=2)\n\ud800", 2, 1, "'add'"),
        ("add(x=__import__('os'), y=2)", 1, 7, "a number"),
        ("add(*args)", 1, 5, "'x'"),
    ],
)
def test_every_error_says_where_and_what_was_expected(text: str, line: int, column: int, expected: str) -> None:
    error = failure(text)
    assert (error.line, error.column) == (line, column), str(error)
    assert expected in error.expected


@pytest.mark.parametrize(
    ("text", "piece", "expected"),
    [
        (SPHERE_LINE.replace("(1.234, -0.567, 0.350)", "1.234"), "1.234", "'('"),
        (SPHERE_LINE.replace("(1.234, -0.567, 0.350)", "()"), "))", "a number"),
        (SPHERE_LINE.replace("-0.567, ", ""), "(1.234", "3 numbers"),
        (SPHERE_LINE.replace("0.350)", "0.350, 1)"), "(1.234", "3 numbers"),
        (SPHERE_LINE.replace("0.350)", "0.350,)"), "))", "a number"),
        (SPHERE_LINE.replace("(1.234, -0.567, 0.350)", "[1.234, -0.567, 0.350]"), "[", "'('"),
        (SPHERE_LINE[:-1] + ", rotation=0.111)", "0.111", "cubes only"),
        (CUBE_LINE.replace("cube", "cylinder"), "0.412", "cubes only"),
        (CUBE_LINE.replace("0.412", "(0.412)"), "(0.412", "a number"),
        (CUBE_LINE.replace("0.412", "'0.412'"), "'0.412", "a number"),
        (CUBE_LINE.replace("rotation", "yaw"), "yaw", "'rotation'"),
        (POSED_TEXT.replace("0.100, ", ""), "(-0.200", "3 numbers"),
        (POSED_TEXT.replace("0.360, ", ""), "(0.480", "6 numbers"),
        (POSED_TEXT.replace("(0.360, 0.480, -0.800, -0.800, 0.600, 0.000)", "0.4"), "0.4)", "6 numbers"),
        (POSED_TEXT.replace("-0.800, 0.600, 0.000", "0.720, 0.960, -1.600"), "(0.360", "define a rotation"),
        (POSED_TEXT.replace("car_1a", "_1a"), "'_1a", "category"),
        (POSED_TEXT.replace("car_1a", "car_"), "'car_", "category"),
        (POSED_TEXT.replace("blue", "azure"), "'azure", "one of gray, red"),
        (POSED_TEXT.replace(", rotation", ", material='metal', rotation"), ")\n", "missing attribute size"),
    ],
)
def test_an_error_points_at_the_offending_value(text: str, piece: str, expected: str) -> None:
    error = failure(text)
    assert (error.line, error.column) == (1, text.index(piece) + 1), str(error)
    assert expected in error.expected


@pytest.mark.parametrize("attribute", ["size='small', ", "color='red', ", "material='metal', ", "shape='sphere', "])
def test_a_missing_attribute_is_expected_at_the_closing_bracket(attribute: str) -> None:
    text = SPHERE_LINE.replace(attribute, "")
    error = failure(text)
    assert error.column == len(text) and f"missing attribute {attribute.partition('=')[0]}" in error.expected


def test_an_error_quotes_what_it_got() -> None:
    assert str(failure("add(x=1, y=oops)")) == "line 1, column 12: expected a number, got 'oops)'"
    assert str(failure("add(x=1, y=")) == "line 1, column 12: expected a number, got the end of the text"
    assert str(failure("add(x=1, y=\n)")) == "line 1, column 12: expected a number, got the end of the line"


@pytest.mark.parametrize(
    "text",
    [
        f"The scene can be produced with:\n```python\n{CLEVR_TEXT}```",
        f"Sure!\n```\n{CLEVR_TEXT}``` Done.\n```python\nadd(x=1, y=2)\n```",
        f"```python\r\n{CLEVR_TEXT}\r\n```",
        f"```{CLEVR_TEXT}```",
        f"Inline ``` python \t\n{CLEVR_TEXT.rstrip()}```, and an open one: ```",
    ],
)
def test_only_the_first_closed_fence_is_read(text: str) -> None:
    assert parse_program(text).objects == (SPHERE, CUBE)


def test_places_inside_a_fence_are_those_of_the_whole_text() -> None:
    error = failure("Here:\n```python\nadd(x=1, y=2)\nadd(x=1)\n```\nadd(")
    assert (error.line, error.column) == (4, 8)


def test_a_fence_ends_the_program() -> None:
    assert "end of the text" in str(failure("```\nadd(x=1, y=```2)"))


def test_a_fence_that_is_not_closed_is_no_fence() -> None:
    error = failure(f"```python\n{CLEVR_TEXT}")
    assert (error.line, error.column) == (1, 1)


def test_text_before_a_program_without_a_fence_is_an_error() -> None:
    assert failure(f"The scene:\n{CLEVR_TEXT}").line == 1


def test_a_statement_on_the_opening_line_of_a_fence_is_not_lost() -> None:
    assert len(parse_program("```add(x=1, y=2)\nadd(x=3, y=4)\n```")) == 2


NUM_LINE = "add(size='small', color='red', material='metal', shape='sphere', loc=([NUM], [NUM], [NUM]))\n"


def test_number_tokens_take_the_given_numbers_in_text_order() -> None:
    assert parse_program(NUM_LINE, numbers=[1.234, -0.567, 0.35]).objects == (SPHERE,)
    assert parse_program("add(y=[NUM],x=[NUM])", numbers=np.array([0.456, 0.123])).objects == (POINT,)  # type: ignore[arg-type]
    exact = 0.12345678901234
    assert parse_program("add(x=[NUM], y=[NUM])", numbers=[exact, 1]).numbers == [exact, 1.0]


def test_number_tokens_need_exactly_as_many_numbers() -> None:
    assert failure(NUM_LINE).column == 71
    assert failure(NUM_LINE, numbers=[]).column == 71
    assert failure(NUM_LINE, numbers=[1.0, 2.0]).column == 85
    assert "4 [NUM] places" in failure(NUM_LINE, numbers=[1.0, 2.0, 3.0, 4.0]).expected
    assert "1 [NUM] places" in failure(POINT_TEXT, numbers=[1.0]).expected
    assert parse_program(POINT_TEXT, numbers=[]).objects == (POINT,)


def test_number_tokens_outside_the_fence_take_no_number() -> None:
    assert parse_program(f"[NUM]\n```\n{NUM_LINE}```\n[NUM]", numbers=[1.234, -0.567, 0.35]).objects == (SPHERE,)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.1e6, True, None, "1", [1.0]])
def test_given_numbers_are_checked_at_their_place(value: Any) -> None:
    assert failure(NUM_LINE, numbers=[1.0, value, 2.0]).column == 78


@pytest.mark.parametrize("token", ["[num]", "[ NUM]", "[NUM ]", "NUM", "-[NUM]", "[NUM][NUM]", "[NUM]1", "'[NUM]'"])
def test_only_the_exact_number_token_counts(token: str) -> None:
    failure(f"add(x={token}, y=1)", numbers=[0.5])


def test_rotation_names_the_representation_of_the_text() -> None:
    text = "add(color='red', shape='car', loc=(0, 0, 0), rotation=(0, 0, 0, 1))"
    scene_object = parse_program(text, rotation="quat").objects[0]
    assert isinstance(scene_object, PosedObject) and scene_object.rotation.representation == "quat"
    assert "6 numbers" in failure(text).expected
    assert "define a rotation" in failure(text.replace("1))", "0))"), rotation="quat").expected
    with pytest.raises(ValueError, match="'quaternion'") as caught:
        parse_program(text, rotation="quaternion")
    assert not isinstance(caught.value, SceneProgramError)


@pytest.mark.parametrize("text", [None, 3, b"add(x=1, y=2)", ["add(x=1, y=2)"]])
def test_only_a_str_is_a_text(text: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        parse_program(text)


def test_the_limits_hold_exactly() -> None:
    assert len(parse_program("add(x=1,y=2)\n" * MAX_OBJECTS)) == MAX_OBJECTS
    assert failure("add(x=1,y=2)\n" * (MAX_OBJECTS + 1)).line == MAX_OBJECTS + 1
    assert parse_program(" " * MAX_PROGRAM_CHARACTERS) == SceneProgram(())
    assert failure(" " * (MAX_PROGRAM_CHARACTERS + 1)).column == MAX_PROGRAM_CHARACTERS + 1


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        ("", " "),
        ("", "x"),
        ("add(x=", "1"),
        ("add(x=1.", "1"),
        ("add(x=", " "),
        ("add(x=1", " "),
        ("add(size='", "a"),
        ("add(size=", "'"),
        ("add(loc=(1", ", 1"),
        ("", "add("),
        ("", "```"),
        ("", "`"),
        ("```", " "),
        ("```", "a"),
        ("", "\r"),
        ("", "\n"),
        ("", " \n"),
        ("add(x=1, y=2)", " "),
    ],
)
@pytest.mark.parametrize("size", [MAX_PROGRAM_CHARACTERS, 10_000_000])
def test_hostile_texts_end_fast(start: str, repeated: str, size: int) -> None:
    text = (start + repeated * (size // len(repeated)))[:size]
    began = time.perf_counter()
    try:
        parse_program(text)
    except SceneProgramError as error:
        assert len(str(error)) < 400
    else:
        assert size <= MAX_PROGRAM_CHARACTERS
    assert time.perf_counter() - began < 20.0  # about 1 s on an idle machine; a quadratic parser would take hours


PIECES = ["add(", "add", "(", ")", ",", ", ", "=", "'", '"', "\n", "\r\n", "\r", " ", "```", "[NUM]", "1", "-0.5", "x"]
PIECES += ["y", "size=", "'small'", "color='red'", "loc=(1, 2, 3)", "rotation=", "x=1", "y=2", "\x00", "\u0661", "é"]


@settings(max_examples=150, deadline=None)
@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.none() | st.lists(st.floats()))
def test_any_text_is_a_scene_or_a_scene_program_error(text: str, numbers: list[float] | None) -> None:
    try:
        parse_program(text, numbers=numbers)
    except SceneProgramError as error:
        assert error.line is not None and error.column is not None and error.expected


def test_every_prefix_and_every_changed_character_is_handled() -> None:
    rng = random.Random(0)
    for text in (CLEVR_TEXT, POSED_TEXT):
        for end in range(len(text)):
            changed = text[:end] + rng.choice("(),='\" \n0a[\x00\u0661") + text[end + 1 :]
            for broken in (text[:end], changed, text[:end] + text[end + 1 :]):
                try:
                    parse_program(broken)
                except SceneProgramError as error:
                    assert error.line is not None and error.line <= broken.count("\n") + 1
