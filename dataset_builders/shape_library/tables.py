"""Tables: tops of five outlines on seven kinds of legs, desks with drawers, low and high ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .curves import circle, rounded_rectangle, smooth, superellipse
from .shape_mesh import Part
from .solids import box, extrude, lathe, tube


@dataclass(frozen=True)
class Top:
    """The table top: half sides `x` and `y`, its `height` above the floor, `thickness`, all in metres."""

    x: float
    y: float
    height: float
    thickness: float
    is_round: bool

    @property
    def under(self) -> float:
        """Height of the lower side."""
        return self.height - self.thickness


Maker = Callable[[Top, np.random.Generator], list[Part]]


def make_table(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one table: legs by `variant`, top and proportions by `rng`."""
    legs: tuple[Maker, ...] = (
        _four_posts, _pedestal, _desk, _splayed, _trestle, _three_legs, _crossed, _turned_legs,
    )  # fmt: skip
    kind = legs[variant % len(legs)]
    is_round = kind in (_pedestal, _three_legs) or (kind is _splayed and variant % 16 > 8)
    x = rng.uniform(0.35, 0.5)
    y = x if is_round and variant % 3 else x * rng.uniform(1.3, 2.2)
    if kind is _crossed:
        y = x * rng.uniform(1.0, 1.4)
    height = rng.choice([0.42, 0.74]).item() if kind in (_four_posts, _splayed, _turned_legs) else 0.74
    top = Top(x, y, height * rng.uniform(0.94, 1.06), rng.uniform(0.03, 0.06), is_round)
    return [_top(top, rng), *kind(top, rng)]


def _top(top: Top, rng: np.random.Generator) -> Part:
    if top.is_round:
        outline = superellipse(top.x, top.y, sides=56)
    else:
        outline = rounded_rectangle(2 * top.x, 2 * top.y, rng.choice([0.02, 0.05, 0.14]), 5)
    return extrude(outline, top.thickness, 0.3 * top.thickness).moved(z=top.under)


def _corners(top: Top, inset: float) -> list[tuple[float, float]]:
    x, y = (0.66 * top.x, 0.66 * top.y) if top.is_round else (top.x - inset, top.y - inset)
    return [(x, y), (x, -y), (-x, y), (-x, -y)]


def _apron(top: Top, inset: float, height: float = 0.09) -> list[Part]:
    x, y, z = top.x - inset, top.y - inset, top.under - height / 2 + 0.005
    long, short = box((0.02, 2 * y, height), 0.005), box((2 * x, 0.02, height), 0.005)
    return [long.moved(x, 0.0, z), long.moved(-x, 0.0, z), *short.moved(0.0, y, z).both_sides()]


def _four_posts(top: Top, rng: np.random.Generator) -> list[Part]:
    side = rng.uniform(0.05, 0.09)
    leg = box((side, side, top.under + 0.01), 0.01).moved(z=(top.under + 0.01) / 2)
    parts = [leg.moved(x, y) for x, y in _corners(top, side / 2 + 0.02)]
    parts += _apron(top, side / 2 + 0.03)
    if rng.uniform() < 0.6:  # a shelf
        parts.append(box((2 * top.x - side, 2 * top.y - side, 0.025), 0.008).moved(z=0.25 * top.height))
    return parts


def _turned_legs(top: Top, rng: np.random.Generator) -> list[Part]:
    """Legs from the lathe: bulbs and rings."""
    height = top.under + 0.01
    shares = [
        (0.5, 0.0),
        (0.7, 0.03),
        (0.5, 0.1),
        (0.62, 0.35),
        (1.0, 0.62),
        (0.55, 0.7),
        (0.85, 0.74),
        (0.6, 0.78),
        (0.95, 0.84),
        (0.95, 1.0),
    ]
    thick = rng.uniform(0.04, 0.055)
    curve = smooth([(thick * radius, height * z) for radius, z in shares], 40)
    leg = lathe(np.array([(0.0, 0.0), *curve, (0.0, height)]), circle(sides=20))
    return [*(leg.moved(x, y) for x, y in _corners(top, 0.09)), *_apron(top, 0.08)]


def _splayed(top: Top, rng: np.random.Generator) -> list[Part]:
    out, thick = rng.uniform(0.05, 0.1), rng.uniform(0.02, 0.03)
    parts = []
    for x, y in _corners(top, 0.13):
        foot = (x + np.sign(x) * out, y + np.sign(y) * out, 0.0)
        parts.append(tube([foot, (x, y, top.under + 0.005)], np.array([0.6 * thick, 1.2 * thick]), 16))
    return parts


