"""The shape library as plain data: closed solids that face outwards, centred, all different, the same everywhere."""

import hashlib
import itertools
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dataset_builders.shape_library import (
    CATEGORIES,
    VARIANTS,
    ShapeMesh,
    corner_normals,
    make_shape,
    shape_names,
)
from dataset_builders.shape_library.curves import circle, rounded_rectangle, smooth
from dataset_builders.shape_library.library import make_parts
from dataset_builders.shape_library.shape_mesh import Part, assemble
from dataset_builders.shape_library.solids import box, extrude, lathe, loft, sweep, tube, wing

SQUARE = rounded_rectangle(2.0, 2.0, 0.3)
SOLIDS = {
    "box": (box((1.0, 2.0, 3.0), 0.01), 6.0),
    "round box": (box((2.0, 2.0, 2.0), 0.999, 8), 4 / 3 * np.pi),
    "cylinder": (lathe([(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (0.0, 2.0)], circle(sides=200)), 2 * np.pi),
    "open cylinder": (lathe([(1.0, 0.0), (1.0, 2.0)], circle(sides=200)), 2 * np.pi),
    "ring": (
        lathe([(1.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 1.0), (1.0, 0.0)], circle(sides=200)),
        3 * np.pi,
    ),
    "extrusion": (extrude(SQUARE, 2.0), 2 * (4 - (4 - np.pi) * 0.09)),
    "bevelled extrusion": (extrude(SQUARE, 2.0, 0.01), 2 * (4 - (4 - np.pi) * 0.09)),
    "rod": (tube([(0.0, 0.0, 0.0), (3.0, 4.0, 0.0)], 0.5, 200), 5 * np.pi / 4),
    "bent rod": (tube(smooth([(1, 0, 0), (1, 1, 0), (0, 1, 1)], 300), 0.01, 50), None),
    "sweep": (sweep([(0.0, 0.0, 0.0), (0.0, 2.0, 0.0)], SQUARE, (1.0, 0.0, 0.0)), 2 * (4 - (4 - np.pi) * 0.09)),
    "wing": (wing([(0.0, 0.0, 0.0, 1.0), (0.0, 2.0, 0.0, 1.0)], 0.12, 200), 2 * 0.0822),
}


def volume(part: Part) -> float:
    """Signed volume by the divergence theorem, faces cut into fans."""
    triangles = np.array([(face[0], *pair) for face in part.faces for pair in itertools.pairwise(face[1:])])
    a, b, c = (part.vertices - part.vertices[0])[triangles].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def open_edges(part: Part) -> int:
    """Edges that are not run through exactly once in each direction."""
    edges = Counter(edge for face in part.faces for edge in zip(face, (*face[1:], face[0]), strict=True))
    return sum(count != 1 or edges[end, start] != 1 for (start, end), count in edges.items())


@cache
def shapes() -> dict[str, ShapeMesh]:
    return {name: make_shape(name) for name in shape_names()}


def digest() -> str:
    found = hashlib.sha256()
    for mesh in shapes().values():
        found.update(mesh.vertices.tobytes() + repr((mesh.faces, mesh.trim)).encode())
    return found.hexdigest()


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_of_their_volume(name: str) -> None:
    part, expected = SOLIDS[name]
    for solid in (part, part.mirrored(), part.turned("x", 70).moved(1, 2, 3), part.stretched(2, 1, 0.5)):
        assert open_edges(solid) == 0
        assert volume(solid) > 0
        if expected is not None:
            assert volume(solid) == pytest.approx(expected, rel=0.01)


def test_the_checks_notice_a_solid_turned_inside_out_and_a_hole() -> None:
    part, _ = SOLIDS["box"]
    assert volume(Part(part.vertices, tuple(face[::-1] for face in part.faces))) < 0
    assert open_edges(Part(part.vertices, part.faces[1:])) > 0
    assert open_edges(Part(part.vertices, (part.faces[0][::-1], *part.faces[1:]))) > 0


def test_a_bevel_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bevel of 0\.6"):
        box((1.0, 2.0, 2.0), 0.6)


def test_turns_follow_the_right_hand_rule() -> None:
    for axis, start, end in (("x", (0, 1, 0), (0, 0, 1)), ("y", (0, 0, 1), (1, 0, 0)), ("z", (1, 0, 0), (0, 1, 0))):
        turned = Part(np.array([start], dtype=float), ()).turned(axis, 90)
        assert turned.vertices[0] == pytest.approx(end)


def test_there_are_eight_categories_of_at_least_twenty_shapes() -> None:
    assert CATEGORIES == ("airplane", "car", "chair", "table", "sofa", "lamp", "bottle", "mug")
    assert VARIANTS >= 20
    assert len(set(shape_names())) == 8 * VARIANTS
    assert {name.partition("_")[0] for name in shape_names()} == set(CATEGORIES)


@pytest.mark.parametrize("name", ["mug", "mug_99", "mug_1", "teapot_00", "", "mug_00_00"])
def test_an_unknown_name_is_refused_and_the_known_ones_are_named(name: str) -> None:
    with pytest.raises(KeyError, match="airplane, car, chair"):
        make_shape(name)


@pytest.mark.parametrize("category", CATEGORIES)
def test_all_parts_are_closed_and_face_outwards(category: str) -> None:
    for variant in range(VARIANTS):
        for number, part in enumerate(make_parts(f"{category}_{variant:02d}")):
            assert np.isfinite(part.vertices).all()
            assert open_edges(part) == 0, (category, variant, number)
            assert volume(part) > 0, (category, variant, number)


def test_boxes_are_centred_and_one_metre_long() -> None:
    for name, mesh in shapes().items():
        assert np.abs(mesh.vertices.max(axis=0) + mesh.vertices.min(axis=0)).max() < 2e-6, name
        assert mesh.size.max() == pytest.approx(1.0, abs=2e-6), name
        assert mesh.size.min() > 0.05, name
        assert len(mesh.trim) == len(mesh.faces) < 6000, name


def test_meshes_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        make_shape("mug_00").vertices[0] = 0.0


def least_difference(first: np.ndarray, second: np.ndarray) -> float:
    """How far the farthest point of either set is from the other set at the least, in metres: by every third point."""
    there, back = cKDTree(second).query(first[::3])[0], cKDTree(first).query(second[::3])[0]
    return float(max(there.max(), back.max()))


@pytest.mark.parametrize("category", CATEGORIES)
def test_variants_differ_visibly(category: str) -> None:
    meshes = [shapes()[f"{category}_{variant:02d}"].vertices for variant in range(VARIANTS)]
    for i, j in itertools.combinations(range(VARIANTS), 2):
        assert least_difference(meshes[i], meshes[j]) > 0.02, (i, j)  # two pixels of a hundred


@pytest.mark.parametrize("category", ["airplane", "car", "chair", "sofa", "mug"])
def test_front_and_back_differ(category: str) -> None:
    for variant in range(VARIANTS):
        vertices = shapes()[f"{category}_{variant:02d}"].vertices
        assert least_difference(vertices, vertices * (-1, -1, 1)) > 0.03, variant


def test_every_shape_shows_mostly_its_own_colour() -> None:
    for name, mesh in shapes().items():
        areas = face_areas(mesh)  # those inside of other parts too: most of a car's trim is under it
        assert areas[np.array(mesh.trim)].sum() < 0.55 * areas.sum(), name


def face_areas(mesh: ShapeMesh) -> np.ndarray:
    fans = [(i, face[0], *pair) for i, face in enumerate(mesh.faces) for pair in itertools.pairwise(face[1:])]
    face, *corners = np.array(fans).T
    a, b, c = (mesh.vertices[corner] for corner in corners)
    cross = np.cross(b - a, c - a)
    return np.linalg.norm([np.bincount(face, cross[:, axis]) for axis in range(3)], axis=0) / 2


def test_normals_are_flat_on_flats_smooth_on_curves_and_sharp_at_edges() -> None:
    block = assemble([box((1.0, 1.0, 1.0), 0.02)])
    assert flatness(block, (0, 0, 1)) > 0.999
    can = assemble([lathe([(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (0.0, 2.0)])])
    normals, points = corner_normals(can), np.concatenate([can.vertices[list(face)] for face in can.faces])
    is_side = np.abs(normals[:, 2]) < 0.5
    assert np.abs(normals[~is_side][:, 2]).min() == pytest.approx(1.0)
    radial = points[is_side] * (1, 1, 0)
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    assert (normals[is_side] * radial).sum(axis=1).min() > 0.9999


def flatness(mesh: ShapeMesh, direction: tuple[float, float, float]) -> float:
    """The least agreement of a direction with the normals at the corners of the largest face that looks there."""
    counts = np.array([len(face) for face in mesh.faces])
    normals = np.split(corner_normals(mesh), np.cumsum(counts)[:-1])
    looking = [i for i in range(len(normals)) if (normals[i] @ direction).mean() > 0.9]
    largest = max(looking, key=list(face_areas(mesh)).__getitem__)
    return float((normals[largest] @ direction).min())


def test_all_normals_are_of_unit_length() -> None:
    for name, mesh in shapes().items():
        normals = corner_normals(mesh)
        assert normals.shape == (sum(map(len, mesh.faces)), 3)
        assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 1e-9, name


def test_two_processes_make_the_same_bytes() -> None:
    command = [sys.executable, "-c", "import test_shape_library; print(test_shape_library.digest())"]
    here = Path(__file__).parent
    found = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout
    assert found.strip() == digest()


def test_a_loft_of_a_loop_has_no_ends() -> None:
    rings = np.stack([np.column_stack([circle(sides=8), np.full(8, z)]) for z in (0.0, 1.0)])
    assert len(loft(rings).faces) == 8 + 2
