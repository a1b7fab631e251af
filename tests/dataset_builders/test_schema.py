"""A row holds all that rebuilds and supervises its picture."""

import io
import math
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.painters import Picture
from dataset_builders.sampled_scene import SampledScene
from dataset_builders.schema import FEATURES, png_bytes, scene_row
from modeling_igllm import parse_program

WIDTH, HEIGHT = 32, 24
PIXELS = np.arange(WIDTH * HEIGHT * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)


@pytest.fixture(scope="module")
def scene() -> SampledScene:
    """A scene with cubes and other shapes."""
    scene = sample_clevr_scene("clevr_cogent", "val_id", 5, 2)
    assert len({item.shape for item in scene.objects}) > 1
    assert any(item.shape == "cube" for item in scene.objects)
    return scene


@pytest.fixture(scope="module")
def row(scene: SampledScene) -> dict[str, Any]:
    """The row as it comes back from the table."""
    rows = Dataset.from_list([scene_row(scene, Picture(PIXELS), "4.5.15")], features=FEATURES)
    return dict(rows[0])


def test_image_keeps_its_pixels(row: dict[str, Any]) -> None:
    assert isinstance(row["image"], Image.Image)
    assert (np.asarray(row["image"]) == PIXELS).all()


def test_same_pixels_give_the_same_png_bytes() -> None:
    assert png_bytes(PIXELS) == png_bytes(PIXELS.copy())
    with Image.open(io.BytesIO(png_bytes(PIXELS))) as image:
        assert image.format == "PNG"


def test_program_is_the_scene_with_three_decimals(scene: SampledScene, row: dict[str, Any]) -> None:
    assert parse_program(row["program"]) == scene.program.rounded(3)


def test_objects_keep_every_attribute_at_full_precision(scene: SampledScene, row: dict[str, Any]) -> None:
    for item, found in zip(scene.objects, row["scene"]["objects"], strict=True):
        assert (found["size"], found["color"]) == (item.size, item.color)
        assert (found["material"], found["shape"]) == (item.material, item.shape)
        assert tuple(found["loc"]) == item.loc
        assert found["yaw"] == item.rotation
        assert found["x"] is None
        assert found["y"] is None
    assert [found["visible_pixels"] for found in row["scene"]["objects"]] == list(scene.visible_pixels)


def test_rotation_rows_turn_by_the_yaw(scene: SampledScene, row: dict[str, Any]) -> None:
    for item, found in zip(scene.objects, row["scene"]["objects"], strict=True):
        yaw = item.rotation or 0.0
        turned = np.array(found["rotation"]) @ (1.0, 0.0, 0.0)
        assert turned == pytest.approx([math.cos(yaw), math.sin(yaw), 0.0])
        assert np.array(found["rotation"]) @ np.array(found["rotation"]).T == pytest.approx(np.eye(3))
        assert np.array(found["rotation"]) @ (0.0, 0.0, 1.0) == pytest.approx([0.0, 0.0, 1.0])


def test_pixel_coords_follow_from_the_camera_of_the_row(row: dict[str, Any]) -> None:
    intrinsics = np.array(row["scene"]["camera"]["intrinsics"])
    world_to_camera = np.array(row["scene"]["camera"]["world_to_camera"])
    for found in row["scene"]["objects"]:
        x, y, depth = intrinsics @ (world_to_camera @ [*found["loc"], 1.0])[:3]
        assert found["pixel_coords"] == pytest.approx([x / depth, y / depth, depth])


def test_pixel_coords_are_pixels_of_this_picture(scene: SampledScene, row: dict[str, Any]) -> None:
    larger = scene_row(scene, Picture(np.zeros((10 * HEIGHT, 10 * WIDTH, 3), np.uint8)), "4.5.15")
    for found, scaled in zip(row["scene"]["objects"], larger["scene"]["objects"], strict=True):
        x, y, depth = found["pixel_coords"]
        assert scaled["pixel_coords"] == pytest.approx([10 * x, 10 * y, depth])
        assert 0 <= x < WIDTH
        assert 0 <= y < HEIGHT


def test_lamps_and_origin_of_the_scene_are_kept(scene: SampledScene, row: dict[str, Any]) -> None:
    found = row["scene"]
    assert [
        (light["name"], tuple(light["location"]), light["energy"], light["size"]) for light in found["lights"]
    ] == [(light.name, light.location, light.energy, light.size) for light in scene.lights]
    assert (found["family"], found["split"], found["seed"], found["index"]) == ("clevr_cogent", "val_id", 5, 2)
    assert found["attempt"] == scene.attempt
    assert found["bpy_version"] == "4.5.15"
    assert sample_clevr_scene(found["family"], found["split"], found["seed"], found["index"]) == scene
