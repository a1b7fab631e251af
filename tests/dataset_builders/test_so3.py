"""The SO(3) family: holes are where they should be, on the program text too, and rotations are uniform elsewhere."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation as Oracle

from dataset_builders.so3 import colors, degrees_to_holes, hole_centers, sample_so3_scene
from modeling_igllm import PosedObject, format_program, parse_program


def rotations(split: str, count: int = 150) -> np.ndarray:
    """Rotation matrices as the program text gives them, (count, 3, 3)."""
    matrices = []
    for index in range(count):
        (item,) = parse_program(format_program(sample_so3_scene("so3", split, 0, index).program)).objects
        assert isinstance(item, PosedObject)
        assert item.loc == (0.0, 0.0, 0.0)
        matrices.append(item.rotation.matrix)
    return np.stack(matrices)


def degrees(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between all pairs, by scipy: (len(first), len(second))."""
    inverse = [Oracle.from_matrix(matrix).inv() for matrix in first]
    return np.degrees([(one * Oracle.from_matrix(second)).magnitude() for one in inverse])


def test_there_are_24_holes_of_one_group_which_do_not_touch() -> None:
    centers = hole_centers()
    apart = degrees(centers, centers)
    assert centers.shape == (24, 3, 3)
    assert np.sort(apart, axis=1)[:, 1].min() == pytest.approx(90.0)


def test_held_out_share_is_18_percent() -> None:
    samples = Oracle.random(2000, random_state=np.random.default_rng(0)).as_matrix()
    share = np.mean([degrees_to_holes(matrix) < 30 for matrix in samples])
    assert share == pytest.approx(24 * (np.radians(30) - np.sin(np.radians(30))) / np.pi, abs=0.03)


@pytest.mark.parametrize("split", ["train", "val_id"])
def test_no_training_rotation_is_near_a_hole(split: str) -> None:
    assert degrees(rotations(split), hole_centers()).min() >= 30


def test_every_ood_rotation_is_inside_a_hole_and_far_from_training() -> None:
    found = rotations("val_ood")
    assert degrees(found, hole_centers()).min(axis=1).max() <= 20
    assert degrees(found, rotations("train")).min() >= 10


def test_ood_rotations_use_all_holes_and_fill_them_uniformly() -> None:
    nearest = degrees(rotations("val_ood", 300), hole_centers())
    assert len(set(nearest.argmin(axis=1))) == 24
    # The volume within an angle grows almost as its cube: half the radius holds an eighth.
    assert np.mean(nearest.min(axis=1) < 10) == pytest.approx(1 / 8, abs=0.06)


def test_same_index_same_scene_and_five_colours() -> None:
    assert sample_so3_scene("so3", "train", 0, 7) == sample_so3_scene("so3", "train", 0, 7)
    assert len(set(colors())) == 5
    found = {sample_so3_scene("so3", "val_id", 3, index).objects[0].color for index in range(60)}  # type: ignore[union-attr]
    assert found == set(colors())
