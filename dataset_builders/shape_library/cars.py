"""Cars: eight bodies from hatchback to pickup, front towards +x, on four wheels."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from .curves import rounded_rectangle
from .shape_mesh import Part
from .solids import box, lathe, loft, tube


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


BODIES = {
    "sedan": Body(4.6, 1.8, 0.24, 0.72, 0.95, 0.96, 1.42, (-0.35, 0.22), (-0.2, 0.07), 0.34),
    "suv": Body(4.5, 1.9, 0.36, 0.98, 1.14, 1.14, 1.76, (-0.47, 0.23), (-0.42, 0.1), 0.41),
    "sports": Body(4.4, 1.9, 0.18, 0.68, 0.84, 0.9, 1.2, (-0.36, 0.15), (-0.14, -0.03), 0.35),
    "pickup": Body(5.3, 1.9, 0.38, 1.0, 1.12, 0.84, 1.76, (-0.11, 0.19), (-0.08, 0.09), 0.42),
    "hatchback": Body(3.8, 1.7, 0.24, 0.78, 0.95, 0.97, 1.48, (-0.47, 0.28), (-0.36, 0.1), 0.32),
    "van": Body(4.9, 1.95, 0.3, 0.98, 1.18, 1.18, 2.05, (-0.485, 0.42), (-0.47, 0.3), 0.35),
    "wagon": Body(4.7, 1.8, 0.24, 0.72, 0.94, 0.95, 1.46, (-0.475, 0.2), (-0.41, 0.06), 0.34),
    "convertible": Body(4.2, 1.8, 0.2, 0.66, 0.86, 0.88, 1.2, (-0.2, 0.16), (0.02, 0.05), 0.34),
}
GLASS_SIDES = 4  # segments of a rounded corner of the cabin


def make_car(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one car: the body by `variant`, its proportions and extras by `rng`."""
    kind = tuple(BODIES)[variant % len(BODIES)]
    body = _varied(BODIES[kind], rng)
    parts = [_lower_body(body), _underside(body), *_wheels(body), *_face(body, rng), *_stern(body)]
    if kind == "convertible":
        return parts + _open_cabin(body)
    parts += _cabin(body, solid_rear=kind == "van" and variant % 3 == 2)
    if kind == "pickup":
        parts += _bed(body)
    return parts + _extras(kind, body, variant)


def _varied(body: Body, rng: np.random.Generator) -> Body:
    """Stretch the body a little in every measure."""
    scale = rng.uniform(0.93, 1.07, size=4)
    shift = rng.uniform(-0.025, 0.025)
    roof = body.belt + (body.roof - body.belt) * scale[1]
    top = (body.top[0] + rng.uniform(-0.02, 0.05), body.top[1] + shift)
    return replace(
        body, length=body.length * scale[0], roof=roof, nose=body.nose * scale[2], wheel=body.wheel * scale[3],
        cabin=(body.cabin[0], body.cabin[1] + shift), top=(max(top[0], body.cabin[0] + 0.01), top[1]),
    )  # fmt: skip


def _axles(body: Body) -> tuple[float, float]:
    return -0.3 * body.length, 0.32 * body.length


def _lower_body(body: Body) -> Part:
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
    for axle in _axles(body):
        ends = [(axle - arch - 0.002, body.sill), (axle + arch + 0.002, body.sill)]
        arc = np.column_stack([axle + arch * np.cos(angles), body.wheel + arch * np.sin(angles)])
        pieces.append(np.array([ends[0], *arc, ends[1]]))
        edges += [ends[0][0], ends[1][0]]
    edges.append(half)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        inner = np.linspace(start, end, 12)[1:-1]
        pieces.append(np.column_stack([inner, np.full(10, body.sill)]))
    shape = np.concatenate([[(-half, body.sill + 0.06)], *pieces, [(half, body.sill + 0.06)]])
    return tuple(shape[np.argsort(shape[:, 0])].T)  # type: ignore[return-value]


def _underside(body: Body) -> Part:
    """What one sees dark inside the wheel arches."""
    rear, front = _axles(body)
    height = 1.9 * body.wheel - body.sill
    size = (front - rear + 2.2 * body.wheel, body.width - 0.5, height)
    return box(size, 0.04).moved((rear + front) / 2, 0.0, body.sill + height / 2 + 0.02).as_trim()


def _wheels(body: Body) -> list[Part]:
    radius, half = body.wheel, 0.11
    tyre = [(0.0, -half), (0.8, -half), (0.95, -0.8 * half), (1.0, -0.4 * half), (1.0, 0.4 * half), (0.95, 0.8 * half)]
    tyre += [(0.8, half), (0.66, 0.9 * half), (0.0, 0.9 * half)]
    rim = [(0.0, 0.0), (0.6, 0.0), (0.62, half), (0.5, 1.08 * half), (0.2, 0.96 * half), (0.0, 1.1 * half)]
    parts = []
    for axle in _axles(body):
        for profile, is_trim in ((tyre, True), (rim, False)):
            wheel = lathe(np.array(profile) * (radius, 1.0)).turned("x", -90)  # its outside towards +y
            wheel = wheel.moved(axle, body.width / 2 - half - 0.02, radius)
            parts += (wheel.as_trim() if is_trim else wheel).both_sides()
    return parts


