"""The columns of every family: one nullable schema (spec BENCHMARKS, "Columns")."""

import io
import math
from typing import Any

import numpy as np
from datasets import Features, Image, List, Value
from PIL import Image as PillowImage

from modeling_igllm import ClevrObject, Point2D, SceneObject, format_program

from .camera import Camera
from .painters import Picture
from .sampled_scene import SampledScene

_MATRIX = List(List(Value("float64")))
_VECTOR = List(Value("float64"))
_OBJECT = {
    "size": Value("string"),
    "color": Value("string"),
    "material": Value("string"),
    "shape": Value("string"),
    "x": Value("float64"),  # two_d only, in [0, 1]
    "y": Value("float64"),
    "loc": _VECTOR,  # world metres
    "yaw": Value("float64"),  # CLEVR cubes only, radians in [0, pi/2)
    "rotation": _MATRIX,  # 3x3 rows, object to world
    "pixel_coords": _VECTOR,  # x right, y down in pixels, depth in metres along the optical axis
    "visible_pixels": Value("int32"),  # at 320x240
    "texture": Value("int32"),  # number of the texture that multiplies the colour; not in the program
    "rgb": _VECTOR,  # linear, in [0, 1]: a colour that has no name (clevr_rgb); `color` is null then
}
_SCENE = {
    "objects": List(_OBJECT),
    "camera": {"intrinsics": _MATRIX, "world_to_camera": _MATRIX},  # 3x3 and 4x4, OpenCV axes
    "lights": List(
        {"name": Value("string"), "location": _VECTOR, "energy": Value("float64"), "size": Value("float64")}
    ),
    "family": Value("string"),
    "split": Value("string"),
    "seed": Value("int64"),
    "index": Value("int64"),
    "attempt": Value("int64"),
    "bpy_version": Value("string"),
}
FEATURES = Features(
    {
        "image": Image(),
        "scene": _SCENE,
        "program": Value("string"),  # null where the language has no words for the colours (clevr_rgb)
        "instance_mask": Image(),  # 0 background, i + 1 object i; null unless asked for
        "depth": List(List(Value("float32"))),  # rows of metres along the optical axis; null unless asked for
    }
)


def scene_row(scene: SampledScene, picture: Picture, bpy_version: str | None) -> dict[str, Any]:
    """Return the row of one painted scene in the layout of `FEATURES`.

    Args:
        bpy_version: version of the renderer, part of what makes the picture reproducible; None if none was used.
    """
    height, width = picture.pixels.shape[:2]
    return {
        "image": {"bytes": png_bytes(picture.pixels), "path": None},
        "scene": {
            "objects": _object_rows(scene, width, height),
            "camera": None
            if scene.camera is None
            else {
                "intrinsics": scene.camera.intrinsics(width, height).tolist(),
                "world_to_camera": scene.camera.world_to_camera().tolist(),
            },
            "lights": [
                {"name": light.name, "location": list(light.location), "energy": light.energy, "size": light.size}
                for light in scene.lights
            ],
            "family": scene.family,
            "split": scene.split,
            "seed": scene.seed,
            "index": scene.index,
            "attempt": scene.attempt,
            "bpy_version": bpy_version,
        },
        "program": None if scene.program is None else format_program(scene.program),
        "instance_mask": _mask_cell(picture.instance_mask),
        "depth": None if picture.depth is None else picture.depth.tolist(),
    }


def png_bytes(pixels: np.ndarray) -> bytes:
    """Encode (height, width[, 3]) uint8 pixels as PNG; the same pixels give the same bytes (no time stamps)."""
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _mask_cell(mask: np.ndarray | None) -> dict[str, Any] | None:
    return None if mask is None else {"bytes": png_bytes(mask), "path": None}


def _object_rows(scene: SampledScene, width: int, height: int) -> list[dict[str, Any]]:
    visible = scene.visible_pixels or (None,) * len(scene.objects)
    textures = scene.textures or (None,) * len(scene.objects)
    rgbs = scene.rgbs or (None,) * len(scene.objects)
    rows = [
        {
            **_attributes(item),
            "pixel_coords": _pixel_coords(item, scene.camera, width, height),
            "visible_pixels": count,
            "texture": texture,
            "rgb": rgb,
        }
        for item, count, texture, rgb in zip(scene.objects, visible, textures, rgbs, strict=True)
    ]
    return [{**row, "color": None} for row in rows] if scene.rgbs else rows


def _pixel_coords(item: SceneObject, camera: Camera | None, width: int, height: int) -> list[float | None]:
    if isinstance(item, Point2D):
        return [item.x * width, item.y * height, None]
    assert camera is not None  # only flat scenes have none
    x, y, depth = camera.project(np.array([item.loc]), width, height)[0].tolist()
    return [x, y, depth]


def _attributes(item: SceneObject) -> dict[str, Any]:
    absent = dict.fromkeys(("size", "color", "material", "shape", "x", "y", "loc", "yaw", "rotation"))
    if isinstance(item, ClevrObject):
        return clevr_attributes(item)
    if isinstance(item, Point2D):
        return {**absent, "x": item.x, "y": item.y}
    return {
        **absent,
        "color": item.color,
        "shape": item.shape,
        "loc": list(item.loc),
        "rotation": item.rotation.matrix.tolist(),
    }


def clevr_attributes(item: ClevrObject) -> dict[str, Any]:
    """Return what an object's row holds of the object alone: its words, place, yaw and rotation matrix."""
    words = {"size": item.size, "color": item.color, "material": item.material, "shape": item.shape}
    yaw = item.rotation or 0.0
    matrix = [[math.cos(yaw), -math.sin(yaw), 0.0], [math.sin(yaw), math.cos(yaw), 0.0], [0.0, 0.0, 1.0]]
    return {**words, "x": None, "y": None, "loc": list(item.loc), "yaw": item.rotation, "rotation": matrix}
