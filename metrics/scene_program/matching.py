"""Which predicted object stands for which true one: plain functions on object tables."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from .programs import ObjectTable

ROUNDING_SLACK = 1e-9
"""Programs carry three decimals: a distance of exactly 0.5 m must not fail at 0.5 m by its binary rounding."""


@dataclass(frozen=True)
class Pairs:
    """Matched pairs of all scenes.

    Args:
        scene: (pairs,) int, the scene of each pair.
        predicted: (pairs,) int, its row in the table of predicted objects.
        true: (pairs,) int, its row in the table of true objects.
        distance: (pairs,) float64, Euclidean distance of the two positions, metres (2D: image units).
    """

    scene: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    distance: np.ndarray


def match_by_distance(predicted: ObjectTable, true: ObjectTable) -> Pairs:
    """Pairs up min(#predicted, #true) objects per scene with the least sum of distances (METRICS, Hungarian)."""
    columns: list[tuple[np.ndarray, ...]] = []
    for scene, (first_predicted, first_true, distances) in enumerate(_scene_distances(predicted, true)):
        rows, cols = linear_sum_assignment(distances)
        columns.append((np.full(len(rows), scene), rows + first_predicted, cols + first_true, distances[rows, cols]))
    return Pairs(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def scene_sums(pairs: Pairs, values: np.ndarray, scenes: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums per scene of a value per pair.

    Args:
        pairs: the matched pairs.
        values: (pairs,) float64, NaN where the pair has no such value.
        scenes: the number of scenes.

    Returns:
        (scenes,) sums of the values that are not NaN, and (scenes,) their number.
    """
    defined = ~np.isnan(values)
    sums = np.bincount(pairs.scene[defined], weights=values[defined], minlength=scenes)
    return sums, np.bincount(pairs.scene[defined], minlength=scenes)


def count_right(predicted: ObjectTable, true: ObjectTable, limits: np.ndarray) -> np.ndarray:
    """Counts right objects: the most one-to-one pairs that agree in every attribute and are close enough.

    Minimising the distance alone may hand a right object's partner to a wrong one. Then *adding* a wrong object can
    push others into right pairs and raise F1, which METRICS forbids; the largest matching of the pairs that may count
    cannot do that, and is the same wherever errors are small beside the gaps between objects.

    Args:
        predicted: the predicted objects.
        true: the true objects.
        limits: (thresholds, true objects) float64, the largest distance that counts for each true object, metres.

    Returns:
        (scenes, thresholds) int.
    """
    predicted_codes, true_codes = _attribute_codes(predicted, true)
    counts = np.zeros((len(true.counts), len(limits)), dtype=np.int64)
    for scene, (first_predicted, first_true, distances) in enumerate(_scene_distances(predicted, true)):
        rows = slice(first_predicted, first_predicted + distances.shape[0])
        cols = slice(first_true, first_true + distances.shape[1])
        same = predicted_codes[rows, None] == true_codes[cols]
        close = distances <= limits[:, None, cols] + ROUNDING_SLACK
        counts[scene] = [_maximum_matching(may_count) for may_count in same & close]
    return counts


def _maximum_matching(may_count: np.ndarray) -> int:
    """(predicted, true) bool -> the size of the largest one-to-one set of true entries."""
    return int(may_count[linear_sum_assignment(may_count, maximize=True)].sum())


def _scene_distances(predicted: ObjectTable, true: ObjectTable) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields per scene the first rows in both tables and the (predicted, true) distances."""
    for scene in range(len(true.counts)):
        first_predicted, end_predicted = predicted.starts[scene : scene + 2]
        first_true, end_true = true.starts[scene : scene + 2]
        yield (
            first_predicted,
            first_true,
            cdist(predicted.positions[first_predicted:end_predicted], true.positions[first_true:end_true]),
        )


def _attribute_codes(*tables: ObjectTable) -> list[np.ndarray]:
    """One int per object, equal exactly where all attributes are equal."""
    codes: dict[tuple[str, ...], int] = {}
    return [
        np.array([codes.setdefault(words, len(codes)) for words in zip(*table.words.values(), strict=True)], dtype=int)
        for table in tables
    ]
