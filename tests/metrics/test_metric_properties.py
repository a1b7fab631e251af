"""The properties that METRICS demands of the scores, on random scenes of every family.

Each property takes the scorer as an argument: at the end, deliberately broken scorers show that it can fail.
"""

import dataclasses
import math

import numpy as np
import pytest
import slow_metric
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from metrics.scene_program.scoring import score_programs
from modeling_igllm import ClevrObject, Point2D, PosedObject, Rotation, SceneProgram, format_program

LOWER_IS_BETTER = {"l2", "ace", "geod", "rotation_deg", "invalid_rate", "mse", "mse_in", "mse_out"}
COLORS = ("gray", "red", "blue", "green", "brown", "purple", "cyan")  # yellow is kept for objects that are wrong

coordinates = st.integers(-1500, 1500).map(lambda millimetres: millimetres / 1000)
fractions = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
angles = st.integers(-1500, 1500).map(lambda milliradians: milliradians / 1000)
locations = st.tuples(coordinates, coordinates, st.just(0.35))
colors = st.sampled_from(["red", "blue"])
rotations = st.tuples(angles, angles, angles).map(lambda values: Rotation(values, "euler").to("6d"))
round_objects = st.builds(
    ClevrObject,
    size=st.sampled_from(["small", "large"]),
    color=colors,
    material=st.just("metal"),
    shape=st.sampled_from(["sphere", "cylinder"]),
    loc=locations,
)
cubes = st.builds(
    ClevrObject,
    size=st.just("small"),
    color=colors,
    material=st.just("metal"),
    shape=st.just("cube"),
    loc=locations,
    rotation=st.integers(0, 1570).map(lambda milliradians: milliradians / 1000),
)
posed_objects = st.builds(
    PosedObject,
    color=colors,
    shape=st.sampled_from(["airplane", "chair_03", "chair_04", "bottle_00", "table_01"]),
    loc=locations,
    rotation=rotations,
)
FAMILIES = {
    "clevr": st.one_of(round_objects, cubes),
    "posed": posed_objects,
    "two_d": st.builds(Point2D, x=fractions, y=fractions),
}
OTHER_WORDS = {
    "clevr": {
        "size": {"small": "large", "large": "small"},
        "color": {"red": "blue", "blue": "red"},
        "material": {"metal": "rubber"},
    },
    "posed": {
        "color": {"red": "blue", "blue": "red"},
        "shape": {"airplane": "airplane_01", "chair_03": "chair_04", "chair_04": "mug_04"},
    },
}


ANOTHER = {
    ClevrObject: "add(size='large', color='red', material='metal', shape='cube', loc=(0, 0, 0.7), rotation=0.1)",
    PosedObject: "add(color='red', shape='airplane', loc=(0, 0, 0), rotation=(1, 0, 0, 0, 1, 0))",
    Point2D: "add(x=0.05, y=0.05)",
}


def score(predicted, true):
    """The scores of two scenes, the second of which is predicted perfectly."""
    another = ANOTHER[type(true[0])]
    texts = [format_program(SceneProgram(tuple(scene))) for scene in (predicted, true)]
    return score_programs([texts[0], another], [texts[1], another])


def scenes(family, least=1):
    return st.lists(FAMILIES[family], min_size=least, max_size=4)


def base(key):
    return key.split("/")[1].removesuffix("_lo").removesuffix("_hi")


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
        sign = -1 if base(key) in LOWER_IS_BETTER else 1
        assert math.isnan(worse[key]) or sign * worse[key] <= sign * better[key], key


def moved(item, place):
    if isinstance(item, Point2D):
        return Point2D(*place[:2])
    return dataclasses.replace(item, loc=place)


def dropping_an_object_of_a_perfect_prediction(score, family, data):
    true = data.draw(scenes(family))
    dropped = data.draw(st.integers(0, len(true) - 1))
    perfect, worse = score(true, true), score(true[:dropped] + true[dropped + 1 :], true)
    assert_f1_falls(worse, perfect)
    assert_nothing_improves(worse, perfect)


