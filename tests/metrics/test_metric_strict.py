"""Strict scores of little scenes that can be worked out by hand."""

import math

import numpy as np
import pytest

from metrics.scene_program.scoring import score_programs
from metrics.scene_program.strict_scores import in_trained_cell
from modeling_igllm import PosedObject, Rotation, SceneProgram, format_program

RED = "add(size='large', color='red', material='metal', shape='sphere', loc=(0.000, 0.000, 0.700))"
BLUE = "add(size='small', color='blue', material='rubber', shape='cube', loc=(2.000, 0.000, 0.350), rotation=0.100)"
TRUTH = f"{RED}\n{BLUE}\n"


def about_z(degrees):
    return np.array(
        [
            [math.cos(math.radians(degrees)), -math.sin(math.radians(degrees)), 0],
            [math.sin(math.radians(degrees)), math.cos(math.radians(degrees)), 0],
            [0, 0, 1],
        ]
    )


def posed(shape, matrix, representation="9d"):
    item = PosedObject("red", shape, (0.0, 0.0, 0.0), Rotation.from_matrix(matrix, representation))
    return format_program(SceneProgram((item,)))


def test_a_perfect_prediction_has_every_perfect_score():
    scores = score_programs([TRUTH], [TRUTH])
    errors = ("l2", "rotation_deg", "invalid_rate", "ace")
    for key, value in scores.items():
        name = key.split("/")[1].removesuffix("_lo").removesuffix("_hi")
        perfect = 0 if name in errors else 100 if key.startswith("published/") else 1
        assert value == perfect, key


def test_a_missing_object_is_wrong_in_every_attribute():
    scores = score_programs([RED], [TRUTH])
    assert [scores[f"strict/{name}"] for name in ("size", "color", "material", "shape")] == [0.5] * 4
    assert scores["strict/precision@0.1m"] == 1
    assert scores["strict/recall@0.1m"] == 0.5
    assert scores["strict/f1@0.1m"] == pytest.approx(2 / 3)
    assert scores["strict/count_exact"] == scores["strict/exact"] == 0
    assert math.isnan(scores["strict/rotation_deg"])


def test_thresholds_in_radii_are_those_of_the_true_size():
    """0.15 m away: 0.21 r of the large sphere, 0.43 r of the small cube."""
    moved = TRUTH.replace("(0.000, 0.000", "(0.150, 0.000").replace("(2.000, 0.000", "(2.000, 0.150")
    scores = score_programs([moved], [TRUTH])
    right = {threshold: scores[f"strict/recall@{threshold}"] for threshold in ("0.1r", "0.25r", "0.5r", "1r")}
    assert right == {"0.1r": 0, "0.25r": 0.5, "0.5r": 1, "1r": 1}
    assert (scores["strict/recall@0.1m"], scores["strict/recall@0.25m"]) == (0, 1)
    assert scores["strict/l2"] == pytest.approx(0.15)


@pytest.mark.parametrize(("x", "recall"), [("1.064", 1), ("1.065", 0)])
def test_a_distance_equal_to_the_threshold_counts(x, recall):
    """As binary fractions 0.564 and 1.064 are a little more than 0.5 apart."""
    truth, prediction = RED.replace("(0.000", "(0.564"), RED.replace("(0.000", f"({x}")
    assert score_programs([prediction], [truth])["strict/recall@0.5m"] == recall


def test_a_wrong_word_fails_the_pair_but_not_the_other_words():
    scores = score_programs([TRUTH.replace("'red'", "'green'")], [TRUTH])
    assert scores["strict/color"] == 0.5
    assert scores["strict/shape"] == 1
    assert scores["strict/f1@1m"] == 0.5
    assert (scores["strict/count_exact"], scores["strict/exact"]) == (1, 0)


def test_an_extra_object_makes_a_scene_inexact():
    scores = score_programs([TRUTH + BLUE], [TRUTH])
    assert (scores["strict/exact"], scores["strict/count_exact"]) == (0, 0)
    assert scores["strict/precision@0.5m"] == pytest.approx(2 / 3)
    assert scores["strict/recall@0.5m"] == 1


def test_scores_are_pooled_over_scenes():
    """One right object of one, and none of three: 1 of 4, not the mean of 1 and 0."""
    scores = score_programs([RED, ""], [RED, f"{TRUTH}{BLUE.replace('2.000', '1.000')}"])
    assert scores["strict/recall@0.5m"] == 0.25
    assert scores["strict/precision@0.5m"] == 1
    assert scores["strict/color"] == 0.25


