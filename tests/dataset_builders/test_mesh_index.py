"""Builds from users' meshes: what does not load is left out, the index is kept, and pictures show the meshes."""

import json
import shutil
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from mesh_files import TRIANGLE_OBJ, put, put_real_meshes
from scipy.spatial import cKDTree
from shard_files import make_plan, write_shard

from dataset_builders import mesh_index
from dataset_builders.build import plan_build
from dataset_builders.camera import Camera
from dataset_builders.families import find_family
from dataset_builders.lights import CLEVR_LIGHTS
from dataset_builders.mesh_folder import MeshFolder
from dataset_builders.mesh_import import import_mesh
from dataset_builders.mesh_index import INDEX_NAME, IndexedMeshes, MeshIndex, index_meshes, read_index
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.rendering.stage import STUDIO_STAGE
from dataset_builders.scene_builder import ShapenetBuilder
from dataset_builders.shape_catalog import catalog_of
from dataset_builders.shapenet import ground_box, sample_shapenet_scene
from dataset_builders.shards import render_shard
from modeling_igllm import PosedObject, Rotation, format_program


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """Five real meshes of two categories, one broken file and one link."""
    folder = tmp_path / "meshes"
    put_real_meshes(folder)
    shutil.rmtree(folder / "02691156")
    put(folder, "form/cut/a.glb", b"glTF\x02\x00\x00\x00")
    (folder / "form" / "link").symlink_to(folder / "form" / "hypar")
    return folder


def make_index(meshes: Path, place: Path, is_in_use: bool = False, workers: int = 1) -> MeshIndex:
    place.mkdir(exist_ok=True)
    return index_meshes(meshes, place, workers, is_in_use)


