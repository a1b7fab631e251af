"""Instance mask and depth of the scene that Blender holds, by one more pass: one sample through each pixel centre."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np

from .session import quiet_blender

MAX_OBJECTS = 255  # of an 8-bit mask


def render_ground_truth() -> tuple[np.ndarray, np.ndarray]:
    """Render which object each pixel's centre sees, and how far away it is.

    Returns:
        mask (height, width) uint8: 0 background or ground, else the object's `pass_index`.
        depth (height, width) float32: metres along the optical axis, inf where there is nothing.

    Raises:
        ValueError: if an object that is seen has a number above `MAX_OBJECTS`.
    """
    with _ground_truth_settings(bpy.context.scene), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.exr"
        bpy.context.scene.render.filepath = str(path)
        with quiet_blender():
            bpy.ops.render.render(write_still=True)
        channels = _read_exr(path)
    mask, depth, is_hit = channels[..., 0], channels[..., 1], channels[..., 3] > 0.5
    if mask.max() > MAX_OBJECTS:
        raise ValueError(f"object {mask.max():.0f} is beyond the {MAX_OBJECTS} that an 8-bit mask can tell apart")
    return np.rint(mask).astype(np.uint8), np.where(is_hit, depth, np.inf).astype(np.float32)


@contextlib.contextmanager
def _ground_truth_settings(scene: bpy.types.Scene) -> Iterator[None]:
    """Let every surface emit (object number, depth) and nothing else; restores all settings afterwards."""
    wanted = [
        (scene.cycles, "samples", 1),
        (scene.cycles, "use_denoising", False),
        (scene.cycles, "use_adaptive_sampling", False),
        (scene.cycles, "max_bounces", 0),
        (scene.cycles, "pixel_filter_type", "BOX"),
        (scene.cycles, "filter_width", 0.01),  # all samples through the pixel's centre
        (scene.render, "film_transparent", True),
        (scene.render.image_settings, "file_format", "OPEN_EXR"),
        (scene.render.image_settings, "color_mode", "RGBA"),
        (scene.render.image_settings, "color_depth", "32"),
        (scene.view_layers[0], "material_override", _truth_material()),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in wanted]
    for owner, name, value in wanted:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _truth_material() -> bpy.types.Material:
    name = "ground truth"
    if name in bpy.data.materials:
        return bpy.data.materials[name]
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    assert tree is not None  # `use_nodes` has just made it
    tree.nodes.clear()
    info, camera, combine, emission, output = (
        tree.nodes.new(kind)
        for kind in (
            "ShaderNodeObjectInfo",
            "ShaderNodeCameraData",
            "ShaderNodeCombineColor",
            "ShaderNodeEmission",
            "ShaderNodeOutputMaterial",
        )
    )
    tree.links.new(info.outputs["Object Index"], combine.inputs[0])
    tree.links.new(camera.outputs["View Z Depth"], combine.inputs[1])
    tree.links.new(combine.outputs[0], emission.inputs["Color"])
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    return material


def _read_exr(path: Path) -> np.ndarray:
    """Read a 32-bit EXR as (height, width, 4) float32, top row first."""
    image = bpy.data.images.load(str(path))
    try:
        image.colorspace_settings.is_data = True
        width, height = image.size
        pixels = np.empty(width * height * 4, dtype=np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1]
