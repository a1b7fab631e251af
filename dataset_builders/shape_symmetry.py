"""Which turns about its z axis leave a shape as it is: `python -m dataset_builders.shape_symmetry` lists the library.

The list is copied into the metric (`metrics/scene_program/symmetry.py`), which travels without this package.
"""

import itertools

import numpy as np
from scipy.spatial import cKDTree

from .shape_library import ShapeMesh, make_shape, shape_names

CONTINUOUS = 0
TOLERANCE = 0.015  # metres: the surface that is turned is nowhere farther from the surface; two thirds of a pixel
_SAMPLES = 100_000
_FOLDS = (2, 3, 4, 5, 6, 8)


def symmetry_order(shape: ShapeMesh) -> int:
    """Return n of the shape's n-fold symmetry about z, 1 for none and `CONTINUOUS` for a solid of revolution.

    What both a fifth and an eighth of a turn leave as it is (a pleated lampshade) is taken as a solid of revolution.
    """
    points = _surface_points(shape)
    tree = cKDTree(points)
    folds = {fold for fold in _FOLDS if tree.query(_turned(points, fold))[0].max() < TOLERANCE}
    return CONTINUOUS if {5, 8} <= folds else max(folds, default=1)


def _turned(points: np.ndarray, fold: int) -> np.ndarray:
    """Every 25th point, turned by 360 / `fold` degrees about z."""
    angle = 2 * np.pi / fold
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return points[::25] @ turn.T


def _surface_points(shape: ShapeMesh) -> np.ndarray:
    """Points (N, 3) spread evenly over the surface, always the same."""
    rng = np.random.default_rng(0)
    fans = [(face[0], *pair) for face in shape.faces for pair in itertools.pairwise(face)]
    first, second, third = shape.vertices[np.array(fans)].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(second - first, third - first), axis=1)
    drawn = rng.choice(len(fans), _SAMPLES, p=areas / areas.sum())
    along = rng.random((_SAMPLES, 2))
    along = np.where(along.sum(axis=1, keepdims=True) > 1, 1 - along, along)
    return first[drawn] + along[:, :1] * (second - first)[drawn] + along[:, 1:] * (third - first)[drawn]


if __name__ == "__main__":
    orders = {name: symmetry_order(make_shape(name)) for name in shape_names()}
    for order in sorted(set(orders.values()) - {1}):
        print(f"{order}: {' '.join(name for name in orders if orders[name] == order)}")
