"""Cached tower features are the features, and each image is computed once for a tower, whatever dataset it is in."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset, Features, Image, concatenate_datasets
from fault_runs import in_fork, mount_private_disk
from PIL import Image as PillowImage

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from trl_scripts import feature_cache
from trl_scripts.errors import CommandError
from trl_scripts.feature_cache import CachedFeatures, cache_features
from trl_scripts.image_augmentation import PhotometricAugmentation

NOT_PERMITTED = 77


def make_rows(count: int) -> Dataset:
    """Random images, the first ones the same for every `count`."""
    images = [PillowImage.fromarray(image) for image in tiny.make_images(count)]
    return Dataset.from_dict({"image": images}, features=Features({"image": Image()}))


@pytest.fixture
def rows() -> Dataset:
    """Three images."""
    return make_rows(3)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images went through the tower, batch by batch."""
    counts: list[int] = []
    encode_images = IGLLMForSceneProgram.encode_images

    def count(self: IGLLMForSceneProgram, pixel_values: torch.Tensor) -> torch.Tensor:
        counts.append(len(pixel_values))
        return encode_images(self, pixel_values)

    monkeypatch.setattr(IGLLMForSceneProgram, "encode_images", count)
    return counts


def copies_of(cached: CachedFeatures) -> np.ndarray:
    """All features: (copies, images, tokens, channels)."""
    return np.array([[cached.files[file][row].numpy() for file, row in copy] for copy in cached.places])


