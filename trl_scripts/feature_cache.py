"""Features of a frozen vision tower, computed once and kept on disk, keyed by image and tower.

`FOLDER/<key of tower and image processor>/<name>.safetensors` hold `keys` (items, 32), SHA-256 digests of encoded
images, and `features` (items, tokens, channels). A larger dataset adds files for its new images alone, and an
interrupted computation keeps the files it has finished.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor

from .errors import CommandError, one_line
from .image_augmentation import PhotometricAugmentation
from .tower_dataset import normalize_pixels, raw_pixels

_BATCH_SIZE = 64
# Items of one file: what is lost when a computation is interrupted, and what is in memory until it is written.
_ITEMS_PER_FILE = 1024
# Entries of a saved image processor that say nothing about pixels.
_NAMES_IN_IMAGE_PROCESSOR = {"auto_map", "image_processor_type", "processor_class"}


@dataclass(frozen=True)
class CachedFeatures:
    """Tower features of a dataset, memory-mapped: a batch reads its own images alone.

    Attributes:
        files: (items, tokens, channels) float16 each.
        places: (copies, images, 2) int: file and row of every copy of every image.
    """

    files: list[torch.Tensor]
    places: np.ndarray

    def draw(self, indices: list[int], rng: np.random.Generator) -> torch.Tensor:
        """Return (len(indices), tokens, channels) float32, each from a random copy of its image."""
        copies = rng.integers(len(self.places), size=len(indices))
        return torch.stack([self.files[file][row] for file, row in self.places[copies, indices]]).float()


@dataclass(frozen=True)
class _Item:
    """One version of one image: copy 0 is the image as it is."""

    key: bytes
    row: int
    copy: int


def cache_features(
    rows: Dataset,
    model: IGLLMForSceneProgram,
    processor: IGLLMProcessor,
    folder: Path,
    copies: int = 1,
    augmentation: PhotometricAugmentation | None = None,
    device: torch.device | None = None,
) -> CachedFeatures:
    """Return the tower features of all images of `rows`, computing those that `folder` does not hold yet.

    Args:
        copies: how many differently augmented versions of each image; the first one is the image as it is.
        augmentation: needed when `copies` > 1.
        device: where the tower works meanwhile; by default where it is.

    Raises:
        ValueError: if `copies` > 1 comes without an augmentation.
        CommandError: if `copies` is below 1, a file of the cache is damaged, or one cannot be written; those that are
            finished stay.
    """
    if copies < 1:
        raise CommandError(f"feature_copies must be at least 1, got {copies}: 1 is each image as it is")
    if copies > 1 and augmentation is None:
        raise ValueError(f"copies={copies} of the same features make no sense: pass an augmentation")
    folder = folder / _tower_key(model, processor)
    items = list(_items(rows, copies, augmentation))
    stored = _read_keys(folder)
    # By key: images that occur twice are computed once.
    missing = list({item.key: item for item in items if item.key not in stored}.values())
    if missing:
        with _one_line_if_unwritable(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _Computation(rows, model, processor, augmentation).write(missing, folder, device)
        stored = _read_keys(folder)
    files = sorted({path for path, _ in (stored[item.key] for item in items)})
    numbers = {path: number for number, path in enumerate(files)}
    places = np.empty((copies, len(rows), 2), dtype=np.int64)
    for item in items:
        path, row = stored[item.key]
        places[item.copy, item.row] = numbers[path], row
    return CachedFeatures([_load(path)["features"] for path in files], places)


def _tower_key(model: IGLLMForSceneProgram, processor: IGLLMProcessor) -> str:
    """Everything but the image that the features depend on: weights, chosen layers, preparation of images."""
    config = model.config
    picture = {
        name: value
        for name, value in processor.image_processor.to_dict().items()
        if name not in _NAMES_IN_IMAGE_PROCESSOR
    }
    selection = [config.vision_feature_layers, config.vision_feature_select_strategy]
    digest = hashlib.sha256(json.dumps([picture, selection], sort_keys=True).encode())
    for name, tensor in sorted(model.model.vision_tower.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _items(rows: Dataset, copies: int, augmentation: PhotometricAugmentation | None) -> Iterator[_Item]:
    """Every copy of every image, the copies of an image one after another."""
    for row, encoded in enumerate(rows.select_columns("image").cast_column("image", Image(decode=False))):
        image_key = hashlib.sha256(_encoded_bytes(encoded["image"])).digest()
        yield _Item(image_key, row, 0)
        for copy in range(1, copies):
            yield _Item(hashlib.sha256(image_key + repr((copy, augmentation)).encode()).digest(), row, copy)


def _encoded_bytes(image: dict[str, Any]) -> bytes:
    """The file of an image that is not decoded; a folder of pictures (`imagefolder`) holds paths alone."""
    content: bytes | None = image["bytes"]
    return Path(image["path"]).read_bytes() if content is None else content


def _read_keys(folder: Path) -> dict[bytes, tuple[Path, int]]:
    """File and row of everything that `folder` holds."""
    return {
        key.tobytes(): (path, row)
        for path in sorted(folder.glob("*.safetensors"))
        for row, key in enumerate(_load(path)["keys"].numpy())
    }


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)  # memory-mapped
    except SafetensorError as error:
        raise CommandError(f"{path} is damaged ({error}): delete it, its features will be computed again") from error


@contextlib.contextmanager
def _one_line_if_unwritable(path: Path) -> Iterator[None]:
    """Turn a full disk, say, into a `CommandError`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CommandError(
            f"cannot write {path}: {one_line(error)}; make room, or choose another folder for features, and run the "
            "command again: features that are finished are kept"
        ) from error