@pytest.mark.parametrize(
    "broken",
    ["", "add(", "I see a red ball.", TRUTH[:-20], "add(x=0.100, y=0.200)", RED + BLUE, RED.replace("red", "pink")],
)
def test_a_broken_prediction_is_an_empty_scene(broken):
    scores = score_programs([broken], [TRUTH])
    assert scores["strict/invalid_rate"] == (broken != "")
    assert scores["strict/recall@1m"] == scores["strict/f1@1m"] == scores["strict/color"] == 0
    assert scores["strict/count_exact"] == scores["strict/exact"] == 0
    assert scores["published/ace"] == 2
    for undefined in ("strict/precision@1m", "strict/l2", "strict/l2_lo", "published/l2", "published/size"):
        assert math.isnan(scores[undefined]), undefined


@pytest.mark.parametrize("degrees_apart", [0, 90, 180])
def test_cube_yaw_repeats_every_quarter_turn(degrees_apart):
    turned = BLUE.replace("0.100", f"{0.1 + math.radians(degrees_apart):.3f}")
    assert score_programs([turned], [BLUE])["strict/rotation_deg"] == pytest.approx(0, abs=0.06)


def test_cube_yaw_error_is_the_way_round_the_quarter_turn():
    truth, prediction = BLUE.replace("0.100", "0.000"), BLUE.replace("0.100", f"{math.radians(85):.3f}")
    assert score_programs([prediction], [truth])["strict/rotation_deg"] == pytest.approx(5, abs=0.06)


@pytest.mark.parametrize(
    ("shape", "turn", "error"),
    [
        ("bottle_00", 77, 0),
        ("table_00", 170, 10),
        ("table_05", 110, 10),
        ("table_01", 80, 10),
        ("bottle_03", 77, 77),
        ("bottle_9a3f", 77, 77),  # a user's
        ("chair", 180, 180),
    ],
)
def test_rotation_error_is_modulo_the_symmetry_of_the_shape(shape, turn, error):
    scores = score_programs([posed(shape, about_z(turn))], [posed(shape, np.eye(3))], rotation="9d")
    assert scores["strict/rotation_deg"] == pytest.approx(error, abs=0.06)
    assert scores["published/geod"] == pytest.approx(turn, abs=0.06)
    assert scores["strict/exact"] == 1  # rotation is never part of it


def test_a_tilted_bottle_is_off_by_its_tilt():
    tilt = about_z(30)[[2, 0, 1]][:, [2, 0, 1]]  # the same turn about x
    scores = score_programs([posed("bottle_01", tilt @ about_z(45))], [posed("bottle_01", np.eye(3))], rotation="9d")
    assert scores["strict/rotation_deg"] == pytest.approx(30, abs=0.06)


@pytest.mark.parametrize("representation", ["6d", "9d", "quat", "aa", "euler", "euler_int"])
def test_rotation_is_read_in_the_stated_representation(representation):
    truth, prediction = (posed("chair_1", about_z(angle), representation) for angle in (0, 40))
    scores = score_programs([prediction], [truth], rotation=representation)
    assert scores["strict/rotation_deg"] == pytest.approx(40, abs=0.2)


def test_unseen_shapes_are_scored_by_their_class_alone():
    truth = f"{posed('chair_1', np.eye(3))}\n{posed('mug_1', np.eye(3)).replace('loc=(0', 'loc=(2')}"
    prediction = f"{posed('chair_7', np.eye(3))}\n{posed('lamp_7', np.eye(3)).replace('loc=(0', 'loc=(2')}"
    scores = score_programs([prediction], [truth], rotation="9d", unseen_shapes=True, confusion=True)
    for key in ("published/shape", "strict/shape", "strict/shape_lo", "strict/shape_hi"):
        assert math.isnan(scores[key])
    assert (scores["strict/shape_class"], scores["published/shape_class"]) == (0.5, 50)
    assert scores["strict/recall@0.5m"] == 0.5
    assert "strict/confusion/shape" not in scores
    same = score_programs([prediction], [truth.replace("mug", "lamp")], rotation="9d", unseen_shapes=True)
    assert same["strict/exact"] == same["strict/f1@0.1m"] == 1
    assert same.keys() == score_programs([prediction], [truth], rotation="9d").keys()


