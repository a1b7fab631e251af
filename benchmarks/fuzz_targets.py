"""What fuzzing feeds and watches: each target turns bytes into one hostile input, and says how reading it ended.

A target returns the name of an outcome, and raises whatever should not come out. The parser and the JSON reader may
raise `SceneProgramError` alone (SCENE_PROGRAM, "Grammar"), the metric nothing, images `ValueError`. One in eight of
the scenes that are read must also survive writing and reading again, which takes longer than all the rest. `fuzz.py`
feeds these targets by coverage, tests/test_fuzz.py by hypothesis.
"""

import functools
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from metrics.scene_program.scoring import score_programs
from modeling_igllm import (
    NUM_TOKEN,
    REPRESENTATION_SIZES,
    SceneProgram,
    SceneProgramError,
    format_program,
    parse_predicted_program,
    parse_program,
)
from modeling_igllm.vocabulary import ATTRIBUTES, SPELLINGS

Target = Callable[[bytes], str]

ROTATIONS = tuple(REPRESENTATION_SIZES)
SPHERE = "add(size='small', color='red', material='metal', shape='sphere', loc=(1.234, -0.567, 0.350))\n"
CUBE = "add(size='large', color='gray', material='rubber', shape='cube', loc=(-2, 0.1, 0.7), rotation=0.4)\n"
POINT = "add(x=0.123, y=0.456)\n"
POSED = "add(color='blue', shape='car_1a', loc=(0, 0, 0), rotation=(0.36, 0.48, -0.8, -0.8, 0.6, 0.0))\n"
REFERENCES = (SPHERE + CUBE, POINT + POINT, POSED)
# Numbers as text; those that no program may hold are among them, and look-alikes of digits, signs and quotes.
NUMBERS = ("0", "-0.000", "1e6", "1000000", "1000000.001", "-1.5", "nan", "inf", "1e308", "9" * 101, "0." + "1" * 99)
LOOKALIKES = (
    "\u0661",
    "\uff11",
    "\u2212",
    "\u2018x\u2019",
    "\uff08",
    "\u0430dd(",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\u00a0",
)
PIECES = (
    *("add(", "add", "(", ")", ",", ", ", "=", "'", '"', "\n", "\r\n", "\r", "\t", " ", "```", "`", "\x00", NUM_TOKEN),
    *(f"{name}=" for name in ATTRIBUTES),
    *(f"'{word}'" for words in SPELLINGS.values() for spellings in words.values() for word in spellings),
    *("'car_1a'", "'_'", "loc=(1, 2, 3)", "rotation=(0, 0, 0, 1)", "rotation=(1, 0, 0, 0, 1, 0)", "x=1", "y=2"),
    *(SPHERE, CUBE, POINT, POSED),
    *NUMBERS,
    *LOOKALIKES,
)
MAX_PIECES = 64
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -0.0, 1, 0.5, -1e6, 1e6, 1e6 + 1, 1e308, 10**400, math.nan, math.inf, -math.inf),
    *("", "red", "small", "metal", "cube", "sphere", "car_1a", "c\u0430r", "\ud800", "x" * 10_000, "1", "\x00"),
    *([0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0, 1, 0], [math.nan] * 3, [[0]] * 3),
)
KEYS = (*ATTRIBUTES, "objects", "", "X", "x ", "__class__", "\ud800")


def hostile_text(data: bytes) -> str:
    """A text of `data`: as UTF-8 (broken bytes stay, as lone surrogates), or a piece of a program for every byte."""
    if data[:1] < b"\x80":
        return data[1:].decode("utf-8", "surrogateescape")
    return "".join(PIECES[byte % len(PIECES)] for byte in data[1 : MAX_PIECES + 1])


def read_text(data: bytes) -> str:
    """The parser: either reader, every representation of rotations, with and without numbers."""
    choice, body = (data[0], data[1:]) if data else (0, b"")
    rotation = ROTATIONS[choice % len(ROTATIONS)]
    numbers = [None, [], [0.5, 1.0, -2.0], [1.0, math.nan, 2.0]][choice >> 6]
    read = parse_predicted_program if choice & 32 else parse_program
    try:
        scene = read(hostile_text(body), rotation=rotation, numbers=numbers)
    except SceneProgramError as error:
        return _kind_of_error(error)
    return _checked_scene(scene, rotation, data)


