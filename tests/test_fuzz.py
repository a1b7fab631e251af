"""Programs are data: hostile input to parser, JSON reader, metric and processor ends in a scene or in the one error.

A few seconds of what `benchmarks/fuzz.py` does for hours; the targets are the same.
"""

import random
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st

from benchmarks import fuzz_targets
from benchmarks.fuzz_targets import SEEDS, TARGETS

EXAMPLES = {"parser": 100, "json": 100, "metric": 20, "processor": 40}
RANDOM = {"parser": 4000, "json": 4000, "metric": 60, "processor": 200}


def hostile_bytes(target: str) -> st.SearchStrategy[bytes]:
    """Any bytes, and good input of which a few bytes are others."""
    edits = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4)
    return st.binary(max_size=300) | st.builds(_edited, st.sampled_from(SEEDS[target]), edits)


def _edited(seed: bytes, edits: list[tuple[int, int]]) -> bytes:
    data = bytearray(seed)
    for place, byte in edits:
        data[place % len(data)] = byte
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_the_one_error_comes_out(target: str) -> None:
    @hypothesis.settings(max_examples=EXAMPLES[target], deadline=None, database=None)
    @hypothesis.given(hostile_bytes(target))
    def feed(data: bytes) -> None:
        assert TARGETS[target](data)

    feed()


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_else_comes_out_of_random_input(target: str) -> None:
    """Many more than hypothesis has time for."""
    rng = random.Random(0)
    for _ in range(RANDOM[target]):
        edits = [(rng.randrange(10_000), rng.randrange(256)) for _ in range(rng.randrange(1, 5))]
        TARGETS[target](_edited(rng.choice(SEEDS[target]), edits) if rng.random() < 0.5 else rng.randbytes(60))


@pytest.mark.parametrize("target", TARGETS)
def test_good_input_is_read(target: str) -> None:
    """Fuzzing that never gets past the first check would show nothing."""
    outcomes = {TARGETS[target](seed) for seed in SEEDS[target]}
    good = {"parser": "scene of", "json": "scene of", "metric": "invalid_rate 0.0", "processor": "answer: NoneType"}
    assert any(good[target] in outcome for outcome in outcomes), outcomes


def finds(target: str, error: type[Exception]) -> bool:
    """Whether fuzzing finds an input that ends in `error`."""

    def fails(data: bytes) -> bool:
        try:
            TARGETS[target](data)
        except error:
            return True
        return False

    settings = hypothesis.settings(max_examples=1000, database=None, phases=[hypothesis.Phase.generate])
    try:
        hypothesis.find(hostile_bytes(target), fails, settings=settings, random=random.Random(0))
    except hypothesis.errors.NoSuchExample:
        return False
    return True


def broken(read: Callable[..., object], error: Exception) -> Callable[..., object]:
    """`read` with a fault where a text holds a null."""

    def read_or_fail(text: str, **arguments: object) -> object:
        if "\x00" in text:
            raise error
        return read(text, **arguments)

    return read_or_fail


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), ValueError("nan")])
def test_fuzzing_finds_a_parser_with_a_fault(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_targets, "parse_program", broken(fuzz_targets.parse_program, error))
    assert finds("parser", type(error))


def test_fuzzing_finds_a_writer_that_loses_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_targets, "format_program", lambda scene: "")
    assert finds("parser", AssertionError)
