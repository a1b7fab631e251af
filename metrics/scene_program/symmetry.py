"""Rotation angles, plain and modulo the symmetry of an object."""

import numpy as np

CONTINUOUS = 0

SYMMETRY_ORDER: dict[str, int] = {"cube": 4, "bottle": CONTINUOUS, "lamp": CONTINUOUS, "table": 2}
"""Shape class -> n of its n-fold symmetry about its own z axis; 0 for a solid of revolution, 1 for all not named.

A CLEVR cube turns about z only (SCENE_PROGRAM gives it a yaw), so four-fold is all of its symmetry that can show.
"""


def geodesic_degrees(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Angle of the rotation between two, in degrees in [0, 180].

    Taken from the chord, |A - B|_F = 2 sqrt(2) sin(angle / 2), which is exactly 0 for equal matrices where arccos of
    the trace is not.

    Args:
        predicted: (..., 3, 3) float64 rotation matrices.
        true: (..., 3, 3) float64 rotation matrices.
    """
    chord = np.linalg.norm(predicted - true, axis=(-2, -1))
    return np.degrees(2 * np.arcsin(np.minimum(chord / np.sqrt(8), 1)))


def symmetric_degrees(predicted: np.ndarray, true: np.ndarray, shape_class: np.ndarray) -> np.ndarray:
    """Smallest angle between `predicted` and any rotation that looks like `true`, in degrees.

    Args:
        predicted: (pairs, 3, 3) float64, object to world.
        true: (pairs, 3, 3) float64, object to world.
        shape_class: (pairs,) str, class of the true shape; `SYMMETRY_ORDER` says what it is symmetric to.

    Returns:
        (pairs,) float64; NaN where either rotation is NaN.
    """
    order = np.array([SYMMETRY_ORDER.get(name, 1) for name in shape_class], dtype=int)
    angles = np.full(len(order), np.nan)
    for fold in np.unique(order):
        rows = order == fold
        if fold == CONTINUOUS:
            angles[rows] = _axis_degrees(predicted[rows, :, 2], true[rows, :, 2])
        else:
            alike = true[rows, None] @ _turns_about_z(fold)
            angles[rows] = geodesic_degrees(predicted[rows, None], alike).min(axis=1)
    return angles


def _axis_degrees(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Angle between unit vectors (..., 3) in degrees, from the chord as above."""
    chord = np.linalg.norm(predicted - true, axis=-1)
    return np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1)))


def _turns_about_z(fold: int) -> np.ndarray:
    """(fold, 3, 3): the rotations about z by multiples of 360 / fold degrees."""
    angles = 2 * np.pi * np.arange(fold) / fold
    turns = np.tile(np.eye(3), (fold, 1, 1))
    turns[:, 0, 0] = turns[:, 1, 1] = np.cos(angles)
    turns[:, 1, 0] = np.sin(angles)
    turns[:, 0, 1] = -np.sin(angles)
    return turns
