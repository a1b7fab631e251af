"""Mugs: open cups turned on a lathe, with one handle towards +x."""

import numpy as np

from .curves import rounded_rectangle, smooth, superellipse
from .shape_mesh import Part
from .solids import lathe, sweep

# The outside as (height, radius), both in shares of the mug's own.
BODIES: dict[str, list[tuple[float, float]]] = {
    "straight": [(0.0, 0.94), (0.05, 1.0), (0.97, 1.0), (1.0, 0.98)],
    "tapered": [(0.0, 0.66), (0.05, 0.71), (0.97, 1.0), (1.0, 0.99)],
    "barrel": [(0.0, 0.72), (0.05, 0.79), (0.5, 1.0), (0.96, 0.80), (1.0, 0.79)],
    "tulip": [(0.0, 0.50), (0.06, 0.56), (0.30, 0.86), (0.62, 0.84), (0.96, 1.0), (1.0, 1.0)],
    "footed": [(0.0, 0.70), (0.05, 0.70), (0.13, 0.42), (0.20, 0.44), (0.42, 0.92), (0.97, 1.0), (1.0, 0.99)],
    "bell": [(0.0, 1.0), (0.05, 1.03), (0.35, 0.92), (0.75, 0.80), (0.96, 0.84), (1.0, 0.85)],
    "bowl": [(0.0, 0.48), (0.06, 0.56), (0.3, 0.86), (0.7, 0.99), (0.97, 1.0), (1.0, 0.99)],
    "hourglass": [(0.0, 0.90), (0.05, 0.95), (0.5, 0.74), (0.96, 0.97), (1.0, 0.98)],
}
HANDLES = ("round", "ear", "square", "low")
WALL = 0.07  # of the radius


def make_mug(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one mug: eight bodies with four handles, espresso cups to tall ones, some on saucers or square."""
    names = tuple(BODIES)
    body = BODIES[names[variant % len(names)]]
    height = rng.uniform(1.5, 2.6) if names[variant % len(names)] != "bowl" else rng.uniform(1.1, 1.5)
    outline = superellipse(1.0, 1.0, 5.0, 40) if variant % 11 == 5 else None
    parts = [_cup(body, height, outline)]
    parts.append(_handle(HANDLES[(variant // 2 + variant // 8) % len(HANDLES)], body, height, rng))
    if variant % 6 == 4:
        parts.append(_saucer(rng.uniform(1.7, 2.0)))
    return parts


def _cup(body: list[tuple[float, float]], height: float, outline: np.ndarray | None) -> Part:
    outside = smooth([(radius, height * share) for share, radius in body], 24)
    floor = 0.1
    inside = outside[::-1] - (WALL, 0.0)
    inside = inside[inside[:, 1] > floor]
    inside[0, 1] += 0.02  # a rim that is a little higher in its middle catches the light
    profile = [(0.0, 0.0), *outside, *inside, (inside[-1, 0] - 0.08, floor), (0.0, floor)]
    return lathe(np.array(profile), outline)


def _handle(kind: str, body: list[tuple[float, float]], height: float, rng: np.random.Generator) -> Part:
    """Bend a flat band from the upper wall to the lower one; its ends lie inside the wall."""
    top, bottom = (0.84, rng.uniform(0.2, 0.3)) if kind != "low" else (0.62, 0.14)
    reach = min(rng.uniform(0.55, 0.8), 0.45 * height * (top - bottom) + 0.3)
    shape = {
        "round": [(0.0, 1.0), (0.55, 1.02), (0.95, 0.78), (1.0, 0.5), (0.95, 0.22), (0.55, -0.02), (0.0, 0.0)],
        "low": [(0.0, 1.0), (0.55, 1.02), (0.95, 0.78), (1.0, 0.5), (0.95, 0.22), (0.55, -0.02), (0.0, 0.0)],
        "ear": [(0.0, 0.95), (0.6, 1.12), (1.0, 0.92), (0.9, 0.62), (0.5, 0.3), (0.2, 0.08), (0.0, 0.0)],
        "square": [(0.0, 1.0), (0.8, 1.0), (1.0, 0.9), (1.0, 0.5), (1.0, 0.1), (0.8, 0.0), (0.0, 0.0)],
    }[kind]
    levels, radii = np.array(body).T
    path = []
    for out, up in shape:
        share = bottom + up * (top - bottom)
        wall = float(np.interp(share, levels, radii)) - 0.6 * WALL
        path.append((wall + (1.0 + reach - wall) * out, 0.0, share * height))
    band = rounded_rectangle(rng.uniform(0.22, 0.34), 0.13, 0.06, segments=2)
    return sweep(smooth(path, 28), band, side=(0.0, 1.0, 0.0))


def _saucer(radius: float) -> Part:
    outside = [(0.6 * radius, -0.16), (0.62 * radius, -0.12), (0.95 * radius, 0.03), (radius, 0.07)]
    inside = [(0.97 * radius, 0.10), (0.62 * radius, -0.04), (0.45 * radius, -0.04)]
    return lathe(np.array([(0.0, -0.16), *outside, *inside, (0.0, -0.04)]))
