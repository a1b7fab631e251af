"""Meshes that other programs made load as those programs mean them; what is no mesh is refused with a reason."""

from pathlib import Path

import bpy
import numpy as np
import pytest
from mesh_files import TRIANGLE, TRIANGLE_OBJ, compas_sample, glb, ply, put
from scipy.spatial import cKDTree

from dataset_builders import mesh_import
from dataset_builders.mesh_import import MeshError, import_mesh
from dataset_builders.rendering.session import quiet_blender
from dataset_builders.shape_library import ShapeMesh


def area(shape: ShapeMesh) -> float:
    first, second, third = shape.vertices[np.array(shape.faces)].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(second - first, third - first), axis=1).sum() / 2)


def blender_points_and_area(path: Path) -> tuple[np.ndarray, float]:
    """What Blender's own importer makes of a file: the points of its faces in the file's axes, and their area."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with quiet_blender():
        if path.suffix == ".obj":
            bpy.ops.wm.obj_import(filepath=str(path), forward_axis="Y", up_axis="Z")
        else:
            bpy.ops.wm.ply_import(filepath=str(path))
    points, total = [], 0.0
    for item in bpy.data.objects:
        item.data.calc_loop_triangles()
        total += sum(triangle.area for triangle in item.data.loop_triangles)
        points += [item.data.vertices[corner].co[:] for face in item.data.polygons for corner in face.vertices]
    return np.array(points), total


def check_normalized(shape: ShapeMesh) -> None:
    assert shape.size.max() == pytest.approx(1, abs=2e-6)
    assert shape.vertices.max(axis=0) + shape.vertices.min(axis=0) == pytest.approx([0, 0, 0], abs=2e-6)
    assert len(shape.trim) == len(shape.faces)
    assert len({tuple(sorted(face)) for face in shape.faces}) == len(shape.faces)
    assert {corner for face in shape.faces for corner in face} == set(range(len(shape.vertices)))


@pytest.mark.parametrize("name", ["hypar.obj", "mesh.obj", "quadmesh.obj", "tubemesh.obj", "faces_big.obj"])
def test_real_meshes_are_what_blender_sees_in_them(name: str) -> None:
    shape = import_mesh(compas_sample(name))
    check_normalized(shape)
    points, total = blender_points_and_area(compas_sample(name))
    extent = np.ptp(points, axis=0)
    assert shape.size == pytest.approx(extent[[2, 0, 1]] / extent.max(), abs=3e-6)  # from y up to z up
    assert area(shape) == pytest.approx(total / extent.max() ** 2, rel=1e-3)


def test_a_real_ply_that_blender_refuses() -> None:
    shape = import_mesh(compas_sample("tubemesh.ply"))
    check_normalized(shape)
    assert (len(shape.vertices), len(shape.faces)) == (200, 342)


def test_faces_that_touch_from_both_sides_are_kept_once() -> None:
    """Boxes of one grid: what lies between two of them is a face of both."""
    shape = import_mesh(compas_sample("boxes.obj"))
    check_normalized(shape)
    points, total = blender_points_and_area(compas_sample("boxes.obj"))
    assert area(shape) < 0.95 * total / np.ptp(points, axis=0).max() ** 2


@pytest.mark.parametrize("name", ["fink.obj", "lines_noleaves.obj", "spline.obj"])
def test_real_files_without_faces_are_refused(name: str) -> None:
    with pytest.raises(MeshError, match="it holds no faces"):
        import_mesh(compas_sample(name))


def test_one_mesh_of_blender_is_the_same_in_all_three_formats(tmp_path: Path) -> None:
    """The monkey looks along Blender's -y, which is +z in both of the formats with y up: glTF's front, OBJ's back."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add(size=3, location=(5, 6, 7), rotation=(0.2, 0, 0))
    bpy.context.view_layer.update()
    monkey = bpy.context.active_object
    points = np.array([monkey.matrix_world @ vertex.co for vertex in monkey.data.vertices])
    with quiet_blender():
        bpy.ops.wm.obj_export(filepath=str(tmp_path / "m.obj"))
        bpy.ops.wm.ply_export(filepath=str(tmp_path / "m.ply"), export_triangulated_mesh=True)
        bpy.ops.wm.ply_export(filepath=str(tmp_path / "mixed.ply"))
        bpy.ops.export_scene.gltf(filepath=str(tmp_path / "m.glb"), export_format="GLB")
    points = (points - (points.min(axis=0) + points.max(axis=0)) / 2) / np.ptp(points, axis=0).max()
    x, y, z = points.T
    expected = {".ply": (x, y, z), ".obj": (y, -x, z), ".glb": (-y, x, z)}
    for suffix, axes in expected.items():
        shape = import_mesh(tmp_path / f"m{suffix}")
        check_normalized(shape)
        assert len(shape.vertices) == len(points)
        assert cKDTree(shape.vertices).query(np.stack(axes, axis=1))[0].max() < 3e-6
        assert len(shape.faces) == 968  # 32 triangles and 468 quads
    with pytest.raises(MeshError, match="needs faces of one size: export triangles"):
        import_mesh(tmp_path / "mixed.ply")


def test_a_mesh_is_read_alike_every_time(tmp_path: Path) -> None:
    first, second = (import_mesh(compas_sample("mesh.obj")) for _ in range(2))
    assert first.vertices.tobytes() == second.vertices.tobytes()
    assert first.faces == second.faces


