"""The properties that METRICS demands of the scores, on random scenes."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.scene_program.scoring import score_programs
from modeling_igllm import ClevrObject, SceneProgram, format_program

LOWER_IS_BETTER = ("published/l2", "published/ace", "strict/l2", "strict/rotation_deg", "strict/invalid_rate")
COLORS = ("gray", "red", "blue", "green", "brown", "purple", "cyan")  # yellow is kept for objects that are wrong

coordinates = st.integers(-1500, 1500).map(lambda millimetres: millimetres / 1000)
locations = st.tuples(coordinates, coordinates, st.just(0.35))
spheres = st.builds(
    ClevrObject,
    size=st.sampled_from(["small", "large"]),
    color=st.sampled_from(["red", "blue"]),
    material=st.just("metal"),
    shape=st.sampled_from(["sphere", "cylinder"]),
    loc=locations,
)
cubes = st.builds(
    ClevrObject,
    size=st.just("small"),
    color=st.sampled_from(["red", "blue"]),
    material=st.just("metal"),
    shape=st.just("cube"),
    loc=locations,
    rotation=st.integers(0, 1570).map(lambda milliradians: milliradians / 1000),
)
objects = st.one_of(spheres, cubes)
scenes = st.lists(objects, min_size=1, max_size=4)


def score(predicted, true):
    texts = [format_program(SceneProgram(tuple(scene))) for scene in (predicted, true)]
    return score_programs([texts[0]], [texts[1]])


def f1_keys(scores):
    return [key for key in scores if "f1@" in key and not key.endswith(("_lo", "_hi"))]


def assert_f1_falls(worse, better):
    for key in f1_keys(better):
        assert worse[key] < better[key], key


def assert_f1_never_rises(worse, better):
    for key in f1_keys(better):
        assert worse[key] <= better[key], key


def assert_nothing_improves(worse, better):
    for key in better:
        sign = -1 if key.removesuffix("_lo").removesuffix("_hi") in LOWER_IS_BETTER else 1
        assert math.isnan(worse[key]) or sign * worse[key] <= sign * better[key], key


@settings(max_examples=40, deadline=None)
@given(true=scenes, data=st.data())
def test_dropping_an_object_of_a_perfect_prediction_costs_f1_and_gains_nothing(true, data):
    dropped = data.draw(st.integers(0, len(true) - 1))
    perfect, worse = score(true, true), score(true[:dropped] + true[dropped + 1 :], true)
    assert_f1_falls(worse, perfect)
    assert_nothing_improves(worse, perfect)


@settings(max_examples=40, deadline=None)
@given(true=scenes, added=objects)
def test_adding_any_object_to_a_perfect_prediction_costs_f1_and_gains_nothing(true, added):
    perfect, worse = score(true, true), score([*true, added], true)
    assert_f1_falls(worse, perfect)
    assert_nothing_improves(worse, perfect)


@settings(max_examples=40, deadline=None)
@given(true=scenes, data=st.data())
def test_a_wrong_word_or_place_in_a_perfect_prediction_costs_f1_and_gains_nothing(true, data):
    index = data.draw(st.integers(0, len(true) - 1))
    x, y, z = true[index].loc
    change = data.draw(st.sampled_from([{"color": "yellow"}, {"material": "rubber"}, {"loc": (x + 9, y, z)}]))
    worse = score([*true[:index], dataclasses.replace(true[index], **change), *true[index + 1 :]], true)
    assert_f1_falls(worse, score(true, true))
    assert_nothing_improves(worse, score(true, true))


@settings(max_examples=40, deadline=None)
@given(true=scenes, index=st.integers(0, 3), loc=locations)
def test_moving_an_object_of_a_perfect_prediction_anywhere_gains_nothing(true, index, loc):
    index %= len(true)
    moved = [*true[:index], dataclasses.replace(true[index], loc=loc), *true[index + 1 :]]
    assert_nothing_improves(score(moved, true), score(true, true))


@settings(max_examples=40, deadline=None)
@given(true=scenes, predicted=scenes, wrong=objects)
def test_adding_a_wrong_object_to_any_prediction_never_raises_f1(true, predicted, wrong):
    wrong = dataclasses.replace(wrong, color="yellow")
    assert_f1_never_rises(score([*predicted, wrong], true), score(predicted, true))


@settings(max_examples=40, deadline=None)
@given(places=st.lists(st.tuples(locations, locations), min_size=2, max_size=5), colors=st.permutations(COLORS))
def test_dropping_a_right_object_from_any_prediction_never_raises_f1(places, colors):
    """All colours differ, so that no spare object can take a dropped one's part."""
    true = [ClevrObject("small", colors[i], "metal", "sphere", loc) for i, (loc, _) in enumerate(places)]
    predicted = [ClevrObject("small", colors[i], "metal", "sphere", loc) for i, (_, loc) in enumerate(places)]
    before = score(predicted, true)
    for i, (true_loc, loc) in enumerate(places):
        after = score(predicted[:i] + predicted[i + 1 :], true)
        for key in [key for key in f1_keys(before) if math.dist(true_loc, loc) <= limit_of(key)]:
            assert after[key] <= before[key], key


def limit_of(key):
    threshold = key.split("@")[1]
    return float(threshold[:-1]) * (1 if threshold.endswith("m") else 0.35)


@settings(max_examples=40, deadline=None)
@given(true=scenes, predicted=scenes, twins=st.booleans(), data=st.data())
def test_order_of_objects_never_matters(true, predicted, twins, data):
    if twins:  # two predicted objects in one place: the matching has to choose, and must not choose by order
        predicted = [*predicted, dataclasses.replace(data.draw(spheres), loc=predicted[0].loc)]
    shuffled = score(data.draw(st.permutations(predicted)), data.draw(st.permutations(true)))
    np.testing.assert_equal(shuffled, score(predicted, true))


def sphere(color, x):
    return ClevrObject("large", color, "metal", "sphere", (x, 0.0, 0.0))


def test_adding_a_wrong_object_does_not_push_another_one_into_a_right_pair():
    """The pairs of least distance would raise F1 from 0 to 1/2: blue, nearest to the red one, would move to blue."""
    true, predicted = [sphere("red", 0.0), sphere("blue", 1.0)], [sphere("blue", 0.45)]
    assert score(predicted, true)["strict/f1@1m"] == pytest.approx(2 / 3)
    assert score([*predicted, sphere("green", 0.0)], true)["strict/f1@1m"] == pytest.approx(1 / 2)


def test_dropping_a_right_object_does_not_pull_another_one_into_a_right_pair():
    """The pairs of least distance would raise F1 from 1/3 to 2/5: cyan would take red's place, and blue cyan's."""
    true = [sphere("red", 0.0), sphere("blue", 1.0), sphere("green", 2.0)]
    predicted = [sphere("red", 0.0), sphere("cyan", 0.4), sphere("blue", 1.45)]
    assert score(predicted, true)["strict/f1@0.5m"] == pytest.approx(2 / 3)
    assert score(predicted[1:], true)["strict/f1@0.5m"] == pytest.approx(2 / 5)
