"""Masks and depth of the posed families agree with the points of their meshes, projected without Blender."""

from functools import cache

import numpy as np
import pytest
import trimesh

from dataset_builders.camera import Camera
from dataset_builders.families import FAMILIES
from dataset_builders.painters import PaintRequest
from dataset_builders.rendering.airplane import make_airplane_mesh
from dataset_builders.shape_library import make_shape
from modeling_igllm import PosedObject, format_program, parse_program

SIDE = 256
POINTS = 150_000  # of each object: several in each of its pixels


@cache
def surface(shape: str) -> np.ndarray:
    """Points (N, 3) of a shape's surface in its own axes."""
    if shape == "airplane":
        mesh = make_airplane_mesh()
        vertices = np.array([vertex.co for vertex in mesh.vertices])
        faces = [tuple(face.vertices) for face in mesh.polygons]
    else:
        vertices, faces = make_shape(shape).vertices, list(make_shape(shape).faces)
    fans = [(face[0], face[i], face[i + 1]) for face in faces for i in range(1, len(face) - 1)]
    return trimesh.sample.sample_surface(trimesh.Trimesh(vertices, fans, process=False), POINTS, seed=0)[0]


def nearest_points(objects: list[PosedObject], camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Number of the object (0: none) and depth of the nearest point in each pixel, both (SIDE, SIDE)."""
    mask, depth = np.zeros((SIDE, SIDE), int), np.full((SIDE, SIDE), np.inf)
    for number, item in enumerate(objects, start=1):
        seen = camera.project(surface(item.shape) @ item.rotation.matrix.T + item.loc, SIDE, SIDE)
        found = np.full((SIDE, SIDE), np.inf)
        columns, rows = seen[:, :2].astype(int).T
        np.minimum.at(found, (rows, columns), seen[:, 2])
        mask[found < depth] = number
        depth = np.minimum(depth, found)
    return mask, depth


def inside(mask: np.ndarray) -> np.ndarray:
    """The pixels with an object whose eight neighbours show the same one."""
    padded = np.pad(mask, 1)
    shifts = [padded[row : row + SIDE, column : column + SIDE] for row in range(3) for column in range(3)]
    return (mask > 0) & (np.stack(shifts) == mask).all(axis=0)


@pytest.mark.parametrize(
    ("family", "split"),
    [("so3", "val_ood"), ("six_dof", "train"), ("shapenet", "train"), ("shapenet", "val_ood_shape")],
)
def test_mask_and_depth_are_those_of_the_projected_meshes(family: str, split: str) -> None:
    painter = FAMILIES[family].make_painter(PaintRequest(SIDE, SIDE, 1, ground_truth=True, threads=1))
    for index in range(2):
        scene = FAMILIES[family].sample(family, split, 0, index)
        picture = painter.paint(scene)
        assert picture.instance_mask is not None and picture.depth is not None
        assert scene.camera is not None
        assert scene.program is not None
        # As the program's text says where they are.
        objects = parse_program(format_program(scene.program)).objects
        mask, depth = nearest_points([item for item in objects if isinstance(item, PosedObject)], scene.camera)
        assert set(np.unique(picture.instance_mask)) == set(range(len(objects) + 1))
        assert mask[picture.instance_mask > 0].all()
        sure = inside(mask)
        same = sure & (picture.instance_mask == mask)
        assert same.sum() > 0.95 * sure.sum()  # behind thin rods a pixel's centre may see something else
        apart = np.abs(picture.depth[same] - depth[same])
        assert np.median(apart) < 0.02
        assert np.quantile(apart, 0.9) < 0.07
