"""Which object does each pixel see? Rays through the pixel centres against the analytic shapes of CLEVR.

Used while sampling, where rendering every candidate scene would cost too much; bevels are ignored (spec BENCHMARKS).
"""

from collections.abc import Sequence

import numpy as np

from modeling_igllm import ClevrObject

from .camera import Camera

CLEVR_RADII = {"large": 0.7, "small": 0.35}


def object_id_map(objects: Sequence[ClevrObject], camera: Camera, width: int, height: int) -> np.ndarray:
    """Return the (height, width) int map of the nearest object at each pixel centre: 0 background, i + 1 object i."""
    rays = camera.pixel_rays(width, height)
    nearest = np.full((height, width), np.inf)
    ids = np.zeros((height, width), dtype=np.int64)
    for number, item in enumerate(objects, start=1):
        rows, columns = _bounding_window(item, camera, width, height)
        distance = _INTERSECTIONS[item.shape](*_object_frame(item, camera, rays[rows, columns]))
        closer = distance < nearest[rows, columns]
        ids[rows, columns][closer] = number
        nearest[rows, columns][closer] = distance[closer]
    return ids


def count_visible_pixels(
    objects: Sequence[ClevrObject], camera: Camera, width: int = 320, height: int = 240
) -> tuple[int, ...]:
    """Return for every object the number of pixels in which it is the nearest one."""
    counts = np.bincount(object_id_map(objects, camera, width, height).ravel(), minlength=len(objects) + 1)
    return tuple(int(count) for count in counts[1:])


def _bounding_window(item: ClevrObject, camera: Camera, width: int, height: int) -> tuple[slice, slice]:
    """Return the pixel rows and columns that the object's bounding sphere can touch (clipped to the image)."""
    x, y, depth = camera.project(np.array([item.loc]), width, height)[0]
    radius = np.sqrt(3.0) * CLEVR_RADII[item.size]
    if depth <= radius:
        return slice(0, height), slice(0, width)
    # An off-axis sphere projects to an ellipse; dividing by (depth - radius) bounds its longer half axis generously.
    reach = 1.2 * radius / (depth - radius) * camera.intrinsics(width, height)[0, 0] + 1
    rows = slice(max(0, int(y - reach)), max(0, int(y + reach) + 1))
    return rows, slice(max(0, int(x - reach)), max(0, int(x + reach) + 1))


def _object_frame(item: ClevrObject, camera: Camera, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ray origin (3,) and directions (..., 3) in the object's frame, where its radius or half side is 1."""
    yaw = item.rotation or 0.0
    to_object = np.array([[np.cos(yaw), np.sin(yaw), 0.0], [-np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    scale = CLEVR_RADII[item.size]
    return to_object @ np.subtract(camera.location, item.loc) / scale, rays @ to_object.T / scale


def _hit_sphere(origin: np.ndarray, rays: np.ndarray, dimensions: int = 3) -> np.ndarray:
    """Return the nearest ray parameter at the unit sphere (in two dimensions: cylinder), inf where it is missed."""
    a = (rays[..., :dimensions] ** 2).sum(-1)
    b = rays[..., :dimensions] @ origin[:dimensions]
    discriminant = b * b - a * (origin[:dimensions] @ origin[:dimensions] - 1.0)
    with np.errstate(invalid="ignore"):
        distance = (-b - np.sqrt(discriminant)) / a
    return np.where((discriminant > 0) & (distance > 0), distance, np.inf)


def _hit_cube(origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Return the nearest ray parameter at the cube [-1, 1]^3 by slabs, inf where it is missed."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (-1.0 - origin) / rays, (1.0 - origin) / rays
    near, far = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
    return np.where((near < far) & (near > 0), near, np.inf)


def _hit_cylinder(origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Return the nearest ray parameter at the capped cylinder of radius 1 and half height 1, inf if missed."""
    side = _hit_sphere(origin, rays, dimensions=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        side = np.where(np.abs(origin[2] + side * rays[..., 2]) <= 1.0, side, np.inf)
        cap = (np.sign(origin[2]) - origin[2]) / rays[..., 2]
        on_cap = origin[:2] + cap[..., None] * rays[..., :2]
    cap = np.where((cap > 0) & ((on_cap**2).sum(-1) <= 1.0) & (abs(origin[2]) > 1.0), cap, np.inf)
    return np.minimum(side, cap)


_INTERSECTIONS = {"sphere": _hit_sphere, "cube": _hit_cube, "cylinder": _hit_cylinder}