def test_the_index_has_the_size_of_what_loads_and_names_what_does_not(meshes: Path, tmp_path: Path) -> None:
    index = make_index(meshes, tmp_path / "out")
    assert list(index.sizes) == ["form_hypar", "form_saddle", "form_tube", "grid-box_number-1", "grid-box_number-2"]
    for name, size in index.sizes.items():
        assert size == tuple(import_mesh(meshes / index.files[name]).size.tolist())
    assert list(index.left_out) == ["form/cut/a.glb", "form/link"]
    assert "trimesh cannot read it" in index.left_out["form/cut/a.glb"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [INDEX_NAME]


def test_two_processes_make_the_same_index(meshes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_index(meshes, tmp_path / "alone")
    monkeypatch.setattr(mesh_index, "_CHUNK", 4)
    make_index(meshes, tmp_path / "together", workers=2)
    alone, together = (tmp_path / place / INDEX_NAME for place in ("alone", "together"))
    assert alone.read_bytes() == together.read_bytes()


@pytest.mark.parametrize("text", ["{", "{}", "[1]", "3", '{"files": {}, "sizes": {}}'])
def test_a_damaged_index_is_named(meshes: Path, tmp_path: Path, text: str) -> None:
    put(tmp_path, f"out/{INDEX_NAME}", text)
    with pytest.raises(ValueError, match=rf"{INDEX_NAME} is damaged \(.*\): delete it and build again"):
        make_index(meshes, tmp_path / "out")


def test_meshes_that_are_indexed_are_not_read_again(
    meshes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_index(meshes, tmp_path / "out")
    monkeypatch.setattr(mesh_index, "_read_all", lambda *_: pytest.fail("they were read again"))
    moved = meshes.rename(tmp_path / "moved")
    assert make_index(moved, tmp_path / "out", is_in_use=True) is first


def test_other_meshes_replace_an_index_only_while_no_scene_was_made_with_it(meshes: Path, tmp_path: Path) -> None:
    make_index(meshes, tmp_path / "out")
    put(meshes, "form/new/a.obj")
    with pytest.raises(ValueError, match=rf"{meshes} does not hold the meshes that are named in .*{INDEX_NAME}: use"):
        make_index(meshes, tmp_path / "out", is_in_use=True)
    assert "form_new" in make_index(meshes, tmp_path / "out").sizes
    assert "form_new" in read_index(tmp_path / "out" / INDEX_NAME).sizes


def test_a_mesh_of_the_same_length_with_other_points_is_another_mesh(meshes: Path, tmp_path: Path) -> None:
    mesh = put(meshes, "form/new/a.obj", TRIANGLE_OBJ)
    before = make_index(meshes, tmp_path / "out").sizes["form_new"]
    mesh.write_text(TRIANGLE_OBJ.replace("v 2 0 0", "v 3 0 0"))
    assert mesh.stat().st_size == len(TRIANGLE_OBJ)
    with pytest.raises(ValueError, match=rf"{meshes} does not hold the meshes that are named in"):
        make_index(meshes, tmp_path / "out", is_in_use=True)
    assert make_index(meshes, tmp_path / "out").sizes["form_new"] != before


def test_a_mesh_that_cannot_be_opened_is_left_out(
    meshes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, open_file = put(meshes, "form/shut/a.obj"), Path.open

    def open_others(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == mesh:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_others)
    index = make_index(meshes, tmp_path / "out")
    assert index.left_out["form/shut/a.obj"] == "it cannot be read: Permission denied"


def test_a_folder_in_which_nothing_loads_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "meshes/dog/a/a.obj", "no mesh")
    with pytest.raises(ValueError, match=r"no mesh in .*meshes can be used: dog/a/a\.obj: it holds no faces"):
        make_index(tmp_path / "meshes", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_index_cannot_lead_out_of_the_folder(meshes: Path, tmp_path: Path) -> None:
    """A dataset folder that came from elsewhere brings its index along."""
    outside = put(tmp_path, "outside.obj")
    make_index(meshes, tmp_path / "out")
    path = tmp_path / "out" / INDEX_NAME
    for place in (str(outside), "../outside.obj"):
        contents = json.loads(path.read_text())
        contents["files"]["form_hypar"]["file"] = place
        path.write_text(json.dumps(contents))
        read_index.cache_clear()
        with pytest.raises(ValueError, match="is not a plain file of"):
            IndexedMeshes(meshes, path).load("form_hypar")


def test_only_families_that_take_meshes_are_given_them(meshes: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"family 'clevr' has shapes of its own, .* is for shapenet"):
        plan_build("clevr", tmp_path / "out", meshes=meshes)
    assert not (tmp_path / "out").exists()


def test_a_refused_build_leaves_the_folder_as_it_was(meshes: Path, tmp_path: Path) -> None:
    write_shard(make_plan(tmp_path / "out", family="shapenet", split="val_id", seed=5), 0)
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(ValueError, match=r"val_id\.build\.json holds"):
        plan_build("shapenet", tmp_path / "out", splits=("train", "val_id"), num_scenes=1, meshes=meshes)
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_scenes_are_made_of_the_meshes_that_load(
    meshes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    (plan,) = plan_build(
        "shapenet", out, splits=("train",), num_scenes=2, resolution=(16, 16), samples=1, meshes=meshes
    )
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [
        f"left out {meshes / 'form/cut/a.glb'}",
        f"left out {meshes / 'form/link'}",
    ]
    painter = find_family("shapenet").make_painter(plan.paint_request(1))
    assert list(render_shard(plan, 0, painter)) == [0, 1]
    first = plan.shard_path(0).read_bytes()
    index = read_index(plan.folder / INDEX_NAME)
    for item in (item for number in range(2) for item in plan.sample(number).objects):
        assert isinstance(item, PosedObject)
        assert item.loc[2] == index.sizes[item.shape][2] / 2  # it stands on the ground

    moved = meshes.rename(tmp_path / "moved")
    settings = {"splits": ("train",), "num_scenes": 2, "resolution": (16, 16), "samples": 1}
    (again,) = plan_build("shapenet", out, meshes=moved, **settings)  # type: ignore[arg-type]
    again.shard_path(0).unlink()
    list(render_shard(again, 0, find_family("shapenet").make_painter(again.paint_request(1))))
    assert again.shard_path(0).read_bytes() == first


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_flat_meshes_find_their_places() -> None:
    """A sheet that stands on its edge: seen from above its box is a line."""
    sizes = {"sheet_a": (0.0, 1.0, 0.5), "card_a": (1.0, 0.0, 1.0)}
    index = MeshIndex(dict.fromkeys(sizes, "a.obj"), sizes, {})
    for number in range(30):
        items = sample_shapenet_scene("shapenet", "train", 0, number, catalog_of(index)).objects
        assert len(items) >= 3
        boxes = [ground_box(item, sizes[item.shape]) for item in items if isinstance(item, PosedObject)]
        for count, box in enumerate(boxes):
            assert all(line_distance(box, other) >= 0.1 for other in boxes[:count])


def line_distance(*boxes: np.ndarray) -> float:
    """The least distance of a thousand points along each of two lines, given as flat boxes (4, 2)."""
    steps = np.linspace(0, 1, 1000)[:, None]
    first, second = (box[0] + steps * (box[2] - box[0]) for box in boxes)  # from corner to opposite corner
    return float(cKDTree(first).query(second)[0].min())


def test_the_datasets_builder_takes_meshes(meshes: Path, tmp_path: Path) -> None:
    size = {"num_scenes": 1, "width": 16, "height": 16, "samples": 1}
    builder = ShapenetBuilder(cache_dir=str(tmp_path / "cache"), meshes=str(meshes), **size)
    builder.download_and_prepare()
    (plan, *_) = plan_build("shapenet", tmp_path / "out", num_scenes=1, meshes=meshes)
    assert builder.as_dataset(split="train")["program"][:] == [format_program(plan.sample(0).program)]


def test_a_mesh_that_is_gone_when_it_is_to_be_rendered_is_named(meshes: Path, tmp_path: Path) -> None:
    make_index(meshes, tmp_path / "out")
    (meshes / "form" / "hypar" / "hypar.obj").unlink()
    with pytest.raises(ValueError, match=r"form/hypar/hypar\.obj cannot be read: No such file"):
        IndexedMeshes(meshes, tmp_path / "out" / INDEX_NAME).load("form_hypar")


def upright(shape: str, height: float) -> PosedObject:
    return PosedObject("red", shape, (0.5, 0.0, height / 2), Rotation.from_matrix(np.eye(3), "6d"))


def test_blender_has_the_mesh_where_the_program_says(meshes: Path) -> None:
    shape = MeshFolder(meshes).load("form_tube")
    session = RenderSession(RenderQuality(16, 16, 1), load_shape=MeshFolder(meshes).load)
    session.place((upright("form_tube", shape.size[2]),), Camera(), CLEVR_LIGHTS, (3,))
    bpy.context.view_layer.update()
    placed = bpy.data.objects["form_tube"]
    points = np.array([placed.matrix_world @ vertex.co for vertex in placed.data.vertices])
    assert points == pytest.approx(np.add(shape.vertices, (0.5, 0, shape.size[2] / 2)), abs=1e-6)
    assert len(placed.data.polygons) == len(shape.faces)


def test_faces_look_alike_from_both_sides(tmp_path: Path) -> None:
    """An open corner of three triangles, once with its faces turned the other way round."""
    put(tmp_path, "dog/out/a.obj")
    put(
        tmp_path,
        "dog/in/a.obj",
        TRIANGLE_OBJ.replace("1 2 3", "2 1 3").replace("1 2 4", "2 1 4").replace("1 3 4", "3 1 4"),
    )
    session = RenderSession(RenderQuality(24, 24, 8, threads=1), STUDIO_STAGE, MeshFolder(tmp_path).load)
    camera = Camera(location=(2.0, -2.0, 1.5))
    first, second = (session.render((upright(f"dog_{side}", 0),), camera, CLEVR_LIGHTS) for side in ("out", "in"))
    bare = session.render((), camera, CLEVR_LIGHTS)
    shown = np.abs(first.astype(int) - bare).max(axis=-1) > 8
    assert shown.sum() > 20
    assert np.abs(first.astype(int) - second).mean() < 1
