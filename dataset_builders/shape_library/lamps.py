"""Lamps: on tables and floors, with shades, globes, jointed arms and arcs; those with an arm reach towards +x."""

from collections.abc import Callable

import numpy as np

from .curves import circle, smooth
from .draws import spread
from .shape_mesh import Part
from .solids import box, lathe, tube


def make_lamp(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one lamp of eight kinds; proportions by `rng`."""
    kinds: tuple[Callable[[np.random.Generator, int], list[Part]], ...] = (
        _vase_lamp, _desk_lamp, _floor_lamp, _mushroom, _tripod, _arc, _stick_lamp, _gooseneck,
    )  # fmt: skip
    return kinds[variant % len(kinds)](rng, variant // len(kinds))


def _shade(low: float, high: float, height: float, rng: np.random.Generator | None = None) -> list[Part]:
    """An open shade from z = 0 with its bulb; `low` and `high` are the radii of its rims. Some are pleated."""
    wall = 0.02
    outline = circle(sides=48)
    if rng is not None and rng.uniform() < 0.35:
        outline = outline * (1 + 0.03 * np.where(np.arange(48) % 2, 1, -1))[:, None]
    profile = [(low - wall, 0.0), (low, 0.0), (high, height), (high - wall, height), (low - wall, 0.0)]
    return [lathe(np.array(profile), outline), *_bulb(0.3 * height)]


def _bulb(z: float) -> list[Part]:
    angles = np.linspace(-90, 90, 9)
    profile = np.column_stack([0.1 * np.cos(np.radians(angles)), z + 0.12 * np.sin(np.radians(angles))])
    profile[[0, -1], 0] = 0.0
    return [lathe(profile, circle(sides=16))]


def _disc(radius: float, height: float) -> Part:
    edge = 0.3 * height
    profile = [(0.0, 0.0), (radius, 0.0), (radius, height - edge), (radius - edge, height), (0.0, height)]
    return lathe(np.array(profile))


def _pole(low: float, high: float, radius: float = 0.03) -> Part:
    return tube([(0.0, 0.0, low), (0.0, 0.0, high)], radius, 16).as_trim()


def _vase_lamp(rng: np.random.Generator, style: int) -> list[Part]:
    """A turned ceramic foot under a wide shade."""
    height, belly, place = (
        spread(rng, 0.7, 1.2, style, 3),
        spread(rng, 0.26, 0.44, style + 1, 3),
        spread(rng, 0.25, 0.65, style + 2, 3),
    )
    curve = smooth(
        [(0.2, 0.05), (belly, place * height), (0.6 * belly, 0.75 * height), (0.1, 0.9 * height), (0.09, height)], 30
    )
    foot = lathe(np.array([(0.0, 0.0), (0.24, 0.0), (0.24, 0.05), *curve, (0.0, height)]))
    low = rng.uniform(0.5, 0.68)
    shade = _shade(low, spread(rng, 0.3, 1.0, style, 3) * low, rng.uniform(0.5, 0.75), rng)
    return [foot, _pole(height, height + 0.35), *(part.moved(z=height + 0.08) for part in shade)]


def _stick_lamp(rng: np.random.Generator, style: int) -> list[Part]:
    """A thin column with rings on a disc, and a drum for a shade."""
    height, radius = spread(rng, 0.8, 1.4, style, 3), spread(rng, 0.3, 0.5, style + 1, 3)
    parts = [_disc(rng.uniform(0.24, 0.34), 0.06), _pole(0.05, height + 0.3, 0.045)]
    for z in np.linspace(0.2, 0.85, style + 1) * height:
        parts.append(
            lathe([(0.0, z - 0.05), (0.06, z - 0.05), (0.12, z), (0.06, z + 0.05), (0.0, z + 0.05)], circle(sides=24))
        )
    return parts + [
        part.moved(z=height) for part in _shade(radius, rng.uniform(0.8, 1.0) * radius, rng.uniform(0.4, 0.6), rng)
    ]


def _floor_lamp(rng: np.random.Generator, style: int) -> list[Part]:
    height, radius = spread(rng, 2.0, 2.9, style, 3), spread(rng, 0.36, 0.6, style + 2, 3)
    shade = _shade(radius, spread(rng, 0.3, 1.0, style + 1, 3) * radius, rng.uniform(0.5, 0.65), rng)
    return [_disc(0.4, 0.07), _pole(0.05, height + 0.3, 0.035), *(part.moved(z=height) for part in shade)]


def _tripod(rng: np.random.Generator, style: int) -> list[Part]:
    height, reach, radius = (
        spread(rng, 1.3, 2.2, style, 3),
        spread(rng, 0.45, 0.75, style + 1, 3),
        spread(rng, 0.4, 0.65, style + 1, 3),
    )
    parts = [
        tube([(reach, 0, 0), (0.05, 0, height)], np.array([0.025, 0.04])).turned("z", angle) for angle in (0, 120, 240)
    ]
    parts += [_disc(0.13, 0.1).moved(z=height - 0.06).as_trim(), _pole(height, height + 0.35)]
    return parts + [part.moved(z=height + 0.1) for part in _shade(radius, rng.uniform(0.75, 1.0) * radius, 0.6, rng)]


def _mushroom(rng: np.random.Generator, style: int) -> list[Part]:
    """A dome or a globe on a conical foot."""
    height, radius = spread(rng, 0.6, 1.1, style, 3), spread(rng, 0.4, 0.62, style + 1, 3)
    foot = lathe(
        np.array(
            [(0.0, 0.0), *smooth([(0.38, 0.0), (0.37, 0.05), (0.14, 0.4 * height), (0.1, height)], 20), (0.0, height)]
        )
    )
    if style != 1:
        angles = np.radians(np.linspace(-75, 90, 16))
        globe = np.column_stack([radius * np.cos(angles), height + 0.9 * radius + radius * np.sin(angles)])
        globe[-1, 0] = 0.0
        return [foot.as_trim(), lathe(np.array([(0.0, globe[0, 1]), *globe]))]
    angles = np.radians(np.linspace(0, 90, 12))
    dome = np.column_stack([radius * np.cos(angles), 0.75 * radius * np.sin(angles)])
    dome[-1, 0] = 0.0
    inner = dome[::-1] * 0.93
    shell = lathe(np.concatenate([[(0.93 * radius, 0.0)], dome, inner])[1:])
    return [foot, shell.moved(z=height - 0.12), *(part.moved(z=height - 0.12) for part in _bulb(0.15))]


def _head(rng: np.random.Generator, tilt: float) -> list[Part]:
    """A metal reflector that hangs from the origin and opens towards -z, tilted forward by `tilt` degrees."""
    radius, depth = rng.uniform(0.24, 0.32), rng.uniform(0.3, 0.4)
    outside = smooth(
        [
            (radius, -depth),
            (0.85 * radius, -0.6 * depth),
            (0.45 * radius, -0.2 * depth),
            (0.3 * radius, 0.1),
            (0.0, 0.1),
        ],
        18,
    )
    inside = outside[::-1][2:] * 0.9 - (0.0, 0.03)
    inside[-1] = outside[0] - (0.02, 0.0)
    shell = lathe(np.concatenate([outside, [(0.0, inside[0, 1])], inside, outside[:1]])[:-1])
    return [part.turned("y", -tilt) for part in (shell, *(bulb.moved(z=-0.6 * depth) for bulb in _bulb(0.0)))]


def _desk_lamp(rng: np.random.Generator, style: int) -> list[Part]:
    """Two arms with joints: back and up, then forward."""
    knee = np.array([-spread(rng, 0.1, 0.5, style, 3), 0.0, spread(rng, 0.7, 1.1, style + 1, 3)])
    tip = knee + np.array([rng.uniform(0.75, 0.95), 0.0, rng.uniform(0.2, 0.45)])
    foot = np.array([0.0, 0.0, 0.08])
    parts = [_disc(rng.uniform(0.3, 0.38), 0.09)]
    for arm in ((foot, knee), (knee, tip)):
        parts += tube(np.stack(arm), 0.02).moved(y=0.035).both_sides()
    joint = lathe([(0.0, -0.07), (0.06, -0.07), (0.06, 0.07), (0.0, 0.07)], circle(sides=20)).turned("x", 90).as_trim()
    parts += [joint.moved(*point) for point in (foot, knee, tip)]
    return parts + [part.moved(*tip) for part in _head(rng, tilt=rng.uniform(15, 35))]


def _gooseneck(rng: np.random.Generator, style: int) -> list[Part]:
    """A bent tube on a heavy foot."""
    height, reach = spread(rng, 0.9, 1.5, style, 3), spread(rng, 0.5, 0.85, style + 1, 3)
    path = [
        (0, 0, 0.05),
        (0, 0, 0.7 * height),
        (0.25 * reach, 0, height),
        (0.7 * reach, 0, 1.02 * height),
        (reach, 0, 0.86 * height),
    ]
    foot = _disc(0.32, 0.1) if style != 1 else box((0.5, 0.5, 0.1), 0.03, 2).moved(z=0.05)
    return [
        foot,
        tube(smooth(path, 36), 0.03).as_trim(),
        *(part.moved(reach, 0.0, 0.86 * height) for part in _head(rng, 8)),
    ]


def _arc(rng: np.random.Generator, style: int) -> list[Part]:
    """A floor lamp whose pole bends far forward over a block of stone."""
    height, reach, radius = (
        spread(rng, 1.7, 2.4, style, 3),
        spread(rng, 0.9, 1.5, style + 1, 3),
        spread(rng, 0.3, 0.46, style, 3),
    )
    path = [
        (0, 0, 0.1),
        (0.0, 0, 0.55 * height),
        (0.25 * reach, 0, 0.92 * height),
        (0.65 * reach, 0, height),
        (reach, 0, 0.86 * height),
    ]
    angles = np.radians(np.linspace(0, 90, 10))
    dome = np.column_stack([radius * np.cos(angles), 0.9 * radius * np.sin(angles)])
    dome[-1, 0] = 0.0
    shell = lathe(np.concatenate([dome, dome[::-1] * 0.93]))
    level = 0.86 * height - 0.9 * radius
    block = box((0.5, 0.5, 0.16), 0.03, 2).moved(-0.05, 0.0, 0.08) if style != 1 else _disc(0.36, 0.1)
    head = [shell.moved(reach, 0.0, level), *(part.moved(reach, 0.0, level) for part in _bulb(0.1))]
    return [block, tube(smooth(path, 40), 0.03).as_trim(), *head]
