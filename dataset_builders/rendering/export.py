"""The Blender scene of the session as a file for Blender or for any glTF viewer."""

from pathlib import Path

import bpy

from .materials import make_principled_copy
from .session import quiet_blender


def export_blend(path: Path) -> None:
    """Save the current Blender scene; opening it shows the same picture.

    Raises:
        OSError: if Blender cannot write the file.
    """
    with quiet_blender():
        result = bpy.ops.wm.save_as_mainfile(filepath=str(path.absolute()), copy=True)
    _check(result, path)


def export_glb(path: Path) -> None:
    """Write meshes, camera and lamps as binary glTF, with each material as the nearest one that glTF has.

    Raises:
        OSError: if Blender cannot write the file.
    """
    for item in bpy.data.objects:
        for slot in item.material_slots:
            slot.material = make_principled_copy(slot.material)
    with quiet_blender():
        result = bpy.ops.export_scene.gltf(
            filepath=str(path.absolute()), export_format="GLB", export_cameras=True, export_lights=True
        )
    _check(result, path)


def _check(result: set[str], path: Path) -> None:
    if result != {"FINISHED"}:
        raise OSError(f"Blender could not write {path}: {', '.join(result)}")
