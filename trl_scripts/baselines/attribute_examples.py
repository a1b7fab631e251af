"""What the attribute net learns from: every object under every mask."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch

from .attribute_net import attribute_inputs, attribute_loss, attribute_targets
from .instance_scenes import InstanceScenes
from .timed_training import BatchLoss


class AttributeExamples:
    """Every object under every mask that shows it.

    Args:
        scenes: the images and true objects.
        masks: (S, N, H, W) uint8, S sets of instance masks of the scenes, numbered as the true ones.
    """

    def __init__(self, scenes: InstanceScenes, masks: torch.Tensor) -> None:
        self.images, self.masks = scenes.images, masks
        self.places = torch.tensor(
            [
                (kind, scene, number)
                for kind, scene in product(range(len(masks)), range(len(scenes)))
                for number in masks[kind, scene].unique().tolist()
                if number > 0
            ]
        )
        self.targets = attribute_targets(
            [scenes.objects[scene][number - 1] for _, scene, number in self.places.tolist()]
        )

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images (n, 3, H, W) uint8, masks (n, H, W) bool and targets (n, outputs)."""
        kind, scene, number = self.places[indices].T
        return self.images[scene], self.masks[kind, scene] == number[:, None, None], self.targets[indices]


def attribute_batch_loss(examples: AttributeExamples, image_size: Sequence[int]) -> BatchLoss:
    """The loss of the attribute net, on inputs of `image_size` (height, width)."""
    height, width = image_size

    def batch_loss(net: Any, indices: torch.Tensor) -> torch.Tensor:
        images, masks, targets = (part.to(indices.device) for part in examples.batch(indices.cpu()))
        return attribute_loss(net(attribute_inputs(images, masks, (height, width))).logits, targets)

    return batch_loss
