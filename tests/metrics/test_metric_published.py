"""The published protocol on little scenes, and its quirks; test_metric_slow.py compares it on random ones."""

import math

import numpy as np
import pytest

from metrics.scene_program.scoring import score_programs
from modeling_igllm import PosedObject, Rotation, SceneProgram, format_program


def test_synonyms_are_mapped_back():
    truth = "add(size='large', color='red', material='metal', shape='cube', loc=(0.000, 0.000, 0.700))"
    prediction = "add(size='big', color='red', material='shiny', shape='block', loc=(0.000, 0.000, 0.700))"
    assert score_programs([prediction], [truth])["published/material"] == 100


def test_geod_is_the_angle_between_the_rotations():
    rng = np.random.default_rng(3)
    axis = rng.normal(size=3)
    first, second = (
        PosedObject("red", "chair_1", (0.0, 0.0, 0.0), Rotation(tuple(angle * axis / np.linalg.norm(axis)), "aa"))
        for angle in (0.3, 1.5)
    )
    texts = [format_program(SceneProgram((item,))) for item in (first, second)]
    scores = score_programs([texts[0]], [texts[1]], rotation="aa")
    assert scores["published/geod"] == pytest.approx(math.degrees(1.2), abs=0.2)


RED = "add(size='large', color='red', material='metal', shape='sphere', loc=(1.000, 0.000, 0.700))"


@pytest.mark.parametrize(
    ("prediction", "distance"),
    [
        (RED.replace(", loc=(1.000, 0.000, 0.700)", ""), math.hypot(1, 0.7)),
        (RED.replace("0.000, 0.700", "0.000"), 0.7),
        (RED.replace("1.000", "[NUM]"), 1),
        (RED.replace("1.000", ""), 1),
    ],
)
def test_missing_numbers_become_zero_only_as_a_quirk(prediction, distance):
    strict, quirky = (score_programs([prediction], [RED], published_quirks=quirks) for quirks in (False, True))
    assert math.isnan(strict["published/l2"])
    assert quirky["published/l2"] == pytest.approx(distance)
    assert quirky["strict/invalid_rate"] == 1
    assert math.isnan(quirky["strict/l2"])


def test_missing_coordinate_of_a_point_becomes_zero_as_a_quirk():
    scores = score_programs(["add(x=0.300)"], ["add(x=0.300, y=0.400)"], published_quirks=True)
    assert scores["published/l2"] == pytest.approx(0.4)


@pytest.mark.parametrize("broken", [RED.replace("'red'", ""), "add()", "add(x=0.100)", RED[:-3]])
def test_quirks_do_not_mend_what_is_broken_otherwise(broken):
    assert score_programs([broken], [RED], published_quirks=True)["published/ace"] == 1


def test_scenes_with_zero_l2_are_dropped_only_as_a_quirk():
    predictions, references = [RED, RED.replace("1.000", "3.000")], [RED, RED]
    assert score_programs(predictions, references)["published/l2"] == pytest.approx(1)
    assert score_programs(predictions, references, published_quirks=True)["published/l2"] == pytest.approx(2)


def test_6d_rows_are_taken_raw_only_as_a_quirk():
    """Rows (0.5, 0, 0), (0, 0.5, 0) and their product (0, 0, 0.25): trace 1.25 against the identity."""
    program = "add(color='red', shape='chair_1', loc=(0.0, 0.0, 0.0), rotation=({0}, 0.0, 0.0, 0.0, {0}, 0.0))"
    prediction, truth = program.format("0.500"), program.format("1.000")
    assert score_programs([prediction], [truth])["published/geod"] == 0
    scores = score_programs([prediction], [truth], published_quirks=True)
    assert scores["published/geod"] == pytest.approx(math.degrees(math.acos(0.125)))
    assert scores["strict/rotation_deg"] == 0
