"""Parametric everyday objects as numpy meshes, without Blender (spec BENCHMARKS, "ShapeNet")."""

from .library import CATEGORIES, VARIANTS, make_shape, shape_names
from .normals import CREASE_DEGREES, corner_normals
from .shape_mesh import ShapeMesh

__all__ = ["CATEGORIES", "CREASE_DEGREES", "VARIANTS", "ShapeMesh", "corner_normals", "make_shape", "shape_names"]
