"""Rows of a built dataset become the tower's targets, in pixels of the tower's own input."""

import numpy as np
import pytest
import tiny
from datasets import Dataset
from PIL import Image

from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.painters import Picture
from dataset_builders.schema import FEATURES, scene_row
from modeling_igllm.scene_tower_targets import scene_tower_targets
from trl_scripts.tower_dataset import TowerCollator, TowerDataset, tower_objects


@pytest.mark.parametrize(("width", "height"), [(64, 40), (320, 200)])
def test_centres_do_not_depend_on_the_rendered_size(width: int, height: int) -> None:
    scene = sample_clevr_scene("clevr", "train", 0, 0)
    picture = Picture(np.zeros((height, width, 3), np.uint8))
    objects = tower_objects(scene_row(scene, picture, "")["scene"], tiny.tower_config())
    expected = scene.camera.project([item.loc for item in scene.objects], tiny.WIDTH, tiny.HEIGHT)
    for item, (x, y, _) in zip(objects, expected, strict=True):
        assert item.center == pytest.approx((x, y))


def test_objects_carry_every_label_of_the_scene() -> None:
    scene = sample_clevr_scene("clevr", "train", 0, 1)
    config = tiny.tower_config()
    objects = tower_objects(scene_row(scene, Picture(np.zeros((40, 64, 3), np.uint8)), "")["scene"], config)
    for item, truth in zip(objects, scene.objects, strict=True):
        assert (item.size, item.color, item.material, item.shape) == (
            truth.size,
            truth.color,
            truth.material,
            truth.shape,
        )
        assert item.position == truth.loc
        assert item.yaw == truth.rotation
    assert set(scene_tower_targets(objects, config)) >= {"heatmap", "shape", "position"}


def test_collator_normalises_as_the_image_processor_does() -> None:

    image = tiny.make_images(1)[0]
    row = scene_row(sample_clevr_scene("clevr", "train", 0, 0), Picture(image), "")
    rows = Dataset.from_list([row], features=FEATURES)
    image_processor = tiny.make_processor().image_processor
    dataset = TowerDataset(rows, tiny.tower_config(), image_processor)
    batch = TowerCollator(image_processor)([dataset[0]])
    expected = image_processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]
    assert batch["pixel_values"].shape == expected.shape
    assert (batch["pixel_values"] - expected).abs().max() < 1e-5
    assert "heatmap" in batch
