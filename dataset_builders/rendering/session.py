"""One Blender session that renders many CLEVR scenes: ground, meshes and materials are made once and shared."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector
from PIL import Image

from modeling_igllm import ClevrObject, Point2D, SceneObject

from ..camera import Camera
from ..palette import RGB, named_color
from ..sampled_scene import AreaLight
from ..shape_library import ShapeMesh
from ..visibility import CLEVR_RADII
from .materials import CLEVR_FINISH, Finish, make_material, make_two_sided
from .meshes import make_shape_mesh, make_user_mesh
from .settings import RenderQuality, apply_render_settings
from .stage import CLEVR_STAGE, Stage, build_stage

# What the objects of the posed families are made of.
POSED_MATERIAL = "rubber"
# Meshes of a user that are kept from scene to scene: one may be as large as the whole library.
_KEPT_USER_MESHES = 16


class RenderSession:
    """A Blender scene in this process that is refilled for every picture.

    Blender's state is global: one session per process, the latest one wins.

    Args:
        load_shape: gives the mesh of a shape by name, in place of the project's own shapes.
        finish: of the materials.
    """

    def __init__(
        self,
        quality: RenderQuality,
        stage: Stage = CLEVR_STAGE,
        load_shape: Callable[[str], ShapeMesh] | None = None,
        finish: Finish = CLEVR_FINISH,
    ) -> None:
        self.quality = quality
        self._load_shape = load_shape
        self._finish = finish
        bpy.ops.wm.read_factory_settings(use_empty=True)
        apply_render_settings(bpy.context.scene, quality)
        build_stage(bpy.context.scene, stage)
        self._camera = _add_camera(bpy.context.scene)
        self._meshes: dict[str, bpy.types.Mesh] = {}
        self._materials: dict[tuple[str, str], bpy.types.Material] = {}
        self._own_materials: list[bpy.types.Material] = []  # of the scene at hand alone
        self._placed: list[bpy.types.Object] = []
        self._lamps: dict[str, bpy.types.Object] = {}

    def place(
        self,
        objects: Sequence[SceneObject],
        camera: Camera,
        lights: tuple[AreaLight, ...],
        textures: Sequence[int | None] = (),
        rgbs: Sequence[RGB] = (),
    ) -> None:
        """Fill the Blender scene with these objects, the camera and the lamps in place of what was there.

        `rgbs` are linear colours in place of those of the objects' words.

        Raises:
            ValueError: if there are textures or colours, but not one (or None) for each object.
        """
        if textures and len(textures) != len(objects):
            raise ValueError(f"{len(objects)} objects need as many textures, got {len(textures)}")
        if rgbs and len(rgbs) != len(objects):
            raise ValueError(f"{len(objects)} objects need as many colours, got {len(rgbs)}")
        self._clear()
        self._place_lights(lights)
        absent = [None] * len(objects)
        for number, (item, texture, rgb) in enumerate(
            zip(objects, textures or absent, rgbs or absent, strict=True), start=1
        ):
            placed = self._place_object(item, texture, rgb)
            placed.pass_index = number
            self._placed.append(placed)
        _aim_camera(self._camera, camera)

    def render(
        self,
        objects: Sequence[SceneObject],
        camera: Camera,
        lights: tuple[AreaLight, ...],
        textures: Sequence[int | None] = (),
        rgbs: Sequence[RGB] = (),
    ) -> np.ndarray:
        """Render one scene and return its picture, (height, width, 3) uint8; arguments as for `place`."""
        self.place(objects, camera, lights, textures, rgbs)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.png"
            bpy.context.scene.render.filepath = str(path)
            with quiet_blender():
                bpy.ops.render.render(write_still=True)
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))

    def _clear(self) -> None:
        for item in self._placed:
            bpy.data.objects.remove(item)  # meshes are shared and stay
        self._placed = []
        for material in self._own_materials:
            bpy.data.materials.remove(material)
        self._own_materials = []
        while self._load_shape is not None and len(self._meshes) > _KEPT_USER_MESHES:
            bpy.data.meshes.remove(self._meshes.pop(next(iter(self._meshes))))

    def _place_lights(self, lights: tuple[AreaLight, ...]) -> None:
        # Lamps come before all objects and are moved rather than made anew: Cycles picks a lamp by its place in a
        # list whose order is that of their making, and pixels would depend on what was rendered before.
        if list(self._lamps) != [light.name for light in lights]:
            for lamp in self._lamps.values():
                bpy.data.lights.remove(lamp.data)  # and the object with it
            self._lamps = {light.name: _add_lamp(light.name) for light in lights}
        for light in lights:
            _aim_lamp(self._lamps[light.name], light)

    def _place_object(self, item: SceneObject, texture: int | None, rgb: RGB | None) -> bpy.types.Object:
        if isinstance(item, Point2D):
            raise ValueError(f"{item} is flat: it is drawn, not rendered")
        placed = bpy.data.objects.new(item.shape, self._mesh(item.shape))
        kind = POSED_MATERIAL
        if isinstance(item, ClevrObject):
            kind = item.material
            placed.name = f"{item.size} {item.color} {item.material} {item.shape}"
            placed.rotation_euler = (0.0, 0.0, item.rotation or 0.0)
            placed.scale = (CLEVR_RADII[item.size],) * 3
        else:
            placed.rotation_euler = Matrix(item.rotation.matrix.tolist()).to_euler()
        placed.location = item.loc
        placed.material_slots[0].link = "OBJECT"  # one mesh, a material for each object
        placed.material_slots[0].material = (
            self._material(kind, item.color)
            if texture is None and rgb is None
            else self._own_material(kind, rgb or named_color(item.color), texture)
        )
        bpy.context.scene.collection.objects.link(placed)
        return placed

    def _mesh(self, shape: str) -> bpy.types.Mesh:
        if shape not in self._meshes:
            load = self._load_shape
            self._meshes[shape] = make_user_mesh(shape, load(shape)) if load else make_shape_mesh(shape)
        return self._meshes[shape]

    def _material(self, kind: str, color: str) -> bpy.types.Material:
        if (kind, color) not in self._materials:
            self._materials[kind, color] = self._make_material(kind, named_color(color), None)
        return self._materials[kind, color]

    def _own_material(self, kind: str, rgb: RGB, texture: int | None) -> bpy.types.Material:
        """A material that goes with its scene: there are too many textures and colours without names to keep all."""
        self._own_materials.append(self._make_material(kind, rgb, texture))
        return self._own_materials[-1]

    def _make_material(self, kind: str, rgb: RGB, texture: int | None) -> bpy.types.Material:
        material = make_material(kind, rgb, texture, self._finish)
        if self._load_shape is not None:
            make_two_sided(material)
        return material


@contextlib.contextmanager
def quiet_blender() -> Iterator[None]:
    """Keep Blender's progress lines, which its C code prints straight to file descriptor 1, off the terminal.

    Errors go to standard error and stay visible.
    """
    sys.stdout.flush()  # what Python has printed so far is not Blender's
    terminal = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()  # Blender's add-ons print through Python
        os.dup2(terminal, 1)
        os.close(terminal)


def _add_lamp(name: str) -> bpy.types.Object:
    placed = bpy.data.objects.new(name, bpy.data.lights.new(name, "AREA"))
    bpy.context.scene.collection.objects.link(placed)
    return placed


def _aim_lamp(placed: bpy.types.Object, light: AreaLight) -> None:
    placed.data.shape, placed.data.size, placed.data.energy = "SQUARE", light.size, light.energy
    placed.location = light.location
    # A lamp shines along its own -z.
    placed.rotation_euler = (-Vector(light.location)).to_track_quat("-Z", "Y").to_euler()


def _add_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    placed = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(placed)
    scene.camera = placed
    return placed


def _aim_camera(placed: bpy.types.Object, camera: Camera) -> None:
    placed.data.lens, placed.data.sensor_width = camera.focal_length_mm, camera.sensor_width_mm
    placed.data.sensor_fit = "HORIZONTAL"
    pose = Matrix.Identity(4)
    # Blender's camera looks along its -z with y up; ours (OpenCV) looks along +z with y down.
    for axis, direction in enumerate(camera.axes() * np.array([[1.0], [-1.0], [-1.0]])):
        for row in range(3):
            pose[row][axis] = direction[row]
    pose.translation = camera.location
    placed.matrix_world = pose
