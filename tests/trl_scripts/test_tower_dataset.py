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
from towers import make_tower

from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.families import find_family
from dataset_builders.import_clevr import import_clevr
from dataset_builders.painters import Picture
from dataset_builders.palette import named_color
from dataset_builders.schema import FEATURES, scene_row
from modeling_igllm import SHAPES
from trl_scripts.image_augmentation import PhotometricAugmentation
from trl_scripts.tower_dataset import TowerCollator, TowerDataset, scene_shapes, tower_objects
from trl_scripts.tower_targets import VALUES, TowerObject


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
        assert item.rgb == named_color(truth.color)
        assert item.rotation is None  # a yaw at most


def test_collator_normalises_as_the_image_processor_does() -> None:
    image = tiny.make_images(1)[0]
    row = scene_row(sample_clevr_scene("clevr", "train", 0, 0), Picture(image), "")
    rows = Dataset.from_list([row], features=FEATURES)
    image_processor = tiny.make_processor().image_processor
    dataset = TowerDataset(rows, tiny.tower_config(), image_processor)
    batch = TowerCollator(dataset.config, image_processor)([dataset[0]])
    expected = image_processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]
    assert batch["pixel_values"].shape == expected.shape
    assert (batch["pixel_values"] - expected).abs().max() < 1e-5
    assert "heatmap" in batch["targets"]


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
    model = make_tower()
    model(**TowerCollator(config, image_processor)([dataset[0], dataset[1]])).loss.backward()
    assert all(torch.isfinite(weights.grad).all() for weights in model.parameters() if weights.grad is not None)
    assert model.heads.weight.grad.abs().sum() > 0


def family_row(family: str, split: str = "train", index: int = 0, with_truth: bool = False) -> dict[str, Any]:
    """A row of any family, its picture grey, with the ground truth of an empty scene if asked for."""
    shape = (tiny.HEIGHT, tiny.WIDTH)
    truth = (np.zeros(shape, np.uint8), np.full(shape, 5.0, np.float32)) if with_truth else ()
    picture = Picture(np.full((*shape, 3), 90, np.uint8), *truth)
    return scene_row(find_family(family).sample(family, split, 0, index), picture, "")


def family_objects(family: str, index: int = 0) -> list[TowerObject]:
    rows = Dataset.from_list([family_row(family, index=index)], features=FEATURES)
    return tower_objects(rows[0]["scene"], (tiny.WIDTH, tiny.HEIGHT), tiny.tower_config())


def test_random_colours_are_learned_without_a_name() -> None:
    scene = find_family("clevr_rgb").sample("clevr_rgb", "train", 0, 0)
    objects = family_objects("clevr_rgb")
    assert [item.rgb for item in objects] == list(scene.rgbs)
    assert all(item.color is None and item.shape in SHAPES for item in objects)


def test_a_disc_has_a_place_in_the_picture_and_a_colour() -> None:
    (place,) = find_family("two_d").sample("two_d", "train", 0, 0).objects
    center = (place.x * tiny.WIDTH, place.y * tiny.HEIGHT)
    (item,) = family_objects("two_d")
    assert item == TowerObject(pytest.approx(center), rgb=(1.0, 0.0, 0.0))


@pytest.mark.parametrize("family", ["so3", "six_dof"])
def test_a_posed_object_has_its_rotation(family: str) -> None:
    (truth,) = find_family(family).sample(family, "train", 0, 0).objects
    (item,) = family_objects(family)
    assert item.rotation == pytest.approx(truth.rotation.matrix[:2].flatten())
    assert (item.shape, item.color, item.position) == ("airplane", truth.color, truth.loc)
    assert item.size is item.material is item.yaw is None


def test_shapes_are_known_by_their_categories_and_symmetric_ones_have_no_rotation() -> None:
    rows = [family_row("shapenet", index=index) for index in range(12)]
    dataset = Dataset.from_list(rows, features=FEATURES)
    shapes = scene_shapes(dataset)
    named = {item["shape"]: item for row in rows for item in row["scene"]["objects"]}
    assert shapes == tuple(sorted({name.partition("_")[0] for name in named}))
    objects = {
        item["shape"]: learned
        for row in rows
        for item, learned in zip(
            row["scene"]["objects"], tower_objects(row["scene"], (64, 40), tiny.tower_config()), strict=True
        )
    }
    assert objects[next(name for name in objects if name.startswith("car_"))].rotation is not None
    assert any(item.rotation is None for item in objects.values())
    assert {item.shape for item in objects.values()} == set(shapes)


def test_clevr_has_its_three_shapes_whatever_occurs() -> None:
    for family in ("clevr_rgb", "two_d"):
        assert scene_shapes(Dataset.from_list([family_row(family)], features=FEATURES)) == SHAPES


def test_rows_of_several_kinds_make_one_batch() -> None:
    rows = [family_row("clevr"), family_row("so3"), family_row("clevr_rgb", with_truth=True)]
    image_processor, config = tiny.make_processor().image_processor, tiny.tower_config()
    dataset = TowerDataset(Dataset.from_list(rows, features=FEATURES), config, image_processor, (*SHAPES, "airplane"))
    targets = TowerCollator(config, image_processor)([dataset[index] for index in range(3)])["targets"]
    learned = {
        name: [bool((~maps.isnan()).any() if name in VALUES else (maps != -100).any()) for maps in targets[name]]
        for name in targets
        if name != "heatmap"
    }
    assert learned["rotation"] == [False, True, False]
    assert learned["size"] == [True, False, True]
    assert learned["color"] == [True, True, False]
    assert learned["depth"] == learned["silhouette"] == [False, False, True]


def test_a_dataset_without_the_columns_of_ground_truth_trains_too() -> None:
    rows = Dataset.from_list([family_row("clevr")], features=FEATURES).remove_columns(["instance_mask", "depth"])
    dataset = TowerDataset(rows, tiny.tower_config(), tiny.make_processor().image_processor)
    assert "size" in dataset.targets[0] and "depth" not in dataset.targets[0]


def test_augmentation_depends_on_seed_epoch_and_index() -> None:
    rows = Dataset.from_list([family_row("two_d")] * 3, features=FEATURES)
    image_processor, config = tiny.make_processor().image_processor, tiny.tower_config()
    dataset = TowerDataset(rows, config, image_processor)

    def pixels(seed: int, epoch: int, *indices: int) -> torch.Tensor:
        dataset.epoch = epoch
        collator = TowerCollator(config, image_processor, PhotometricAugmentation(), seed)
        return collator([dataset[index] for index in indices])["pixel_values"]

    first = pixels(0, 2, 1)
    assert torch.equal(first[0], pixels(0, 2, 0, 1)[1])
    for other in (pixels(1, 2, 1), pixels(0, 3, 1), pixels(0, 2, 2)):
        assert not torch.equal(first, other)
