"""Rotation angles, plain and modulo the symmetry of an object."""

import numpy as np

CONTINUOUS = 0

_SHAPES = {
    CONTINUOUS: (
        "bottle_00 bottle_01 bottle_02 bottle_06 bottle_10 bottle_12 bottle_13 bottle_14 bottle_18 bottle_20 "
        "bottle_22 lamp_00 lamp_02 lamp_03 lamp_06 lamp_08 lamp_10 lamp_11 lamp_14 lamp_16 lamp_18 lamp_19 lamp_22 "
        "table_17"
    ),
    2: (
        "bottle_04 bottle_11 bottle_16 bottle_23 table_00 table_03 table_04 table_07 table_08 table_09 table_12 "
        "table_15 table_16 table_19 table_20 table_23"
    ),
    3: "lamp_04 lamp_12 lamp_20 table_05 table_13",
    4: "cube bottle_08 table_01 table_11",
}

SYMMETRY_ORDER: dict[str, int] = {shape: order for order, shapes in _SHAPES.items() for shape in shapes.split()}
"""Shape -> n of its n-fold symmetry about an upright axis; 0 for a solid of revolution, 1 for all not named.

A CLEVR cube turns about z only (SCENE_PROGRAM gives it a yaw), so four-fold is all of its symmetry that can show. All
others are shapes of the library, as `dataset_builders/shape_symmetry.py` measures them on their meshes.
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


def symmetric_degrees(predicted: np.ndarray, true: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Smallest angle between `predicted` and any rotation that looks like `true`, in degrees.

    Args:
        predicted: (pairs, 3, 3) float64, object to world.
        true: (pairs, 3, 3) float64, object to world.
        shapes: (pairs,) str, the true shape; `SYMMETRY_ORDER` says what it is symmetric to.

    Returns:
        (pairs,) float64; NaN where either rotation is NaN.
    """
    order = np.array([SYMMETRY_ORDER.get(name, 1) for name in shapes], dtype=int)
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
