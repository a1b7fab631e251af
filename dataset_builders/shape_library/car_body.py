"""The sheet metal and glass of a car: lower body with wheel arches, cabins, the bed of a pickup."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from .curves import rounded_rectangle
from .shape_mesh import Part
from .solids import box, loft, tube

GLASS_SIDES = 4  # segments of a rounded corner of the cabin


@dataclass(frozen=True)
class Body:
    """Measures of a car: metres, and shares of the length in front of (+) or behind (-) the middle.

    Heights: `sill`, `nose` (of the hood), `belt` (under the windows), `deck` (of the boot), `roof`. Shares: where the
    `cabin` begins and ends on the belt, then on the roof.
    """

    length: float
    width: float
    sill: float
    nose: float
    belt: float
    deck: float
    roof: float
    cabin: tuple[float, float]
    top: tuple[float, float]
    wheel: float


def axles(body: Body) -> tuple[float, float]:
    """The places x of rear and front axle."""
    return -0.3 * body.length, 0.32 * body.length


def lower_body(body: Body) -> Part:
    """Sections along x: the top follows boot, belt and hood, the bottom the sill and the wheel arches."""
    x, bottom = _underline(body)
    half, width, end = body.length / 2, body.width / 2, 0.22
    top = PchipInterpolator(*_topline(body).T)(x)
    bottom = np.minimum(bottom, top - 0.1)  # a low hood leaves a low arch
    # Rounded off towards both ends like a quarter of an ellipse.
    beyond = np.clip((np.abs(x) - half + end) / end, 0, 1)
    shrink = 0.12 * (1 - np.sqrt(1 - 0.96 * beyond**2)) / 0.8
    side = width * (1 - 0.06 * (x / half) ** 2) - shrink
    rings = [_section(x[i], side[i], bottom[i] + 0.5 * shrink[i], top[i] - 0.8 * shrink[i]) for i in range(len(x))]
    return loft(np.stack(rings))


def _topline(body: Body) -> np.ndarray:
    """Points (N, 2) of (x, z) along boot or bed, belt and hood."""
    half = body.length / 2
    rear, front = (share * body.length for share in body.cabin)
    boot = [(-half, 0.93 * body.deck)]
    if body.deck < body.nose:  # a pickup's bed is level
        boot = [(-half, body.deck), (rear - 0.02, body.deck)]
    elif rear - 0.1 > 0.1 - half:
        boot.append((rear - 0.1, body.deck))
    hood = [(0.75 * half + 0.25 * front, 0.5 * (body.nose + body.belt)), (half, body.nose)]
    return np.array([*boot, (rear, body.belt), (front, body.belt), *hood])


def _section(x: float, side: float, bottom: float, top: float) -> np.ndarray:
    ring = rounded_rectangle(2 * side, top - bottom, min(0.12, 0.3 * (top - bottom)), segments=3)
    ring[:, 0] *= 1 - 0.07 * np.clip(ring[:, 1] / (top - bottom) + 0.2, 0, 1)  # sides lean in above the middle
    return np.column_stack([np.full(len(ring), x), ring[:, 0], ring[:, 1] + (top + bottom) / 2])


def _underline(body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Places x of all sections and the height of the body's lower edge there."""
    half, arch = body.length / 2, 1.16 * body.wheel
    angles = np.radians(np.linspace(180, 0, 13))
    pieces, edges = [], [-half]
    for axle in axles(body):
        ends = [(axle - arch - 0.002, body.sill), (axle + arch + 0.002, body.sill)]
        arc = np.column_stack([axle + arch * np.cos(angles), body.wheel + arch * np.sin(angles)])
        pieces.append(np.array([ends[0], *arc, ends[1]]))
        edges += [ends[0][0], ends[1][0]]
    edges.append(half)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        inner = np.linspace(start, end, 12)[1:-1]
        pieces.append(np.column_stack([inner, np.full(10, body.sill)]))
    shape = np.concatenate([[(-half, body.sill + 0.06)], *pieces, [(half, body.sill + 0.06)]])
    x, bottom = shape[np.argsort(shape[:, 0])].T
    return x, bottom


def underside(body: Body) -> Part:
    """What one sees dark inside the wheel arches."""
    rear, front = axles(body)
    height = 1.9 * body.wheel - body.sill
    size = (front - rear + 2.2 * body.wheel, body.width - 0.5, height)
    return box(size, 0.04).moved((rear + front) / 2, 0.0, body.sill + height / 2 + 0.02).as_trim()


