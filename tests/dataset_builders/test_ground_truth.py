"""Masks and depth agree with projection, with the analytic shapes, and leave the picture as it was."""

import numpy as np
import pytest

from dataset_builders.camera import Camera
from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.families import FAMILIES
from dataset_builders.painters import PaintRequest, Picture
from dataset_builders.rendering.ground_truth import render_ground_truth
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.visibility import CLEVR_RADII, object_id_map
from modeling_igllm import ClevrObject

WIDTH, HEIGHT = 160, 120
SCENES = [sample_clevr_scene("clevr", "train", 0, index) for index in range(3)]


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Three scenes with their ground truth, one after the other in one session."""
    painter = FAMILIES["clevr"].make_painter(PaintRequest(WIDTH, HEIGHT, 2, ground_truth=True, threads=1))
    return [painter.paint(scene) for scene in SCENES]


def test_mask_at_a_projected_centre_is_the_object_or_a_nearer_one(pictures: list[Picture]) -> None:
    for scene, picture in zip(SCENES, pictures, strict=True):
        assert scene.camera is not None and picture.instance_mask is not None
        places = [item.loc for item in scene.objects if isinstance(item, ClevrObject)]
        projected = scene.camera.project(np.array(places), WIDTH, HEIGHT)
        for number, (x, y, depth) in enumerate(projected, start=1):
            found = int(picture.instance_mask[int(y), int(x)])
            assert found == number or projected[found - 1, 2] < depth


def test_mask_is_that_of_the_analytic_shapes(pictures: list[Picture]) -> None:
    for scene, picture in zip(SCENES, pictures, strict=True):
        assert scene.camera is not None
        objects = [item for item in scene.objects if isinstance(item, ClevrObject)]
        analytic = object_id_map(objects, scene.camera, WIDTH, HEIGHT)
        for number in range(1, len(objects) + 1):
            first, second = analytic == number, picture.instance_mask == number
            assert (first & second).sum() / (first | second).sum() > 0.9


def test_depth_at_a_visible_centre_is_in_front_of_it_by_less_than_the_object(pictures: list[Picture]) -> None:
    checked = 0
    for scene, picture in zip(SCENES, pictures, strict=True):
        assert scene.camera is not None and picture.instance_mask is not None and picture.depth is not None
        for number, item in enumerate(scene.objects, start=1):
            assert isinstance(item, ClevrObject)
            x, y, depth = scene.camera.project(np.array([item.loc]), WIDTH, HEIGHT)[0]
            if picture.instance_mask[int(y), int(x)] == number:
                assert 0 < depth - picture.depth[int(y), int(x)] < 1.8 * CLEVR_RADII[item.size]
                checked += 1
    assert checked > 5


def test_depth_of_the_ground_follows_from_the_camera(pictures: list[Picture]) -> None:
    scene, picture = SCENES[0], pictures[0]
    assert scene.camera is not None and picture.instance_mask is not None and picture.depth is not None
    row, column = HEIGHT - 2, 3
    assert picture.instance_mask[row, column] == 0
    ray = scene.camera.pixel_rays(WIDTH, HEIGHT)[row, column]  # has depth component 1
    assert picture.depth[row, column] == pytest.approx(-scene.camera.location[2] / ray[2], rel=1e-4)


def test_ground_truth_does_not_change_the_picture(pictures: list[Picture]) -> None:
    plain = FAMILIES["clevr"].make_painter(PaintRequest(WIDTH, HEIGHT, 2, threads=1))
    for scene, picture in zip(SCENES, pictures, strict=True):
        alone = plain.paint(scene)
        assert alone.instance_mask is None and alone.depth is None
        assert np.array_equal(alone.pixels, picture.pixels)


def test_a_flat_family_has_no_ground_truth() -> None:
    with pytest.raises(ValueError, match="no instance masks"):
        FAMILIES["two_d"].make_painter(PaintRequest(32, 32, 1, ground_truth=True))


def test_more_objects_than_a_mask_can_tell_apart_are_refused_if_they_are_seen() -> None:
    session = RenderSession(RenderQuality(16, 12, 1, threads=1))
    shown = ClevrObject("large", "red", "rubber", "cube", (0.0, 0.0, 0.7))
    hidden = ClevrObject("small", "red", "rubber", "cube", (0.0, 0.0, -9.0))  # under the ground
    session.place([*[hidden] * 254, shown], Camera(), ())
    mask, _ = render_ground_truth()
    assert set(np.unique(mask)) == {0, 255}
    session.place([*[hidden] * 255, shown], Camera(), ())
    with pytest.raises(ValueError, match="object 256 is beyond the 255"):
        render_ground_truth()
