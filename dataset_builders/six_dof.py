"""The `six_dof` family: the object of `so3` in any rotation, anywhere in view, at 2 to 6 m depth (BENCHMARKS)."""

import itertools

import numpy as np
from scipy.spatial.transform import Rotation as RotationOracle

from modeling_igllm import PosedObject, Rotation

from .camera import Camera
from .lights import CLEVR_LIGHTS
from .random_streams import scene_stream
from .sampled_scene import SampledScene
from .so3 import SHAPE, SO3_CAMERA, colors

MIN_DEPTH, MAX_DEPTH = 2.0, 6.0  # metres along the optical axis
# Where SO(3)'s camera stands, with CLEVR's wider lens: at 2 m the box fits into the picture in every rotation.
SIX_DOF_CAMERA = Camera(location=SO3_CAMERA.location)
BOX_SIZE = (1.0, 0.95 / 1.025, 0.6650 / 2.05)  # metres: the box of the mesh in its own axes
BORDER = 1 / 256  # of the picture's side: the box keeps this distance, also with the program's three decimals

_CORNERS = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * BOX_SIZE


def sample_six_dof_scene(family: str, split: str, seed: int, index: int) -> SampledScene:
    """Draw scene `index`: uniform in SO(3), in depth, and over the places where the whole box is in a square picture.

    In a picture that is higher than wide the place is the same relative to its width; `SplitPlan` refuses wider ones.
    """
    rng = scene_stream(family, split, seed, index)
    matrix = RotationOracle.random(random_state=rng).as_matrix()
    loc = _draw_place(rng, matrix, float(rng.uniform(MIN_DEPTH, MAX_DEPTH)))
    color = colors()[rng.integers(len(colors()))]
    item = PosedObject(color, SHAPE, loc, Rotation.from_matrix(matrix, "6d"))
    return SampledScene((item,), SIX_DOF_CAMERA, CLEVR_LIGHTS, (), family, split, seed, index, attempt=0)


def projected_box(matrix: np.ndarray, loc: np.ndarray | tuple[float, float, float]) -> np.ndarray:
    """Return the corners (8, 2) of the object's box in a picture of width and height 1.

    Args:
        matrix: (3, 3) rotation, object to world.
        loc: (3,) centre of the box in world metres.
    """
    return SIX_DOF_CAMERA.project(_CORNERS @ matrix.T + loc, 1, 1)[:, :2]


def _draw_place(rng: np.random.Generator, matrix: np.ndarray, depth: float) -> tuple[float, float, float]:
    """Return the first centre in world metres of those drawn over the picture whose box is in it."""
    # The depth is not drawn again: near places, of which fewer fit, would become rare.
    half_width = depth / (2 * SIX_DOF_CAMERA.intrinsics(1, 1)[0, 0])
    while True:
        in_camera = np.array([*rng.uniform(-half_width, half_width, size=2), depth])
        loc = in_camera @ SIX_DOF_CAMERA.axes() + SIX_DOF_CAMERA.location
        corners = projected_box(matrix, loc)
        if corners.min() >= BORDER and corners.max() <= 1 - BORDER:
            x, y, z = loc.tolist()
            return x, y, z
