"""Features of a frozen vision tower, computed once and kept on disk, keyed by the images and the tower's weights."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, Image
from safetensors.torch import save
from tqdm import tqdm

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor

from .image_augmentation import PhotometricAugmentation
from .tower_dataset import normalize_pixels, raw_pixels

_BATCH_SIZE = 64


@dataclass(frozen=True)
class CachedFeatures:
    """Tower features on disk: `array` is (copies, images, tokens, channels) float16, memory-mapped."""

    array: np.ndarray

    def draw(self, indices: list[int], rng: np.random.Generator) -> torch.Tensor:
        """Return (len(indices), tokens, channels) float32, each from a random copy of its image."""
        copies = rng.integers(len(self.array), size=len(indices))
        return torch.from_numpy(self.array[copies, indices].astype(np.float32))


def cache_features(
    rows: Dataset,
    model: IGLLMForSceneProgram,
    processor: IGLLMProcessor,
    folder: Path,
    copies: int = 1,
    augmentation: PhotometricAugmentation | None = None,
) -> CachedFeatures:
    """Return the tower features of all images of `rows`, computing them unless `folder` holds them already.

    Args:
        copies: how many differently augmented versions of each image; the first one is the image as it is.
        augmentation: needed when `copies` > 1.

    Raises:
        ValueError: if `copies` > 1 comes without an augmentation.
    """
    if copies > 1 and augmentation is None:
        raise ValueError(f"copies={copies} of the same features make no sense: pass an augmentation")
    path = folder / f"{_cache_key(rows, model, processor, copies, augmentation)}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
        try:
            _compute(rows, model, processor, temporary, copies, augmentation)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return CachedFeatures(np.load(path, mmap_mode="r"))


def _cache_key(
    rows: Dataset,
    model: IGLLMForSceneProgram,
    processor: IGLLMProcessor,
    copies: int,
    augmentation: PhotometricAugmentation | None,
) -> str:
    digest = hashlib.sha256(save(dict(model.model.vision_tower.state_dict())))
    # The values rather than the saved file of the image processor, which gains entries when it is loaded again.
    settings = processor.image_processor
    picture = (dict(settings.size), tuple(settings.image_mean), tuple(settings.image_std), settings.do_pad)
    digest.update(repr((picture, copies, augmentation)).encode())
    for row in rows.select_columns("image").cast_column("image", Image(decode=False)):
        digest.update(hashlib.sha256(row["image"]["bytes"]).digest())
    return digest.hexdigest()[:32]


@torch.no_grad()
def _compute(
    rows: Dataset,
    model: IGLLMForSceneProgram,
    processor: IGLLMProcessor,
    path: Path,
    copies: int,
    augmentation: PhotometricAugmentation | None,
) -> None:
    model.eval()
    generator = torch.Generator().manual_seed(0)
    config = model.config
    shape = (copies, len(rows), config.image_seq_length, config.vision_config.hidden_size)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for start in tqdm(range(0, len(rows), _BATCH_SIZE), desc="tower features", unit="batch", mininterval=5):
        images = raw_pixels(rows[start : start + _BATCH_SIZE]["image"], processor.image_processor).float() / 255
        for copy in range(copies):
            view = images if copy == 0 or augmentation is None else augmentation(images, generator)
            pixel_values = normalize_pixels(view, processor.image_processor)
            features = model.encode_images(pixel_values.to(model.device, model.dtype))
            array[copy, start : start + len(images)] = features.float().cpu().numpy()
    array.flush()
