"""The Blender session: the picture shows the scene, and nothing of the pictures before it."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from dataset_builders.camera import Camera
from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.families import FAMILIES
from dataset_builders.lights import CLEVR_LIGHTS
from dataset_builders.painters import PaintRequest
from dataset_builders.rendering.meshes import make_shape_mesh
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.visibility import object_id_map
from modeling_igllm import ClevrObject

QUALITY = RenderQuality(width=64, height=48, samples=2, threads=1)
SCENES = [sample_clevr_scene("clevr", "train", 0, index) for index in range(3)]
RED_SPHERE = ClevrObject("large", "red", "rubber", "sphere", (0.0, 0.0, 0.7))


@pytest.mark.parametrize("family", ["clevr", "so3", "six_dof", "shapenet"])
def test_same_scene_gives_the_same_pixels_whatever_was_rendered_before(family: str) -> None:
    scenes = [FAMILIES[family].sample(family, "train", 0, index) for index in range(3)]

    def new_session(threads: int) -> Callable[[int], np.ndarray]:
        painter = FAMILIES[family].make_painter(PaintRequest(width=48, height=64, samples=2, threads=threads))
        return lambda index: painter.paint(scenes[index]).pixels

    render = new_session(threads=1)
    first, other = render(0), render(1)
    assert first.shape == (64, 48, 3)
    assert first.dtype == np.uint8
    assert (first != other).any()
    assert (render(0) == first).all()
    for start in (0, 1, 2):  # other sessions, other threads, other first pictures
        render = new_session(threads=2)
        render(start)
        assert (render(1) == other).all()
        assert (render(0) == first).all()


@pytest.mark.parametrize("shape", ["cube", "cylinder", "sphere", "airplane", "lamp_03", "mug_05"])
def test_meshes_are_the_same_every_time(shape: str) -> None:
    def triangles() -> np.ndarray:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        mesh = make_shape_mesh(shape)
        mesh.calc_loop_triangles()
        corners = [tuple(mesh.vertices[vertex].co) for face in mesh.loop_triangles for vertex in face.vertices]
        return np.array(corners)

    first = triangles()
    assert all((triangles() == first).all() for _ in range(3))


@pytest.mark.parametrize("shape", ["cube", "cylinder", "sphere"])
def test_meshes_are_closed_and_face_outwards(shape: str) -> None:
    mesh = make_shape_mesh(shape)
    points = np.array([vertex.co for vertex in mesh.vertices])
    assert np.abs(points).max(axis=0) == pytest.approx([1, 1, 1])
    edges = Counter(key for face in mesh.polygons for key in face.edge_keys)
    assert set(edges.values()) == {2}
    for face in mesh.polygons:
        assert face.normal @ face.center > 0
    for loop in mesh.loops:
        assert mesh.corner_normals[loop.index].vector @ mesh.vertices[loop.vertex_index].co > 0


def test_memory_stays_flat() -> None:
    session = RenderSession(QUALITY)
    counts = []
    for _ in range(3):
        for scene in SCENES:
            session.place(scene.objects, scene.camera, scene.lights)
        counts.append([len(data) for data in (bpy.data.objects, bpy.data.meshes, bpy.data.lights, bpy.data.materials)])
    assert counts[0] == counts[1] == counts[2]


def test_blender_sees_points_where_the_camera_projects_them() -> None:
    scene = SCENES[2]
    RenderSession(QUALITY).place(scene.objects, scene.camera, scene.lights)
    bpy.context.view_layer.update()
    points = np.concatenate([[item.loc for item in scene.objects], np.random.default_rng(0).uniform(-3, 3, (20, 3))])
    for point, (x, y, depth) in zip(points, scene.camera.project(points, 64, 48), strict=True):
        seen = world_to_camera_view(bpy.context.scene, bpy.context.scene.camera, Vector(point))
        assert (64 * seen.x, 48 * (1 - seen.y), seen.z) == pytest.approx((x, y, depth), abs=1e-3)


def test_lamps_shine_at_the_origin() -> None:
    RenderSession(QUALITY).place((), Camera(), CLEVR_LIGHTS)
    bpy.context.view_layer.update()
    for light in CLEVR_LIGHTS:
        placed = bpy.data.objects[light.name]
        direction = placed.matrix_world.to_3x3() @ Vector((0, 0, -1))
        assert direction @ (-Vector(light.location)).normalized() == pytest.approx(1.0, abs=1e-5)
        assert (placed.data.energy, placed.data.size) == pytest.approx((light.energy, light.size))


@pytest.mark.parametrize("index", [0, 2])
def test_rendered_objects_cover_their_analytic_pixels(index: int) -> None:
    scene = SCENES[index]
    assert len(scene.objects) <= 7
    rendered = _render_ids(index)
    expected = object_id_map(scene.objects, scene.camera, 320, 240)
    assert (rendered == expected).mean() > 0.995
    for number in range(1, len(scene.objects) + 1):
        both, either = (rendered == number) & (expected == number), (rendered == number) | (expected == number)
        assert both.sum() / either.sum() > 0.95


def _render_ids(index: int) -> np.ndarray:
    """Render every object in a flat colour of its own and read back which one each pixel shows (0: none)."""
    session = RenderSession(RenderQuality(width=320, height=240, samples=16, denoise=False))
    scene = SCENES[index]
    session.place(scene.objects, scene.camera, ())
    settings = bpy.context.scene
    settings.view_settings.view_transform = "Raw"
    settings.cycles.pixel_filter_type = "BOX"
    settings.cycles.max_bounces = 0
    settings.world.color = (0, 0, 0)
    bpy.data.objects["ground"].hide_render = True
    colors = [[number >> bit & 1 for bit in range(3)] for number in range(1, len(scene.objects) + 1)]
    for placed, color in zip(session._placed, colors, strict=True):
        placed.material_slots[0].material = _flat_material(color)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "place", lambda *_: None)
        pixels = session.render(scene.objects, scene.camera, ())
    return (pixels > 127) @ np.array([1, 2, 4])


def _flat_material(color: list[int]) -> bpy.types.Material:
    material = bpy.data.materials.new("flat")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission = tree.nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = (*color, 1.0)
    tree.links.new(emission.outputs[0], tree.nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    return material


def test_named_colours_and_brightness_reach_the_picture() -> None:
    pixels = RenderSession(QUALITY).render((RED_SPHERE,), Camera(), CLEVR_LIGHTS)
    red, green, blue = pixels[20:25, 30:35].mean(axis=(0, 1))  # two samples a pixel are noisy
    assert red > green + 45
    assert red > blue + 45
    border = pixels[:, 0].astype(int)  # ground: grey, neither black nor burnt out
    assert np.ptp(border, axis=1).mean() < 6
    assert 60 < border.mean() < 160


def test_metal_mirrors_and_rubber_does_not() -> None:
    session = RenderSession(RenderQuality(width=64, height=48, samples=4, threads=1))
    contrast = {}
    for material in ("metal", "rubber"):
        item = ClevrObject("large", "gray", material, "sphere", (0.0, 0.0, 0.7))
        pixels = session.render((item,), Camera(), CLEVR_LIGHTS).astype(int)
        shown = pixels[object_id_map((item,), Camera(), 64, 48) == 1]
        contrast[material] = shown.std()
    assert contrast["metal"] > 1.2 * contrast["rubber"]


def test_view_transform_is_standard() -> None:
    RenderSession(QUALITY)
    assert bpy.context.scene.view_settings.view_transform == "Standard"


@pytest.mark.parametrize(("width", "height", "samples"), [(3, 48, 1), (64, 0, 1), (70_000, 48, 1), (64, 48, 0)])
def test_qualities_that_blender_would_change_are_refused(width: int, height: int, samples: int) -> None:
    with pytest.raises(ValueError, match=f"got ({width}x{height}|{samples})$"):
        RenderQuality(width, height, samples)


def test_blender_is_quiet_and_python_is_not() -> None:
    script = (
        "import os\n"
        "from dataset_builders.rendering.session import quiet_blender\n"
        "print('before')\n"
        "with quiet_blender():\n"
        "    print('an add-on')\n"
        "    os.write(1, b'Blender itself')\n"
        "print('after')\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output == "before\nafter\n"


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(KeyError):
        make_shape_mesh("cone")
