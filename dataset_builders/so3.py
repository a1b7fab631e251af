"""The `so3` family: one asymmetric object in all rotations, with 24 round holes left out of training (BENCHMARKS)."""

from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation as RotationOracle

from modeling_igllm import COLORS, PosedObject, Rotation

from .camera import Camera
from .lights import CLEVR_LIGHTS
from .random_streams import FAMILY_CODES, scene_stream
from .sampled_scene import SampledScene

SHAPE = "airplane"
HOLE_RADIUS_DEGREES = 30.0  # training keeps this distance from every hole's centre: 18 % of SO(3) are held out
OOD_RADIUS_DEGREES = 20.0  # so that `val_ood` is at least 10 degrees away from any training rotation
NUM_COLORS = 5
# 3 m from the origin; a long lens, so that the object of 1 m fills the picture.
SO3_CAMERA = Camera(location=(2.4, -1.2, np.sqrt(9 - 2.4**2 - 1.2**2).item()), focal_length_mm=65.0)


@cache
def hole_centers() -> np.ndarray:
    """Return the 24 hole centres, (24, 3, 3): a fixed random rotation times the octahedral group."""
    seeded = RotationOracle.random(random_state=np.random.default_rng(FAMILY_CODES["so3"]))
    return (seeded * RotationOracle.create_group("O")).as_matrix()


def degrees_to_holes(matrix: np.ndarray) -> float:
    """Return the angle in degrees between a rotation (3, 3) and the nearest hole centre."""
    traces = np.einsum("nij,ij->n", hole_centers(), matrix)
    return float(np.degrees(np.arccos(np.clip((traces.max() - 1) / 2, -1, 1))))


def colors() -> tuple[str, ...]:
    """Return the family's five colours, the same for every split and seed."""
    rng = np.random.default_rng(FAMILY_CODES["so3"])
    return tuple(COLORS[i] for i in sorted(rng.permutation(len(COLORS))[:NUM_COLORS]))


def sample_so3_scene(family: str, split: str, seed: int, index: int) -> SampledScene:
    """Draw scene `index`: `train` and `val_id` outside of the holes, `val_ood` inside, both uniformly in SO(3).

    The rule holds for the three decimals of the program text too: other draws are made again.
    """
    attempt = 0
    while True:
        rng = scene_stream(family, split, seed, index, attempt)
        matrix = _rotation_in_hole(rng) if split == "val_ood" else RotationOracle.random(random_state=rng).as_matrix()
        rotation = Rotation.from_matrix(matrix, "6d")
        item = PosedObject(colors()[rng.integers(NUM_COLORS)], SHAPE, (0.0, 0.0, 0.0), rotation)
        distances = [degrees_to_holes(matrix), degrees_to_holes(item.rounded(3).rotation.matrix)]
        if (max(distances) <= OOD_RADIUS_DEGREES) if split == "val_ood" else (min(distances) >= HOLE_RADIUS_DEGREES):
            return SampledScene((item,), SO3_CAMERA, CLEVR_LIGHTS, (), family, split, seed, index, attempt)
        attempt += 1


def _rotation_in_hole(rng: np.random.Generator) -> np.ndarray:
    """Draw uniformly from the ball of `OOD_RADIUS_DEGREES` around a random hole centre, by the Haar measure."""
    limit = np.radians(OOD_RADIUS_DEGREES)
    while True:
        # Angles of a uniform rotation have the density 1 - cos(angle), which theta^2 / 2 bounds from above.
        angle = limit * np.cbrt(rng.uniform())
        if rng.uniform() * angle**2 / 2 <= 1 - np.cos(angle):
            break
    axis = rng.normal(size=3)
    centers = hole_centers()
    offset = RotationOracle.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    return centers[rng.integers(len(centers))] @ offset
