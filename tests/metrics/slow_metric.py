"""The metric once more as plain loops straight from METRICS, to compare the fast one with.

Pairs are found by trying every assignment, so keep scenes at five objects or fewer. Only the language
(`parse_program`) and the table of symmetric shapes are shared with the code under test.
"""

import itertools
import math

import numpy as np
from scipy.spatial.transform import Rotation as ScipyRotation

from metrics.scene_program.symmetry import CONTINUOUS, SYMMETRY_ORDER
from modeling_igllm import ClevrObject, Point2D, PosedObject, SceneProgramError, parse_program

THRESHOLDS = ["0.1m", "0.25m", "0.5m", "1m", "0.1r", "0.25r", "0.5r", "1r"]
RADIUS = {"large": 0.7, "small": 0.35}
WORDS = {Point2D: [], ClevrObject: ["size", "color", "material", "shape"], PosedObject: ["color", "shape"]}
NAN = float("nan")


def slow_scores(predictions, references, rotation="6d", published_quirks=False, unseen_shapes=False):
    """What `score_programs` must return, without confusion tables; as a quirk no missing numbers are filled in."""
    true = [parse_program(text, rotation=rotation).objects for text in references]
    kind = next(type(item) for scene in true for item in scene)
    predicted = [read_prediction(text, kind, rotation) for text in predictions]
    invalid = [scene is None for scene in predicted]
    scenes = [(p or (), t) for p, t in zip(predicted, true, strict=True)]
    names = WORDS[kind] + ["shape_class"] * bool(WORDS[kind])
    scores = published(scenes, kind, names, published_quirks)
    scores |= strict(scenes, invalid, kind, [name for name in names if name != "shape"], unseen_shapes)
    if unseen_shapes and kind is not Point2D:
        scores |= dict.fromkeys(["published/shape", "strict/shape", "strict/shape_lo", "strict/shape_hi"], NAN)
    return scores


def read_prediction(text, kind, rotation):
    try:
        objects = parse_program(text, rotation=rotation).objects
    except SceneProgramError:
        return None
    return objects if all(type(item) is kind for item in objects) else None


def place(item):
    return (item.x, item.y, 0) if isinstance(item, Point2D) else item.loc


def word(item, name):
    return item.shape.split("_")[0] if name == "shape_class" else getattr(item, name)


def assignments(predicted, true):
    """Every way to give each object of the shorter list one of the longer, as lists of (predicted, true)."""
    if len(predicted) <= len(true):
        return [list(zip(predicted, chosen, strict=True)) for chosen in itertools.permutations(true, len(predicted))]
    return [list(zip(chosen, true, strict=True)) for chosen in itertools.permutations(predicted, len(true))]


def nearest_pairs(predicted, true):
    """The pairs with the least sum of distances."""
    return min(assignments(predicted, true), key=lambda pairs: sum(math.dist(place(p), place(t)) for p, t in pairs))


def is_right(predicted, true, threshold, unseen_shapes=False):
    """Every word equal, and near enough; a micrometre more for binary fractions."""
    names = WORDS[type(true)]
    if unseen_shapes:
        names = ["color", "shape_class"]
    limit = float(threshold[:-1]) * (RADIUS[true.size] if threshold.endswith("r") else 1)
    near = math.dist(place(predicted), place(true)) <= limit + 1e-9
    return near and all(word(predicted, name) == word(true, name) for name in names)


def most_right(predicted, true, threshold, unseen_shapes=False):
    """As many right objects as one-to-one pairs can give."""
    return max(
        sum(is_right(p, t, threshold, unseen_shapes) for p, t in pairs) for pairs in assignments(predicted, true)
    )


def mean(values):
    return sum(values) / len(values) if values else NAN


def published(scenes, kind, names, quirks):
    means = {name: [] for name in ["l2", *names] + ["geod"] * (kind is PosedObject)}
    surplus = []
    for predicted, true in scenes:
        surplus.append(abs(len(predicted) - len(true)))
        pairs = nearest_pairs(predicted, true)
        values = {"l2": [math.dist(place(p), place(t)) for p, t in pairs]}
        for name in names:
            counted = [(p, t) for p, t in pairs if not (name.startswith("shape") and t.shape == "sphere")]
            values[name] = [100 * (word(p, name) == word(t, name)) for p, t in counted]
        if kind is PosedObject:
            values["geod"] = [raw_angle(p, t) if quirks else angle(p, t) for p, t in pairs]
        for name, of_scene in values.items():
            if of_scene and not (quirks and name == "l2" and mean(of_scene) == 0):
                means[name].append(mean(of_scene))
    scores = {f"published/{name}": mean(of_scenes) for name, of_scenes in means.items()}
    return scores | {
        "published/ace": mean(surplus),
        "published/count_acc": 100 * mean([number == 0 for number in surplus]),
    }


