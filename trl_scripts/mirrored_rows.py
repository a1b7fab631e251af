"""CLEVR scenes in a mirror: twice the training scenes from the same renders, every label still true.

CLEVR's camera looks at the origin with a level horizon. A picture flipped left to right therefore is a picture of the
scene that is reflected in the vertical plane through the origin and the camera without its jitter, taken by a camera
whose jitter is reflected, too, under reflected lamps.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from PIL import Image, ImageOps

from dataset_builders.camera import CLEVR_CAMERA_LOCATION
from modeling_igllm import ClevrObject, SceneObject, SceneProgram, format_program, parse_program

from .errors import CommandError

_PLANE = math.atan2(CLEVR_CAMERA_LOCATION[1], CLEVR_CAMERA_LOCATION[0])
# Of the world, in the plane that stands on the ground at this angle to the x axis.
REFLECTION = np.array(
    [
        [math.cos(2 * _PLANE), math.sin(2 * _PLANE), 0.0],
        [math.sin(2 * _PLANE), -math.cos(2 * _PLANE), 0.0],
        [0.0, 0.0, 1.0],
    ]
)
_IMAGES = ("image", "instance_mask")


def with_mirrored(rows: Dataset) -> Dataset:
    """The rows, and after them all of their mirror images; columns `image`, `program` and those of a built row.

    Raises:
        CommandError: for a scene that is none of CLEVR's: its objects or its camera have no such symmetry.
    """
    # Not from the cache, whose key knows nothing of the functions that `mirror_row` calls.
    mirrored = rows.map(mirror_row, desc="mirror images", load_from_cache_file=False)
    return concatenate_datasets([rows, mirrored])


def mirror_row(row: dict[str, Any]) -> dict[str, Any]:
    """The mirror image of a row: its picture, and whatever else of program, scene, mask and depth is there.

    Raises:
        CommandError: as `with_mirrored`.
    """
    mirrored: dict[str, Any] = {name: ImageOps.mirror(row[name]) for name in _IMAGES if row.get(name) is not None}
    if row.get("program") is not None:
        mirrored["program"] = format_program(mirror_program(parse_program(row["program"])))
    if "scene" in row:
        mirrored["scene"] = mirror_scene(row["scene"], row["image"].width)
    if row.get("instance_mask") is not None:
        mirrored["instance_mask"] = _renumber(mirrored["instance_mask"], len(row["scene"]["objects"]))
    if row.get("depth") is not None:
        mirrored["depth"] = [line[::-1] for line in row["depth"]]
    return {**row, **mirrored}


def mirror_program(program: SceneProgram) -> SceneProgram:
    """The reflected scene, its objects again from left to right."""
    return SceneProgram(tuple(_mirror_object(item) for item in reversed(program.objects)))


def mirror_scene(scene: dict[str, Any], width: int) -> dict[str, Any]:
    """The same of a row's `scene`, whose picture is `width` pixels wide."""
    if not str(scene["family"]).startswith("clevr"):
        raise CommandError(
            f"scenes of {scene['family']!r} cannot be mirrored, only those of CLEVR: leave out --mirror"
        )
    camera = scene["camera"]
    if camera is not None and camera["world_to_camera"] is not None:
        camera = {**camera, "world_to_camera": _mirror_camera(camera["world_to_camera"])}
    lights = [{**light, "location": _reflect(light["location"])} for light in scene["lights"] or ()]
    objects = [_mirror_object_row(item, width) for item in reversed(scene["objects"])]
    return {**scene, "objects": objects, "camera": camera, "lights": lights}


def _mirror_object(item: SceneObject) -> ClevrObject:
    if not isinstance(item, ClevrObject):
        raise CommandError(f"a {type(item).__name__} cannot be mirrored, only CLEVR's objects: leave out --mirror")
    x, y, z = _reflect(item.loc)
    return replace(item, loc=(x, y, z), rotation=_mirror_yaw(item.rotation))


def _mirror_object_row(item: dict[str, Any], width: int) -> dict[str, Any]:
    x, y, depth = item["pixel_coords"]
    yaw = _mirror_yaw(item["yaw"])
    turn = yaw or 0.0
    rotation = [[math.cos(turn), -math.sin(turn), 0.0], [math.sin(turn), math.cos(turn), 0.0], [0.0, 0.0, 1.0]]
    place = {"loc": _reflect(item["loc"]), "pixel_coords": [width - x, y, depth]}
    return {**item, **place, "yaw": yaw, "rotation": rotation}


def _reflect(point: Any) -> list[float]:
    return [float(value) for value in REFLECTION @ np.asarray(point, dtype=float)]


def _mirror_yaw(yaw: float | None) -> float | None:
    """Of a cube, which looks the same every quarter turn: radians in [0, pi/2)."""
    return None if yaw is None else (2 * _PLANE - yaw) % (math.pi / 2)


def _mirror_camera(world_to_camera: Any) -> list[list[float]]:
    """(4, 4): reflects the world, then the image's x axis."""
    reflection = np.eye(4)
    reflection[:3, :3] = REFLECTION
    return [[float(value) for value in row] for row in np.diag([-1.0, 1.0, 1.0, 1.0]) @ world_to_camera @ reflection]


def _renumber(mask: Image.Image, count: int) -> Image.Image:
    """Object i of `count` becomes object count - 1 - i; 0 stays the background."""
    table = [0, *range(count, 0, -1), *([0] * (255 - count))]
    return mask.point(table)
