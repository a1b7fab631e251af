"""Chairs: six seats on six kinds of legs with six backs, some with arms; the sitter looks along +x."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .curves import rounded_rectangle, smooth
from .shape_mesh import Part
from .solids import box, extrude, lathe, loft, tube


@dataclass(frozen=True)
class Frame:
    """Measures in metres: `depth` and `width` of the seat, its upper side, the top of the back, the back's lean."""

    depth: float
    width: float
    seat: float
    top: float
    lean: float  # how far the top of the back lies behind its foot

    def back_point(self, y: float, share: float) -> tuple[float, float, float]:
        """A point of the back's plane, `share` of the way from the seat to the top."""
        return -self.depth / 2 + 0.03 - self.lean * share, y, self.seat + (self.top - self.seat) * share


Maker = Callable[[Frame, np.random.Generator], list[Part]]


def make_chair(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one chair: legs, back and arms by `variant`, proportions by `rng`."""
    legs: tuple[Maker, ...] = (_straight_legs, _swivel_base, _splayed_legs, _cantilever, _crossed_legs, _sled)
    backs: tuple[Maker, ...] = (_slats, _cushion_back, _shell, _panel, _spindles, _ladder)
    depth, width = rng.uniform(0.42, 0.5), rng.uniform(0.42, 0.54)
    frame = Frame(depth, width, rng.uniform(0.43, 0.5), rng.uniform(0.82, 1.15), rng.uniform(0.03, 0.14))
    kind = variant % len(legs)
    back = backs[(variant + variant // len(legs)) % len(backs)]
    parts = [*_seat(frame, variant), *legs[kind](frame, rng), *back(frame, rng)]
    return parts + (_arms(frame, rng) if variant % 4 in (1, 2) and variant % 3 != 2 else [])


def _seat(frame: Frame, variant: int) -> list[Part]:
    thickness = 0.09 if variant % 3 == 1 else 0.04
    if variant % 4 == 3:  # round
        outline = rounded_rectangle(frame.depth + 0.02, frame.width + 0.02, 0.45 * frame.depth, 8)
        return [extrude(outline, thickness, 0.015).moved(z=frame.seat - thickness)]
    return [box((frame.depth, frame.width, thickness), 0.4 * thickness, 2).moved(z=frame.seat - thickness / 2)]


def _corners(frame: Frame, inset: float) -> list[tuple[float, float]]:
    x, y = frame.depth / 2 - inset, frame.width / 2 - inset
    return [(x, y), (x, -y), (-x, y), (-x, -y)]


def _straight_legs(frame: Frame, rng: np.random.Generator) -> list[Part]:
    side, under = rng.uniform(0.035, 0.055), frame.seat - 0.03
    leg = box((side, side, under), 0.008).moved(z=under / 2)
    parts = [leg.moved(x, y) for x, y in _corners(frame, side / 2 + 0.005)]
    if rng.uniform() < 0.6:  # rails between the legs
        rail = box((frame.depth - 2 * side, 0.02, 0.03), 0.006).moved(z=rng.uniform(0.12, 0.2))
        parts += rail.moved(y=frame.width / 2 - side / 2).both_sides()
        parts.append(box((0.02, frame.width - 2 * side, 0.03), 0.006).moved(z=0.25))
    return parts


def _splayed_legs(frame: Frame, rng: np.random.Generator) -> list[Part]:
    out, thick = rng.uniform(0.05, 0.1), rng.uniform(0.016, 0.024)
    parts = []
    for x, y in _corners(frame, 0.08):
        foot = (x + np.sign(x) * out, y + np.sign(y) * out, 0.0)
        parts.append(tube([foot, (x, y, frame.seat - 0.02)], np.array([0.7 * thick, 1.2 * thick])))
    return parts


def _swivel_base(frame: Frame, rng: np.random.Generator) -> list[Part]:
    """Five arms with castors under a gas spring."""
    reach = rng.uniform(0.26, 0.32)
    parts = [tube([(0, 0, 0.08), (0, 0, frame.seat - 0.05)], 0.03, 16), tube([(0, 0, 0.07), (0, 0, 0.24)], 0.045, 16)]
    castor = lathe([(0.0, -0.02), (0.025, -0.02), (0.03, 0.0), (0.025, 0.02), (0.0, 0.02)]).turned("x", 90)
    for angle in np.arange(5) * 72.0 + 36:
        arm = tube([(0.0, 0.0, 0.11), (reach, 0.0, 0.07)], np.array([0.03, 0.02]))
        parts += [arm.turned("z", angle), castor.moved(reach - 0.01, 0.0, 0.03).turned("z", angle)]
    return [part.as_trim() for part in parts]


def _cantilever(frame: Frame, rng: np.random.Generator) -> list[Part]:
    """A bent tube: up at the front only, two runners on the ground."""
    x, y, radius = frame.depth / 2, frame.width / 2 - 0.02, 0.014
    back = -x + 0.06
    path = [
        (back, y, frame.seat - 0.02),
        (x - 0.06, y, frame.seat - 0.02),
        (x, y, frame.seat - 0.08),
        (x - 0.02, y, 0.08),
    ]
    path += [(x - 0.07, y, radius), (-x - 0.05, y, radius)]
    cross = tube([(-x - 0.05, -y, radius), (-x - 0.05, y, radius)], radius)
    return [part.as_trim() for part in (*tube(smooth(path, 40), radius).both_sides(), cross)]


def _sled(frame: Frame, rng: np.random.Generator) -> list[Part]:
    x, y, radius = frame.depth / 2 - 0.02, frame.width / 2 - 0.03, rng.uniform(0.012, 0.018)
    top = frame.seat - 0.03
    path = [
        (x - 0.06, y, top),
        (x, y, 0.06),
        (x - 0.05, y, radius),
        (-x + 0.02, y, radius),
        (-x - 0.03, y, 0.06),
        (-x + 0.06, y, top),
    ]
    return [part.as_trim() for part in tube(smooth(path, 40), radius).both_sides()]


def _crossed_legs(frame: Frame, rng: np.random.Generator) -> list[Part]:
    """A folding chair: on each side two legs that cross."""
    x, y, top = frame.depth / 2, frame.width / 2 - 0.02, frame.seat - 0.02
    parts = []
    for start, end, inside in (((x, 0.0), (-x + 0.03, top), 0.0), ((-x - 0.02, 0.0), (x - 0.05, top), 0.03)):
        slope = np.degrees(np.arctan2(end[0] - start[0], end[1] - start[1]))
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        leg = box((0.035, 0.022, length), 0.008).turned("y", slope)
        parts += leg.moved((start[0] + end[0]) / 2, y - inside, top / 2).both_sides()
    bar = [(0.0, -y, 0.45 * top), (0.0, y, 0.45 * top)]
    return [*parts, tube(bar, 0.011)]


def _posts(frame: Frame, radius: float = 0.018) -> list[Part]:
    y = frame.width / 2 - radius
    return tube([frame.back_point(y, -0.1), frame.back_point(y, 1.0)], radius).both_sides()


def _bar(frame: Frame, share: float, height: float, bow: float = 0.02) -> Part:
    """A curved board across the back, `share` of the way up."""
    y = np.linspace(-1, 1, 11) * (frame.width / 2 - 0.01)
    middle = np.array([frame.back_point(value, share) for value in y.tolist()])
    middle[:, 0] -= bow * (1 - (y / y[-1]) ** 2)
    ring = rounded_rectangle(0.022, height, 0.009, 2)
    rings = [np.column_stack([x - ring[:, 0], np.full(len(ring), y), z + ring[:, 1]]) for x, y, z in middle]
    return loft(np.stack(rings))


def _slats(frame: Frame, rng: np.random.Generator) -> list[Part]:
    count, low = int(rng.integers(3, 6)), rng.uniform(0.1, 0.3)
    parts = [*_posts(frame), _bar(frame, 0.95, 0.07, 0.0), _bar(frame, low, 0.04, 0.0)]
    for y in np.linspace(-1, 1, count + 2)[1:-1].tolist():
        y *= frame.width / 2
        parts.append(_strip(frame, y, low, 0.95, rng.uniform(0.03, 0.05)))
    return parts


def _strip(frame: Frame, y: float, low: float, high: float, width: float) -> Part:
    start, end = np.array(frame.back_point(y, low)), np.array(frame.back_point(y, high))
    ring = rounded_rectangle(0.014, width, 0.006, 2)
    return loft(np.stack([point + np.column_stack([ring, np.zeros(len(ring))]) for point in (start, end)]))


def _ladder(frame: Frame, rng: np.random.Generator) -> list[Part]:
    count, height = int(rng.integers(2, 5)), rng.uniform(0.05, 0.08)
    return [*_posts(frame, 0.02), *(_bar(frame, share, height, 0.03) for share in np.linspace(0.25, 0.93, count))]


def _spindles(frame: Frame, rng: np.random.Generator) -> list[Part]:
    """A hoop of bent wood with thin rods inside."""
    y, count = frame.width / 2 - 0.03, int(rng.integers(4, 8))
    hoop = [
        (y * side, share)
        for side, share in ((1, 0.0), (1.02, 0.5), (0.75, 0.9), (0.0, 1.0), (-0.75, 0.9), (-1.02, 0.5), (-1, 0.0))
    ]
    parts = [tube(smooth([frame.back_point(*point) for point in hoop], 40), 0.016)]
    for place in np.linspace(-0.75, 0.75, count).tolist():
        high = 1.0 - 0.14 * abs(place) ** 2 - 0.02
        parts.append(tube([frame.back_point(0.8 * place * y, 0.0), frame.back_point(place * y, high)], 0.007, 8))
    return parts


def _panel(frame: Frame, rng: np.random.Generator) -> list[Part]:
    low, high = rng.uniform(0.3, 0.45), 0.97
    board = _bar(frame, (low + high) / 2, (high - low) * (frame.top - frame.seat), rng.uniform(0.02, 0.05))
    return [*_posts(frame, 0.014), board]


def _shell(frame: Frame, rng: np.random.Generator) -> list[Part]:
    """A moulded shell that grows out of the seat and wraps around the sitter."""
    rings = []
    for share in np.linspace(0.0, 1.0, 13).tolist():
        x, _, z = frame.back_point(0.0, share)
        width = frame.width / 2 * (1.0 - 0.3 * share**3)
        y = np.linspace(-1, 1, 13) * width
        inner = np.column_stack([x + 0.16 * (1 - 0.7 * share) * (y / width) ** 2, y])
        outline = np.concatenate([inner[::-1] - (-0.022, 0.0), inner - (0.008, 0.0)])
        rings.append(np.column_stack([outline[::-1], np.full(len(outline), z - 0.03)]))
    return [loft(np.stack(rings))]


def _cushion_back(frame: Frame, rng: np.random.Generator) -> list[Part]:
    height = frame.top - frame.seat - 0.08
    slope = -np.degrees(np.arctan2(frame.lean, frame.top - frame.seat))
    pad = box((0.09, 0.92 * frame.width, height), 0.042, 3).turned("y", slope)
    x, _, z = frame.back_point(0.0, 0.5)
    spine = tube([(x - 0.06, 0.0, z), (x - 0.04, 0.0, frame.seat - 0.02), (0.0, 0.0, frame.seat - 0.06)], 0.02)
    return [pad.moved(x, 0.0, z + 0.04), spine.as_trim()]


def _arms(frame: Frame, rng: np.random.Generator) -> list[Part]:
    y, z = frame.width / 2 + 0.01, frame.seat + rng.uniform(0.19, 0.24)
    rear, front = frame.back_point(y, 0.4)[0], frame.depth / 2 - rng.uniform(0.04, 0.12)
    rest = box((front - rear + 0.06, 0.05, 0.03), 0.013, 2).moved((front + rear) / 2, y, z)
    post = tube([(front - 0.03, y - 0.02, frame.seat - 0.02), (front - 0.03, y, z)], 0.014)
    return [*rest.both_sides(), *post.both_sides()]
