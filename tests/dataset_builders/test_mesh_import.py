"""Meshes that other programs made load as those programs mean them; what is no mesh is refused with a reason."""

import io
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
import trimesh
from mesh_files import TRIANGLE, TRIANGLE_OBJ, compas_sample, glb, ply, put
from scipy.spatial import cKDTree

from dataset_builders import mesh_import
from dataset_builders.mesh_import import MeshError, import_mesh
from dataset_builders.rendering.export import export_glb
from dataset_builders.rendering.session import quiet_blender
from dataset_builders.shape_library import ShapeMesh


def area(shape: ShapeMesh) -> float:
    first, second, third = shape.vertices[np.array(shape.faces)].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(second - first, third - first), axis=1).sum() / 2)


def blender_points_and_area(path: Path) -> tuple[np.ndarray, float]:
    """What Blender's own importer makes of an .obj: the points of its faces in the file's axes, and their area."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with quiet_blender():
        bpy.ops.wm.obj_import(filepath=str(path), forward_axis="Y", up_axis="Z")
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


@pytest.mark.parametrize("name", ["hypar.obj", "mesh.obj", "quadmesh.obj", "tubemesh.obj"])
def test_real_meshes_are_what_blender_sees_in_them(name: str) -> None:
    shape = import_mesh(compas_sample(name))
    check_normalized(shape)
    points, total = blender_points_and_area(compas_sample(name))
    extent = np.ptp(points, axis=0)
    assert shape.size == pytest.approx(extent[[2, 0, 1]] / extent.max(), abs=3e-6)  # from y up to z up
    assert area(shape) == pytest.approx(total / extent.max() ** 2, rel=1e-3)


def test_a_real_ply_keeps_its_axes() -> None:
    """Blender refuses this one, whose first line is in capitals."""
    path = compas_sample("tubemesh.ply")
    header, _, body = path.read_text().partition("end_header\n")
    count = int(header.partition("element vertex ")[2].split()[0])
    points = np.array([line.split() for line in body.splitlines()[:count]], dtype=float)
    shape = import_mesh(path)
    check_normalized(shape)
    points = (points - (points.min(axis=0) + points.max(axis=0)) / 2) / np.ptp(points, axis=0).max()
    assert cKDTree(shape.vertices).query(points)[0].max() < 3e-6


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
    monkey.data.calc_loop_triangles()
    total = sum(triangle.area for triangle in monkey.data.loop_triangles)
    with quiet_blender():
        bpy.ops.wm.obj_export(filepath=str(tmp_path / "m.obj"))
        bpy.ops.wm.ply_export(filepath=str(tmp_path / "m.ply"), export_triangulated_mesh=True)
        bpy.ops.wm.ply_export(filepath=str(tmp_path / "mixed.ply"))
        export_glb(tmp_path / "m.glb")
    extent = np.ptp(points, axis=0).max()
    x, y, z = ((points - (points.min(axis=0) + points.max(axis=0)) / 2) / extent).T
    for suffix, axes in {".ply": (x, y, z), ".obj": (y, -x, z), ".glb": (-y, x, z)}.items():
        shape = import_mesh(tmp_path / f"m{suffix}")
        check_normalized(shape)
        expected = np.stack(axes, axis=1)
        assert cKDTree(shape.vertices).query(expected)[0].max() < 3e-6
        assert cKDTree(expected).query(shape.vertices)[0].max() < 3e-6
        assert area(shape) == pytest.approx(total / extent**2, rel=0.01)  # quads may be cut along either diagonal
    with pytest.raises(MeshError, match="needs faces of one size: export triangles"):
        import_mesh(tmp_path / "mixed.ply")


def test_a_mesh_is_read_alike_every_time() -> None:
    first, second = (import_mesh(compas_sample("mesh.obj")) for _ in range(2))
    assert first.vertices.tobytes() == second.vertices.tobytes()
    assert first.faces == second.faces


def test_equal_points_are_welded_and_doubles_dropped(tmp_path: Path) -> None:
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
    text = corners + corners + "v 0.5 0 0\nf 1 2 3\nf 6 5 4\nf 1 2 2\nf 1 2 7\nv 9 9 9\n"
    shape = import_mesh(put(tmp_path, "a.obj", text))
    check_normalized(shape)
    assert (len(shape.vertices), len(shape.faces)) == (3, 1)


def test_points_that_no_face_uses_count_for_nothing(tmp_path: Path) -> None:
    shape = import_mesh(put(tmp_path, "a.obj", TRIANGLE_OBJ + "v 100 0 0\nv nan 0 0\n"))
    assert shape.size == pytest.approx([1, 0.5, 0.25])


@pytest.mark.parametrize("scale", ["e-30", "e30", "e300"])
def test_any_size_and_place_is_normalised(tmp_path: Path, scale: str) -> None:
    text = TRIANGLE_OBJ.replace("2", f"2{scale}", 1).replace("4", f"4{scale}", 1).replace("1 0\n", f"1{scale} 0\n", 1)
    shape = import_mesh(put(tmp_path, "a.obj", text))
    check_normalized(shape)
    assert shape.size == pytest.approx([1, 0.5, 0.25])


def test_nodes_of_a_glb_place_their_meshes(tmp_path: Path) -> None:
    """A triangle at the origin, and one three times as large 2 m above it (glTF has y up)."""
    nodes = [{"mesh": 0}, {"mesh": 0, "translation": [0, 2, 0], "scale": [3, 3, 3]}]
    shape = import_mesh(put(tmp_path, "a.glb", glb(nodes=nodes, scenes=[{"nodes": [0, 1]}])))
    assert len(shape.faces) == 2
    assert shape.size == pytest.approx([0, 3 / 5, 1])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all files that are opened from now on."""
    found: list[str] = []
    really_open = io.open

    def record(file: Any, *arguments: Any, **keywords: Any) -> Any:
        found.append(str(file))
        return really_open(file, *arguments, **keywords)

    monkeypatch.setattr("io.open", record)
    monkeypatch.setattr("builtins.open", record)
    return found


