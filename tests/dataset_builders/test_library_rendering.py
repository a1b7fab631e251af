"""Library shapes and textures in Blender."""

import bpy
import numpy as np
import pytest

from dataset_builders.camera import Camera
from dataset_builders.lights import CLEVR_LIGHTS
from dataset_builders.rendering.materials import make_principled_copy
from dataset_builders.rendering.meshes import make_shape_mesh
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.rendering.stage import STUDIO_STAGE
from dataset_builders.rendering.textures import NUM_TEXTURES
from dataset_builders.shape_library import CATEGORIES, VARIANTS, corner_normals, make_shape
from dataset_builders.shape_sheet import render_shape
from modeling_igllm import PosedObject, Rotation

QUALITY = RenderQuality(width=48, height=48, samples=2, threads=1)
CAMERA = Camera(location=(1.4, -1.0, 0.8))


def upright(shape: str, color: str = "red", x: float = 0.0) -> PosedObject:
    return PosedObject(color, shape, (x, 0.0, 0.0), Rotation.from_matrix(np.eye(3), "6d"))


@pytest.mark.parametrize("category", CATEGORIES)
def test_blender_takes_every_shape_as_it_is(category: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    for variant in range(VARIANTS):
        name = f"{category}_{variant:02d}"
        mesh, shape = make_shape_mesh(name), make_shape(name)
        assert not mesh.validate(), name  # True if it had to repair something
        assert [len(face.vertices) for face in mesh.polygons] == [len(face) for face in shape.faces]
        assert [bool(face.material_index) for face in mesh.polygons] == list(shape.trim)
        assert [material and material.name for material in mesh.materials] == [None, "trim"]


def test_blender_shades_with_the_library_s_normals() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    mesh = make_shape_mesh("mug_00")
    found = np.array([normal.vector for normal in mesh.corner_normals])
    assert found == pytest.approx(corner_normals(make_shape("mug_00")), abs=2e-3)  # Blender stores 16 bits


def test_same_shapes_and_textures_give_the_same_pixels_whatever_was_rendered_before() -> None:
    session = RenderSession(QUALITY, STUDIO_STAGE)
    scene = ((upright("car_03"), upright("mug_07", "blue", 0.9)), CAMERA, CLEVR_LIGHTS, (12, None))
    first = session.render(*scene)
    session.render((upright("lamp_01"),), CAMERA, CLEVR_LIGHTS, (55,))
    session.render((upright("car_03"),), CAMERA, CLEVR_LIGHTS)
    assert (session.render(*scene) == first).all()
    assert (RenderSession(QUALITY, STUDIO_STAGE).render(*scene) == first).all()


def test_trim_stays_dark_in_every_colour() -> None:
    session = RenderSession(QUALITY, STUDIO_STAGE)
    red, blue = (session.render((upright("car_05", color),), CAMERA, CLEVR_LIGHTS) for color in ("red", "blue"))
    background = session.render((), CAMERA, CLEVR_LIGHTS)
    changed = (np.abs(red.astype(int) - blue).max(axis=-1) > 25).sum()
    shown = (np.abs(red.astype(int) - background).max(axis=-1) > 8).sum()
    assert 0.3 * shown < changed < 0.95 * shown


def test_a_texture_changes_the_pattern_and_keeps_the_hue() -> None:
    session = RenderSession(QUALITY, STUDIO_STAGE)
    item = upright("sofa_00", "red")
    plain = session.render((item,), CAMERA, CLEVR_LIGHTS).astype(int)
    textured = session.render((item,), CAMERA, CLEVR_LIGHTS, (2,)).astype(int)
    body = plain[..., 0] > plain[..., 1] + 60
    assert body.sum() > 200
    assert textured[body].std() > 1.3 * plain[body].std()
    assert (textured[body][:, 0] > textured[body][:, 1]).mean() > 0.97
    assert (textured[body].mean(axis=1) <= plain[body].mean(axis=1) + 12).mean() > 0.97  # a factor of at most one


def test_none_is_no_texture() -> None:
    session = RenderSession(QUALITY, STUDIO_STAGE)
    item = upright("table_00")
    plain = session.render((item,), CAMERA, CLEVR_LIGHTS)
    assert (session.render((item,), CAMERA, CLEVR_LIGHTS, (None,)) == plain).all()


def test_the_hundred_textures_differ() -> None:
    session = RenderSession(RenderQuality(width=20, height=20, samples=1, denoise=False, threads=1), STUDIO_STAGE)
    pictures = [session.render((upright("sofa_00"),), CAMERA, CLEVR_LIGHTS, (t,)) for t in range(NUM_TEXTURES)]
    flat = np.stack(pictures).reshape(NUM_TEXTURES, -1).astype(float)
    apart = np.abs(flat[:, None] - flat).mean(axis=-1)
    assert apart[~np.eye(NUM_TEXTURES, dtype=bool)].min() > 0.5  # of 255, background included


@pytest.mark.parametrize("texture", [-1, NUM_TEXTURES])
def test_an_unknown_texture_is_refused(texture: int) -> None:
    with pytest.raises(ValueError, match=f"got {texture}"):
        RenderSession(QUALITY, STUDIO_STAGE).place((upright("mug_00"),), CAMERA, (), (texture,))


def test_textures_that_do_not_fit_the_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="1 objects need as many textures, got 2"):
        RenderSession(QUALITY, STUDIO_STAGE).place((upright("mug_00"),), CAMERA, (), (1, 2))


def test_exported_materials_keep_the_plain_colour_of_textured_objects() -> None:
    RenderSession(QUALITY, STUDIO_STAGE).place((upright("mug_00", "red"),), CAMERA, (), (3,))
    (placed,) = [item for item in bpy.data.objects if item.type == "MESH"]
    copy = make_principled_copy(placed.material_slots[0].material)
    color = copy.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value
    assert tuple(color) == pytest.approx((173 / 255, 35 / 255, 35 / 255, 1.0))


def test_memory_stays_flat_over_many_scenes() -> None:
    session = RenderSession(QUALITY, STUDIO_STAGE)
    counts = []
    for _ in range(3):
        for number in range(4):
            session.place((upright(f"mug_0{number}"),), CAMERA, CLEVR_LIGHTS, (number,))
        counts.append([len(data) for data in (bpy.data.objects, bpy.data.meshes, bpy.data.materials)])
    assert counts[0] == counts[1] == counts[2]


def test_sheet_pictures_show_the_object_on_the_ground() -> None:
    session = RenderSession(QUALITY)
    pixels = render_shape(session, "chair_00", "red").astype(int)
    is_red = pixels[..., 0] > pixels[..., 1] + 25
    assert 0.05 < is_red.mean() < 0.6
    assert not is_red[[0, -1]].any()
    assert not is_red[:, [0, -1]].any()
