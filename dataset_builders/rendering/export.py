"""The Blender scene of the session as a file for Blender, or for any viewer of glTF or USD."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bpy

from .materials import make_principled_copy
from .session import quiet_blender

# Run in a process of its own: one that has loaded torch and then writes glTF hangs when it ends (bpy 4.5.15). That
# process has the user's preferences, in which auto-run of scripts may be on: the only .blend file that is opened
# anywhere is opened without.
_WRITE_GLB = """
import bpy, sys

bpy.ops.wm.open_mainfile(filepath=sys.argv[1], use_scripts=False)
bpy.ops.export_scene.gltf(filepath=sys.argv[2], export_format="GLB", export_cameras=True, export_lights=True)
"""


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
    with tempfile.TemporaryDirectory() as folder:
        blend = Path(folder) / "scene.blend"
        export_blend(blend)
        command = [sys.executable, "-P", "-c", _WRITE_GLB, str(blend), str(path.absolute())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"Blender could not write {path}: {done.stderr.strip() or done.stdout.strip()}")


def export_usd(path: Path) -> None:
    """Write meshes, camera and lamps as USD, in metres with z up, with USD Preview Surface materials.

    There is no background light: Blender would put a picture of it beside the file. The materials of the current
    Blender scene are replaced by the nearest ones that USD has.

    Raises:
        OSError: if Blender cannot write the file.
    """
    _use_principled_materials()
    with quiet_blender(), _naming(path):
        bpy.ops.wm.usd_export(filepath=str(path.absolute()), convert_world_material=False, root_prim_path="/scene")


def _use_principled_materials() -> None:
    copies = {material.name: make_principled_copy(material) for material in list(bpy.data.materials)}
    for item in bpy.data.objects:
        for slot in item.material_slots:
            # Objects of one mesh share its trim: it is a copy already when the second of them comes.
            slot.material = copies.get(slot.material.name, slot.material)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn the RuntimeError of a failed operator into an OSError that names the file."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"Blender could not write {path}: {error}") from error