def angle(predicted, true, turn=0.0):
    """Degrees between two poses, the true one first turned about its own z axis by so many degrees."""
    alike = ScipyRotation.from_matrix(true.rotation.matrix) * ScipyRotation.from_euler("z", turn, degrees=True)
    difference = alike.inv() * ScipyRotation.from_matrix(predicted.rotation.matrix)
    return math.degrees(difference.magnitude())


def raw_angle(predicted, true):
    """From the trace of raw 6d rows and their cross product, as published."""
    first, second = ([*item.rotation.values] for item in (predicted, true))
    first, second = ([*rows, *np.cross(rows[:3], rows[3:])] for rows in (first, second))
    trace = sum(a * b for a, b in zip(first, second, strict=True))
    return math.degrees(math.acos(max(-1, min(1, (trace - 1) / 2))))


def symmetric_angle(predicted, true):
    """None where a rotation is not stated."""
    if isinstance(true, ClevrObject):
        if predicted.rotation is None or true.rotation is None:
            return None
        difference = math.degrees(predicted.rotation - true.rotation) % 90
        return min(difference, 90 - difference)
    order = SYMMETRY_ORDER.get(true.shape, 1)
    if order == CONTINUOUS:
        cosine = sum(a * b for a, b in zip(predicted.rotation.matrix[:, 2], true.rotation.matrix[:, 2], strict=True))
        return math.degrees(math.acos(min(1, cosine)))
    return min(angle(predicted, true, 360 * step / order) for step in range(order))


def strict(scenes, invalid, kind, names, unseen_shapes):
    ratios = [
        scene_ratios(predicted, true, broken, kind, names, unseen_shapes)
        for (predicted, true), broken in zip(scenes, invalid, strict=True)
    ]
    rng = np.random.default_rng(0)
    resamples = [rng.integers(len(scenes), size=len(scenes)).tolist() for _ in range(1000)]
    scores = {}
    for name in ratios[0]:
        column = [ratio[name] for ratio in ratios]
        values = [pooled([column[index] for index in drawn]) for drawn in resamples]
        defined = sorted(value for value in values if not math.isnan(value))
        scores[f"strict/{name}"] = pooled(column)
        scores[f"strict/{name}_lo"] = percentile(defined, 2.5)
        scores[f"strict/{name}_hi"] = percentile(defined, 97.5)
    return scores


def pooled(column):
    denominator = sum(below for _, below in column)
    return sum(above for above, _ in column) / denominator if denominator else NAN


def percentile(ordered, percent):
    """Linear interpolation between the two nearest ranks."""
    if not ordered:
        return NAN
    rank = percent / 100 * (len(ordered) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])


def scene_ratios(predicted, true, invalid, kind, names, unseen_shapes):
    """Score -> (what this scene adds to its numerator, to its denominator)."""
    pairs = nearest_pairs(predicted, true)
    distances = [math.dist(place(p), place(t)) for p, t in pairs]
    ratios = {
        "count_exact": (len(predicted) == len(true), 1),
        "invalid_rate": (invalid, 1),
        "l2": (sum(distances), len(distances)),
    }
    if kind is Point2D:
        return ratios | square_errors(pairs)
    for name in names if unseen_shapes else [*names, "shape"]:
        ratios[name] = (sum(word(p, name) == word(t, name) for p, t in pairs), len(true))
    for threshold in THRESHOLDS if kind is ClevrObject else THRESHOLDS[:4]:
        right = most_right(predicted, true, threshold, unseen_shapes)
        ratios[f"precision@{threshold}"] = (right, len(predicted))
        ratios[f"recall@{threshold}"] = (right, len(true))
        ratios[f"f1@{threshold}"] = (2 * right, len(predicted) + len(true))
    all_right = most_right(predicted, true, "0.5m", unseen_shapes) == len(true) == len(predicted)
    angles = [value for p, t in pairs if (value := symmetric_angle(p, t)) is not None]
    return ratios | {"exact": (all_right, 1), "rotation_deg": (sum(angles), len(angles))}


def square_errors(pairs):
    sums = {"mse": [0, 0], "mse_in": [0, 0], "mse_out": [0, 0]}
    for predicted, true in pairs:
        error = ((predicted.x - true.x) ** 2 + (predicted.y - true.y) ** 2) / 2
        trained = int(8 * true.x) % 2 == 0 and int(8 * true.y) % 2 == 0 and max(true.x, true.y) < 1
        for name in ("mse", "mse_in" if trained else "mse_out"):
            sums[name][0] += error
            sums[name][1] += 1
    return {name: (above, below) for name, (above, below) in sums.items()}
