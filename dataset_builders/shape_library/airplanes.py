"""Airplanes: eight kinds from airliner to glider, nose towards +x, wings along y."""

from collections.abc import Callable

import numpy as np

from .curves import circle
from .draws import spread
from .shape_mesh import Part
from .solids import box, lathe, loft, tube, wing

# All lengths are in halves of the fuselage, which spans x in [-1, 1] around the x axis.


def make_airplane(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one airplane: the kind by `variant`, its proportions by `rng`."""
    kinds: tuple[Callable[[np.random.Generator, int], list[Part]], ...] = (
        _airliner, _high_wing, _fighter, _four_engines, _biplane, _rear_engines, _glider, _turboprop,
    )  # fmt: skip
    return kinds[variant % len(kinds)](rng, variant // len(kinds))


def _airliner(rng: np.random.Generator, style: int) -> list[Part]:
    radius, span, sweep = (
        spread(rng, 0.1, 0.14, style, 3),
        spread(rng, 0.8, 1.15, style + 1, 3),
        spread(rng, 0.35, 0.7, style, 3),
    )
    parts = [_fuselage(radius), *_cockpit(radius), *_cabin_windows(radius, 9)]
    parts += _wings(0.28, -0.6 * radius, span, 0.42, 0.12, sweep, dihedral=0.1)
    parts += _engine_pair(0.25, 0.32 * span, -1.15 * radius, rng.uniform(0.075, 0.09))
    return parts + _tail(radius, rng.uniform(0.36, 0.46), 0.38, sweep)


def _four_engines(rng: np.random.Generator, style: int) -> list[Part]:
    radius, span, sweep = (
        spread(rng, 0.12, 0.16, style, 3),
        spread(rng, 0.9, 1.15, style + 2, 3),
        spread(rng, 0.4, 0.65, style + 1, 3),
    )
    parts = [_fuselage(radius), *_cockpit(radius), *_cabin_windows(radius, 10)]
    parts += _wings(0.32, -0.6 * radius, span, 0.46, 0.12, sweep, dihedral=0.12)
    for share, x in ((0.28, 0.26), (0.56, 0.26 - 0.28 * span * sweep)):
        parts += _engine_pair(x, share * span, -1.2 * radius + 0.1 * share * span, 0.07)
    return parts + _tail(radius, rng.uniform(0.4, 0.48), 0.42, sweep)


def _rear_engines(rng: np.random.Generator, style: int) -> list[Part]:
    radius, span, sweep = (
        spread(rng, 0.09, 0.125, style, 3),
        spread(rng, 0.7, 1.0, style + 1, 3),
        spread(rng, 0.25, 0.55, style, 3),
    )
    parts = [_fuselage(radius), *_cockpit(radius), *_cabin_windows(radius, int(rng.integers(5, 8)))]
    parts += _wings(0.12, -0.7 * radius, span, 0.38, 0.13, sweep, dihedral=0.08)
    for engine in _nacelle(0.085, 0.36):
        parts += engine.moved(-0.5, radius + 0.1, 0.5 * radius).both_sides()
    parts += box((0.2, 0.14, 0.025), 0.012).moved(-0.5, radius, 0.5 * radius).both_sides()
    height = rng.uniform(0.38, 0.45)
    parts.append(_fin(-0.66, 0.5 * radius, height, 0.32, 0.7))
    return parts + _wings(-0.98, 0.45 * radius + height, 0.36, 0.2, 0.1, 0.35)  # on top of the fin


def _turboprop(rng: np.random.Generator, style: int) -> list[Part]:
    radius, span, is_high = spread(rng, 0.1, 0.135, style, 3), spread(rng, 0.9, 1.2, style + 1, 3), style != 1
    level = 0.9 * radius if is_high else -0.6 * radius
    parts = [_fuselage(radius), *_cockpit(radius), *_cabin_windows(radius, 6)]
    parts += _wings(0.25, level, span, 0.3, 0.16, 0.06, dihedral=0.04)
    parts += _ellipsoid(0.24, 0.065, 0.065).moved(0.36 - 0.24, 0.34 * span, level).both_sides()
    for part in _propeller(0.24, int(rng.integers(3, 6))):
        parts += part.moved(0.36, 0.34 * span, level).both_sides()
    height = rng.uniform(0.34, 0.42)
    parts.append(_fin(-0.66, 0.5 * radius, height, 0.3, 0.5))
    return parts + _wings(-0.76, radius * 0.7 if not is_high else 0.45 * radius + height, 0.36, 0.2, 0.12, 0.2)


def _high_wing(rng: np.random.Generator, style: int) -> list[Part]:
    radius, span, is_low = spread(rng, 0.14, 0.185, style, 3), spread(rng, 1.05, 1.4, style + 1, 3), style == 1
    parts = [_fuselage(radius, nose=0.5, tail=1.25, rise=0.3), *(_bubble(0.1, 0.75 * radius, 0.34, radius * 0.8))]
    level = -0.75 * radius if is_low else 1.18 * radius
    parts += _wings(0.32, level, span, 0.36, rng.uniform(0.2, 0.34), 0.04, dihedral=0.1 if is_low else 0.03)
    if not is_low:
        parts += tube([(0.15, 0.8 * radius, -0.6 * radius), (0.15, 0.55 * span, 1.2 * radius)], 0.016).both_sides()
    parts += [part.moved(1.0) for part in _propeller(0.34, int(rng.integers(2, 4)))]
    return parts + _gear(0.3, 2.4 * radius, radius) + _tail(0.6 * radius, rng.uniform(0.3, 0.4), 0.38, 0.3)


def _biplane(rng: np.random.Generator, style: int) -> list[Part]:
    radius, span, gap = (
        spread(rng, 0.14, 0.18, style, 3),
        spread(rng, 0.9, 1.25, style + 1, 3),
        spread(rng, 0.45, 0.62, style, 3),
    )
    low, high, stagger = -0.8 * radius, gap - 0.8 * radius, rng.uniform(0.0, 0.14)
    parts = [_fuselage(radius, nose=0.25, tail=1.3, rise=0.5), *_bubble(-0.2, 0.8 * radius, 0.12, 0.6 * radius)]
    parts += _wings(0.55, low, span, 0.36, 0.33, 0.0, dihedral=0.04)
    parts += _wings(0.55 + stagger, high, spread(rng, 0.85, 1.2, style + 2, 3) * span, 0.36, 0.33, 0.0, dihedral=0.02)
    for x in (0.45, 0.27):
        parts += tube([(x, 0.7 * span, low), (x + stagger, 0.7 * span, high + 0.02)], 0.016).both_sides()
        parts += tube([(x, 0.6 * radius, 0.0), (x + stagger, 0.12, high)], 0.014).both_sides()
    parts += [part.moved(1.0) for part in _propeller(0.36, 2)]
    return parts + _gear(0.5, 2.3 * radius, radius) + _tail(0.6 * radius, 0.32, 0.36, 0.2)


def _fighter(rng: np.random.Generator, style: int) -> list[Part]:
    radius, span, fins = spread(rng, 0.09, 0.125, style, 3), spread(rng, 0.45, 0.65, style + 1, 3), 2 - style % 2
    parts = [
        _fuselage(radius, nose=0.8, tail=0.5, rise=0.0, stern=0.7),
        *_bubble(0.32, 0.75 * radius, 0.3, 0.6 * radius),
    ]
    parts += _wings(
        0.25,
        -0.2 * radius,
        span,
        spread(rng, 0.65, 1.0, style, 3),
        0.16,
        spread(rng, 0.8, 1.3, style + 1, 3),
        thickness=0.05,
    )
    parts += _wings(-0.68, 0.0, 0.34, 0.3, 0.12, 0.6, thickness=0.06)
    for part in (box((0.62, 0.12, 0.15), 0.04, 2), box((0.02, 0.1, 0.13), 0.008).moved(0.305).as_trim()):
        parts += part.moved(0.02, radius + 0.02, -0.3 * radius).both_sides()  # air intakes
    parts.append(lathe([(0.0, 0.0), (0.075, 0.0), (0.085, 0.12), (0.0, 0.12)]).turned("y", 90).moved(-1.07).as_trim())
    fin = _fin(-0.48, 0.6 * radius, rng.uniform(0.3, 0.36), 0.42, 0.9)
    return parts + ([fin] if fins == 1 else fin.turned("x", -16).moved(y=0.8 * radius).both_sides())


def _glider(rng: np.random.Generator, style: int) -> list[Part]:
    radius, span, is_t = spread(rng, 0.1, 0.125, style, 3), spread(rng, 1.2, 1.75, style + 1, 3), style != 1
    parts = [_fuselage(radius, nose=0.45, tail=1.35, rise=0.6), *_bubble(0.55, 0.45 * radius, 0.3, 0.75 * radius)]
    parts += _wings(0.28, 0.5 * radius, span, 0.3, 0.12, 0.04, dihedral=rng.uniform(0.04, 0.12))
    height = rng.uniform(0.28, 0.36)
    parts.append(_fin(-0.76, 0.6 * radius, height, 0.22, 0.15))
    return parts + _wings(-0.8, 0.5 * radius + height if is_t else 0.6 * radius, 0.34, 0.15, 0.08, 0.08)


def _fuselage(radius: float, nose: float = 0.35, tail: float = 0.85, rise: float = 0.6, stern: float = 0.16) -> Part:
    """A round hull: a blunt nose of length `nose`, a tail of length `tail` that rises and narrows to `stern`."""
    forward = 1 - nose * (1 - np.sin(np.radians(np.linspace(0, 90, 10))))
    aft = -1 + tail * np.linspace(0, 1, 9)
    x = np.concatenate([aft, forward])
    shrink = np.sqrt(np.maximum(0, 1 - (np.maximum(0, x - 1 + nose) / nose) ** 2))
    behind = np.maximum(0, 1 - (x + 1) / tail)
    radii = radius * shrink * (1 - (1 - stern) * behind**1.6)
    axis = radius * (rise * behind**1.4 - 0.25 * (1 - shrink) ** 2)
    flat = circle(sides=28) * radii[:, None, None]
    station = np.broadcast_to(x[:, None], flat.shape[:2])
    return loft(np.stack([station, flat[..., 0], flat[..., 1] + axis[:, None]], axis=-1))


def _cockpit(radius: float) -> list[Part]:
    """The windscreen of a large aircraft: a dark lens that looks out of the upper nose."""
    return [_ellipsoid(0.09, 0.72 * radius, 0.36 * radius).turned("y", 22).moved(0.83, 0.0, 0.52 * radius).as_trim()]


def _bubble(x: float, z: float, half_length: float, radius: float) -> list[Part]:
    return [_ellipsoid(half_length, 0.8 * radius, radius).moved(x, 0.0, z).as_trim()]


def _cabin_windows(radius: float, count: int) -> list[Part]:
    pane = box((0.045, 0.02, 0.05), 0.009)
    places = np.linspace(-0.42, 0.62, count).tolist()
    return [part for x in places for part in pane.moved(x, 0.975 * radius, 0.22 * radius).both_sides()]


def _wings(
    x: float,
    z: float,
    span: float,
    root: float,
    tip: float,
    sweep: float,
    dihedral: float = 0.0,
    thickness: float = 0.12,
) -> list[Part]:
    """Left and right wing: leading edge at `x`, chords at root and tip, `sweep` and `dihedral` as slopes."""
    sections = [(x, 0.0, z, root), (x - sweep * span, span, z + dihedral * span, tip)]
    rounded = (x - sweep * span - 0.25 * tip, span + 0.12 * tip, z + dihedral * span, 0.5 * tip)
    return wing([*sections, rounded], thickness).both_sides()


def _fin(x: float, z: float, height: float, chord: float, sweep: float) -> Part:
    sections = [(0.0, 0.0, 0.0, chord), (-sweep * height, height, 0.0, 0.5 * chord)]
    return wing(sections, 0.09).turned("x", 90).moved(x, 0.0, z)


def _tail(radius: float, height: float, span: float, sweep: float) -> list[Part]:
    fin = _fin(-0.62, 0.5 * radius, height, 0.34, min(0.9, 0.35 + sweep))
    return [fin, *_wings(-0.72, 0.5 * radius, span, 0.24, 0.1, sweep)]


def _nacelle(radius: float, length: float) -> list[Part]:
    """A jet engine along x with an open intake and its dark fan."""
    shell = [(0.0, -0.5), (0.5, -0.5), (0.75, -0.35), (1.0, 0.05), (1.0, 0.35), (0.94, 0.47), (0.86, 0.5)]
    profile = np.array([*shell, (0.8, 0.42), (0.78, 0.3), (0.0, 0.3)]) * (radius, length)
    fan = lathe(np.array([(0.0, 0.25), (0.79, 0.25), (0.79, 0.34), (0.2, 0.36), (0.0, 0.45)]) * (radius, length))
    return [lathe(profile).turned("y", 90), fan.turned("y", 90).as_trim()]


def _engine_pair(x: float, y: float, z: float, radius: float) -> list[Part]:
    pylon = box((0.16, 0.025, 1.4 * radius), 0.012).moved(x - 0.1, y, z + radius)
    return pylon.both_sides() + [side for part in _nacelle(radius, 0.34) for side in part.moved(x, y, z).both_sides()]


def _propeller(radius: float, blades: int) -> list[Part]:
    """Dark blades and a spinner that turn about the x axis at the origin."""
    spinner = lathe([(0.0, -0.03), (0.06, -0.03), (0.055, 0.03), (0.035, 0.08), (0.0, 0.1)]).turned("y", 90)
    blade = wing([(0.045, 0.02, 0.0, 0.09), (0.045, 0.6 * radius, 0.0, 0.1), (0.03, radius, 0.0, 0.06)], 0.12)
    blade = blade.turned("y", 60).moved(0.02)
    return [spinner.as_trim(), *(blade.turned("x", 90 + 360 * i / blades).as_trim() for i in range(blades))]


def _gear(x: float, drop: float, radius: float) -> list[Part]:
    """Two wheels under the hull and a small one under the tail."""
    wheel = lathe([(0.0, -0.03), (0.07, -0.03), (0.09, -0.015), (0.09, 0.015), (0.07, 0.03), (0.0, 0.03)]).turned(
        "x", 90
    )
    main = wheel.moved(x, 1.5 * radius, -drop).as_trim()
    leg = tube([(x, 0.4 * radius, -0.8 * radius), (x, 1.5 * radius, -drop)], 0.02)
    tail = wheel.stretched(0.55, 0.8, 0.55).moved(-0.85, 0.0, -0.25 * radius).as_trim()
    return [*main.both_sides(), *leg.both_sides(), tail]


def _ellipsoid(x: float, y: float, z: float) -> Part:
    angles = np.linspace(-np.pi / 2, np.pi / 2, 13)
    profile = np.column_stack([np.cos(angles), np.sin(angles)])
    profile[[0, -1], 0] = 0.0
    return lathe(profile, circle(sides=24)).stretched(x, y, z)