def adding_an_object_to_a_perfect_prediction(score, family, data):
    true = data.draw(scenes(family))
    added = data.draw(st.one_of(FAMILIES[family], st.sampled_from(true)))
    perfect, worse = score(true, true), score([*true, added], true)
    assert_f1_falls(worse, perfect)
    assert_nothing_improves(worse, perfect)


def a_wrong_word_or_place_in_a_perfect_prediction(score, family, data):
    true = data.draw(scenes(family))
    index = data.draw(st.integers(0, len(true) - 1))
    item = true[index]
    others = [{name: words.get(getattr(item, name))} for name, words in OTHER_WORDS[family].items()]
    x, y, z = item.loc
    change = data.draw(st.sampled_from([{"loc": (x + 9, y, z)}, *(other for other in others if all(other.values()))]))
    worse = score([*true[:index], dataclasses.replace(item, **change), *true[index + 1 :]], true)
    perfect = score(true, true)
    assert_f1_falls(worse, perfect)
    assert_nothing_improves(worse, perfect)


def moving_or_turning_an_object_of_a_perfect_prediction(score, family, data):
    true = data.draw(scenes(family))
    index = data.draw(st.integers(0, len(true) - 1))
    changed = moved(true[index], data.draw(locations))
    if isinstance(changed, PosedObject):
        changed = dataclasses.replace(changed, rotation=data.draw(rotations))
    assert_nothing_improves(score([*true[:index], changed, *true[index + 1 :]], true), score(true, true))


def adding_a_wrong_object_to_any_prediction(score, family, data):
    true, predicted = data.draw(scenes(family)), data.draw(scenes(family, least=0))
    wrong = dataclasses.replace(data.draw(FAMILIES[family]), color="yellow")
    assert_f1_never_rises(score([*predicted, wrong], true), score(predicted, true))


def dropping_a_right_object_from_any_prediction(score, family, data):
    """All colours differ, so that no spare object can take a dropped one's part."""
    places = data.draw(st.lists(st.tuples(FAMILIES[family], locations), min_size=2, max_size=5))
    names = data.draw(st.permutations(COLORS))
    true = [dataclasses.replace(item, color=name) for (item, _), name in zip(places, names, strict=False)]
    predicted = [moved(item, loc) for item, (_, loc) in zip(true, places, strict=True)]
    dropped = data.draw(st.integers(0, len(true) - 1))
    before, after = score(predicted, true), score(predicted[:dropped] + predicted[dropped + 1 :], true)
    for key in f1_keys(before):
        if slow_metric.is_right(predicted[dropped], true[dropped], key.split("@")[1]):
            assert after[key] <= before[key], key


def order_of_objects(score, family, data):
    true, predicted = data.draw(scenes(family)), data.draw(scenes(family))
    if data.draw(st.booleans()):  # two in one place: the matching has to choose, and must not choose by order
        place = (predicted[0].x, predicted[0].y) if family == "two_d" else predicted[0].loc
        predicted = [*predicted, moved(data.draw(FAMILIES[family]), place)]
    shuffled = score(data.draw(st.permutations(predicted)), data.draw(st.permutations(true)))
    np.testing.assert_equal(shuffled, score(predicted, true))


OF_EVERY_FAMILY = [
    dropping_an_object_of_a_perfect_prediction,
    adding_an_object_to_a_perfect_prediction,
    moving_or_turning_an_object_of_a_perfect_prediction,
    order_of_objects,
]
OF_FAMILIES_WITH_WORDS = [
    a_wrong_word_or_place_in_a_perfect_prediction,
    adding_a_wrong_object_to_any_prediction,
    dropping_a_right_object_from_any_prediction,
]


