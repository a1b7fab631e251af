"""Cars: eight bodies from hatchback to pickup, front towards +x, on four wheels."""

from dataclasses import replace

import numpy as np

from .car_body import Body, axles, bed, cabin, lower_body, open_cabin, underside
from .shape_mesh import Part
from .solids import box, lathe, tube

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


# What the second and third car of a kind differ in, besides proportions.
STYLES: dict[str, tuple[dict[str, float | tuple[float, float]], ...]] = {
    "sedan": ({}, {"length": 5.7, "cabin": (-0.36, 0.26), "top": (-0.26, 0.14)}, {"roof": 1.54, "nose": 0.8}),
    "suv": ({}, {"length": 4.0, "roof": 1.86}, {"length": 5.0, "belt": 1.22}),
    "sports": ({}, {"nose": 0.64, "top": (-0.24, -0.06)}, {"cabin": (-0.46, 0.04), "top": (-0.26, -0.12)}),
    "pickup": (
        {},
        {"cabin": (-0.2, 0.2), "top": (-0.17, 0.1), "length": 5.6},
        {"length": 4.7, "wheel": 0.5, "sill": 0.5},
    ),
    "hatchback": ({}, {"length": 3.3, "roof": 1.56}, {"top": (-0.28, 0.06), "nose": 0.7}),
    "van": ({}, {"cabin": (-0.485, 0.47), "top": (-0.47, 0.42)}, {"roof": 2.5, "length": 5.6}),
    "wagon": ({}, {"length": 5.1, "roof": 1.54}, {"length": 4.2, "belt": 0.88}),
    "convertible": ({}, {"length": 3.7, "wheel": 0.36}, {"length": 4.9, "nose": 0.76}),
}


def make_car(variant: int, rng: np.random.Generator) -> list[Part]:
    """Make one car: the body by `variant`, its proportions and extras by `rng`."""
    kind, style = tuple(BODIES)[variant % len(BODIES)], variant // len(BODIES) % 3
    body = _varied(replace(BODIES[kind], **STYLES[kind][style]), rng)  # type: ignore[arg-type]
    parts = [lower_body(body), underside(body), *_wheels(body), *_face(body, rng), *_stern(body)]
    if kind == "convertible":
        return parts + open_cabin(body)
    parts += cabin(body, solid_rear=kind == "van" and style != 1)
    if kind == "pickup":
        parts += bed(body)
    return parts + _extras(kind, style, body)


def _varied(body: Body, rng: np.random.Generator) -> Body:
    """Stretch the body a little in every measure."""
    scale = rng.uniform(0.94, 1.06, size=4)
    shift = rng.uniform(-0.025, 0.025)
    roof = body.belt + (body.roof - body.belt) * scale[1]
    top = (body.top[0] + rng.uniform(-0.02, 0.05), body.top[1] + shift)
    return replace(
        body, length=body.length * scale[0], roof=roof, nose=body.nose * scale[2], wheel=body.wheel * scale[3],
        cabin=(body.cabin[0], body.cabin[1] + shift), top=(max(top[0], body.cabin[0] + 0.01), top[1]),
    )  # fmt: skip


def _wheels(body: Body) -> list[Part]:
    parts = []
    for axle in axles(body):
        for part in _wheel(body.wheel):
            parts += part.turned("x", -90).moved(axle, body.width / 2 - 0.13, body.wheel).both_sides()
    return parts


def _wheel(radius: float) -> list[Part]:
    """Tyre and rim around the z axis, the rim's outside upwards."""
    half = 0.11
    tyre = [(0.0, -half), (0.8, -half), (0.95, -0.8 * half), (1.0, -0.4 * half), (1.0, 0.4 * half), (0.95, 0.8 * half)]
    tyre += [(0.8, half), (0.66, 0.9 * half), (0.0, 0.9 * half)]
    rim = [(0.0, 0.0), (0.6, 0.0), (0.62, half), (0.5, 1.08 * half), (0.2, 0.96 * half), (0.0, 1.1 * half)]
    return [lathe(np.array(tyre) * (radius, 1.0)).as_trim(), lathe(np.array(rim) * (radius, 1.0))]


def _face(body: Body, rng: np.random.Generator) -> list[Part]:
    """Grille, bumper, headlights and mirrors: what tells the front from the back."""
    half, height = body.length / 2, body.nose - body.sill
    grille = box((0.06, rng.uniform(0.4, 0.6) * body.width, 0.24 * height), 0.025)
    grille = grille.moved(half - 0.005, 0.0, body.sill + 0.62 * height)
    bumper = box((0.14, 0.86 * body.width, 0.16), 0.05).moved(half - 0.04, 0.0, body.sill + 0.14)
    disc = [(0.0, 0.0), (0.11, 0.0), (0.1, 0.05), (0.05, 0.075), (0.0, 0.08)]
    light = lathe(np.array(disc)).turned("y", 90).stretched(y=rng.uniform(1.0, 1.7))
    light = light.moved(half - 0.05, 0.36 * body.width, body.sill + 0.68 * height)
    mirror = box((0.1, 0.2, 0.13), 0.045, 2)
    mirror = mirror.moved(body.cabin[1] * body.length - 0.22, 0.5 * body.width, body.belt + 0.06)
    return [grille.as_trim(), bumper, *light.as_trim().both_sides(), *mirror.both_sides()]


def _stern(body: Body) -> list[Part]:
    half, height = body.length / 2, body.deck - body.sill
    bumper = box((0.14, 0.86 * body.width, 0.16), 0.05).moved(-half + 0.03, 0.0, body.sill + 0.14)
    light = box((0.06, 0.12, 0.3 * height), 0.025).moved(-half + 0.02, 0.36 * body.width, body.sill + 0.66 * height)
    return [bumper, *light.as_trim().both_sides()]


def _extras(kind: str, style: int, body: Body) -> list[Part]:
    """Spoiler, taxi sign, spare wheel, rails or a box on the roof, on some."""
    half, roof = body.length / 2, body.roof + 0.02
    if kind == "sports" and style != 1:
        blade = box((0.24, 0.8 * body.width, 0.04), 0.018).moved(-0.92 * half, 0.0, body.deck + 0.2)
        stand = box((0.12, 0.04, 0.24), 0.018).moved(-0.92 * half, 0.3 * body.width, body.deck + 0.08)
        return [blade, *stand.both_sides()]
    if kind == "sedan" and style == 2:
        return [box((0.16, 0.5, 0.16), 0.05, 2).moved(half * sum(body.top), 0.0, roof + 0.06)]
    if kind == "suv" and style == 1:
        return [part.turned("y", -90).moved(-half - 0.06, 0.0, body.belt - 0.1) for part in _wheel(0.85 * body.wheel)]
    if kind == "wagon" and style == 1:
        return [box((1.5, 0.7, 0.3), 0.13, 3).moved(half * sum(body.top), 0.0, roof + 0.15)]
    if kind in ("suv", "wagon"):
        rear, front = (1.7 * half * share for share in body.top)
        path = [(rear, 0.0, 0.0), (rear + 0.1, 0.0, 0.08), (front - 0.1, 0.0, 0.08), (front, 0.0, 0.0)]
        return tube(path, 0.025, 8).moved(0.0, 0.29 * body.width, roof).both_sides()
    return []
