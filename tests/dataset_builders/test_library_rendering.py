"""Library shapes and textures in Blender."""

from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from dataset_builders.camera import Camera
from dataset_builders.lights import CLEVR_LIGHTS
from dataset_builders.palette import NUM_TEXTURES
from dataset_builders.rendering.export import export_glb
from dataset_builders.rendering.materials import make_principled_copy
from dataset_builders.rendering.meshes import make_shape_mesh
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.rendering.stage import STUDIO_STAGE
from dataset_builders.shape_library import CATEGORIES, VARIANTS, corner_normals, make_shape
from dataset_builders.shape_sheet import main, render_shape
from modeling_igllm import PosedObject, Rotation

QUALITY = RenderQuality(width=48, height=48, samples=2, threads=1)
CAMERA = Camera(location=(1.4, -1.0, 0.8))


def upright(shape: str, color: str = "red", x: float = 0.0) -> PosedObject:
    return PosedObject(color, shape, (x, 0.0, 0.0), Rotation.from_matrix(np.eye(3), "6d"))


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("category", CATEGORIES)
def test_blender_takes_shapes_as_they_are(category: str, step: int) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    for variant in range(0, VARIANTS, step):
        name = f"{category}_{variant:02d}"
        mesh, shape = make_shape_mesh(name), make_shape(name)
        assert not mesh.validate(), name  # True if it had to repair something
        corners, slots = np.empty(len(shape.faces), dtype=np.int32), np.empty(len(shape.faces), dtype=np.int32)
        mesh.polygons.foreach_get("loop_total", corners)
        mesh.polygons.foreach_get("material_index", slots)
        assert corners.tolist() == [len(face) for face in shape.faces]
        assert slots.tolist() == list(shape.trim)
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
    body = plain[..., 0] > plain[..., 1] + 40
    assert body.sum() > 200
    factor = textured[body][:, 0] / plain[body][:, 0]
    assert np.quantile(factor, 0.1) < 0.7
    assert 0.9 < np.quantile(factor, 0.8) < 1.1
    assert (textured[body][:, 0] > textured[body][:, 1]).mean() > 0.97


def test_none_is_no_texture() -> None:
    session = RenderSession(QUALITY, STUDIO_STAGE)
    item = upright("table_00")
    plain = session.render((item,), CAMERA, CLEVR_LIGHTS)
    assert (session.render((item,), CAMERA, CLEVR_LIGHTS, (None,)) == plain).all()


@pytest.mark.parametrize("count", [20, pytest.param(NUM_TEXTURES, marks=pytest.mark.slow)])
def test_textures_differ(count: int) -> None:
    session = RenderSession(RenderQuality(width=20, height=20, samples=1, denoise=False, threads=1), STUDIO_STAGE)
    pictures = [session.render((upright("sofa_00"),), CAMERA, CLEVR_LIGHTS, (texture,)) for texture in range(count)]
    flat = np.stack(pictures).reshape(count, -1).astype(float)
    apart = np.abs(flat[:, None] - flat).mean(axis=-1)
    assert apart[~np.eye(count, dtype=bool)].min() > 0.5  # of 255, background included


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


def test_objects_of_one_mesh_are_exported_with_matte_trim(tmp_path: Path) -> None:
    objects = (upright("car_05", "red"), upright("car_05", "blue", 1.2))
    RenderSession(QUALITY, STUDIO_STAGE).place(objects, CAMERA, ())
    export_glb(tmp_path / "cars.glb")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "cars.glb"))
    nodes = [material.node_tree.nodes["Principled BSDF"] for material in bpy.data.materials]
    assert {node.inputs["Metallic"].default_value for node in nodes} == {0.0}
    grays = [node for node in nodes if node.inputs["Base Color"].default_value[0] == pytest.approx(0.03, abs=0.005)]
    assert len(nodes) == 3
    assert len(grays) == 1


def test_the_sheet_of_one_category_has_two_rows_of_its_shapes(tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheets"
    main(["--out", str(out), "--side", "16", "--samples", "1", "--categories", "mug"])
    assert [path.name for path in out.iterdir()] == ["shape_library.jpg"]
    with Image.open(out / "shape_library.jpg") as sheet:
        assert sheet.size == (12 * 18 - 2, 2 * 18 - 2)
