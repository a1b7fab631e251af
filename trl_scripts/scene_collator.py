"""Rows of a built dataset -> a training batch of `IGLLMForSceneProgram`."""

from typing import Any

import numpy as np
import torch

from modeling_igllm import IGLLMProcessor, parse_program

from .feature_cache import CachedFeatures


class SceneCollator:
    """Encodes programs, and images or their cached tower features.

    Args:
        processor: tokenises programs and prepares images.
        features: cached tower features; a random one of the copies of each image is taken. Rows then need `index`.
        shuffle_attributes, sample_synonyms: augmentation of the program text.
        seed: of the choices made here.
    """

    def __init__(
        self,
        processor: IGLLMProcessor,
        features: CachedFeatures | None = None,
        shuffle_attributes: bool = False,
        sample_synonyms: bool = False,
        seed: int = 0,
    ) -> None:
        self.processor = processor
        self.features = features
        self.augmentation = {"shuffle_attributes": shuffle_attributes, "sample_synonyms": sample_synonyms}
        self.rng = np.random.default_rng(seed)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        scenes = [parse_program(row["program"], rotation=self.processor.rotation) for row in rows]
        images = None if self.features is not None else [row["image"] for row in rows]
        batch = dict(self.processor.encode_training(images, scenes, rng=self.rng, **self.augmentation))
        if self.features is not None:
            batch["image_features"] = self.features.draw([row["index"] for row in rows], self.rng)
        return batch
