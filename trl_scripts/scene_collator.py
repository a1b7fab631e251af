"""Rows of a built dataset -> a training batch of `IGLLMForSceneProgram`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from modeling_igllm import IGLLMProcessor, SceneProgram, parse_program

from .fair_pairs import PRIOR_ROWS, FairPairs
from .feature_cache import CachedFeatures


def row_scenes(rows: Dataset) -> Iterator[SceneProgram]:
    """The scenes of the column `program`."""
    return (parse_program(row["program"]) for row in rows.select_columns("program"))


def answer_lengths(rows: Dataset, processor: IGLLMProcessor) -> list[int]:
    """Tokens of each row's answer, by which `StepwiseLengthSampler` puts scenes of like length into one batch."""
    return [len(processor.encode_answer(scene).ids) for scene in row_scenes(rows)]


# What the words of a row's program do not tell of its picture (recolored_rows.py).
_NAMELESS = ("color",)


class SceneCollator:
    """Encodes programs, and images or their cached tower features.

    What is drawn at random depends on `seed`, the epoch and the `index` of the batch's rows alone: a training that was
    killed draws the same when it is run again. Colours of `recolored` rows have no names and are no labels.

    Args:
        processor: tokenises programs and prepares images.
        features: cached tower features, for rows without an image; a random one of the copies is taken by `index`.
        shuffle_attributes, sample_synonyms: augmentation of the program text; rows need an `index` then.
        seed: of the choices made here.
        fair_pairs: takes colours and shapes out of the labels, for a loss of its own.
    """

    def __init__(
        self,
        processor: IGLLMProcessor,
        features: CachedFeatures | None = None,
        shuffle_attributes: bool = False,
        sample_synonyms: bool = False,
        seed: int = 0,
        fair_pairs: FairPairs | None = None,
    ) -> None:
        self.processor = processor
        self.features = features
        self.augmentation = {"shuffle_attributes": shuffle_attributes, "sample_synonyms": sample_synonyms}
        self.seed = seed
        self.fair_pairs = fair_pairs
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # also with workers that outlive an epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose what is drawn; `SceneSFTTrainer` calls this when an epoch begins or is gone on with."""
        self._epoch.fill_(epoch)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        # The column's rotations are 6d (SCENE_PROGRAM); the processor writes them in its own representation.
        scenes = [parse_program(row["program"]) for row in rows]
        images = [row["image"] for row in rows] if "image" in rows[0] else None
        draws = images is None or any(self.augmentation.values())
        rng = self._generator([row["index"] for row in rows]) if draws else None
        not_asked = [_NAMELESS if row.get("recolored") else () for row in rows]
        batch = dict(self.processor.encode_training(images, scenes, not_asked, rng=rng, **self.augmentation))
        if self.fair_pairs is not None:
            batch["labels"], batch[PRIOR_ROWS] = self.fair_pairs.take_out(batch["labels"], scenes)
        if images is None:
            if self.features is None:
                raise ValueError(f"rows have no image and there are no cached features; columns: {list(rows[0])}")
            assert rng is not None  # there are no images
            batch["image_features"] = self.features.draw([row["index"] for row in rows], rng)
        return batch

    def _generator(self, indices: list[int]) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(self._epoch), *indices])
