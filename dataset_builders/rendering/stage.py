"""What stands in every scene of a family: background light, sun and ground."""

from dataclasses import dataclass

import bpy

from .materials import make_ground_material

# Real CLEVR images show a background of sRGB 104 where lamps and sun alone give 90: the missing light is this grey
# (measured on three published images; with it object colours agree within 3 sRGB steps).
CLEVR_AMBIENT_GRAY = 0.05
SUN_STRENGTH = 0.45
SUN_ROTATION = (0.236, 0.417, 0.097)  # XYZ Euler, radians
GROUND_HALF_SIDE = 100.0  # metres: beyond the horizon of every jittered camera


@dataclass(frozen=True)
class Stage:
    """`ambient` light (linear grey, also the background) and whether there are CLEVR's sun and ground plane."""

    ambient: float
    has_sun_and_ground: bool


CLEVR_STAGE = Stage(CLEVR_AMBIENT_GRAY, has_sun_and_ground=True)
# A floating object is lit from all sides; the background is brighter than its shadows.
STUDIO_STAGE = Stage(0.2, has_sun_and_ground=False)


def build_stage(scene: bpy.types.Scene, stage: Stage) -> None:
    """Put the stage into an empty Blender scene."""
    scene.world = bpy.data.worlds.new("ambient")
    scene.world.color = (stage.ambient,) * 3
    if stage.has_sun_and_ground:
        _add_ground(scene)
        _add_sun(scene)


def _add_ground(scene: bpy.types.Scene) -> None:
    half = GROUND_HALF_SIDE
    mesh = bpy.data.meshes.new("ground")
    mesh.from_pydata([(-half, -half, 0), (half, -half, 0), (half, half, 0), (-half, half, 0)], [], [(0, 1, 2, 3)])
    mesh.materials.append(make_ground_material())
    scene.collection.objects.link(bpy.data.objects.new("ground", mesh))


def _add_sun(scene: bpy.types.Scene) -> None:
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy = SUN_STRENGTH
    placed = bpy.data.objects.new("sun", sun)
    placed.rotation_euler = SUN_ROTATION
    scene.collection.objects.link(placed)
