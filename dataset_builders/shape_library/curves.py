"""Plane outlines and curves in space: what solids are lofted, turned and swept from."""

import numpy as np
from scipy.interpolate import PchipInterpolator


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


def smooth(points: np.ndarray | list[tuple[float, ...]], count: int) -> np.ndarray:
    """Return `count` points of a smooth curve through all of (N, k) that nowhere swings beyond its neighbours."""
    known = np.asarray(points, dtype=float)
    steps = np.linalg.norm(np.diff(known, axis=0), axis=1)
    place = np.concatenate([[0.0], np.cumsum(steps)])
    # The given points stay, so that a bottle keeps its edges; the rest is spread along the length.
    free = np.linspace(0.0, place[-1], max(2, count - len(known) + 2))[1:-1]
    return PchipInterpolator(place, known)(np.sort(np.concatenate([place, free])))


def round_corners(points: np.ndarray | list[tuple[float, float]], radius: float, segments: int = 4) -> np.ndarray:
    """Replace every inner corner of an open polyline (N, 2) by an arc-like curve that starts `radius` away from it.

    Next to short edges the curve starts at their middle.
    """
    known = np.asarray(points, dtype=float)
    rounded = [known[:1]]
    t = np.linspace(0.0, 1.0, segments + 1)[:, None]
    for before, corner, after in zip(known, known[1:], known[2:], strict=False):
        start = corner + _shortened(before - corner, radius)
        end = corner + _shortened(after - corner, radius)
        rounded.append((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)  # a quadratic Bezier curve
    return np.concatenate([*rounded, known[-1:]])


def _shortened(edge: np.ndarray, length: float) -> np.ndarray:
    return edge * min(0.5, length / np.linalg.norm(edge))
