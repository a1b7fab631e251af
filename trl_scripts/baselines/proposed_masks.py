"""The detector's masks of training scenes, paired with the true objects, from which the attribute net learns."""

import torch

from .instance_decoding import Instances, detect_instances
from .instance_scenes import InstanceScenes
from .segmentation_net import SegmentationNet

PAIRING_IOU = 0.5
"""A proposal belongs to the true object with which its intersection over union is larger (ours)."""

_BATCH = 32


def propose_masks(net: SegmentationNet, scenes: InstanceScenes) -> torch.Tensor:
    """Instance masks (N, H, W) uint8 of the detector, numbered as the true ones; without a partner left out."""
    masks = []
    for images, true in zip(scenes.images.split(_BATCH), scenes.masks.split(_BATCH), strict=True):
        found = detect_instances(net, images.to(net.device))
        masks += [
            pair_with_truth(instances, mask.to(net.device)).cpu() for instances, mask in zip(found, true, strict=True)
        ]
    return torch.stack(masks)


def pair_with_truth(instances: Instances, instance_mask: torch.Tensor) -> torch.Tensor:
    """Number instances as the true objects that they overlap.

    Args:
        instance_mask: (H, W) uint8, 0 background, i + 1 object i.

    Returns:
        The same of the instances, which are disjoint: no two of them can have one partner.
    """
    numbers = instance_mask.unique()
    numbers = numbers[numbers > 0]
    paired = torch.zeros_like(instance_mask)
    for mask in instances.masks:
        for number in numbers:
            true = instance_mask == number
            if (mask & true).sum() > PAIRING_IOU * (mask | true).sum():
                paired[mask] = number
    return paired