def _cabin(body: Body, solid_rear: bool) -> list[Part]:
    """Dark glass between belt and roof, the roof, and pillars in the object's colour."""
    low, high = _cabin_rings(body)
    parts = [loft(np.stack([low - (0, 0, 0.1), low, high])).as_trim()]
    crown = high.mean(axis=0)
    rings = [(1.0, -0.03), (1.03, -0.01), (1.03, 0.02), (0.97, 0.06), (0.7, 0.085)]
    parts.append(loft(np.stack([crown + (high - crown) * (scale, scale, 1) + (0, 0, up) for scale, up in rings])))
    corner = GLASS_SIDES // 2
    sides = GLASS_SIDES + 1
    for index, share in ((corner, None), (corner + sides, None), (0, 0.5)):  # front, rear and middle on the left
        start, end = low[index], high[index]
        if share is not None:
            start, end = (low[sides - 1] + low[sides]) / 2, (high[sides - 1] + high[sides]) / 2
        parts += tube(np.stack([start - (0, 0, 0.05), end]), 0.045, 8).both_sides()
    if solid_rear:  # a delivery van: no windows behind the driver
        size = (0.52 * body.length, 1.02 * (high[:, 1].max() * 2), body.roof - body.belt + 0.1)
        parts.append(box(size, 0.05).moved(-0.2 * body.length, 0.0, (body.roof + body.belt) / 2))
    return parts


def _cabin_rings(body: Body) -> tuple[np.ndarray, np.ndarray]:
    """The cabin's outline on the belt and under the roof, (N, 3) each, corners in the order of `rounded_rectangle`."""
    rings = []
    for (rear, front), width, z in (
        (body.cabin, 0.86 * body.width, body.belt - 0.02),
        (body.top, 0.7 * body.width, body.roof - 0.05),
    ):
        ring = rounded_rectangle((front - rear) * body.length, width, 0.12, GLASS_SIDES)
        rings.append(np.column_stack([ring + ((front + rear) / 2 * body.length, 0.0), np.full(len(ring), z)]))
    return rings[0], rings[1]


def _open_cabin(body: Body) -> list[Part]:
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
    seat = (
        box((0.16, 0.5, 0.6), 0.07, 2).turned("y", -12).moved(-0.1 * body.length, 0.24 * body.width, body.belt + 0.12)
    )
    bar = [
        (-0.17 * body.length, side * s, body.belt + z) for s, z in ((0.9, -0.1), (0.8, 0.2), (-0.8, 0.2), (-0.9, -0.1))
    ]
    return [*parts, well.as_trim(), *seat.both_sides(), tube(np.array(bar), 0.04, 8)]


def _bed(body: Body) -> list[Part]:
    rear, front = -0.497 * body.length, body.cabin[0] * body.length - 0.04
    height = body.belt + 0.06 - body.deck
    middle, level = (rear + front) / 2, body.deck + height / 2 - 0.047
    wall = box((front - rear, 0.09, height + 0.1), 0.03).moved(middle, 0.435 * body.width, level)
    gate = box((0.09, 0.9 * body.width, height + 0.1), 0.03).moved(rear + 0.05, 0.0, level)
    floor = box((front - rear - 0.1, 0.84 * body.width, 0.04), 0.01).moved(middle, 0.0, body.deck + 0.02)
    return [*wall.both_sides(), gate, floor.as_trim()]


def _face(body: Body, rng: np.random.Generator) -> list[Part]:
    """Grille, bumper, headlights and mirrors: what tells the front from the back."""
    half, middle = body.length / 2, (body.nose + body.sill) / 2
    height = body.nose - body.sill
    grille = box((0.06, rng.uniform(0.4, 0.6) * body.width, 0.24 * height), 0.025).moved(
        half - 0.005, 0.0, middle + 0.12
    )
    bumper = box((0.14, 0.86 * body.width, 0.16), 0.05).moved(half - 0.04, 0.0, body.sill + 0.14)
    disc = [(0.0, 0.0), (0.11, 0.0), (0.1, 0.05), (0.05, 0.075), (0.0, 0.08)]
    light = lathe(np.array(disc)).turned("y", 90).stretched(y=rng.uniform(1.0, 1.7))
    light = light.moved(half - 0.05, 0.36 * body.width, body.sill + 0.68 * height)
    mirror = box((0.1, 0.2, 0.13), 0.045, 2).moved(
        body.cabin[1] * body.length - 0.22, 0.5 * body.width, body.belt + 0.06
    )
    return [grille.as_trim(), bumper, *light.as_trim().both_sides(), *mirror.both_sides()]


def _stern(body: Body) -> list[Part]:
    half, height = body.length / 2, body.deck - body.sill
    bumper = box((0.14, 0.86 * body.width, 0.16), 0.05).moved(-half + 0.03, 0.0, body.sill + 0.14)
    light = box((0.06, 0.12, 0.3 * height), 0.025).moved(-half + 0.02, 0.36 * body.width, body.sill + 0.66 * height)
    return [bumper, *light.as_trim().both_sides()]


def _extras(kind: str, body: Body, variant: int) -> list[Part]:
    """A spoiler, rails on the roof or a spare wheel, on some."""
    if kind == "sports":
        wing = box((0.24, 0.8 * body.width, 0.04), 0.018).moved(-0.46 * body.length, 0.0, body.deck + 0.2)
        return [
            wing,
            *box((0.12, 0.04, 0.24), 0.018)
            .moved(-0.46 * body.length, 0.3 * body.width, body.deck + 0.08)
            .both_sides(),
        ]
    if kind in ("suv", "wagon") and variant % 2:
        rear, front = ((share * 0.85) * body.length for share in body.top)
        rail = tube(
            np.array([(rear, 0.0, 0.0), (rear + 0.1, 0.0, 0.08), (front - 0.1, 0.0, 0.08), (front, 0.0, 0.0)]),
            0.025,
            8,
        )
        return rail.moved(0.0, 0.29 * body.width, body.roof + 0.02).both_sides()
    return []
