"""Which turns about an upright axis leave a shape as it is: `python -m dataset_builders.shape_symmetry` lists them.

The axis runs through the centroid of the surface, which is not always the middle of the box: that of a lamp on three
legs is beside it, and after a third of a turn the lamp looks the same 3 cm away.

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
    """Return n of the shape's n-fold symmetry, trim included; 1 for none and `CONTINUOUS` for a solid of revolution.

    What both a fifth and an eighth of a turn leave as it is (a pleated lampshade) is taken as a solid of revolution.
    """
    points = _surface_points(shape)
    tree = cKDTree(points)
    # Nothing within twice the tolerance counts as infinitely far: the search is then much shorter.
    distances = {
        fold: tree.query(_turned(points, fold), distance_upper_bound=2 * TOLERANCE)[0].max() for fold in _FOLDS
    }
    folds = {fold for fold, distance in distances.items() if distance < TOLERANCE}
    return CONTINUOUS if {5, 8} <= folds else max(folds, default=1)


def _turned(points: np.ndarray, fold: int) -> np.ndarray:
    """Every 25th point, turned by 360 / `fold` degrees about z."""
    angle = 2 * np.pi / fold
    turned = points[::25].copy()
    turned[:, :2] @= np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return turned


def _surface_points(shape: ShapeMesh) -> np.ndarray:
    """Points (N, 4) spread evenly over the surface, always the same: from its centroid, and 1 where there is trim.

    So trim and the rest are a metre apart, and are never taken for each other.
    """
    rng = np.random.default_rng(0)
    fans = [(face[0], *pair) for face in shape.faces for pair in itertools.pairwise(face[1:])]
    is_trim = [flag for face, flag in zip(shape.faces, shape.trim, strict=True) for _ in face[2:]]
    first, second, third = shape.vertices[np.array(fans)].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(second - first, third - first), axis=1)
    shares = areas / areas.sum()
    drawn = rng.choice(len(fans), _SAMPLES, p=shares)
    along = rng.random((_SAMPLES, 2))
    along = np.where(along.sum(axis=1, keepdims=True) > 1, 1 - along, along)
    points = first[drawn] + along[:, :1] * (second - first)[drawn] + along[:, 1:] * (third - first)[drawn]
    return np.column_stack([points - shares @ (first + second + third) / 3, np.array(is_trim)[drawn]])


if __name__ == "__main__":
    orders = {name: symmetry_order(make_shape(name)) for name in shape_names()}
    for order in sorted(set(orders.values()) - {1}):
        print(f"{order}: {' '.join(name for name in orders if orders[name] == order)}")
