"""Intervals of pooled scores."""

import math

import numpy as np
import pytest

from metrics.scene_program.bootstrap import pooled_scores


def test_interval_of_a_share_is_the_binomial_one():
    """400 scenes, half of them right: 0.5 ± 1.96 sqrt(0.25 / 400)."""
    right = np.arange(400) % 2
    scores = pooled_scores({"share": (right, np.ones(400))})
    assert scores["share"] == 0.5
    assert scores["share_lo"] == pytest.approx(0.5 - 1.96 * 0.025, abs=0.005)
    assert scores["share_hi"] == pytest.approx(0.5 + 1.96 * 0.025, abs=0.005)


def test_numerator_and_denominator_of_a_resample_come_from_the_same_scenes():
    """A ratio that is 0.5 in every scene is 0.5 in every resample, however large the scenes are."""
    sizes = np.array([2, 200, 20, 2000])
    assert pooled_scores({"half": (sizes / 2, sizes)}) == {"half": 0.5, "half_lo": 0.5, "half_hi": 0.5}


def test_intervals_are_repeatable():
    ratios = {"score": (np.arange(50), np.arange(50) + 3)}
    assert pooled_scores(ratios) == pooled_scores(ratios)


def test_an_undefined_score_has_an_undefined_interval():
    assert all(math.isnan(value) for value in pooled_scores({"none": (np.zeros(3), np.zeros(3))}).values())


def test_resamples_without_a_defined_score_are_left_out():
    """Only one scene of two has pairs; whatever resample has it gives 7."""
    scores = pooled_scores({"l2": (np.array([7.0, 0.0]), np.array([1, 0]))})
    assert scores == {"l2": 7, "l2_lo": 7, "l2_hi": 7}
