"""Positions in pixels: against hand-made errors, and the floor that nobody's eyes get below without the camera."""

import math
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from dataset_builders.camera import Camera
from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.painters import Picture
from dataset_builders.schema import FEATURES, scene_row
from modeling_igllm import ClevrObject, Point2D, SceneProgram
from trl_scripts import camera_space
from trl_scripts.camera_space import camera_space_scores, load_cameras, scene_facts
from trl_scripts.errors import CommandError

SIZE = (160, 120)
SAMPLED = [sample_clevr_scene("clevr", "val_id", 1, index) for index in range(3)]
TRUE = [SceneProgram(scene.objects) for scene in SAMPLED]
CAMERAS = [scene.camera for scene in SAMPLED]


def spheres(places: np.ndarray) -> SceneProgram:
    return SceneProgram(tuple(ClevrObject("small", "red", "metal", "sphere", tuple(place)) for place in places))


def places(scene: SceneProgram) -> np.ndarray:
    return np.array([item.loc for item in scene.objects])


def test_true_positions_have_no_error_in_pixels() -> None:
    assert camera_space_scores(TRUE, TRUE, CAMERAS, SIZE)["camera/reprojection_px"] == pytest.approx(0, abs=1e-9)


def test_positions_read_five_pixels_off_are_five_pixels_off() -> None:
    predictions = []
    for scene, camera in zip(TRUE, CAMERAS, strict=True):
        pixels = camera.project(places(scene), *SIZE)[:, :2] + (3, -4)
        predictions.append(spheres(camera.unproject(pixels, places(scene)[:, 2], *SIZE)))
    scores = camera_space_scores(predictions, TRUE, CAMERAS, SIZE)
    assert scores["camera/reprojection_px"] == pytest.approx(5)
    doubled = camera_space_scores(predictions, TRUE, CAMERAS, (320, 240))
    assert doubled["camera/reprojection_px"] == pytest.approx(10)


def test_only_matched_objects_count_whatever_their_order() -> None:
    more = [SceneProgram((*scene.objects[::-1], *spheres(np.array([[9.0, 9.0, 0.35]])).objects)) for scene in TRUE]
    fewer = [SceneProgram(scene.objects[1:]) for scene in TRUE]
    for predictions in (more, fewer):
        scores = camera_space_scores(predictions, TRUE, CAMERAS, SIZE)
        assert scores["camera/reprojection_px"] == pytest.approx(0, abs=1e-9)


def test_without_any_answer_there_is_no_error_but_a_floor() -> None:
    scores = camera_space_scores([None] * 3, TRUE, CAMERAS, SIZE)
    assert math.isnan(scores["camera/reprojection_px"])
    assert scores["camera/floor_l2"] == camera_space_scores(TRUE, TRUE, CAMERAS, SIZE)["camera/floor_l2"]


def test_the_floor_is_what_a_reader_of_perfect_centres_gets() -> None:
    distances, readings = [], []
    for scene, camera in zip(TRUE, CAMERAS, strict=True):
        read = []
        for x, y, z in places(scene):  # by hand: where the ray through the pixel meets the height of the centre
            column, row, _ = camera.project(np.array([[x, y, z]]), *SIZE)[0]
            ray = np.array([(column - 80) / 175, (row - 60) / 175, 1.0]) @ Camera().axes()
            depth = (z - Camera().location[2]) / ray[2]
            read.append(np.array(Camera().location) + depth * ray)
            distances.append(math.dist(read[-1], (x, y, z)))
        readings.append(spheres(np.array(read)))
    scores = camera_space_scores(TRUE, TRUE, CAMERAS, SIZE)
    assert scores["camera/floor_l2"] == pytest.approx(np.mean(distances))
    assert 0.03 < scores["camera/floor_l2"] < 0.3  # half a metre of jitter at 11 metres
    found = camera_space_scores(readings, TRUE, CAMERAS, SIZE)
    assert scores["camera/floor_reprojection_px"] == pytest.approx(found["camera/reprojection_px"])


def test_an_unjittered_camera_has_no_floor() -> None:
    scores = camera_space_scores(TRUE, TRUE, [Camera()] * 3, SIZE)
    assert scores["camera/floor_l2"] == pytest.approx(0, abs=1e-9)
    assert scores["camera/floor_reprojection_px"] == pytest.approx(0, abs=1e-9)


def test_scenes_without_a_camera_of_clevr_are_refused() -> None:
    with pytest.raises(CommandError, match="CLEVR's families: leave out --camera-space"):
        camera_space_scores([None], [SceneProgram((Point2D(0.3, 0.4),))], [Camera()], SIZE)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The rows that are loaded, to be spoilt."""
    black = Picture(np.zeros((120, 160, 3), np.uint8))
    made = [scene_row(scene, black, "4.5.0") for scene in SAMPLED]
    monkeypatch.setattr(camera_space, "load_dataset", lambda *_, **__: Dataset.from_list(made, features=FEATURES))
    return made


def test_cameras_are_those_of_the_sampler(rows: list[dict], tmp_path: Path) -> None:
    for read, sampled in zip(load_cameras("data", "clevr", "val_id"), CAMERAS, strict=True):
        assert sampled is not None
        assert read.location == pytest.approx(sampled.location)


def test_facts_of_the_scenes_are_read(rows: list[dict]) -> None:
    facts = scene_facts("data", "clevr", "val_id")
    assert facts == {"seeds": [1], "resolution": [160, 120], "bpy_versions": ["4.5.0"]}


def test_a_row_without_a_camera_is_named(rows: list[dict]) -> None:
    rows[1]["scene"]["camera"] = None
    with pytest.raises(CommandError, match="row 1 of split 'val_id' of 'data' has no camera"):
        load_cameras("data", "clevr", "val_id")


def test_a_camera_that_looks_elsewhere_is_named(rows: list[dict]) -> None:
    elsewhere = Camera(target=(1.0, 0.0, 0.0))
    rows[2]["scene"]["camera"]["world_to_camera"] = elsewhere.world_to_camera().tolist()
    with pytest.raises(CommandError, match="row 2 of split 'val_id' of 'data' does not look at the origin"):
        load_cameras("data", "clevr", "val_id")


def test_a_dataset_without_scenes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_space, "load_dataset", lambda *_, **__: Dataset.from_dict({"program": ["a"]}))
    with pytest.raises(CommandError, match="no column 'scene'"):
        load_cameras("data", None, "val_id")
