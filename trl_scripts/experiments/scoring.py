"""Scores of a trained model by the project's metric, and what the plots need beside them."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from modeling_igllm import (
    ClevrObject,
    Point2D,
    PosedObject,
    SceneProgram,
    SceneProgramError,
    parse_program,
)

from ..evaluation import json_scores, score_texts

MISSING = "none"
_DIGITS = 6  # significant digits in the JSON


def score(texts: Sequence[str], programs: Sequence[str], split: str) -> dict[str, float | None]:
    """Every score of the metric for predicted and true programs; None where it is not defined on this data."""
    scores = json_scores(score_texts(list(texts), list(programs), split))
    return {name: None if value is None else float(f"{value:.{_DIGITS}g}") for name, value in scores.items()}


def plot_details(texts: Sequence[str], programs: Sequence[str], train_programs: Sequence[str]) -> dict[str, Any]:
    """What the plots of this family show of single scenes, by name; {} for a family without such a plot."""
    true = [parse_program(program) for program in programs]
    predicted = [parse_or_empty(text) for text in texts]
    kind = type(true[0].objects[0])
    if kind is Point2D:
        return {"points": _points(predicted, true)}
    if kind is ClevrObject:
        return {"shape_by_color": _shape_by_color(predicted, true)}
    if kind is PosedObject and all(len(scene) == 1 for scene in true):
        train = [parse_program(program) for program in train_programs]
        return {"rotations": _rotations(predicted, true, train)}
    return {}


def parse_or_empty(text: str) -> SceneProgram:
    """As the metric reads it: a text that is no program is an empty scene."""
    try:
        return parse_program(text)
    except SceneProgramError:
        return SceneProgram(())


def _points(predicted: Sequence[SceneProgram], true: Sequence[SceneProgram]) -> list[list[float]]:
    """[true x, true y, predicted x, predicted y] of every scene that has an answer."""
    rows = []
    for scene, truth in zip(predicted, true, strict=True):
        if scene.objects:
            places = [place for place in (truth.objects[0], scene.objects[0]) if isinstance(place, Point2D)]
            rows.append([round(value, 4) for place in places for value in (place.x, place.y)])
    return rows


def _rotations(
    predicted: Sequence[SceneProgram], true: Sequence[SceneProgram], train: Sequence[SceneProgram]
) -> list[list[float]]:
    """[degrees to the nearest training rotation, degrees of error] of every scene that has an answer."""
    known = np.stack([_matrix(scene) for scene in train])
    rows = []
    for scene, truth in zip(predicted, true, strict=True):
        if scene.objects:
            matrix = _matrix(truth)
            error = _degrees(_matrix(scene)[None], matrix).item()
            rows.append([round(_degrees(known, matrix).min().item(), 2), round(error, 2)])
    return rows


def _matrix(scene: SceneProgram) -> np.ndarray:
    (item,) = scene.objects[:1]
    assert isinstance(item, PosedObject)  # the family's
    return item.rotation.matrix


def _degrees(matrices: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles in degrees between rotations (N, 3, 3) and one (3, 3), from the chord, which is exact for equal ones."""
    chords = np.linalg.norm(matrices - other, axis=(1, 2))
    return np.degrees(2 * np.arcsin(np.minimum(chords / np.sqrt(8), 1)))


def _shape_by_color(predicted: Sequence[SceneProgram], true: Sequence[SceneProgram]) -> dict[str, dict[str, int]]:
    """`shape color` of the truth -> predicted shape, or `MISSING`, -> number of objects.

    Objects are matched as the metric matches them: the least sum of distances in every scene.
    """
    counts: dict[str, Counter[str]] = {}
    for scene, truth in zip(predicted, true, strict=True):
        found = _matched_shapes(scene, truth)
        for index, item in enumerate(truth):
            assert isinstance(item, ClevrObject)
            counts.setdefault(f"{item.shape} {item.color}", Counter())[found.get(index, MISSING)] += 1
    return {name: dict(sorted(counter.items())) for name, counter in sorted(counts.items())}


def _matched_shapes(scene: SceneProgram, truth: SceneProgram) -> dict[int, str]:
    """Index of a true object -> shape of the object that was predicted for it."""
    objects = [item for item in scene if isinstance(item, ClevrObject)]
    if not objects:
        return {}
    distances = np.array(
        [[math.dist(item.loc, other.loc) for other in objects] for item in truth if isinstance(item, ClevrObject)]
    )
    rows, columns = linear_sum_assignment(distances)
    return {int(row): objects[column].shape for row, column in zip(rows, columns, strict=True)}
