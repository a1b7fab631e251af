"""Analytic visibility against geometry done by hand; `test_session` compares it with a rendered picture."""

import math

import numpy as np
import pytest

from dataset_builders import visibility
from dataset_builders.camera import Camera
from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.visibility import count_visible_pixels, object_id_map
from modeling_igllm import ClevrObject

LEVEL = Camera(location=(0.0, -10.0, 0.7), target=(0.0, 0.0, 0.7))  # 10 m away, looks along +y
FOCAL = 350.0


def make(shape: str, x: float = 0.0, y: float = 0.0, size: str = "large", yaw: float = 0.0) -> ClevrObject:
    z = visibility.CLEVR_RADII[size]
    return ClevrObject(size, "red", "metal", shape, (x, y, z), yaw if shape == "cube" else None)


def test_a_sphere_covers_its_disc() -> None:
    disc_radius = FOCAL * math.tan(math.asin(0.7 / 10))
    assert count_visible_pixels([make("sphere")], LEVEL)[0] == pytest.approx(math.pi * disc_radius**2, rel=0.01)


def test_a_frontal_cube_covers_its_front_face() -> None:
    side = FOCAL * 1.4 / (10 - 0.7)
    ids = object_id_map([make("cube")], LEVEL, 320, 240)
    rows, columns = np.nonzero(ids)
    assert np.ptp(rows) + 1 == pytest.approx(side, abs=1)
    assert np.ptp(columns) + 1 == pytest.approx(side, abs=1)
    assert (ids > 0).sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_a_cube_on_its_edge_is_wider() -> None:
    ids = object_id_map([make("cube", yaw=math.pi / 4)], LEVEL, 320, 240)
    assert np.ptp(np.nonzero(ids)[1]) + 1 == pytest.approx(FOCAL * 2 * 0.7 * math.sqrt(2) / 10, abs=1)


def test_yaw_turns_counter_clockwise_from_above() -> None:
    # The edge that is nearest to a camera at -y lies at -135 degrees + yaw: left of the middle up to 45 degrees.
    left, nearest, right = _column_profile(make("cube", yaw=math.radians(30)))
    assert nearest - left < right - nearest
    left, nearest, right = _column_profile(make("cube", yaw=math.radians(60)))
    assert nearest - left > right - nearest


def _column_profile(item: ClevrObject) -> tuple[int, int, int]:
    """First column, the tallest column (the nearest vertical edge) and the last column of an object."""
    heights = (object_id_map([item], LEVEL, 320, 240) > 0).sum(axis=0)
    columns = np.nonzero(heights)[0]
    tallest = np.nonzero(heights == heights.max())[0]
    return int(columns[0]), int(tallest.mean()), int(columns[-1])


def test_a_cylinder_shows_side_and_cap() -> None:
    ids = object_id_map([make("cylinder")], LEVEL, 320, 240)
    assert np.ptp(np.nonzero(ids)[1]) + 1 == pytest.approx(2 * FOCAL * math.tan(math.asin(0.7 / 10)), abs=1)
    high = Camera(location=(0.0, -1.0, 12.0))  # nearly straight down: almost only the cap, at z = 1.4
    cap = math.pi * (FOCAL * 0.7 / (12.0 - 1.4)) ** 2
    assert count_visible_pixels([make("cylinder")], high)[0] == pytest.approx(cap, rel=0.1)


def test_the_nearer_object_hides_the_other() -> None:
    front, back = make("sphere", y=-2.0), make("sphere", y=2.0, size="small")
    assert count_visible_pixels([front, back], LEVEL)[1] == 0
    assert count_visible_pixels([back, front], LEVEL)[0] == 0


def test_an_object_behind_the_camera_is_not_seen() -> None:
    for shape in ("sphere", "cube", "cylinder"):
        assert count_visible_pixels([make(shape, y=-14.0)], LEVEL) == (0,)


def test_no_objects_leave_only_background() -> None:
    assert count_visible_pixels([], LEVEL) == ()
    assert not object_id_map([], LEVEL, 32, 24).any()


def test_the_order_of_objects_does_not_matter() -> None:
    scene = sample_clevr_scene("clevr", "train", 0, 3)
    assert count_visible_pixels(scene.objects[::-1], scene.camera) == scene.visible_pixels[::-1]


def test_the_search_window_never_cuts_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [sample_clevr_scene("clevr", "val_id", 1, index) for index in range(6)]
    near = Camera(location=(3.4, -2.5, 2.0))  # wide objects at the border of the picture and behind the camera
    cases = [(scene.objects, camera) for scene in scenes for camera in (scene.camera, near)]
    windowed = [object_id_map(objects, camera, 160, 120) for objects, camera in cases]
    monkeypatch.setattr(visibility, "_bounding_window", lambda *_: (slice(None), slice(None)))
    for ids, (objects, camera) in zip(windowed, cases, strict=True):
        assert (ids == object_id_map(objects, camera, 160, 120)).all()
