"""The published evaluator's protocol (METRICS): a mean over the matched pairs of each scene, then over scenes."""

import numpy as np

from .bootstrap import divide
from .matching import Pairs, scene_sums
from .programs import Corpus, PosedObject
from .symmetry import geodesic_degrees


def published_scores(corpus: Corpus, pairs: Pairs, quirks: bool) -> dict[str, float]:
    """Every published score that the family of this corpus has.

    A scene without any pair that a score is about (nothing predicted, no true object but spheres) has no such mean
    and is left out of that score; a score without any scene is NaN.

    Args:
        corpus: the scenes; with `quirks` as `read_corpus(..., published_quirks=True)` reads them.
        pairs: `match_by_distance` of its objects.
        quirks: leave scenes whose `l2` is exactly 0 out of it, and take `geod` from the trace of raw matrices.

    Returns:
        `l2` in metres (2D: image units), `ace` in objects, `geod` in degrees, all others in percent.
    """
    surplus = np.abs(corpus.predicted.counts - corpus.true.counts)
    l2 = _scene_means(corpus, pairs, pairs.distance)
    scores = {
        "l2": _mean(l2[l2 != 0] if quirks else l2),
        "ace": _mean(surplus),
        "count_acc": _percentage(surplus == 0),
    }
    for name in corpus.true.words:
        scores[name] = _percentage(_scene_means(corpus, pairs, _right(corpus, pairs, name)))
    if corpus.kind is PosedObject:
        scores["geod"] = _mean(_scene_means(corpus, pairs, _angles(corpus, pairs, quirks)))
    return scores


def _right(corpus: Corpus, pairs: Pairs, name: str) -> np.ndarray:
    """(pairs,) 1 right, 0 wrong; for a shape NaN where the truth is a sphere."""
    true = corpus.true.words[name][pairs.true]
    right = (corpus.predicted.words[name][pairs.predicted] == true).astype(np.float64)
    return np.where(true == "sphere", np.nan, right)


def _angles(corpus: Corpus, pairs: Pairs, quirks: bool) -> np.ndarray:
    """(pairs,) degrees."""
    predicted, true = corpus.predicted.rotations[pairs.predicted], corpus.true.rotations[pairs.true]
    if not quirks:
        return geodesic_degrees(predicted, true)
    trace = (predicted * true).sum(axis=(1, 2))  # of predicted^T true; raw matrices can leave [-1, 3]
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def _scene_means(corpus: Corpus, pairs: Pairs, values: np.ndarray) -> np.ndarray:
    """(pairs,) values -> (scenes,) means over the pairs that have one, NaN where none has."""
    return divide(*scene_sums(pairs, values, len(corpus.invalid)))


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _percentage(values: np.ndarray) -> float:
    return 100 * _mean(values)
