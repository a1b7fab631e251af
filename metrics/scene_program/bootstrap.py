"""Pooled scores with bootstrap intervals over scenes."""

import numpy as np

Ratio = tuple[np.ndarray, np.ndarray]
"""A pooled score before pooling: (scenes,) numerators and (scenes,) denominators, the score being sum / sum."""

RESAMPLES = 1000
SEED = 0
PERCENTILES = (2.5, 97.5)
_CHUNK = 100


def pooled_scores(ratios: dict[str, Ratio]) -> dict[str, float]:
    """Scores over all scenes with their 95 % bootstrap interval (METRICS).

    A score needs no more of a scene than its two sums, so a resample is how often each scene is drawn, and all
    resamples of all scores are two matrix products.

    Args:
        ratios: score name -> its per-scene numerators and denominators.

    Returns:
        `name`, `name_lo` and `name_hi` for each; NaN where the denominators sum to 0. An interval is over those
        resamples in which the score is defined.
    """
    numerators, denominators = (
        np.stack(part, axis=1).astype(np.float64) for part in zip(*ratios.values(), strict=True)
    )
    scores = divide(numerators.sum(axis=0), denominators.sum(axis=0))
    low, high = _percentiles(_resampled(numerators, denominators))
    return {
        key: float(value)
        for name, *values in zip(ratios, scores, low, high, strict=True)
        for key, value in zip((name, f"{name}_lo", f"{name}_hi"), values, strict=True)
    }


def _resampled(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """(scenes, scores) twice -> (resamples, scores)."""
    scenes = len(numerators)
    rng = np.random.default_rng(SEED)
    chunks = []
    for _ in range(RESAMPLES // _CHUNK):
        drawn = rng.integers(scenes, size=(_CHUNK, scenes))
        times = np.stack([np.bincount(row, minlength=scenes) for row in drawn]).astype(np.float64)
        chunks.append(divide(times @ numerators, times @ denominators))
    return np.concatenate(chunks)


def _percentiles(resampled: np.ndarray) -> np.ndarray:
    """(resamples, scores) -> (2, scores), skipping NaN; NaN where all are."""
    undefined = np.isnan(resampled)
    always, ever = ~undefined.any(axis=0), ~undefined.all(axis=0)
    bounds = np.full((2, resampled.shape[1]), np.nan)
    bounds[:, always] = np.percentile(resampled[:, always], PERCENTILES, axis=0)  # many times faster than with NaN
    bounds[:, ever & ~always] = np.nanpercentile(resampled[:, ever & ~always], PERCENTILES, axis=0)
    return bounds


def divide(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Elementwise quotient of two arrays of one shape, NaN where the denominator is 0."""
    undefined = np.full(numerators.shape, np.nan)
    return np.divide(numerators, denominators, out=undefined, where=denominators != 0)
