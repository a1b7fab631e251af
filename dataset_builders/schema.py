"""The columns of every family: one nullable schema (spec BENCHMARKS, "Columns")."""

import math
from typing import Any

import numpy as np
from datasets import Features, Image, List, Value

from modeling_igllm import ClevrObject, format_program

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
FEATURES = Features({"image": Image(), "scene": _SCENE, "program": Value("string")})


def scene_row(scene: SampledScene, image_png: bytes, width: int, height: int, bpy_version: str) -> dict[str, Any]:
    """Return the row of one rendered scene in the layout of `FEATURES`.

    Args:
        image_png: the picture, `width` x `height` pixels, as PNG bytes.
        bpy_version: version of the renderer, part of what makes the picture reproducible.
    """
    return {
        "image": {"bytes": image_png, "path": None},
        "scene": {
            "objects": _object_rows(scene, width, height),
            "camera": {
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
        "program": format_program(scene.program),
    }


def _object_rows(scene: SampledScene, width: int, height: int) -> list[dict[str, Any]]:
    pixels = scene.camera.project(np.array([item.loc for item in scene.objects]), width, height)
    return [
        {**clevr_attributes(item), "pixel_coords": pixel.tolist(), "visible_pixels": visible}
        for item, pixel, visible in zip(scene.objects, pixels, scene.visible_pixels, strict=True)
    ]


def clevr_attributes(item: ClevrObject) -> dict[str, Any]:
    """Return what an object's row holds of the object alone: its words, place, yaw and rotation matrix."""
    words = {"size": item.size, "color": item.color, "material": item.material, "shape": item.shape}
    yaw = item.rotation or 0.0
    matrix = [[math.cos(yaw), -math.sin(yaw), 0.0], [math.sin(yaw), math.cos(yaw), 0.0], [0.0, 0.0, 1.0]]
    return {**words, "x": None, "y": None, "loc": list(item.loc), "yaw": item.rotation, "rotation": matrix}
