"""How the time of the parser and the JSON reader grows with the length of what they read."""

import contextlib
import time
from collections.abc import Callable

from benchmarks.fuzz_targets import CUBE, POINT, POSED
from modeling_igllm import SceneProgram, SceneProgramError, parse_program

SHAPES: dict[str, tuple[str, str]] = {
    "points": ("", POINT),
    "cubes": ("", CUBE),
    "posed objects": ("", POSED),
    "blanks": ("", " "),
    "line feeds": ("", "\n"),
    "fences": ("", "```"),
    "carriage returns": ("", "\r"),
    "one word": ("", "x"),
    "digits": ("add(x=", "1"),
    "decimals": ("add(x=1.", "1"),
    "quotes": ("add(size=", "'"),
    "coordinates": ("add(loc=(1", ", 1"),
    "an open statement": ("", "add("),
    "look-alikes": ("add(x=", "\u0661"),
    "nulls": ("add(x=1", "\x00"),
}
"""Texts by name: how each begins, and what is repeated up to its length."""


def text_of_length(shape: str, length: int) -> str:
    """About `length` characters; of whole statements at least one."""
    start, repeated = SHAPES[shape]
    return start + repeated * max(1, length // len(repeated))


def seconds(read: Callable[[str], object], text: str, repeats: int = 3) -> float:
    """Least processor time of `read(text)`, a `SceneProgramError` included."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        with contextlib.suppress(SceneProgramError):
            read(text)
        times.append(time.process_time() - started)
    return min(times)


def read_json_of(text: str) -> object:
    """The JSON reader on as many points as `text` has lines."""
    return SceneProgram.from_json({"objects": [{"x": 1, "y": 2}] * text.count("\n")})


def growth(length: int, shapes: dict[str, tuple[str, str]] = SHAPES) -> dict[str, dict[str, float | list[float]]]:
    """For each shape the seconds at 1, 2, 4 and 8 times `length`, and the last over the first: 8 is linear."""
    report: dict[str, dict[str, float | list[float]]] = {}
    for name, read in [*((shape, parse_program) for shape in shapes), ("JSON points", read_json_of)]:
        shape = "points" if name == "JSON points" else name
        times = [seconds(read, text_of_length(shape, factor * length)) for factor in (1, 2, 4, 8)]
        report[name] = {
            "seconds": [round(value, 6) for value in times],
            "ratio_8_to_1": round(times[-1] / times[0], 2),
        }
    return report
