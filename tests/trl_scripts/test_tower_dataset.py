"""Rows of a built dataset become the tower's targets, in pixels of the tower's own input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from PIL import Image, ImageDraw
from published_clevr import make_published

from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.import_clevr import import_clevr
from dataset_builders.painters import Picture
from dataset_builders.schema import FEATURES, scene_row
from modeling_igllm.pretraining_scene_tower import SceneTowerForPreTraining
from modeling_igllm.scene_tower_targets import scene_tower_targets
from trl_scripts.tower_dataset import TowerCollator, TowerDataset, tower_objects


@pytest.mark.parametrize(("width", "height"), [(64, 40), (320, 200)])
def test_centres_do_not_depend_on_the_rendered_size(width: int, height: int) -> None:
    scene = sample_clevr_scene("clevr", "train", 0, 0)
    picture = Picture(np.zeros((height, width, 3), np.uint8))
    objects = tower_objects(scene_row(scene, picture, "")["scene"], (width, height), tiny.tower_config())
    expected = scene.camera.project([item.loc for item in scene.objects], tiny.WIDTH, tiny.HEIGHT)
    for item, (x, y, _) in zip(objects, expected, strict=True):
        assert item.center == pytest.approx((x, y))


def test_objects_carry_every_label_of_the_scene() -> None:
    scene = sample_clevr_scene("clevr", "train", 0, 1)
    config = tiny.tower_config()
    row = scene_row(scene, Picture(np.zeros((40, 64, 3), np.uint8)), "")
    objects = tower_objects(row["scene"], (64, 40), config)
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


# Wider than the tower's input or higher: the image processor pads them above or at the left.
@pytest.mark.parametrize(("width", "height"), [(480, 200), (480, 320), (60, 60)])
def test_centres_lie_where_the_image_processor_puts_them(width: int, height: int) -> None:
    x, y, radius = 0.7 * width, 0.3 * height, 0.06 * width
    picture = Image.new("RGB", (width, height))
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), "red")
    scene = {"objects": [{**scene_of_one_object(), "pixel_coords": [x, y, 10.0]}], "camera": None}
    (item,) = tower_objects(scene, picture.size, tiny.tower_config())
    inputs = tiny.make_processor().image_processor(picture, do_normalize=False, return_tensors="np")
    red = inputs["pixel_values"][0, 0] - inputs["pixel_values"][0, 1]  # nothing where the picture was padded
    lines, columns = np.indices(red.shape) + 0.5
    assert item.center == pytest.approx(((red * columns).sum() / red.sum(), (red * lines).sum() / red.sum()), abs=0.5)


def scene_of_one_object() -> dict[str, Any]:
    """The row of an object."""
    row = scene_row(sample_clevr_scene("clevr", "train", 0, 0), Picture(tiny.make_images(1)[0]), "")
    return dict(row["scene"]["objects"][0])


def test_an_imported_scene_trains_the_tower(tmp_path: Path) -> None:
    import_clevr(make_published(tmp_path), tmp_path / "out")
    files = [str(tmp_path / "out" / "clevr" / "train-00000.parquet")]
    rows = Dataset.from_parquet(files, cache_dir=str(tmp_path / "cache"))
    assert rows[0]["scene"]["camera"] is None
    config, image_processor = tiny.tower_config(), tiny.make_processor().image_processor
    dataset = TowerDataset(rows, config, image_processor)
    # 32 x 24 as published, on a canvas of 38 x 24, to 64 x 40.
    expected = [((x + 3) * 64 / 38, y * 40 / 24) for x, y in ((4, 12), (20, 3), (20, 9))]
    assert [item.center for item in dataset.objects[0]] == [pytest.approx(center) for center in expected]
    model = SceneTowerForPreTraining(config)
    model(**TowerCollator(image_processor)([dataset[0], dataset[1]])).loss.backward()
    assert all(torch.isfinite(weights.grad).all() for weights in model.parameters() if weights.grad is not None)
    assert model.heads.weight.grad.abs().sum() > 0
