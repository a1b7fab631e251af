"""The strict protocol of METRICS: pooled over all scenes, and what is missing counts as wrong."""

import numpy as np

from .bootstrap import Ratio
from .matching import Pairs, count_right, scene_sums
from .programs import ClevrObject, Corpus, Point2D
from .symmetry import symmetric_degrees

FACTORS = (0.1, 0.25, 0.5, 1)
"""Distance thresholds: in metres, and in multiples of the true object's radius."""

RADIUS = {"large": 0.7, "small": 0.35}
"""Metres (BENCHMARKS, CLEVR generator rules)."""


def strict_ratios(corpus: Corpus, pairs: Pairs) -> dict[str, Ratio]:
    """Per-scene numerators and denominators of every strict score that the family of this corpus has.

    Args:
        corpus: the scenes.
        pairs: `match_by_distance` of its objects.
    """
    scenes = np.ones(len(corpus.invalid))
    ratios = {
        "count_exact": (corpus.predicted.counts == corpus.true.counts, scenes),
        "invalid_rate": (corpus.invalid, scenes),
        "l2": scene_sums(pairs, pairs.distance, len(corpus.invalid)),
    }
    if corpus.kind is Point2D:
        return ratios | _checkerboard_ratios(corpus, pairs)
    return ratios | _attribute_ratios(corpus, pairs) | _detection_ratios(corpus) | _rotation_ratios(corpus, pairs)


def _attribute_ratios(corpus: Corpus, pairs: Pairs) -> dict[str, Ratio]:
    """Right matched pairs / all true objects."""
    ratios: dict[str, Ratio] = {}
    for name in corpus.true.words:
        right = corpus.predicted.words[name][pairs.predicted] == corpus.true.words[name][pairs.true]
        counts = np.bincount(pairs.scene[right], minlength=len(corpus.invalid))
        ratios[name] = (counts, corpus.true.counts)
    return ratios


def _detection_ratios(corpus: Corpus) -> dict[str, Ratio]:
    """Precision, recall and F1 at every threshold, and `exact`."""
    limits = _distance_limits(corpus)
    right = count_right(corpus.predicted, corpus.true, np.array(list(limits.values())))
    found, wanted = corpus.predicted.counts, corpus.true.counts
    ratios: dict[str, Ratio] = {}
    for threshold, counts in zip(limits, right.T, strict=True):
        ratios[f"precision@{threshold}"] = (counts, found)
        ratios[f"recall@{threshold}"] = (counts, wanted)
        ratios[f"f1@{threshold}"] = (2 * counts, found + wanted)
        if threshold == "0.5m":
            ratios["exact"] = ((counts == found) & (counts == wanted), np.ones(len(counts)))
    return ratios


def _distance_limits(corpus: Corpus) -> dict[str, np.ndarray]:
    """Threshold name -> (true objects,) metres; the family without sizes has no thresholds in radii."""
    objects = len(corpus.true.positions)
    limits = {f"{factor}m": np.full(objects, float(factor)) for factor in FACTORS}
    if corpus.kind is ClevrObject:
        radius = np.array([RADIUS[size] for size in corpus.true.words["size"]], dtype=np.float64)
        limits |= {f"{factor}r": factor * radius for factor in FACTORS}
    return limits


def _rotation_ratios(corpus: Corpus, pairs: Pairs) -> dict[str, Ratio]:
    """Mean angle modulo the true object's symmetry over the pairs in which both sides state a rotation."""
    angles = symmetric_degrees(
        corpus.predicted.rotations[pairs.predicted],
        corpus.true.rotations[pairs.true],
        corpus.true.shapes[pairs.true],
    )
    return {"rotation_deg": scene_sums(pairs, angles, len(corpus.invalid))}


def _checkerboard_ratios(corpus: Corpus, pairs: Pairs) -> dict[str, Ratio]:
    """Mean squared error per coordinate: everywhere, in the trained cells and outside them, by the true position."""
    true = corpus.true.positions[pairs.true]
    squared_error = pairs.distance**2 / 2
    trained = in_trained_cell(true)
    scenes = len(corpus.invalid)
    return {
        "mse": scene_sums(pairs, squared_error, scenes),
        "mse_in": scene_sums(pairs, np.where(trained, squared_error, np.nan), scenes),
        "mse_out": scene_sums(pairs, np.where(trained, np.nan, squared_error), scenes),
    }


def in_trained_cell(positions: np.ndarray) -> np.ndarray:
    """Whether positions lie in the sparse checkerboard: floor(8x) and floor(8y) both even (BENCHMARKS, `two_d`).

    Args:
        positions: (points, 2 or more) float64, x and y in [0, 1]; 1 belongs to the last cell, which is not trained.

    Returns:
        (points,) bool.
    """
    cells = np.minimum(np.floor(8 * positions[:, :2]), 7)
    return (cells % 2 == 0).all(axis=1)
