"""The 6-DoF family: depth, rotation and place are spread as promised, and the whole object is in the picture."""

import re

import numpy as np
import pytest

from dataset_builders.families import FAMILIES
from dataset_builders.rendering.airplane import make_airplane_mesh
from dataset_builders.rendering.ground_truth import render_ground_truth
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.rendering.stage import STUDIO_STAGE
from dataset_builders.six_dof import BOX_SIZE, SIX_DOF_CAMERA, projected_box, sample_six_dof_scene
from dataset_builders.so3 import colors
from modeling_igllm import PosedObject, format_program, parse_program


def objects(split: str, count: int, seed: int = 0) -> list[PosedObject]:
    """The objects as the program text gives them."""
    found = []
    for index in range(count):
        text = format_program(sample_six_dof_scene("six_dof", split, seed, index).program)
        (item,) = parse_program(text).objects
        assert isinstance(item, PosedObject)
        found.append(item)
    return found


@pytest.mark.parametrize("split", ["train", "val_id"])
def test_programs_are_canonical_and_rebuild_their_scenes(split: str) -> None:
    for index in range(50):
        scene = sample_six_dof_scene("six_dof", split, 0, index)
        assert scene.program is not None
        text = format_program(scene.program)
        assert parse_program(text) == scene.program.rounded(3)
        assert format_program(parse_program(text)) == text
        (color,) = re.findall(r"^add\(color='(\w+)', shape='airplane', loc=\(.*\), rotation=\(.*\)\)\n$", text)
        assert color in colors()


def test_the_whole_box_is_in_the_picture() -> None:
    corners = np.stack([projected_box(item.rotation.matrix, item.loc) for item in objects("train", 400)])
    assert corners.shape == (400, 8, 2)
    assert corners.min() > 0
    assert corners.max() < 1
    assert corners.min() < 0.02  # and up to its border
    assert corners.max() > 0.98


def test_depth_is_uniform_between_2_and_6_metres() -> None:
    places = np.array([item.loc for item in objects("train", 800)])
    depth = SIX_DOF_CAMERA.project(places, 256, 256)[:, 2]
    assert depth.min() >= 2 - 1e-3
    assert depth.max() <= 6 + 1e-3
    counts, _ = np.histogram(depth, 4, (2, 6))
    assert counts.min() > 160  # 200 each


def test_rotations_are_uniform() -> None:
    matrices = np.stack([item.rotation.matrix for item in objects("train", 800)])
    assert np.abs(matrices.mean(axis=0)).max() < 0.08
    angles = np.degrees(np.arccos(np.clip((np.trace(matrices, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    share = np.mean(angles < 90)  # of all rotations: (angle - sin angle) / pi
    assert share == pytest.approx((np.pi / 2 - 1) / np.pi, abs=0.05)


def test_scenes_are_pure_functions_and_splits_share_none() -> None:
    assert sample_six_dof_scene("six_dof", "train", 3, 7) == sample_six_dof_scene("six_dof", "train", 3, 7)
    train = {item.loc for item in objects("train", 100)}
    assert not train & {item.loc for item in objects("val_id", 100)}
    assert FAMILIES["six_dof"].splits == ("train", "val_id")  # paper: no out-of-distribution split


def test_the_box_is_that_of_the_mesh() -> None:
    points = np.array([vertex.co for vertex in make_airplane_mesh().vertices])
    assert points.max(axis=0) == pytest.approx(np.array(BOX_SIZE) / 2, abs=1e-6)
    assert points.min(axis=0) == pytest.approx(-np.array(BOX_SIZE) / 2, abs=1e-6)


def test_blender_shows_the_object_inside_of_its_projected_box() -> None:
    session = RenderSession(RenderQuality(64, 64, 1, threads=1), STUDIO_STAGE)
    for index in range(5):
        scene = sample_six_dof_scene("six_dof", "val_id", 0, index)
        (item,) = scene.objects
        assert isinstance(item, PosedObject)
        session.place(scene.objects, SIX_DOF_CAMERA, scene.lights)
        mask, depth = render_ground_truth()
        rows, columns = np.nonzero(mask)
        box = 64 * projected_box(item.rotation.matrix, item.loc)
        assert (columns + 0.5).min() > box[:, 0].min() and (columns + 0.5).max() < box[:, 0].max()
        assert (rows + 0.5).min() > box[:, 1].min() and (rows + 0.5).max() < box[:, 1].max()
        middle = SIX_DOF_CAMERA.project(np.array([item.loc]), 64, 64)[0, 2]
        assert np.abs(depth[mask == 1] - middle).max() < 0.7
