"""Blender meshes by shape name.

The three of CLEVR are bevelled, of radius (or half side) 1, around the origin; all others are 1 m along the longest
side of their box, whose centre is the origin.
"""

from collections.abc import Callable

import bmesh
import bpy
import numpy as np

from ..shape_library import CREASE_DEGREES, ShapeMesh, make_shape
from .airplane import make_airplane_mesh
from .library_mesh import to_blender_mesh

# Looked at beside real CLEVR images: edges catch light without losing the shape's outline.
BEVEL = 0.06
BEVEL_SEGMENTS = 4
ROUND_SEGMENTS = 96


def make_shape_mesh(shape: str) -> bpy.types.Mesh:
    """Create a `cube`, `cylinder` or `sphere` with smooth normals, the `airplane`, or a shape of the library.

    The first material slot is empty: it is for the object's own material.

    Raises:
        KeyError: for another shape.
    """
    if shape not in _MAKERS:
        return to_blender_mesh(shape, make_shape(shape))
    mesh = _MAKERS[shape]()
    mesh.materials.append(None)
    return mesh


def make_user_mesh(name: str, shape: ShapeMesh) -> bpy.types.Mesh:
    """Create a mesh of a user's shape: shaded smooth, but for edges where faces meet at more than `CREASE_DEGREES`."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(shape.vertices.tolist(), [], shape.faces)
    mesh.materials.append(None)
    mesh.shade_smooth()
    mesh.set_sharp_from_angle(angle=np.radians(CREASE_DEGREES))
    return mesh


def _make_cube() -> bpy.types.Mesh:
    mesh = bmesh.new()
    bmesh.ops.create_cube(mesh, size=2.0)
    _bevel(mesh, list(mesh.edges))
    return _finish(mesh, "cube", _rounded_box_normals)


def _make_cylinder() -> bpy.types.Mesh:
    mesh = bmesh.new()
    bmesh.ops.create_cone(mesh, cap_ends=True, segments=ROUND_SEGMENTS, radius1=1.0, radius2=1.0, depth=2.0)
    _bevel(mesh, [edge for edge in mesh.edges if abs(edge.verts[0].co.z - edge.verts[1].co.z) < 1e-6])
    return _finish(mesh, "cylinder", _rounded_cylinder_normals)


def _make_sphere() -> bpy.types.Mesh:
    # bmesh's own UV sphere merges its seams in the order of memory addresses: its quads would be triangulated
    # differently from run to run, and pixels with them.
    mesh = bmesh.new()
    points, faces = _uv_sphere(ROUND_SEGMENTS, ROUND_SEGMENTS // 2)
    vertices = [mesh.verts.new(point) for point in points.tolist()]
    for face in faces:
        mesh.faces.new([vertices[corner] for corner in face])
    return _finish(mesh, "sphere", lambda points: points)


def _uv_sphere(segments: int, rings: int) -> tuple[np.ndarray, list[list[int]]]:
    """Return the points (N, 3) of a unit sphere and its faces, counter-clockwise from outside: north pole first."""
    polar = np.pi * np.arange(1, rings)[:, None] / rings
    around = 2 * np.pi * np.arange(segments) / segments
    circles = [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around]
    points = np.concatenate([[(0.0, 0.0, 1.0)], np.stack(circles, axis=-1).reshape(-1, 3), [(0.0, 0.0, -1.0)]])
    here = 1 + np.arange((rings - 1) * segments).reshape(rings - 1, segments)
    east = np.roll(here, -1, axis=1)
    quads = np.stack([here[:-1], here[1:], east[1:], east[:-1]], axis=-1).reshape(-1, 4)
    north = [[0, a, b] for a, b in zip(here[0].tolist(), east[0].tolist(), strict=True)]
    south = [[b, a, len(points) - 1] for a, b in zip(here[-1].tolist(), east[-1].tolist(), strict=True)]
    return points, north + quads.tolist() + south


def _bevel(mesh: bmesh.types.BMesh, edges: list[bmesh.types.BMEdge]) -> None:
    bmesh.ops.bevel(mesh, geom=edges, offset=BEVEL, segments=BEVEL_SEGMENTS, profile=0.5, affect="EDGES")


def _rounded_box_normals(points: np.ndarray) -> np.ndarray:
    # On a rounded box every normal points away from the nearest point of the inner, unrounded box: flat faces stay
    # flat although the whole mesh is shaded smooth.
    return points - np.clip(points, BEVEL - 1.0, 1.0 - BEVEL)


def _rounded_cylinder_normals(points: np.ndarray) -> np.ndarray:
    radial = np.linalg.norm(points[:, :2], axis=1, keepdims=True)
    inner = np.minimum(radial, 1.0 - BEVEL) / np.maximum(radial, 1e-9) * points[:, :2]
    height = np.clip(points[:, 2:], BEVEL - 1.0, 1.0 - BEVEL)
    return points - np.concatenate([inner, height], axis=1)


def _finish(mesh: bmesh.types.BMesh, name: str, normals_of: Callable[[np.ndarray], np.ndarray]) -> bpy.types.Mesh:
    data = bpy.data.meshes.new(name)
    mesh.to_mesh(data)
    mesh.free()
    data.shade_smooth()
    points = np.array([vertex.co for vertex in data.vertices])
    normals = normals_of(points)
    data.normals_split_custom_set_from_vertices(normals / np.linalg.norm(normals, axis=1, keepdims=True))
    return data


_MAKERS = {
    "airplane": make_airplane_mesh,
    "cube": _make_cube,
    "cylinder": _make_cylinder,
    "sphere": _make_sphere,
}
