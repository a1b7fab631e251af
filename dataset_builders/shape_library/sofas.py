"""Sofas: two or three seats, four kinds of arms, loose cushions, some with a chaise; the sitters look along +x."""

from dataclasses import dataclass

import numpy as np

from .curves import circle, rounded_rectangle
from .shape_mesh import Part
from .solids import box, extrude, lathe, loft, tube

ARMS = ("box", "rolled", "sloped", "slim")


@dataclass(frozen=True)
class Frame:
    """Measures in metres; `seats` cushions side by side fill `inner` metres between arms of `arm` metres."""

    seats: int
    inner: float
    arm: float
    depth: float
    seat: float
    back: float
    clearance: float  # between floor and body


def make_sofa(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one sofa: number of seats, arms, chaise and feet by `variant`, proportions by `rng`."""
    seats = 2 + variant % 2 if variant % 8 != 6 else 4
    arms = ARMS[(variant // 2) % len(ARMS)]
    frame = Frame(
        seats=seats,
        inner=seats * rng.uniform(0.58, 0.7),
        arm={"box": rng.uniform(0.16, 0.24), "rolled": 0.2, "sloped": 0.14, "slim": 0.07}[arms],
        depth=rng.uniform(0.85, 1.0),
        seat=rng.uniform(0.4, 0.46),
        back=rng.uniform(0.74, 0.95),
        clearance=rng.choice([0.04, 0.1, 0.16]).item(),
    )
    parts = [*_body(frame), *_arms(arms, frame, rng), *_cushions(frame, rng), *_feet(frame, variant)]
    if variant % 5 == 3:
        parts += _chaise(frame, side=1 if variant % 2 else -1)
    if variant % 6 in (0, 4):
        parts += _throw_pillows(frame, rng)
    return parts


def _total_width(frame: Frame) -> float:
    return frame.inner + 2 * frame.arm


def _body(frame: Frame) -> list[Part]:
    """The upholstered base and the back, which leans a little."""
    base_height = frame.seat - 0.14 - frame.clearance
    base = box((frame.depth - 0.06, frame.inner + 0.04, base_height), 0.025, 2)
    height = frame.back - frame.clearance - 0.1
    back = box((0.2, frame.inner + 0.06, height), 0.06, 3).turned("y", -6)
    return [
        base.moved(0.0, 0.0, frame.clearance + base_height / 2),
        back.moved(-frame.depth / 2 + 0.1, 0.0, frame.clearance + height / 2 + 0.06),
    ]


def _arms(kind: str, frame: Frame, rng: np.random.Generator) -> list[Part]:
    height = frame.seat + rng.uniform(0.13, 0.22)
    y = frame.inner / 2 + frame.arm / 2
    if kind == "rolled":
        panel = box((frame.depth, 0.7 * frame.arm, height - frame.clearance - 0.08), 0.03, 2)
        length = frame.depth + 0.03
        roll = lathe([(0.0, 0.0), (0.11, 0.0), (0.13, 0.02), (0.13, length - 0.02), (0.11, length), (0.0, length)])
        roll = roll.turned("y", 90).moved(-length / 2, y + 0.03, height - 0.06)
        return [*panel.moved(0.0, y, (height + frame.clearance - 0.08) / 2).both_sides(), *roll.both_sides()]
    if kind == "sloped":  # high at the back, low in front
        line = [(-0.5, 0.0), (0.5, 0.0), (0.5, 0.72), (0.3, 0.76), (-0.2, 1.0), (-0.5, 1.25)]
        outline = np.array(line) * (frame.depth, height - frame.clearance)
        side = extrude(outline, frame.arm, 0.02).turned("x", 90).moved(0.0, y + frame.arm / 2, frame.clearance)
        return side.both_sides()
    bevel = 0.05 if kind == "box" else 0.02
    block = box((frame.depth, frame.arm, height - frame.clearance), bevel, 3)
    return block.moved(0.0, y, (height + frame.clearance) / 2).both_sides()


def _cushions(frame: Frame, rng: np.random.Generator) -> list[Part]:
    """Seat cushions side by side, and as many against the back."""
    width, plump = frame.inner / frame.seats, rng.uniform(0.16, 0.24)
    high = frame.back - frame.seat + rng.uniform(-0.06, 0.02)
    parts = []
    for number in range(frame.seats):
        y = (number + 0.5) * width - frame.inner / 2
        parts.append(_pillow(frame.depth - 0.2, width - 0.01, 0.17).moved(0.09, y, frame.seat - 0.06))
        cushion = _pillow(high, width - 0.02, plump).turned("y", -102)
        parts.append(cushion.moved(-frame.depth / 2 + 0.28, y, frame.seat + high / 2))
    return parts


def _pillow(depth: float, width: float, height: float) -> Part:
    """A cushion around the origin with bulging upper and lower sides."""
    outline = rounded_rectangle(depth, width, 0.07, 4)
    angles = np.radians(np.linspace(-90, 90, 11))
    z, scale = np.sin(angles) * height / 2, np.cos(angles) ** 0.35
    scale[[0, -1]] = 0.0
    rings = [
        np.column_stack([outline * (0.88 + 0.12 * s if s else 0.0), np.full(len(outline), level)])
        for s, level in zip(scale, z, strict=True)
    ]
    return loft(np.stack(rings))


def _feet(frame: Frame, variant: int) -> list[Part]:
    x, y = frame.depth / 2 - 0.09, _total_width(frame) / 2 - 0.1
    if frame.clearance < 0.08:  # a plinth
        size = (2 * x, 2 * y, frame.clearance + 0.02)
        return [box(size, 0.01).moved(z=size[2] / 2).as_trim()]
    parts = []
    for place in (x, -x):
        if variant % 2:
            foot = tube([(place * 1.03, y + 0.02, 0.0), (place, y, frame.clearance + 0.02)], np.array([0.015, 0.028]))
        else:
            foot = box((0.07, 0.07, frame.clearance + 0.02), 0.01).moved(place, y, frame.clearance / 2 + 0.01)
        parts += foot.as_trim().both_sides()
    return parts


def _chaise(frame: Frame, side: int) -> list[Part]:
    """A long seat that reaches forward on one side."""
    length, width = 0.62, frame.inner / frame.seats
    height = frame.seat - 0.14 - frame.clearance
    x, y = frame.depth / 2 + length / 2 - 0.1, side * (frame.inner - width) / 2
    base = box((length + 0.2, width, height - 0.02), 0.025, 2).moved(x, y, frame.clearance + height / 2)
    foot = box((0.07, width - 0.1, frame.clearance + 0.02), 0.01)
    top = _pillow(length + 0.12, width - 0.01, 0.17).moved(x + 0.03, y, frame.seat - 0.06)
    return [base, top, foot.moved(frame.depth / 2 + length - 0.15, y, frame.clearance / 2 + 0.01).as_trim()]


def _throw_pillows(frame: Frame, rng: np.random.Generator) -> list[Part]:
    pillow = _pillow(0.36, 0.36, 0.14).turned("z", 10).turned("y", -68)
    y = frame.inner / 2 - 0.2
    left = pillow.moved(-frame.depth / 2 + 0.46, y, frame.seat + 0.2)
    if rng.uniform() < 0.5:
        return left.both_sides()
    bolster = lathe(
        [(0.0, -0.22), (0.06, -0.22), (0.085, -0.19), (0.085, 0.19), (0.06, 0.22), (0.0, 0.22)], circle(sides=24)
    )
    return [left, bolster.turned("x", 80).moved(-frame.depth / 2 + 0.5, -y, frame.seat + 0.1)]