def test_equal_points_are_welded_and_doubles_dropped(tmp_path: Path) -> None:
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
    text = corners + corners + "v 0.5 0 0\nf 1 2 3\nf 6 5 4\nf 1 2 2\nf 1 2 7\nv 9 9 9\n"
    shape = import_mesh(put(tmp_path, "a.obj", text))
    check_normalized(shape)
    assert (len(shape.vertices), len(shape.faces)) == (3, 1)


@pytest.mark.parametrize("scale", ["e-30", "e30", "e300"])
def test_any_size_and_place_is_normalised(tmp_path: Path, scale: str) -> None:
    text = TRIANGLE_OBJ.replace("2", f"2{scale}", 1).replace("4", f"4{scale}", 1).replace("1 0\n", f"1{scale} 0\n", 1)
    shape = import_mesh(put(tmp_path, "a.obj", text))
    check_normalized(shape)
    assert shape.size == pytest.approx([1, 0.5, 0.25])


def test_material_files_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    text = f"mtllib {tmp_path / 'secret.mtl'}\nmtllib ../../secret.mtl\nusemtl red\n{TRIANGLE_OBJ}"
    path = put(tmp_path, "a/b/mesh.obj", text)
    put(tmp_path, "secret.mtl", "newmtl red\nmap_Kd /etc/hostname\n")
    monkeypatch.setattr("builtins.open", lambda file, *_, **__: opened.append(file))
    monkeypatch.setattr("io.open", lambda file, *_, **__: opened.append(file))
    monkeypatch.setattr(Path, "read_bytes", lambda self: _bytes_once(self, path, opened, text))
    check_normalized(import_mesh(path))
    assert opened == []


def _bytes_once(path: Path, wanted: Path, opened: list[object], text: str) -> bytes:
    if path != wanted:
        opened.append(path)
    return text.encode()


@pytest.mark.parametrize(
    "buffers",
    [
        [{"uri": "../../../etc/passwd", "byteLength": 36}],
        [{"byteLength": 36}, {"uri": "file:///etc/passwd", "byteLength": 36}],
    ],
)
def test_a_glb_that_names_another_file_is_refused(tmp_path: Path, buffers: list[dict[str, object]]) -> None:
    with pytest.raises(MeshError, match=r"it needs another file, '.*/etc/passwd'"):
        import_mesh(put(tmp_path, "a.glb", glb(buffers=buffers)))


def test_textures_of_a_glb_are_never_opened(tmp_path: Path) -> None:
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    data = glb(images=[{"uri": "/etc/passwd"}], textures=[{"source": 0}], materials=[material])
    check_normalized(import_mesh(put(tmp_path, "a.glb", data)))


CORNERS = "0 0 0\n1 0 0\n0 1 0\n"
BROKEN: dict[str, tuple[bytes | str, str]] = {
    "empty.obj": ("", "no faces"),
    "noise.obj": (bytes(range(256)) * 20, "no faces|cannot read"),
    "words.obj": ("v x y z\nf a b c\n", "trimesh cannot read it: ValueError"),
    "points.obj": ("v 0 0 0\nv 1 0 0\n", "no faces"),
    "beyond.obj": ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "trimesh cannot read it: IndexError"),
    "backwards.obj": ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\n", "counts? vertices backwards"),
    "nan.obj": ("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "no finite numbers"),
    "infinite.obj": ("v 0 0 1e400\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "no finite numbers"),
    "thread.obj": ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "none with an area"),
    "point.obj": ("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "none with an area"),
    "empty.glb": ("", "trimesh cannot read it"),
    "noise.glb": (bytes(range(256)) * 20, "trimesh cannot read it"),
    "cut.glb": (glb()[:-20], "trimesh cannot read it"),
    "huge.glb": (
        glb(accessors=[{"bufferView": 0, "componentType": 5126, "count": 3_000_000_000, "type": "VEC3"}]),
        "trimesh cannot read it",
    ),
    "nothing.glb": (glb(meshes=[], nodes=[]), "cannot read it"),
    "empty.ply": ("", "trimesh cannot read it"),
    "noise.ply": (bytes(range(256)) * 20, "trimesh cannot read it"),
    "cloud.ply": (ply(CORNERS, "", (3, 0)), "no faces"),
    "short.ply": (ply(CORNERS, "", (1000, 1)), "cannot read|no faces"),
    "huge.ply": (ply(CORNERS, "3 0 1 2\n", (4_000_000_000, 1)), "cannot read|no faces"),
    "huge_binary.ply": (ply("", "", (4_000_000_000, 1), "binary_little_endian") + TRIANGLE, "trimesh cannot read it"),
    "beyond.ply": (ply(CORNERS, "3 0 1 7\n", (3, 1)), "name vertices 0 to 7, counted from 0, of 3"),
    "negative.ply": (ply(CORNERS, "3 0 1 -1\n", (3, 1)), "name vertices -1 to 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    contents, reason = BROKEN[name]
    with pytest.raises(MeshError, match=reason):
        import_mesh(put(tmp_path, name, contents))


def test_too_many_faces_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_import, "MAX_FACES", 2)
    with pytest.raises(MeshError, match="it has 3 faces, more than 2: decimate it"):
        import_mesh(put(tmp_path, "a.obj"))
