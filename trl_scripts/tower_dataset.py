"""A built dataset as images and dense targets in memory, for the pre-training of the scene tower."""

from typing import Any

import torch
from datasets import Dataset as SceneDataset
from torch.utils.data import Dataset

from dataset_builders.palette import named_color
from modeling_igllm.configuration_igllm import SceneTowerConfig
from modeling_igllm.image_processing_igllm import IGLLMImageProcessor, padding_to_aspect_ratio
from modeling_igllm.scene_tower_targets import TowerObject, scene_tower_targets

from .image_augmentation import PhotometricAugmentation


class TowerDataset(Dataset[dict[str, torch.Tensor]]):
    """Images (uint8) and targets of every row, computed once: an epoch then costs the network alone.

    About 80 kB a scene at 160x120.
    """

    def __init__(self, rows: SceneDataset, config: SceneTowerConfig, image_processor: IGLLMImageProcessor) -> None:
        images, self.objects = [], []
        for batch in rows.select_columns(["image", "scene"]).iter(batch_size=64):
            images.append(raw_pixels(batch["image"], image_processor))
            for image, scene in zip(batch["image"], batch["scene"], strict=True):
                self.objects.append(tower_objects(scene, image.size, config))
        self.images = torch.cat(images)
        self.targets = [scene_tower_targets(objects, config) for objects in self.objects]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.images[index], **self.targets[index]}


class TowerCollator:
    """Stacks rows of a `TowerDataset` into the arguments of `SceneTowerForPreTraining.forward`.

    `seed` makes the augmentation reproducible; without an augmentation the images pass unchanged.
    """

    def __init__(
        self, image_processor: IGLLMImageProcessor, augmentation: PhotometricAugmentation | None = None, seed: int = 0
    ) -> None:
        self.image_processor = image_processor
        self.augmentation = augmentation
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        images = batch.pop("image").float() / 255
        if self.augmentation is not None:
            images = self.augmentation(images, self.generator)
        return {"pixel_values": normalize_pixels(images, self.image_processor), **batch}


def tower_objects(scene: dict[str, Any], picture_size: tuple[int, int], config: SceneTowerConfig) -> list[TowerObject]:
    """Turn a row's `scene` into what the tower learns, in pixels of the tower's input.

    Args:
        picture_size: (width, height) of the row's picture in pixels. The camera would tell it too, but is not known
            of imported scenes. The image processor pads the picture to the tower's aspect ratio, then scales it.
    """
    height, width = config.image_size
    padded_height, padded_width, top, left = padding_to_aspect_ratio(*picture_size[::-1], height, width)
    scale_x, scale_y = width / padded_width, height / padded_height
    return [
        TowerObject(
            center=((item["pixel_coords"][0] + left) * scale_x, (item["pixel_coords"][1] + top) * scale_y),
            size=item["size"],
            color=item["color"],
            material=item["material"],
            shape=item["shape"],
            rgb=named_color(item["color"]),
            position=tuple(item["loc"]),
            yaw=item["yaw"],
        )
        for item in scene["objects"]
    ]


def raw_pixels(images: list[Any], image_processor: IGLLMImageProcessor) -> torch.Tensor:
    """Images padded and resized to the tower's input, but not normalised: (B, 3, H, W) uint8."""
    inputs = image_processor(images, do_rescale=False, do_normalize=False, return_tensors="pt")
    return inputs["pixel_values"].round().clamp(0, 255).to(torch.uint8)


def normalize_pixels(images: torch.Tensor, image_processor: IGLLMImageProcessor) -> torch.Tensor:
    """Images (B, 3, H, W) in [0, 1] -> `pixel_values`, as the image processor's last step does."""
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (image_processor.image_mean, image_processor.image_std)
    )
    return (images - mean) / std
