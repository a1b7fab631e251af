"""The `shapenet` family: 3 to 5 textured objects of several categories on the ground (spec BENCHMARKS)."""

import math

import numpy as np

from modeling_igllm import COLORS, PosedObject, Rotation

from .camera import Camera
from .lights import CLEVR_LIGHTS
from .palette import NUM_TEXTURES
from .random_streams import scene_stream
from .sampled_scene import SampledScene
from .shape_catalog import LIBRARY, ShapeCatalog, fixed_choice, split_off_unseen

MIN_OBJECTS, MAX_OBJECTS = 3, 5
GROUND_EXTENT = 2.0  # metres: x and y are drawn from [-2, 2]
MIN_BOX_DISTANCE = 0.1  # metres
ROUNDING = 0.003  # metres: so much nearer may the three decimals of the program move two boxes
PLACEMENT_TRIES = 50
TRAINED_TEXTURES, UNSEEN_TEXTURES = split_off_unseen(range(NUM_TEXTURES), fixed_choice())
# It shows all places, up to 1 m above the ground, in a square or 4:3 picture.
SHAPENET_CAMERA = Camera(location=(0.0, -9.6, 7.2), focal_length_mm=55.0)


def sample_shapenet_scene(
    family: str, split: str, seed: int, index: int, catalog: ShapeCatalog = LIBRARY
) -> SampledScene:
    """Draw scene `index`: attempts are made until all objects found a place.

    Objects stand on z = 0, of any yaw, in a uniformly drawn category, shape of it, colour and texture; at least two
    categories if there are two. They come ordered left to right by projected image x (ties: y).

    Args:
        catalog: the shapes; those of `val_ood_shape` are in no other split.

    Raises:
        ValueError: for `val_ood_shape` if no category has two shapes.
    """
    shapes = catalog.unseen if split == "val_ood_shape" else catalog.trained
    textures = TRAINED_TEXTURES if split in ("train", "val_id") else UNSEEN_TEXTURES
    if not shapes:
        raise ValueError(
            "no category has two shapes, one of which could be kept for val_ood_shape: "
            "add some, or build the other splits alone"
        )
    attempt = 0
    while True:
        rng = scene_stream(family, split, seed, index, attempt)
        objects = _place_objects(rng, catalog, shapes)
        if objects is not None:
            objects = _left_to_right(objects)
            drawn = tuple(textures[i] for i in rng.integers(len(textures), size=len(objects)))
            return SampledScene(
                tuple(objects), SHAPENET_CAMERA, CLEVR_LIGHTS, (), family, split, seed, index, attempt, drawn
            )
        attempt += 1


def ground_box(item: PosedObject, size: np.ndarray | tuple[float, float, float]) -> np.ndarray:
    """Return the corners (4, 2) of an upright object's box seen from above, in metres and counter-clockwise.

    Args:
        size: (3,) sides of the box in the object's own axes.
    """
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * size[:2] / 2
    return corners @ item.rotation.matrix[:2, :2].T + item.loc[:2]


def box_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the distance in metres between two rectangles (4, 2), 0 where they overlap."""
    if not (_is_separated(first, second) or _is_separated(second, first)):
        return 0.0
    return min(_corner_distance(first, second), _corner_distance(second, first))


def _is_separated(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether a line along a side of the first rectangle parts the two."""
    along = max(first[1] - first[0], first[2] - first[1], key=np.linalg.norm)  # the other side of a flat shape is 0
    axes = np.array([along, (-along[1], along[0])])
    own, other = first @ axes.T, second @ axes.T
    return bool(((own.max(axis=0) < other.min(axis=0)) | (other.max(axis=0) < own.min(axis=0))).any())


def _corner_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The least distance of a corner of the first rectangle to a side of the second."""
    start, side = second, np.roll(second, -1, axis=0) - second
    offset = first[:, None] - start
    squares = np.maximum((side * side).sum(-1), np.finfo(float).tiny)  # 0 where a shape is flat
    along = np.clip((offset * side).sum(-1) / squares, 0, 1)
    return float(np.linalg.norm(offset - along[..., None] * side, axis=-1).min())


def _place_objects(
    rng: np.random.Generator, catalog: ShapeCatalog, shapes: tuple[tuple[str, ...], ...]
) -> list[PosedObject] | None:
    """Place 3 to 5 objects, or return None when one finds no place or all are of one category."""
    objects: list[PosedObject] = []
    boxes: list[np.ndarray] = []
    for _ in range(int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))):
        of_category = shapes[rng.integers(len(shapes))]
        shape, color = of_category[rng.integers(len(of_category))], COLORS[rng.integers(len(COLORS))]
        for _ in range(PLACEMENT_TRIES):
            item = _draw_pose(rng, color, shape, catalog.size(shape)[2])
            box = ground_box(item, catalog.size(shape))
            if all(box_distance(box, other) >= MIN_BOX_DISTANCE + ROUNDING for other in boxes):
                objects.append(item)
                boxes.append(box)
                break
        else:
            return None
    has_variety = len({item.category for item in objects}) > 1 or len(shapes) == 1
    return objects if has_variety else None


def _draw_pose(rng: np.random.Generator, color: str, shape: str, height: float) -> PosedObject:
    x, y = (float(value) for value in rng.uniform(-GROUND_EXTENT, GROUND_EXTENT, size=2))
    yaw = float(rng.uniform(0.0, 2 * math.pi))
    matrix = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1.0]])
    return PosedObject(color, shape, (x, y, height / 2), Rotation.from_matrix(matrix, "6d"))


def _left_to_right(objects: list[PosedObject]) -> list[PosedObject]:
    projected = SHAPENET_CAMERA.project(np.array([item.loc for item in objects]), 1, 1)
    return [objects[i] for i in np.lexsort((projected[:, 1], projected[:, 0]))]