def _three_legs(top: Top, rng: np.random.Generator) -> list[Part]:
    thick, bow = rng.uniform(0.02, 0.028), rng.uniform(0.0, 0.12)
    reach = 0.8 * min(top.x, top.y)
    path = smooth([(reach, 0, 0), (0.6 * reach + bow, 0, 0.5 * top.under), (0.6 * reach, 0, top.under + 0.005)], 16)
    parts = [tube(path, thick).turned("z", angle) for angle in (0, 120, 240)]
    ring = 0.55 * reach + 0.7 * bow
    level = 0.4 * top.under
    return [*parts, lathe([(0.0, level), (ring, level), (ring, level + 0.02), (0.0, level + 0.02)])]


def _pedestal(top: Top, rng: np.random.Generator) -> list[Part]:
    """One column on a disc, or on four curved feet."""
    height, thick, reach = top.under + 0.005, rng.uniform(0.035, 0.07), 0.7 * min(top.x, top.y)
    column = [
        (0.0, 0.03),
        (thick, 0.03),
        (1.25 * thick, 0.3 * height),
        (0.8 * thick, 0.45 * height),
        (thick, 0.9 * height),
    ]
    parts = [lathe([*column, (3 * thick, height), (0.0, height)])]
    if rng.uniform() < 0.5:
        return [
            *parts,
            lathe([(0.0, 0.0), (reach, 0.0), (reach, 0.02), (0.5 * reach, 0.035), (thick, 0.08), (0.0, 0.08)]),
        ]
    foot = smooth([(0.0, 0, 0.24), (0.4 * reach, 0, 0.2), (0.8 * reach, 0, 0.05), (reach, 0, 0.025)], 16)
    return parts + [tube(foot, np.linspace(0.035, 0.024, len(foot))).turned("z", 45 + 90 * i) for i in range(4)]


def _trestle(top: Top, rng: np.random.Generator) -> list[Part]:
    """At both ends a board on a foot, and a beam between them."""
    y, height = top.y - rng.uniform(0.12, 0.22), top.under
    board = box((rng.uniform(0.2, 1.4) * top.x, 0.05, height), 0.01).moved(0.0, y, height / 2 + 0.005)
    foot = box((1.7 * top.x, 0.08, 0.05), 0.015).moved(0.0, y, 0.025)
    beam = box((0.05, 2 * y, 0.1), 0.012).moved(0.0, 0.0, rng.uniform(0.2, 0.5) * height)
    return [*board.both_sides(), *foot.both_sides(), beam]


def _crossed(top: Top, rng: np.random.Generator) -> list[Part]:
    """On both sides two legs that cross like an X."""
    x, y, height = top.x - 0.06, top.y - rng.uniform(0.06, 0.14), top.under
    slope, length = np.degrees(np.arctan2(2 * x, height)), float(np.hypot(2 * x, height))
    parts = []
    for sign in (1, -1):
        leg = box((0.06, 0.04, length), 0.012).turned("y", sign * slope).moved(0.0, y - 0.02 * sign, height / 2)
        parts += leg.both_sides()
    return [*parts, tube([(0.0, 0.02 - y, height / 2), (0.0, y - 0.02, height / 2)], 0.018)]


def _desk(top: Top, rng: np.random.Generator) -> list[Part]:
    """Drawers on one side, legs or a board on the other, a panel at the back (-x)."""
    width, drawers = 0.55 * top.y, int(rng.integers(2, 5))
    side = 1 if rng.uniform() < 0.5 else -1
    y = side * (top.y - width / 2 - 0.02)
    parts = [box((2 * top.x - 0.06, width, top.under - 0.02), 0.01).moved(0.0, y, top.under / 2 + 0.01)]
    high = (top.under - 0.06) / drawers
    for number in range(drawers):
        z = 0.05 + (number + 0.5) * high
        front = box((0.03, width - 0.04, high - 0.02), 0.008).moved(top.x - 0.02, y, z)
        grip = box((0.03, 0.12, 0.02), 0.008).moved(top.x + 0.005, y, z)
        parts += [front, grip.as_trim()]
    board = box((2 * top.x - 0.06, 0.035, top.under), 0.01).moved(0.0, -side * (top.y - 0.05), top.under / 2 + 0.005)
    panel = box((0.02, 2 * top.y - 0.1, 0.45 * top.under), 0.006).moved(-top.x + 0.06, 0.0, 0.72 * top.under)
    return [*parts, board, panel]
