"""Bottles: bodies turned on a lathe, round or square, with caps, pumps, triggers, spouts and handles."""

from collections.abc import Callable

import numpy as np

from .curves import circle, rounded_rectangle, smooth, superellipse
from .draws import spread
from .shape_mesh import Part
from .solids import box, lathe, sweep, tube

Profile = list[tuple[float, float]]


def make_bottle(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one bottle of twelve kinds, from wine to spray; proportions by `rng`. Base at z = 0, spouts to +x."""
    kinds: tuple[Callable[[np.random.Generator, int], list[Part]], ...] = (
        _wine, _water, _beer, _pump, _spirits, _jug, _soda, _spray, _milk, _sports, _burgundy, _sauce,
    )  # fmt: skip
    return kinds[variant % len(kinds)](rng, variant // len(kinds))


def _body(profile: Profile, outline: np.ndarray | None = None) -> Part:
    """Turn a smooth profile from the edge of the base to the mouth; base and mouth are flat."""
    (radius, base), (mouth, top) = profile[0], profile[-1]
    curve = smooth(profile, 56)
    return lathe(np.array([(0.0, base), (0.93 * radius, base), *curve, (0.8 * mouth, top), (0.0, top)]), outline)


def _cap(radius: float, low: float, high: float) -> Part:
    edge = 0.12 * radius
    profile = [(0.0, low), (radius, low), (radius, high - edge), (radius - edge, high), (0.0, high)]
    return lathe(np.array(profile)).as_trim()


def _neck_ring(radius: float, z: float) -> Part:
    half = 0.28 * radius
    return lathe(
        np.array([(0.0, z - half), (radius, z - half), (1.06 * radius, z), (radius, z + half), (0.0, z + half)])
    )


def _wine(rng: np.random.Generator, style: int) -> list[Part]:
    height, shoulder, neck = spread(rng, 6.0, 8.6, style, 2), spread(rng, 3.6, 5.2, style, 2), rng.uniform(0.34, 0.4)
    body = _body([
        (0.95, 0.0), (1.0, 0.15), (1.0, shoulder - 0.1), (0.93, shoulder + 0.35), (0.5, shoulder + 0.85),
        (neck, shoulder + 1.3), (neck, height),
    ])  # fmt: skip
    return [body, _neck_ring(1.16 * neck, height - 0.15), _cap(1.08 * neck, height - 1.4, height - 0.3)]


def _burgundy(rng: np.random.Generator, style: int) -> list[Part]:
    height, shoulder, neck = (
        spread(rng, 5.4, 7.6, style, 2),
        spread(rng, 1.6, 3.2, style + 1, 2),
        rng.uniform(0.36, 0.42),
    )
    body = _body([
        (1.05, 0.0), (1.12, 0.18), (1.12, shoulder), (0.95, shoulder + 0.7), (0.6, shoulder + 1.6),
        (neck, shoulder + 2.5), (neck, height),
    ])  # fmt: skip
    return [body, _neck_ring(1.16 * neck, height - 0.15), _cap(0.9 * neck, height - 0.1, height + 0.25)]


def _beer(rng: np.random.Generator, style: int) -> list[Part]:
    height, shoulder = spread(rng, 4.0, 6.8, style, 2), spread(rng, 1.8, 3.4, style, 2)
    body = _body([
        (0.95, 0.0), (1.0, 0.12), (1.0, shoulder), (0.8, shoulder + 0.6), (0.5, shoulder + 1.2), (0.4, height - 0.6),
        (0.36, height),
    ])  # fmt: skip
    return [body, _cap(0.5, height - 0.1, height + 0.2)]


def _soda(rng: np.random.Generator, style: int) -> list[Part]:
    height, waist = spread(rng, 5.0, 7.0, style, 2), spread(rng, 0.62, 0.82, style + 1, 2)
    shares = [
        (0.82, 0.0), (0.98, 0.03), (1.0, 0.16), (waist, 0.30), (0.86, 0.42), (1.0, 0.56), (0.9, 0.66), (0.55, 0.80),
        (0.42, 0.92), (0.42, 1.0),
    ]  # fmt: skip
    flutes = circle(sides=48) * (1 + 0.025 * np.cos(12 * np.linspace(0, 2 * np.pi, 48, endpoint=False)))[:, None]
    body = _body([(radius, height * share) for radius, share in shares], flutes)
    return [body, _cap(0.5, height - 0.15, height + 0.25)]


def _water(rng: np.random.Generator, style: int) -> list[Part]:
    height, ribs = spread(rng, 4.4, 6.2, style, 2), 3 + 2 * style
    profile = [(0.85, 0.0), (1.0, 0.15)]
    for rib in range(ribs):
        low = 0.5 + rib * 0.5
        profile += [(1.0, low), (0.86, low + 0.16), (1.0, low + 0.32)]
    profile += [(1.0, height - 1.6), (0.8, height - 0.9), (0.4, height - 0.3), (0.36, height)]
    return [_body(profile), _neck_ring(0.5, height - 0.1), _cap(0.48, height, height + 0.42)]


def _milk(rng: np.random.Generator, style: int) -> list[Part]:
    height, outline = spread(rng, 3.4, 4.8, style, 2), superellipse(1.0, 1.0, (4.0, 2.0)[style], 48)
    body = _body([
        (0.95, 0.0), (1.02, 0.12), (1.02, 0.52 * height), (0.85, 0.68 * height), (0.5, 0.84 * height),
        (0.5, 0.93 * height), (0.62, 0.95 * height), (0.62, height),
    ], outline)  # fmt: skip
    return [body, _cap(0.7, height - 0.06, height + 0.16)]


def _spirits(rng: np.random.Generator, style: int) -> list[Part]:
    width, depth, height = 1.1, spread(rng, 0.5, 1.1, style + 1, 2), spread(rng, 2.2, 4.0, style, 2)
    outline = superellipse(depth, width, 6.0, 48)
    body = _body([
        (0.95, 0.0), (1.0, 0.08), (1.0, height - 0.35), (0.93, height - 0.08), (0.6, height), (0.3, height + 0.1),
    ], outline)  # fmt: skip
    neck = lathe(np.array([(0.0, height), (0.34, height), (0.34, height + 0.7), (0.0, height + 0.7)]))
    return [body, neck, _cap(0.45, height + 0.6, height + 1.3)]


def _sauce(rng: np.random.Generator, style: int) -> list[Part]:
    height, outline = spread(rng, 2.6, 4.4, style, 2), superellipse(0.75, 1.0, 3.0, 40)
    waist = spread(rng, 0.7, 1.0, style, 2)
    body = _body([
        (0.95, 0.0), (1.0, 0.1), (1.0, 0.3 * height), (waist, 0.62 * height), (0.9, 0.82 * height), (0.5, height),
    ], outline)  # fmt: skip
    collar = _cap(0.55, height - 0.08, height + 0.4)
    nozzle = lathe(
        np.array([(0.0, height), (0.34, height + 0.35), (0.08, height + 1.4), (0.0, height + 1.4)])
    ).as_trim()
    return [body, collar, nozzle]


def _pump(rng: np.random.Generator, style: int) -> list[Part]:
    height, outline = (
        spread(rng, 2.2, 3.8, style, 2),
        superellipse(spread(rng, 0.6, 1.0, style + 1, 2), 1.0, (2.0, 4.0)[style], 40),
    )
    body = _body([(0.92, 0.0), (1.0, 0.1), (1.0, height - 0.5), (0.8, height - 0.15), (0.35, height)], outline)
    top = height + 1.05
    stem = tube([(0.0, 0.0, height), (0.0, 0.0, top)], 0.1)
    spout = tube(smooth([(-0.3, 0, top), (0.3, 0, top + 0.02), (0.85, 0, top), (1.05, 0, top - 0.25)], 14), 0.13)
    return [
        body,
        _cap(0.42, height - 0.05, height + 0.45),
        stem.as_trim(),
        spout.as_trim(),
        _cap(0.3, top - 0.1, top + 0.2),
    ]


def _spray(rng: np.random.Generator, style: int) -> list[Part]:
    height, outline = spread(rng, 2.4, 4.0, style, 2), superellipse(spread(rng, 0.6, 1.0, style + 1, 2), 1.0, 3.0, 40)
    body = _body([
        (0.95, 0.0), (1.0, 0.1), (1.0, 0.45 * height), (0.72, 0.72 * height), (0.42, 0.88 * height), (0.34, height),
    ], outline)  # fmt: skip
    head = box((1.5, 0.5, 0.55), 0.16, 2).moved(x=0.2, z=height + 0.7)
    nozzle = (
        lathe(np.array([(0.0, 0.0), (0.2, 0.0), (0.17, 0.3), (0.0, 0.3)]))
        .turned("y", 90)
        .moved(0.93, 0, height + 0.75)
    )
    trigger_path = smooth(
        [(0.6, 0, height + 0.5), (0.72, 0, height + 0.15), (0.55, 0, height - 0.15), (0.68, 0, height - 0.5)], 14
    )
    trigger = sweep(trigger_path, rounded_rectangle(0.26, 0.14, 0.06, 2), side=(0.0, 1.0, 0.0))
    return [body, _cap(0.44, height - 0.05, height + 0.5), head.as_trim(), nozzle, trigger.as_trim()]


def _jug(rng: np.random.Generator, style: int) -> list[Part]:
    height, outline = spread(rng, 2.4, 4.0, style, 2), superellipse(0.85, spread(rng, 0.5, 0.9, style + 1, 2), 4.0, 40)
    body = _body([(0.95, 0.0), (1.0, 0.12), (1.0, 0.6 * height), (0.8, 0.8 * height), (0.4, height)], outline)
    path = smooth(
        [
            (-0.2, 0, 0.94 * height),
            (-0.75, 0, 0.97 * height),
            (-1.05, 0, 0.8 * height),
            (-1.05, 0, 0.5 * height),
            (-0.7, 0, 0.36 * height),
        ],
        24,
    )
    handle = sweep(path, superellipse(0.2, 0.13, sides=16), side=(0.0, 1.0, 0.0))
    return [body, handle, _cap(0.42, height - 0.06, height + 0.45)]


def _sports(rng: np.random.Generator, style: int) -> list[Part]:
    height, grip = spread(rng, 3.4, 5.2, style, 2), spread(rng, 0.74, 0.9, style + 1, 2)
    body = _body([
        (0.9, 0.0), (1.0, 0.12), (1.0, 0.42 * height), (grip, 0.52 * height), (grip, 0.66 * height),
        (1.0, 0.78 * height), (1.0, 0.9 * height), (0.9, height),
    ])  # fmt: skip
    lid = lathe(np.array([
        (0.0, height - 0.05), (0.98, height - 0.05), (0.98, height + 0.3), (0.85, height + 0.45), (0.4, height + 0.7),
        (0.3, height + 0.75), (0.3, height + 1.0), (0.0, height + 1.0),
    ])).as_trim()  # fmt: skip
    nozzle = _neck_ring(0.24, height + 1.1)
    loop = tube(
        smooth(
            [(-0.7, 0, height + 0.5), (-0.95, 0, height + 0.9), (-0.6, 0, height + 1.1), (-0.3, 0, height + 0.9)], 14
        ),
        0.09,
    )
    return [body, lid, nozzle, loop.as_trim()]