def test_material_files_are_never_opened(tmp_path: Path, opened: list[str]) -> None:
    secret = put(tmp_path, "secret.mtl", "newmtl red\nmap_Kd /etc/hostname\n")
    path = put(tmp_path, "a/b/mesh.obj", f"mtllib {secret}\nmtllib ../../secret.mtl\nusemtl red\n{TRIANGLE_OBJ}")
    opened.clear()
    check_normalized(import_mesh(path))
    assert opened == [str(path)]


def test_textures_of_a_glb_are_never_opened(tmp_path: Path, opened: list[str]) -> None:
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    primitive = {"attributes": {"POSITION": 0}, "material": 0}
    data = glb(
        images=[{"uri": "/etc/hostname"}],
        textures=[{"source": 0}],
        materials=[material],
        meshes=[{"primitives": [primitive]}],
    )
    path = put(tmp_path, "a.glb", data)
    opened.clear()
    check_normalized(import_mesh(path))
    assert opened == [str(path)]


@pytest.mark.parametrize(
    "buffers",
    [
        [{"uri": "../../../etc/hostname", "byteLength": 36}],
        [{"byteLength": 36}, {"uri": "file:///etc/hostname", "byteLength": 36}],
    ],
)
def test_a_glb_that_names_another_file_is_refused(tmp_path: Path, buffers: list[dict[str, object]]) -> None:
    with pytest.raises(MeshError, match=r"it needs another file, '.*/etc/hostname'"):
        import_mesh(put(tmp_path, "a.glb", glb(buffers=buffers)))


CORNERS = "0 0 0\n1 0 0\n0 1 0\n"
CORNERS_OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
DRACO = "KHR_draco_mesh_compression"
BROKEN: dict[str, tuple[bytes | str, str]] = {
    "empty.obj": ("", "no faces"),
    "noise.obj": (bytes(range(256)) * 20, "no faces|cannot read"),
    "words.obj": ("v x y z\nf a b c\n", "trimesh cannot read it: ValueError"),
    "text.obj": ("Dear user,\nthis is a letter.\n", "no faces"),
    "points.obj": ("v 0 0 0\nv 1 0 0\n", "no faces"),
    "beyond.obj": (f"{CORNERS_OBJ}f 1 2 9\n", "trimesh cannot read it: IndexError"),
    "backwards.obj": (f"{CORNERS_OBJ}f -3 -2 -1\n", "count vertices backwards"),
    "first_backwards.obj": (f"{CORNERS_OBJ}f\t-3/1 2/1 3/1", "count vertices backwards"),
    "continued.obj": (f"{CORNERS_OBJ}f 1 \\\r\n -2 3\n", "count vertices backwards"),
    "from_zero.obj": (f"{CORNERS_OBJ}f 1 2 0", "or from 0"),
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
    "points.glb": (glb(meshes=[{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}]), "no faces"),
    "draco.glb": (glb(extensionsUsed=[DRACO], extensionsRequired=[DRACO]), f"compressed \\({DRACO}\\): export"),
    "empty.ply": ("", "Not a ply file!$"),
    "noise.ply": (bytes(range(256)) * 20, "trimesh cannot read it"),
    "cloud.ply": (ply(CORNERS, "", (3, 0)), "no faces"),
    "short.ply": (ply(CORNERS, "", (1000, 1)), "cannot read|no faces"),
    "huge.ply": (ply(CORNERS, "3 0 1 2\n", (4_000_000_000, 1)), "cannot read|no faces"),
    "huge_binary.ply": (ply("", "", (4_000_000_000, 1), "binary_little_endian") + TRIANGLE, "trimesh cannot read it"),
    "beyond.ply": (ply(CORNERS, "3 0 1 7\n", (3, 1)), "name vertices 0 to 7, counted from 0, of 3"),
    "negative.ply": (ply(CORNERS, "3 0 1 -1\n", (3, 1)), "name vertices -1 to 1"),
}


@pytest.mark.filterwarnings("ignore:string or file could not be read:DeprecationWarning")
@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    contents, reason = BROKEN[name]
    with pytest.raises(MeshError, match=reason):
        import_mesh(put(tmp_path, name, contents))


def test_numbers_of_texture_points_and_normals_may_be_negative(tmp_path: Path) -> None:
    check_normalized(import_mesh(put(tmp_path, "a.obj", f"{CORNERS_OBJ}vn 0 0 1\nf 1//-1 2//-1 3//-1\n")))


def test_too_many_faces_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_import, "MAX_FACES", 2)
    with pytest.raises(MeshError, match="it has 3 faces, more than 2: decimate it"):
        import_mesh(put(tmp_path, "a.obj"))


def test_faces_of_repeated_parts_are_counted_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_import, "MAX_FACES", 99)
    monkeypatch.setattr(trimesh.Scene, "to_mesh", lambda self: pytest.fail("the parts were put together"))
    nodes, scenes = [{"mesh": 0} for _ in range(100)], [{"nodes": list(range(100))}]
    with pytest.raises(MeshError, match="it has 100 faces, more than 99"):
        import_mesh(put(tmp_path, "a.glb", glb(nodes=nodes, scenes=scenes)))


def test_too_large_a_file_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.setattr(mesh_import, "MAX_BYTES", 50)
    path = put(tmp_path, "a.obj")
    opened.clear()
    with pytest.raises(MeshError, match=f"it has {len(TRIANGLE_OBJ)} bytes, more than 50"):
        import_mesh(path)
    assert opened == []
