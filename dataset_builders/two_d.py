"""The `two_d` family: a red disc on white, its position on a sparse checkerboard (spec BENCHMARKS; paper, 2D)."""

import numpy as np

from modeling_igllm import Point2D, SceneProgram

from .random_streams import scene_stream
from .sampled_scene import SampledScene

CELLS = 8  # cells per side; a cell is trained if both of its numbers are even: 25 % of the area
DISC_RADIUS = 5 / 336  # of the image's width: 5 px at the published 336 x 336
SUPERSAMPLING = 4
DISC_COLOR = (255, 0, 0)


def is_trained_cell(x: float, y: float) -> bool:
    """Whether the position (x, y) in [0, 1) lies in a cell of the training checkerboard."""
    return int(CELLS * x) % 2 == 0 and int(CELLS * y) % 2 == 0


def sample_two_d_scene(family: str, split: str, seed: int, index: int) -> SampledScene:
    """Draw scene `index`: `train` and `val_id` from the trained cells, `val_ood` from the whole square.

    The three decimals of the program text lie in the same cells, and below 1: other draws are made again.
    """
    attempt = 0
    while True:
        rng = scene_stream(family, split, seed, index, attempt)
        x, y = (float(value) for value in rng.uniform(0.0, 1.0, size=2))
        if split != "val_ood":
            x, y = ((2 * int(rng.integers(CELLS // 2)) + value) / CELLS for value in (x, y))
        place = Point2D(x, y)
        text = place.rounded(3)
        if max(text.x, text.y) < 1 and (split == "val_ood" or is_trained_cell(text.x, text.y)):
            return SampledScene((place,), None, (), (), family, split, seed, index, attempt)
        attempt += 1


def draw_disc(place: Point2D, width: int, height: int) -> np.ndarray:
    """Draw the disc, (height, width, 3) uint8; coverage by 4 x 4 samples a pixel, clipped at the border."""
    radius = DISC_RADIUS * width
    columns, rows = (
        (np.arange(SUPERSAMPLING * side) + 0.5) / SUPERSAMPLING - side * center
        for side, center in ((width, place.x), (height, place.y))
    )
    inside = columns[None, :] ** 2 + rows[:, None] ** 2 <= radius**2
    coverage = inside.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING).mean(axis=(1, 3))[..., None]
    return np.rint(255 * (1 - coverage) + np.array(DISC_COLOR) * coverage).astype(np.uint8)


def draw_scene(scene: SceneProgram, width: int, height: int) -> np.ndarray:
    """Draw the discs of a scene of points, (height, width, 3) uint8; an empty scene is white."""
    picture: np.ndarray = np.full((height, width, 3), 255, dtype=np.uint8)
    for place in scene:
        assert isinstance(place, Point2D)  # the family's
        picture = np.minimum(picture, draw_disc(place, width, height))
    return picture
