"""Which predicted object stands for which true one: plain functions on object tables."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from .programs import ObjectTable

ROUNDING_SLACK = 1e-9
"""Programs carry three decimals: a distance of exactly 0.5 m must not fail at 0.5 m by its binary rounding."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of a predicted and a true object of all scenes, ordered by scene.

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

    def take(self, which: np.ndarray) -> "Pairs":
        """Some of the pairs, by (pairs,) bool or by their indices."""
        return Pairs(self.scene[which], self.predicted[which], self.true[which], self.distance[which])


def match_by_distance(predicted: ObjectTable, true: ObjectTable) -> Pairs:
    """Pairs up min(#predicted, #true) objects per scene with the least sum of distances (METRICS, Hungarian)."""
    pairs = all_pairs(predicted, true)
    chosen = []
    start = 0
    for rows, columns in zip(predicted.counts.tolist(), true.counts.tolist(), strict=True):
        end = start + rows * columns
        if end > start:
            row, column = linear_sum_assignment(pairs.distance[start:end].reshape(rows, columns))
            chosen.append(start + row * columns + column)
        start = end
    return pairs.take(np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64))


def all_pairs(predicted: ObjectTable, true: ObjectTable) -> Pairs:
    """Every predicted object beside every true one of its scene, ordered by scene, predicted and true row."""
    columns = np.repeat(true.counts, predicted.counts)  # how many pairs each predicted object is in
    scene = np.repeat(np.arange(len(true.counts)), predicted.counts)
    before = np.cumsum(columns) - columns
    predicted_row = np.repeat(np.arange(len(columns)), columns)
    true_row = np.arange(columns.sum()) + np.repeat(true.starts[scene] - before, columns)
    squares = np.zeros(len(true_row))
    for axis in range(3):  # one coordinate at a time: a third of the memory
        squares += (predicted.positions[predicted_row, axis] - true.positions[true_row, axis]) ** 2
    return Pairs(scene[predicted_row], predicted_row, true_row, np.sqrt(squares))


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
    pairs = all_pairs(predicted, true)
    predicted_codes, true_codes = _attribute_codes(predicted, true)
    alike = pairs.take(predicted_codes[pairs.predicted] == true_codes[pairs.true])
    shape = (len(predicted.positions), len(true.positions))
    counts = [
        _largest_matching(alike.take(alike.distance <= limit[alike.true] + ROUNDING_SLACK), shape, len(true.counts))
        for limit in limits
    ]
    return np.stack(counts, axis=1)


def _largest_matching(may_count: Pairs, shape: tuple[int, int], scenes: int) -> np.ndarray:
    """(scenes,) int: the size of each scene's largest one-to-one set of these pairs; all scenes are one graph."""
    graph = csr_array((np.ones(len(may_count.scene)), (may_count.predicted, may_count.true)), shape=shape)
    matched = maximum_bipartite_matching(graph, perm_type="column")[may_count.predicted] == may_count.true
    return np.bincount(may_count.scene[matched], minlength=scenes)


def _attribute_codes(*tables: ObjectTable) -> list[np.ndarray]:
    """One int per object, equal exactly where all attributes are equal."""
    codes: dict[tuple[str, ...], int] = {}
    rows = [zip(*(column.tolist() for column in table.words.values()), strict=True) for table in tables]
    return [np.array([codes.setdefault(words, len(codes)) for words in row], dtype=int) for row in rows]
