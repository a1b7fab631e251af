"""Plane outlines and curves in space: what solids are lofted, turned and swept from."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator

# Points (N, k) as an array or one tuple each.
Points = np.ndarray | Sequence[tuple[float, ...]]


def superellipse(half_width: float, half_height: float, power: float = 2.0, sides: int = 32) -> np.ndarray:
    """Return the points (sides, 2) of |x / a|^p + |y / b|^p = 1, counter-clockwise from +x.

    `power` 2 is an ellipse, 4 a rectangle with soft corners, 8 one with narrow ones.
    """
    angles = 2 * np.pi * np.arange(sides) / sides
    wave = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.sign(wave) * np.abs(wave) ** (2 / power) * (half_width, half_height)


def circle(radius: float = 1.0, sides: int = 32) -> np.ndarray:
    """Return the points (sides, 2) of a circle, counter-clockwise from +x."""
    return superellipse(radius, radius, sides=sides)


def rounded_rectangle(width: float, height: float, radius: float, segments: int = 4) -> np.ndarray:
    """Return a rectangle around the origin with arcs for corners, counter-clockwise: (4 * (segments + 1), 2)."""
    corners = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    centers = corners * (width / 2 - radius, height / 2 - radius)
    angles = np.radians(90 * np.arange(4))[:, None] + np.linspace(0, np.pi / 2, segments + 1)
    return (centers[:, None] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)).reshape(-1, 2)


def smooth(points: Points, count: int) -> np.ndarray:
    """Return about `count` points of a smooth curve through all of (N, k) that never swings beyond its neighbours."""
    known = np.asarray(points, dtype=float)
    lengths = np.linalg.norm(np.diff(known, axis=0), axis=1)
    place = np.concatenate([[0.0], np.cumsum(lengths)])
    # The given points stay, so that a bottle keeps its edges; the rest is spread along the length.
    pieces = np.maximum(1, np.rint(count * lengths / place[-1])).astype(int).tolist()
    dense = [np.linspace(*ends, steps, endpoint=False) for ends, steps in zip(pairwise(place), pieces, strict=True)]
    return PchipInterpolator(place, known)(np.concatenate([*dense, place[-1:]]))