def test_unseen_shapes_leave_the_other_scores_alone():
    prediction, truth = posed("table_7", about_z(100)), posed("table_01", np.eye(3))
    plain, unseen = (score_programs([prediction], [truth], "9d", unseen_shapes=flag) for flag in (False, True))
    assert unseen["strict/rotation_deg"] == pytest.approx(10, abs=0.06)  # by the whole name of the true shape
    for key in ("strict/color", "strict/l2", "strict/shape_class", "published/geod", "strict/rotation_deg_hi"):
        assert plain[key] == unseen[key], key


def test_a_family_without_shapes_has_no_scores_of_unseen_ones() -> None:
    point = "add(x=0.050, y=0.050)"
    unseen = score_programs([point], [point], unseen_shapes=True, confusion=True)
    assert unseen.keys() == score_programs([point], [point]).keys()


def test_shape_class_forgives_the_id_and_shape_does_not():
    scores = score_programs([posed("chair_1", np.eye(3))], [posed("chair_2", np.eye(3))], rotation="9d")
    assert (scores["strict/shape"], scores["strict/shape_class"]) == (0, 1)
    assert (scores["published/shape"], scores["published/shape_class"]) == (0, 100)


def test_a_family_has_no_scores_of_attributes_it_lacks():
    scores = score_programs([posed("chair_1", np.eye(3))], [posed("chair_1", np.eye(3))], rotation="9d")
    assert "strict/color" in scores
    assert "strict/f1@1m" in scores
    assert not {"strict/size", "strict/material", "published/size", "strict/f1@1r"} & scores.keys()


def test_two_d_error_is_split_by_the_cell_of_the_true_point():
    """Squared errors per coordinate: (0.1² + 0) / 2 in the trained cell (0, 0), (0 + 0.2²) / 2 in cell (1, 0)."""
    truths = ["add(x=0.050, y=0.050)", "add(x=0.200, y=0.050)"]
    predictions = ["add(x=0.150, y=0.050)", "add(x=0.200, y=0.250)"]
    scores = score_programs(predictions, truths)
    assert scores["strict/mse_in"] == pytest.approx(0.005)
    assert scores["strict/mse_out"] == pytest.approx(0.02)
    assert scores["strict/mse"] == pytest.approx(0.0125)
    assert not [key for key in scores if "f1@" in key]


def test_two_d_split_without_a_point_in_it_is_undefined():
    scores = score_programs(["add(x=0.050, y=0.050)"], ["add(x=0.050, y=0.050)"])
    assert scores["strict/mse_in"] == 0
    assert math.isnan(scores["strict/mse_out"])


def test_a_quarter_of_the_square_is_trained_and_its_far_edge_is_not():
    grid = (np.arange(400) + 0.5) / 400
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    assert in_trained_cell(points).mean() == 0.25
    assert in_trained_cell(np.array([[0.0, 0.0], [1.0, 1.0], [0.125, 0.0], [0.25, 0.0]])).tolist() == [
        True,
        False,
        False,
        True,
    ]


def test_confusion_tables_count_every_object_once():
    prediction = f"{RED.replace('red', 'green')}\n{BLUE}\n{BLUE.replace('2.000', '9.000')}"
    scores = score_programs([prediction, RED], [TRUTH, TRUTH], confusion=True)
    assert scores["strict/confusion/color"] == {
        "[extra]": {"blue": 1},
        "blue": {"[missing]": 1, "blue": 1},
        "red": {"green": 1, "red": 1},
    }
    assert "strict/confusion/color" not in score_programs([prediction], [TRUTH])


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "0 references"),
        ([RED], [RED, RED], "1 predictions and 2 references"),
        ([RED, RED], [RED, "add(size='large')"], r"references\[1\] is not a scene program.*add\(size='large'\)"),
        ([RED, RED], [RED, "add(x=0.100, y=0.200)"], r"ClevrObject in references\[0\], Point2D in references\[1\]"),
        ([RED], [""], "no object"),
    ],
)
def test_references_that_cannot_be_scored_are_refused(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        score_programs(predictions, references)


def test_an_unknown_rotation_is_refused():
    with pytest.raises(ValueError, match="'5d'"):
        score_programs([RED], [RED], rotation="5d")
