"""Symmetries are measured on the meshes, and the metric's own list of them says the same."""

from pathlib import Path

import bpy
import numpy as np
import pytest
from mesh_files import put

from dataset_builders.mesh_import import import_mesh
from dataset_builders.rendering.meshes import make_shape_mesh
from dataset_builders.shape_library import ShapeMesh, make_shape, shape_names
from dataset_builders.shape_library.curves import circle
from dataset_builders.shape_library.shape_mesh import Part, assemble
from dataset_builders.shape_library.solids import box, lathe
from dataset_builders.shape_symmetry import symmetry_order
from metrics.scene_program.symmetry import CONTINUOUS, SYMMETRY_ORDER

DISC = lathe([(0.0, 0.0), (1.0, 0.0), (1.0, 0.1), (0.0, 0.1)], circle(sides=64))
# One of every kind, and those whose axis is beside the middle of their box.
QUICK = (
    "airplane_00",
    "bottle_00",
    "bottle_03",
    "bottle_04",
    "bottle_08",
    "chair_00",
    "lamp_04",
    "lamp_20",
    "table_05",
)


def feet(count: int) -> list[Part]:
    foot = box((0.2, 0.2, 1.0), 0.01).moved(x=0.8)
    return [foot.turned("z", 360 * number / count) for number in range(count)]


@pytest.mark.parametrize(
    ("parts", "order"),
    [
        ([DISC], CONTINUOUS),
        ([DISC, *feet(1)], 1),
        *(([DISC, *feet(count)], count) for count in (2, 3, 4, 5, 6)),
        (feet(3), 3),  # without the disc its box is not around the axis
        ([DISC, box((0.9, 0.9, 0.2), 0.01).moved(z=1).as_trim()], 4),
        ([DISC, *feet(4)[:2], *(part.as_trim() for part in feet(4)[2:])], 1),
        ([DISC, *(part.as_trim() if number % 2 else part for number, part in enumerate(feet(4)))], 2),
    ],
)
def test_the_order_is_that_of_the_parts(parts: list[Part], order: int) -> None:
    assert symmetry_order(assemble(parts)) == order


def test_a_users_mesh_is_measured_too(tmp_path: Path) -> None:
    """An open corner of three triangles."""
    assert symmetry_order(import_mesh(put(tmp_path, "a.obj"))) == 1


def test_the_airplane_of_so3_and_six_dof_has_no_symmetry() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    mesh = make_shape_mesh("airplane")
    vertices = np.array([vertex.co for vertex in mesh.vertices])
    faces = tuple(tuple(face.vertices) for face in mesh.polygons)
    assert symmetry_order(ShapeMesh(vertices, faces, (False,) * len(faces))) == 1
    assert "airplane" not in SYMMETRY_ORDER


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in shape_names()]
)
def test_the_metric_knows_the_symmetry_of_every_shape_of_the_library(name: str) -> None:
    assert SYMMETRY_ORDER.get(name, 1) == symmetry_order(make_shape(name))


def test_the_metric_lists_no_shape_that_there_is_not() -> None:
    assert set(SYMMETRY_ORDER) - {"cube"} <= set(shape_names())
    assert 1 not in SYMMETRY_ORDER.values()
