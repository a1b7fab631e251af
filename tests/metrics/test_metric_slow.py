"""The fast metric gives the figures of a slow, independent one on random scenes of every family."""

import numpy as np
import pytest
from slow_metric import slow_scores

from metrics.scene_program.scoring import score_programs
from modeling_igllm import (
    COLORS,
    MATERIALS,
    SHAPES,
    SIZES,
    ClevrObject,
    Point2D,
    PosedObject,
    Rotation,
    SceneProgram,
    format_program,
)

LIBRARY = ("airplane", "airplane_01", "bottle_00", "bottle_04", "table_05", "table_01", "chair_03", "lamp_02")


def word(rng, options):
    return str(rng.choice(options))


def place(rng):
    return tuple(rng.uniform(-1.5, 1.5, 3).tolist())


def clevr_object(rng, representation):
    shape = word(rng, SHAPES)
    yaw = float(rng.uniform(0, 1.57)) if shape == "cube" and rng.random() < 0.8 else None
    return ClevrObject(word(rng, SIZES), word(rng, COLORS[:2]), word(rng, MATERIALS), shape, place(rng), yaw)


def posed_object(rng, representation):
    rotation = Rotation(tuple(rng.normal(size=4).tolist()), "quat").to(representation)
    return PosedObject(word(rng, COLORS[:2]), word(rng, LIBRARY), place(rng), rotation)


def point(rng, representation):
    return Point2D(*rng.uniform(0, 1, 2).tolist())


def predict(rng, objects, make, representation):
    """Some objects missing, some made up, some misplaced, some exactly right."""
    kept = [item for item in objects if rng.random() < 0.8]
    moved = [shifted(rng, item) if rng.random() < 0.7 else item for item in kept]
    added = [make(rng, representation) for _ in range(rng.integers(0, 6 - len(moved)))] if rng.random() < 0.5 else []
    return [moved[i] if i < len(moved) else added[i - len(moved)] for i in rng.permutation(len(moved) + len(added))]


def shifted(rng, item):
    if isinstance(item, Point2D):
        return Point2D(item.x + rng.normal(0, 0.1), item.y + rng.normal(0, 0.1))
    loc = tuple((np.array(item.loc) + rng.normal(0, 0.3, 3) * rng.random()).tolist())
    return type(item)(**{**vars(item), "loc": loc})


def corpus(seed, make, representation, scenes=12):
    rng = np.random.default_rng(seed)
    truths = [[make(rng, representation) for _ in range(rng.integers(1, 5))] for _ in range(scenes)]
    predicted = [predict(rng, objects, make, representation) for objects in truths]
    texts = [[format_program(SceneProgram(tuple(objects))) for objects in side] for side in (predicted, truths)]
    texts[0][0], texts[0][1], texts[0][2] = texts[1][0], texts[0][1] + "add(", ""
    return texts


def assert_same(fast, slow):
    assert fast.keys() == slow.keys()
    for key, value in slow.items():
        # near 0 and 180 degrees an arccos loses half of its digits
        assert fast[key] == pytest.approx(value, rel=1e-9, abs=2e-5 if "deg" in key else 1e-9, nan_ok=True), key


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("make", "representation"),
    [(clevr_object, "6d"), (point, "6d"), *((posed_object, name) for name in ("6d", "9d", "quat", "aa", "euler"))],
)
def test_fast_and_slow_metric_agree(seed, make, representation):
    predictions, references = corpus(seed, make, representation)
    fast = score_programs(predictions, references, representation)
    assert_same(fast, slow_scores(predictions, references, representation))
    if make is not point:
        assert 0 < fast["strict/f1@0.5m"] < 1  # neither side is trivially empty or perfect


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (clevr_object, {"published_quirks": True}),
        (point, {"published_quirks": True}),
        (posed_object, {"published_quirks": True}),
        (posed_object, {"unseen_shapes": True}),
    ],
)
def test_fast_and_slow_metric_agree_with_options(make, options):
    predictions, references = corpus(2, make, "6d")
    assert_same(score_programs(predictions, references, **options), slow_scores(predictions, references, **options))
