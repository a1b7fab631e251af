"""Scenes by the CLEVR generator's published rules (spec BENCHMARKS, "CLEVR generator rules").

`sample_clevr_scene` is a pure function of (family, split, seed, index): same arguments, same scene, on any machine.
"""

import math
from collections.abc import Mapping

import numpy as np

from modeling_igllm import ClevrObject

from .camera import CLEVR_CAMERA_LOCATION, Camera
from .lights import CLEVR_LIGHTS
from .random_streams import scene_stream
from .sampled_scene import AreaLight, SampledScene
from .visibility import CLEVR_RADII, count_visible_pixels

SIZES = ("large", "small")
MATERIALS = ("rubber", "metal")
SHAPES = ("cube", "sphere", "cylinder")
COLORS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
Palette = Mapping[str, tuple[str, ...]]

_HALF_A, _HALF_B = ("gray", "blue", "brown", "yellow"), ("red", "green", "purple", "cyan")
UNRESTRICTED: Palette = dict.fromkeys(SHAPES, COLORS)
CONDITION_A: Palette = {"cube": _HALF_A, "cylinder": _HALF_B, "sphere": COLORS}
CONDITION_B: Palette = {"cube": _HALF_B, "cylinder": _HALF_A, "sphere": COLORS}
PALETTES: dict[tuple[str, str], Palette] = {
    ("clevr", "train"): UNRESTRICTED,
    ("clevr", "val_id"): UNRESTRICTED,
    ("clevr_cogent", "train"): CONDITION_A,
    ("clevr_cogent", "val_id"): CONDITION_A,
    ("clevr_cogent", "val_ood"): CONDITION_B,
    # What is placed before `clevr_rgb` gives it other colours.
    ("clevr_rgb", "train"): UNRESTRICTED,
    ("clevr_rgb", "val_id"): UNRESTRICTED,
}

MIN_OBJECTS, MAX_OBJECTS = 3, 10
GROUND_EXTENT = 3.0  # metres: x and y are drawn from [-3, 3]
MIN_SURFACE_DISTANCE = 0.25  # metres between the ground circles of two objects
MIN_DIRECTION_MARGIN = 0.4  # metres between two centres along the camera's ground directions
PLACEMENT_TRIES = 50
MIN_VISIBLE_PIXELS = 200  # at 320x240
CAMERA_JITTER = 0.5  # metres per axis
LIGHT_JITTER = 1.0  # metres per axis


def sample_clevr_scene(family: str, split: str, seed: int, index: int) -> SampledScene:
    """Draw scene `index` of a CLEVR split: attempts are made until one obeys every rule.

    Objects come ordered left to right by projected image x (ties: y). Lengths in metres, yaw in radians, [0, pi/2).

    Raises:
        KeyError: if (family, split) is no CLEVR split; see `PALETTES`.
    """
    palette = PALETTES[family, split]
    attempt = 0
    while True:
        scene = _attempt_scene(palette, family, split, seed, index, attempt)
        if scene is not None:
            return scene
        attempt += 1


def _attempt_scene(
    palette: Palette, family: str, split: str, seed: int, index: int, attempt: int
) -> SampledScene | None:
    rng = scene_stream(family, split, seed, index, attempt)
    camera = Camera(location=_jitter(rng, CLEVR_CAMERA_LOCATION, CAMERA_JITTER))
    lights = tuple(
        AreaLight(light.name, _jitter(rng, light.location, LIGHT_JITTER), light.energy, light.size)
        for light in CLEVR_LIGHTS
    )
    objects = _place_objects(rng, palette, camera)
    if objects is None:
        return None
    objects = _left_to_right(objects, camera)
    visible = count_visible_pixels(objects, camera)
    if min(visible) < MIN_VISIBLE_PIXELS:
        return None
    return SampledScene(tuple(objects), camera, lights, visible, family, split, seed, index, attempt)


def _jitter(
    rng: np.random.Generator, location: tuple[float, float, float], extent: float
) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in np.add(location, rng.uniform(-extent, extent, size=3)))
    return x, y, z


def _place_objects(rng: np.random.Generator, palette: Palette, camera: Camera) -> list[ClevrObject] | None:
    """Place 3 to 10 objects, or return None when one finds no place in `PLACEMENT_TRIES` tries."""
    objects: list[ClevrObject] = []
    for _ in range(int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))):
        size = SIZES[rng.integers(len(SIZES))]
        place = _find_place(rng, CLEVR_RADII[size], objects, camera)
        if place is None:
            return None
        objects.append(_draw_object(rng, palette, size, place))
    return objects


def _find_place(
    rng: np.random.Generator, radius: float, objects: list[ClevrObject], camera: Camera
) -> tuple[float, float] | None:
    for _ in range(PLACEMENT_TRIES):
        x, y = (float(value) for value in rng.uniform(-GROUND_EXTENT, GROUND_EXTENT, size=2))
        if all(_keeps_distance(x, y, radius, other, camera) for other in objects):
            return x, y
    return None


def _keeps_distance(x: float, y: float, radius: float, other: ClevrObject, camera: Camera) -> bool:
    dx, dy = x - other.loc[0], y - other.loc[1]
    if math.hypot(dx, dy) - radius - CLEVR_RADII[other.size] < MIN_SURFACE_DISTANCE:
        return False
    # The four ground directions (left, right, front, behind) are two axes with both signs.
    right = camera.axes()[0, :2]
    behind = np.array([-right[1], right[0]])
    return bool(min(abs(right @ (dx, dy)), abs(behind @ (dx, dy))) >= MIN_DIRECTION_MARGIN)


def _draw_object(rng: np.random.Generator, palette: Palette, size: str, place: tuple[float, float]) -> ClevrObject:
    shape = SHAPES[rng.integers(len(SHAPES))]
    color = palette[shape][rng.integers(len(palette[shape]))]
    material = MATERIALS[rng.integers(len(MATERIALS))]
    # A cube looks the same every quarter turn; on the other two shapes yaw shows nothing and is not written.
    yaw = float(rng.uniform(0.0, 2 * math.pi)) % (math.pi / 2)
    loc = (*place, CLEVR_RADII[size])
    return ClevrObject(size, color, material, shape, loc, rotation=yaw if shape == "cube" else None)


def _left_to_right(objects: list[ClevrObject], camera: Camera) -> list[ClevrObject]:
    # The order does not depend on the output size, only on the projected ratios.
    projected = camera.project(np.array([item.loc for item in objects]), 320, 240)
    return [objects[i] for i in np.lexsort((projected[:, 1], projected[:, 0]))]
