"""The Blender scene of the session as a file for Blender, or for any viewer of glTF or USD."""

import atexit
import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

import bpy

from .materials import make_principled_copy
from .session import quiet_blender

# In a process that has loaded torch and written glTF, Python's last garbage collection never ends (bpy 4.5, Python
# 3.11): at exit, and only there, it is left out.
atexit.register(gc.freeze)


def export_blend(path: Path) -> None:
    """Save the current Blender scene; opening it shows the same picture.

    Raises:
        OSError: if Blender cannot write the file.
    """
    bpy.context.preferences.filepaths.save_version = 0  # no .blend1 copy of a file that was there
    with quiet_blender(), _naming(path):
        bpy.ops.wm.save_as_mainfile(filepath=str(path.absolute()), copy=True)


def export_glb(path: Path) -> None:
    """Write meshes, camera and sun as binary glTF, which knows no area lamps.

    The materials of the current Blender scene are replaced by the nearest ones that glTF has.

    Raises:
        OSError: if Blender cannot write the file.
    """
    _use_principled_materials()
    with quiet_blender(), _naming(path):
        bpy.ops.export_scene.gltf(
            filepath=str(path.absolute()), export_format="GLB", export_cameras=True, export_lights=True
        )


def export_usd(path: Path) -> None:
    """Write meshes, camera, lamps and background light as USD, in metres with z up, materials as USD Preview Surface.

    The materials of the current Blender scene are replaced by the nearest ones that USD has.

    Raises:
        OSError: if Blender cannot write the file.
    """
    _use_principled_materials()
    with quiet_blender(), _naming(path):
        bpy.ops.wm.usd_export(
            filepath=str(path.absolute()), convert_world_material=False, root_prim_path="/scene"
        )


def _use_principled_materials() -> None:
    for item in bpy.data.objects:
        for slot in item.material_slots:
            slot.material = make_principled_copy(slot.material)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn the RuntimeError of a failed operator into an OSError that names the file."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"Blender could not write {path}: {error}") from error