def read_json(data: bytes) -> str:
    """The JSON reader, on values made of JSON text and on values made piece by piece."""
    choice, body = (data[0], data[1:]) if data else (0, b"")
    rotation = ROTATIONS[choice % len(ROTATIONS)]
    if choice < 32:
        try:
            value = json.loads(body.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):  # the json module's own
            return "not JSON"
    else:
        value = {"objects": [_json_object(iter(part)) for part in body.split(b"\n")]}
        if choice & 64:
            value = _json_value(iter(body), 0)
    try:
        scene = SceneProgram.from_json(value, rotation)
    except SceneProgramError as error:
        return _kind_of_error(error)
    return _checked_scene(scene, rotation, data)


def score_text(data: bytes) -> str:
    """The metric: one prediction against the reference of one family, with the published quirks or without."""
    choice, body = (data[0], data[1:]) if data else (0, b"")
    text, reference = hostile_text(body), REFERENCES[choice % len(REFERENCES)]
    scores = score_programs([text], [reference], "6d", bool(choice & 16), bool(choice & 32), bool(choice & 64))
    for name, score in scores.items():
        if isinstance(score, float) and math.isinf(score):
            raise AssertionError(f"{name} is infinite")
    if scores["strict/invalid_rate"] != float(_is_invalid(text, reference)):
        raise AssertionError(f"invalid_rate {scores['strict/invalid_rate']}")
    defined = sum(isinstance(score, float) and not math.isnan(score) for score in scores.values())
    return f"{defined} of {len(scores)} scores defined, invalid_rate {scores['strict/invalid_rate']}"


def _is_invalid(text: str, reference: str) -> bool:
    """Whether `text` is no program, or one of another kind of object than the reference."""
    try:
        scene = parse_program(text)
    except SceneProgramError:
        return True
    return any(type(item) is not type(parse_program(reference).objects[0]) for item in scene)


def _checked_scene(scene: SceneProgram, rotation: str, data: bytes) -> str:
    if zlib.crc32(data) % 8 == 0:
        _check_scene(scene, rotation)
    return _kind_of_scene(scene)


def _check_scene(scene: SceneProgram, rotation: str) -> None:
    """What was read can be written and read again (SCENE_PROGRAM, "Grammar")."""
    if SceneProgram.from_json(json.loads(json.dumps(scene.to_json())), rotation) != scene:
        raise AssertionError("JSON has changed the scene")
    try:
        rounded = scene.rounded(3)
    except SceneProgramError:  # three decimals leave no rotation of numbers this small
        return
    if parse_program(format_program(scene), rotation=rotation) != rounded:
        raise AssertionError("the canonical text says another scene")


def _kind_of_error(error: SceneProgramError) -> str:
    if not error.expected or len(str(error)) > 1000:
        raise AssertionError(f"an error of {len(str(error))} characters, expected={error.expected!r}")
    return "error: " + re.sub(r"\d+", "#", error.expected)


def _kind_of_scene(scene: SceneProgram) -> str:
    kind = type(scene.objects[0]).__name__ if len(scene) else "nothing"
    return f"scene of {'many' if len(scene) > 1 else len(scene)} {kind}"


def _json_object(data: Iterator[int]) -> dict[str, Any]:
    """Two bytes for every attribute: its name and its value."""
    return {KEYS[key % len(KEYS)]: VALUES[value % len(VALUES)] for key, value in zip(data, data, strict=False)}


def _json_value(data: Iterator[int], depth: int) -> Any:
    """A value with lists and objects in it, at most 100 deep."""
    kind = next(data, 0)
    if depth == 100 or kind < 128:
        return VALUES[kind % len(VALUES)]
    length = kind % 8
    if kind < 160:
        return [_json_value(data, depth + 1) for _ in range(length)]
    keys = [KEYS[next(data, 0) % len(KEYS)] for _ in range(length)]
    return {"objects" if depth == 0 and i == 0 else key: _json_value(data, depth + 1) for i, key in enumerate(keys)}


def process(data: bytes) -> str:
    """The processor; torch and transformers are imported for it alone."""
    return _processor_target()(data)


@functools.cache
def _processor_target() -> Target:
    from benchmarks.fuzz_processor import ProcessorTarget

    return ProcessorTarget()


TARGETS: dict[str, Target] = {"parser": read_text, "json": read_json, "metric": score_text, "processor": process}
SEEDS: dict[str, tuple[bytes, ...]] = {
    "parser": tuple(b"\x04\x00" + text.encode() for text in (SPHERE + CUBE, POINT, POSED, f"a\n```\n{POINT}```")),
    "json": tuple(
        b"\x04" + json.dumps(parse_program(text).to_json()).encode() for text in (SPHERE + CUBE, POINT, POSED)
    ),
    "metric": tuple(bytes([i, 0]) + text.encode() for i, text in enumerate(REFERENCES)),
    "processor": (b"\x02\x00", *(bytes([i]) * 40 for i in range(0, 256, 16))),
}