def test_cached_features_equal_those_of_the_tower(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    cached = cache_features(rows, model, processor, tmp_path)
    pixel_values = processor.image_processor(rows["image"][:], return_tensors="pt")["pixel_values"]
    expected = model.encode_images(pixel_values)
    drawn = cached.draw([2, 0], np.random.default_rng(0))
    torch.testing.assert_close(drawn, expected[[2, 0]], rtol=2e-3, atol=2e-3)


def test_a_second_call_computes_nothing(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path, computed: list[int]
) -> None:
    first = cache_features(rows, model, processor, tmp_path)
    second = cache_features(rows, model, processor, tmp_path)
    assert computed == [3]
    np.testing.assert_array_equal(copies_of(first), copies_of(second))


def test_pictures_in_a_folder_are_those_of_a_built_dataset(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path, computed: list[int]
) -> None:
    cached = cache_features(rows, model, processor, tmp_path / "features")
    paths = []
    for number, encoded in enumerate(rows.cast_column("image", Image(decode=False))):
        paths.append(str(tmp_path / f"{number}.png"))
        Path(paths[-1]).write_bytes(encoded["image"]["bytes"])
    folder = Dataset.from_dict({"image": paths}, features=Features({"image": Image()}))
    assert folder.cast_column("image", Image(decode=False))[0]["image"]["bytes"] is None
    of_folder = cache_features(folder, model, processor, tmp_path / "features")
    assert computed == [3]
    np.testing.assert_array_equal(copies_of(of_folder), copies_of(cached))


def test_a_larger_dataset_computes_its_new_images_alone(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, tmp_path: Path, computed: list[int]
) -> None:
    cache_features(make_rows(3), model, processor, tmp_path)
    larger = make_rows(5).select([4, 3, 2, 1, 0])
    cached = cache_features(larger, model, processor, tmp_path)
    assert computed == [3, 2]
    whole = cache_features(larger, model, processor, tmp_path / "elsewhere")
    np.testing.assert_allclose(copies_of(cached), copies_of(whole), atol=1e-3)


def test_an_image_that_occurs_twice_is_computed_once(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path, computed: list[int]
) -> None:
    cached = cache_features(concatenate_datasets([rows, rows]), model, processor, tmp_path)
    assert computed == [3]
    features = copies_of(cached)[0]
    np.testing.assert_array_equal(features[:3], features[3:])


def test_another_tower_or_preparation_of_images_has_features_of_its_own(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path, computed: list[int]
) -> None:
    cache_features(rows, model, processor, tmp_path)
    cache_features(rows, tiny.make_model(processor, seed=1), processor, tmp_path)
    brighter = tiny.make_processor()
    brighter.image_processor.image_mean = [0.25] * 3
    cache_features(rows, model, brighter, tmp_path)
    assert computed == [3, 3, 3]


def test_a_reloaded_processor_finds_the_features_again(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path, computed: list[int]
) -> None:
    cache_features(rows, model, processor, tmp_path / "features")
    processor.save_pretrained(tmp_path / "processor")
    cache_features(rows, model, IGLLMProcessor.from_pretrained(tmp_path / "processor"), tmp_path / "features")
    assert computed == [3]


def test_copies_are_augmented_and_the_first_is_the_image_itself(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path, computed: list[int]
) -> None:
    plain = copies_of(cache_features(rows, model, processor, tmp_path))
    copies = copies_of(cache_features(rows, model, processor, tmp_path, 2, PhotometricAugmentation()))
    assert computed == [3, 3]  # the images themselves were there
    np.testing.assert_array_equal(copies[0], plain[0])
    assert all((copies[1, row] != copies[0, row]).any() for row in range(3))


def test_an_augmented_copy_does_not_depend_on_the_dataset_around_it(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    augmentation = PhotometricAugmentation()
    whole = copies_of(cache_features(rows, model, processor, tmp_path / "a", 2, augmentation))
    alone = copies_of(cache_features(rows.select([2]), model, processor, tmp_path / "b", 2, augmentation))
    np.testing.assert_allclose(alone[:, 0], whole[:, 2], atol=1e-3)


def test_copies_without_augmentation_are_refused(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="copies=3"):
        cache_features(rows, model, processor, tmp_path, 3)


def test_an_interrupted_computation_keeps_what_it_finished(
    processor: IGLLMProcessor,
    model: IGLLMForSceneProgram,
    rows: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    computed: list[int],
) -> None:
    raw_pixels = feature_cache.raw_pixels

    def break_off(images: list[PillowImage.Image], image_processor: object) -> torch.Tensor:
        if computed:
            raise KeyboardInterrupt
        return raw_pixels(images, image_processor)

    monkeypatch.setattr(feature_cache, "_ITEMS_PER_FILE", 2)
    monkeypatch.setattr(feature_cache, "raw_pixels", break_off)
    with pytest.raises(KeyboardInterrupt):
        cache_features(rows, model, processor, tmp_path)
    monkeypatch.setattr(feature_cache, "raw_pixels", raw_pixels)
    cache_features(rows, model, processor, tmp_path)
    assert computed == [2, 1]
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors"}


def test_a_damaged_file_is_named(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    cache_features(rows, model, processor, tmp_path)
    path = next(tmp_path.rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CommandError, match=f"{path.name} is damaged.*delete it"):
        cache_features(rows, model, processor, tmp_path)


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_that_is_half_written_is_removed_and_named(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(tensors: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    cache_features(make_rows(2), model, processor, tmp_path)
    before = files_below(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(feature_cache, "save_file", write_half)
        with pytest.raises(CommandError, match=r"cannot write .*\.safetensors: .*No space left.*make room") as raised:
            cache_features(make_rows(3), model, processor, tmp_path)
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)
    assert files_below(tmp_path) == before
    assert copies_of(cache_features(make_rows(3), model, processor, tmp_path)).shape[:2] == (1, 3)


def test_a_full_disk_keeps_what_is_finished(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, tmp_path: Path
) -> None:
    """A real one, which safetensors meets in its own way."""
    disk, message = tmp_path / "disk", tmp_path / "message"
    disk.mkdir()

    def compute_twice() -> int:
        if not mount_private_disk(disk, 1):
            return NOT_PERMITTED
        cache_features(make_rows(2), model, processor, disk / "features")
        before = files_below(disk)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free))
        try:
            cache_features(make_rows(3), model, processor, disk / "features")
        except CommandError as error:
            message.write_text(str(error))
        ballast.unlink()
        is_clean = files_below(disk) == before
        cache_features(make_rows(3), model, processor, disk / "features")
        return 0 if is_clean and len(files_below(disk)) == 2 else 1

    code = in_fork(compute_twice)
    if code == NOT_PERMITTED:
        pytest.skip("no private mounts on this system")
    assert code == 0
    assert message.read_text().startswith(f"cannot write {disk / 'features'}/")


def test_a_folder_that_cannot_be_made_is_named(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, rows: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "features").touch()
    with pytest.raises(CommandError, match=r"cannot write .*/features/.*choose another folder"):
        cache_features(rows, model, processor, tmp_path / "features")


def test_the_tower_is_left_as_it_was(processor: IGLLMProcessor, rows: Dataset, tmp_path: Path) -> None:
    model = tiny.make_model(processor).train()
    cache_features(rows, model, processor, tmp_path, device=torch.device("cpu"))
    assert model.training
    assert model.model.language_model.training
