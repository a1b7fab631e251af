"""The pinhole camera against hand-computed cases; `test_session` compares it with Blender's own."""

import numpy as np
import pytest

from dataset_builders.camera import Camera

LEVEL = Camera(location=(0.0, -10.0, 0.0))  # looks along +y: x is right, z up


def test_projection_of_a_hand_computed_point() -> None:
    # 1 m right and 2 m up at 10 m depth, f = 350 px: 35 px right of and 70 px above the middle.
    assert LEVEL.project(np.array([[1.0, 0.0, 2.0]]), 320, 240).tolist() == [pytest.approx([195.0, 50.0, 10.0])]
    # 5 m further away everything shrinks by 10 / 15.
    expected = [160 + 35 / 1.5, 120 - 70 / 1.5, 15.0]
    assert LEVEL.project(np.array([[1.0, 5.0, 2.0]]), 320, 240).tolist() == [pytest.approx(expected)]


def test_clevr_intrinsics_are_350_pixels_at_320x240() -> None:
    assert Camera().intrinsics(320, 240).tolist() == [[350, 0, 160], [0, 350, 120], [0, 0, 1]]


def test_intrinsics_scale_with_the_width() -> None:
    assert Camera().intrinsics(160, 120).tolist() == [[175, 0, 80], [0, 175, 60], [0, 0, 1]]


@pytest.mark.parametrize("location", [(7.481, -6.508, 5.344), (7.0, -7.0, 5.8), (-3.0, 1.0, 0.5)])
def test_camera_looks_at_the_origin_with_world_up_in_the_image(location: tuple[float, float, float]) -> None:
    camera = Camera(location=location)
    origin, above = camera.project(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5]]), 320, 240)
    assert origin == pytest.approx([160, 120, np.linalg.norm(location)])
    assert above[0] == pytest.approx(160)
    assert above[1] < 120


def test_target_can_be_moved() -> None:
    camera = Camera(location=(5.0, 1.0, 2.0), target=(1.0, -2.0, 0.3))
    assert camera.project(np.array([camera.target]), 200, 100)[0, :2] == pytest.approx([100, 50])


def test_axes_are_a_rotation() -> None:
    axes = Camera().axes()
    assert axes @ axes.T == pytest.approx(np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_matrices_and_project_agree() -> None:
    camera = Camera(location=(7.2, -6.9, 5.1))
    points = np.random.default_rng(0).uniform(-3, 3, size=(20, 3))
    in_camera = np.concatenate([points, np.ones((20, 1))], axis=1) @ camera.world_to_camera().T
    pixels = in_camera[:, :3] @ camera.intrinsics(320, 240).T
    expected = np.stack([pixels[:, 0] / pixels[:, 2], pixels[:, 1] / pixels[:, 2], in_camera[:, 2]], axis=1)
    assert camera.project(points, 320, 240) == pytest.approx(expected)


def test_pixel_rays_go_through_the_pixel_centres() -> None:
    camera = Camera(location=(6.9, -6.2, 5.6))
    rays = camera.pixel_rays(8, 6)
    assert rays.shape == (6, 8, 3)
    points = np.add(camera.location, 4.0 * rays.reshape(-1, 3))
    columns, rows = np.meshgrid(np.arange(8) + 0.5, np.arange(6) + 0.5)
    expected = np.stack([columns.ravel(), rows.ravel(), np.full(48, 4.0)], axis=1)
    assert camera.project(points, 8, 6) == pytest.approx(expected)


def test_unproject_undoes_project_at_known_heights() -> None:
    camera = Camera(location=(7.2, -6.9, 5.1))
    points = np.random.default_rng(0).uniform((-3, -3, 0), (3, 3, 1), size=(20, 3))
    pixels = camera.project(points, 160, 120)[:, :2]
    assert camera.unproject(pixels, points[:, 2], 160, 120) == pytest.approx(points)
    assert np.abs(Camera().unproject(pixels, points[:, 2], 160, 120) - points).max() > 0.1  # another camera's reading


def test_a_pixel_on_the_horizon_sees_nothing_at_its_height() -> None:
    point = LEVEL.unproject(np.array([[160.0, 120.0]]), np.array([1.0]), 320, 240)
    assert not np.isfinite(point).all()


@pytest.mark.parametrize("height", [-1.0, 2.0, 5.0])
def test_a_camera_straight_above_or_below_its_target_is_refused(height: float) -> None:
    with pytest.raises(ValueError, match=r"straight above or below its target \(1\.0, -2\.0, 2\.0\)"):
        Camera(location=(1.0, -2.0, height), target=(1.0, -2.0, 2.0))