@pytest.mark.parametrize(
    ("holds", "family"),
    [
        *((holds, family) for holds in OF_EVERY_FAMILY for family in FAMILIES),
        *((holds, family) for holds in OF_FAMILIES_WITH_WORDS for family in ("clevr", "posed")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_property_of_the_scores(holds, family):
    @settings(max_examples=30, deadline=None)
    @given(data=st.data())
    def on_random_scenes(data):
        holds(score, family, data)

    on_random_scenes()


def scorer_with_f1(count_right):
    """A scorer whose F1 counts right objects in another way."""

    def broken(predicted, true):
        scores = score(predicted, true)
        for key in f1_keys(scores):
            right = 1 + count_right(predicted, true, key.split("@")[1])  # 1 of the perfect second scene
            scores[key] = 2 * right / (len(predicted) + len(true) + 2)
        return scores

    return broken


def scorer_with(replacement):
    """A scorer that gives another of its scores for F1."""

    def broken(predicted, true):
        scores = score(predicted, true)
        return scores | {key: scores[key.replace("f1", replacement)] for key in f1_keys(scores)}

    return broken


def right_of_nearest_pairs(predicted, true, threshold):
    return sum(slow_metric.is_right(p, t, threshold) for p, t in slow_metric.nearest_pairs(predicted, true))


def right_in_order(predicted, true, threshold):
    return sum(slow_metric.is_right(p, t, threshold) for p, t in zip(predicted, true, strict=False))


def right_more_than_once(predicted, true, threshold):
    return sum(any(slow_metric.is_right(p, t, threshold) for t in true) for p in predicted)


def right_whatever_the_words(predicted, true, threshold):
    same = [dataclasses.replace(true[0], loc=item.loc) for item in predicted]
    return slow_metric.most_right(same, [dataclasses.replace(true[0], loc=item.loc) for item in true], threshold)


def scorer_that_rewards_silence(predicted, true):
    """Its error is that of all predicted objects together, with a penny off for each that is left out."""
    scores = score(predicted, true)
    return scores | {"strict/l2": scores["strict/l2"] - 0.01 * (len(true) - len(predicted))}


@pytest.mark.parametrize(
    ("holds", "broken"),
    [
        (dropping_an_object_of_a_perfect_prediction, scorer_with("precision")),
        (adding_an_object_to_a_perfect_prediction, scorer_with("recall")),
        (adding_an_object_to_a_perfect_prediction, scorer_with_f1(right_more_than_once)),
        (dropping_an_object_of_a_perfect_prediction, scorer_that_rewards_silence),
        (a_wrong_word_or_place_in_a_perfect_prediction, scorer_with_f1(right_whatever_the_words)),
        (adding_a_wrong_object_to_any_prediction, scorer_with_f1(right_whatever_the_words)),
        (dropping_a_right_object_from_any_prediction, scorer_with_f1(right_of_nearest_pairs)),
        (order_of_objects, scorer_with_f1(right_in_order)),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_scorer_fails_the_property(holds, broken):
    @settings(max_examples=500, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(data=st.data())
    def on_random_scenes(data):
        holds(broken, "clevr", data)

    with pytest.raises(AssertionError):
        on_random_scenes()


def sphere(color, x):
    return ClevrObject("large", color, "metal", "sphere", (x, 0.0, 0.0))


def test_adding_a_wrong_object_does_not_push_another_one_into_a_right_pair():
    """The pairs of least distance would raise F1 from 0 to 1/2: blue, nearest to the red one, would move to blue."""
    true, predicted = [sphere("red", 0.0), sphere("blue", 1.0)], [sphere("blue", 0.45)]
    assert f1(predicted, true, "1m") == pytest.approx(2 / 3)
    assert f1([*predicted, sphere("green", 0.0)], true, "1m") == pytest.approx(1 / 2)


def test_dropping_a_right_object_does_not_pull_another_one_into_a_right_pair():
    """The pairs of least distance would raise F1 from 1/3 to 2/5: cyan would take red's place, and blue cyan's."""
    true = [sphere("red", 0.0), sphere("blue", 1.0), sphere("green", 2.0)]
    predicted = [sphere("red", 0.0), sphere("cyan", 0.4), sphere("blue", 1.45)]
    assert f1(predicted, true, "0.5m") == pytest.approx(2 / 3)
    assert f1(predicted[1:], true, "0.5m") == pytest.approx(2 / 5)


def f1(predicted, true, threshold):
    texts = [format_program(SceneProgram(tuple(scene))) for scene in (predicted, true)]
    return score_programs(texts[:1], texts[1:])[f"strict/f1@{threshold}"]