def cabin(body: Body, solid_rear: bool) -> list[Part]:
    """Dark glass between belt and roof, the roof, and pillars in the object's colour."""
    low, high = _cabin_rings(body)
    parts = [loft(np.stack([low - (0, 0, 0.1), low, high])).as_trim()]
    crown = high.mean(axis=0)
    rings = [(1.0, -0.03), (1.03, -0.01), (1.03, 0.02), (0.97, 0.06), (0.7, 0.085)]
    parts.append(loft(np.stack([crown + (high - crown) * (scale, scale, 1) + (0, 0, up) for scale, up in rings])))
    sides, corner = GLASS_SIDES + 1, GLASS_SIDES // 2
    posts = [
        np.stack([ring[corner], ring[corner + sides], (ring[sides - 1] + ring[sides]) / 2]) for ring in (low, high)
    ]
    for foot, end in zip(*posts, strict=True):  # front, rear and middle on the left
        parts += tube(np.stack([foot - (0, 0, 0.05), end]), 0.045, 8).both_sides()
    if solid_rear:  # a delivery van: no windows behind the driver
        low, high = _cabin_rings(replace(body, cabin=(body.cabin[0], 0.1), top=(body.top[0], 0.1)))
        parts.append(loft(np.stack([low, high]) * (1.003, 1.03, 1.004)))
    return parts


def _cabin_rings(body: Body) -> tuple[np.ndarray, np.ndarray]:
    """The cabin's outline on the belt and under the roof, (N, 3) each, corners in the order of `rounded_rectangle`."""
    rings = []
    for (rear, front), width, z in (
        (body.cabin, 0.86 * body.width, body.belt - 0.02),
        (body.top, 0.7 * body.width, body.roof - 0.05),
    ):
        x, y = rounded_rectangle((front - rear) * body.length, width, 0.12, GLASS_SIDES).T
        rings.append(np.column_stack([x + (front + rear) / 2 * body.length, y, np.full(len(x), z)]))
    return rings[0], rings[1]


def open_cabin(body: Body) -> list[Part]:
    """A windscreen in its frame, two seats in a dark well, and a roll bar."""
    front, top = body.cabin[1] * body.length, body.top[1] * body.length
    side, height = 0.4 * body.width, body.roof - 0.05
    frame = [
        (front, side, body.belt - 0.05),
        (top, 0.86 * side, height),
        (top, -0.86 * side, height),
        (front, -side, body.belt - 0.05),
    ]
    glass = loft(np.array([[(x + d, y, z) for x, y, z in frame] for d in (0.0, 0.015)]))
    parts = [tube(np.array(frame), 0.035, 8), glass.as_trim()]
    well = box((0.33 * body.length, 0.76 * body.width, 0.1), 0.04).moved(-0.02 * body.length, 0.0, body.belt - 0.02)
    seat = box((0.16, 0.5, 0.6), 0.07, 2).turned("y", -12)
    seat = seat.moved(-0.1 * body.length, 0.24 * body.width, body.belt + 0.12)
    left = [(-0.17 * body.length, 0.9 * side, body.belt - 0.1), (-0.17 * body.length, 0.8 * side, body.belt + 0.2)]
    bar = np.array([*left, *[(x, -y, z) for x, y, z in left[::-1]]])
    return [*parts, well.as_trim(), *seat.both_sides(), tube(bar, 0.04, 8)]


def bed(body: Body) -> list[Part]:
    """The walls of a pickup's bed and its dark floor."""
    rear, front = -0.497 * body.length, body.cabin[0] * body.length - 0.04
    height = body.belt + 0.06 - body.deck
    middle, level = (rear + front) / 2, body.deck + height / 2 - 0.047
    wall = box((front - rear, 0.09, height + 0.1), 0.03).moved(middle, 0.435 * body.width, level)
    gate = box((0.09, 0.9 * body.width, height + 0.1), 0.03).moved(rear + 0.05, 0.0, level)
    floor = box((front - rear - 0.1, 0.84 * body.width, 0.04), 0.01).moved(middle, 0.0, body.deck + 0.02)
    return [*wall.both_sides(), gate, floor.as_trim()]
