"""The fixed, asymmetric object of the SO(3) and 6-DoF families: an airplane with one engine, extent 1 m.

No rotation maps it onto itself and no mirror either: nose and tail, top and bottom, left and right all differ.
"""

from itertools import pairwise

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector

Point = tuple[float, float, float]

# Built with the nose along +x, the fin along +z and the only engine under the left wing (+y), in arbitrary units.
FUSELAGE = ((-1.0, 0.04), (-0.75, 0.10), (-0.2, 0.14), (0.55, 0.14), (0.85, 0.10), (1.0, 0.02))  # x, radius
SIDES = 24
# Root and tip chords as (leading x, trailing x, y, z), and thickness.
WINGS = {
    "left wing": ((0.30, -0.15, 0.10, -0.03), (-0.10, -0.32, 0.95, 0.06), 0.035),
    "right wing": ((0.30, -0.15, -0.10, -0.03), (-0.10, -0.32, -0.95, 0.06), 0.035),
    "left tail": ((-0.72, -0.95, 0.05, 0.04), (-0.88, -1.02, 0.36, 0.06), 0.025),
    "right tail": ((-0.72, -0.95, -0.05, 0.04), (-0.88, -1.02, -0.36, 0.06), 0.025),
}
FIN = ((-0.66, -0.95, 0.0, 0.06), (-0.90, -1.05, 0.0, 0.46), 0.03)
ENGINE_CENTER, ENGINE_LENGTH, ENGINE_RADIUS = (0.10, 0.42, -0.12), 0.34, 0.085


def make_airplane_mesh() -> bpy.types.Mesh:
    """Create the mesh: centred on the middle of its bounding box, whose longest side is 1."""
    mesh = bmesh.new()
    _add_fuselage(mesh)
    for root, tip, thickness in WINGS.values():
        _add_slab(mesh, root, tip, thickness, thick_axis=2)
    _add_slab(mesh, *FIN, thick_axis=1)
    _add_engine(mesh)
    data = bpy.data.meshes.new("airplane")
    _normalize(mesh)
    bmesh.ops.recalc_face_normals(mesh, faces=list(mesh.faces))
    mesh.to_mesh(data)
    mesh.free()
    return data


def _add_fuselage(mesh: bmesh.types.BMesh) -> None:
    angles = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    rings = [[mesh.verts.new((x, r * np.cos(a), r * np.sin(a))) for a in angles] for x, r in FUSELAGE]
    for first, second in pairwise(rings):
        for i in range(SIDES):
            j = (i + 1) % SIDES
            mesh.faces.new((first[i], first[j], second[j], second[i])).smooth = True
    mesh.faces.new(rings[0])
    mesh.faces.new(rings[-1])


def _add_slab(
    mesh: bmesh.types.BMesh,
    root: tuple[float, ...],
    tip: tuple[float, ...],
    thickness: float,
    thick_axis: int,
) -> None:
    """Add a tapered plate between two chords, `thickness` along an axis at the root and half of it at the tip."""
    corners = []
    for (leading, trailing, y, z), depth in ((root, thickness), (tip, thickness / 2)):
        for x in (leading, trailing):
            for sign in (-1, 1):
                point = [x, y, z]
                point[thick_axis] += sign * depth
                corners.append(mesh.verts.new(point))
    for face in ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)):
        mesh.faces.new([corners[i] for i in face])


def _add_engine(mesh: bmesh.types.BMesh) -> None:
    pose = Matrix.Translation(Vector(ENGINE_CENTER)) @ Matrix.Rotation(np.pi / 2, 4, "Y")
    bmesh.ops.create_cone(
        mesh,
        cap_ends=True,
        segments=SIDES,
        radius1=0.8 * ENGINE_RADIUS,
        radius2=ENGINE_RADIUS,
        depth=ENGINE_LENGTH,
        matrix=pose,
    )


def _normalize(mesh: bmesh.types.BMesh) -> None:
    points = np.array([vertex.co for vertex in mesh.verts])
    low, high = points.min(axis=0), points.max(axis=0)
    for vertex in mesh.verts:
        vertex.co = (np.array(vertex.co) - (low + high) / 2) / (high - low).max()