@dataclass(frozen=True)
class _Computation:
    rows: Dataset
    model: IGLLMForSceneProgram
    processor: IGLLMProcessor
    augmentation: PhotometricAugmentation | None

    def write(self, items: list[_Item], folder: Path, device: torch.device | None) -> None:
        """Write the features of `items` to new files in `folder`, each of which appears when it is whole."""
        tower = self.model.model.vision_tower
        home, was_training = tower.device, tower.training
        tower.to(device or home).eval()
        with tqdm(total=len(items), desc="tower features", unit="image", mininterval=5) as progress:
            for start in range(0, len(items), _ITEMS_PER_FILE):
                self._write_file(items[start : start + _ITEMS_PER_FILE], folder, progress)
        tower.to(home).train(was_training)

    def _write_file(self, items: list[_Item], folder: Path, progress: tqdm) -> None:
        features = []
        for start in range(0, len(items), _BATCH_SIZE):
            batch = items[start : start + _BATCH_SIZE]
            features.append(self._encode(batch))
            progress.update(len(batch))
        keys = b"".join(item.key for item in items)
        # A copy: safetensors takes no tensor on a read-only buffer.
        tensors = {"keys": torch.tensor(list(keys), dtype=torch.uint8).view(-1, 32), "features": torch.cat(features)}
        path = folder / f"{hashlib.sha256(keys).hexdigest()[:32]}.safetensors"
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
        try:
            with _one_line_if_unwritable(path):
                save_file(tensors, temporary)
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @torch.no_grad()
    def _encode(self, items: list[_Item]) -> torch.Tensor:
        """(items, tokens, channels) float16."""
        image_processor, tower = self.processor.image_processor, self.model.model.vision_tower
        images = raw_pixels(self.rows[[item.row for item in items]]["image"], image_processor).float() / 255
        views = [
            self._augment(image[None], item) if item.copy else image[None]
            for item, image in zip(items, images, strict=True)
        ]
        pixel_values = normalize_pixels(torch.cat(views), image_processor)
        return self.model.encode_images(pixel_values.to(tower.device, tower.dtype)).to("cpu", torch.float16)

    def _augment(self, image: torch.Tensor, item: _Item) -> torch.Tensor:
        """A version (1, 3, H, W) that depends on the image and the copy alone, not on the dataset around it."""
        assert self.augmentation is not None  # checked where copies are asked for
        return self.augmentation(image, [int.from_bytes(item.key[:7])])
