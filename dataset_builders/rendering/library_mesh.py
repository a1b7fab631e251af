"""Meshes as plain data become Blender meshes, normals included."""

import bpy
import numpy as np

from ..shape_library import ShapeMesh, corner_normals
from .materials import trim_material


def to_blender_mesh(name: str, shape: ShapeMesh) -> bpy.types.Mesh:
    """Create a mesh of two material slots: an empty one for the object's own material, then that of the trim."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(shape.vertices.tolist(), [], shape.faces)
    mesh.materials.append(None)
    mesh.materials.append(trim_material())
    mesh.polygons.foreach_set("material_index", np.array(shape.trim, dtype=np.int32))
    mesh.shade_smooth()
    mesh.normals_split_custom_set(corner_normals(shape).tolist())
    return mesh
