"""Cached tower features are the features, and are found again only for the same tower and the same images."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset, Features, Image
from PIL import Image as PillowImage

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from trl_scripts import feature_cache
from trl_scripts.feature_cache import cache_features
from trl_scripts.image_augmentation import PhotometricAugmentation


@pytest.fixture
def rows() -> Dataset:
    """Three images."""
    images = [PillowImage.fromarray(image) for image in tiny.make_images(3)]
    return Dataset.from_dict({"image": images}, features=Features({"image": Image()}))


def test_cached_features_equal_those_of_the_tower(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    cached = cache_features(rows, model, processor, tmp_path)
    pixel_values = processor.image_processor(rows["image"][:], return_tensors="pt")["pixel_values"]
    expected = model.encode_images(pixel_values)
    drawn = cached.draw([2, 0], np.random.default_rng(0))
    torch.testing.assert_close(drawn, expected[[2, 0]], rtol=2e-3, atol=2e-3)


def test_a_second_call_reads_the_file(
    processor: IGLLMProcessor,
    model: IGLLMForSceneProgram,
    rows: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = cache_features(rows, model, processor, tmp_path)
    monkeypatch.setattr(feature_cache, "_compute", lambda *_: pytest.fail("computed again"))
    second = cache_features(rows, model, processor, tmp_path)
    np.testing.assert_array_equal(first.array, second.array)


def test_another_tower_or_other_images_get_another_file(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    cache_features(rows, model, processor, tmp_path)
    cache_features(rows, tiny.make_model(processor, seed=1), processor, tmp_path)
    cache_features(rows.select([0, 1]), model, processor, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_copies_are_augmented_and_the_first_is_the_image_itself(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    plain = cache_features(rows, model, processor, tmp_path)
    copies = cache_features(rows, model, processor, tmp_path, 2, PhotometricAugmentation())
    np.testing.assert_array_equal(copies.array[0], plain.array[0])
    assert not np.array_equal(copies.array[1], copies.array[0])


def test_copies_without_augmentation_are_refused(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="copies=3"):
        cache_features(rows, model, processor, tmp_path, 3)


def test_an_interrupted_computation_leaves_no_file(
    processor: IGLLMProcessor,
    model: IGLLMForSceneProgram,
    rows: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_off(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_cache, "raw_pixels", break_off)
    with pytest.raises(KeyboardInterrupt):
        cache_features(rows, model, processor, tmp_path)
    assert list(tmp_path.iterdir()) == []
