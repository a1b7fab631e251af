"""From per-pixel maps to instances with a composite class and a score."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .segmentation_net import SegmentationMaps, SegmentationNet

CENTER_THRESHOLD = 0.3
CENTER_RADIUS = 3
"""Pixels within which only the likeliest centre counts."""

SCORE_THRESHOLD = 0.9
"""Instances must score higher (NS-VQA's threshold for the detections of its Mask R-CNN)."""


@dataclass(frozen=True)
class Instances:
    """The instances of one image.

    Attributes:
        masks: (n, H, W) bool, disjoint.
        classes: (n,) int64, index in `SegmentationNetConfig.classes` of the likeliest class; never the background.
        scores: (n,) posterior of that class in [0, 1]. What an instance has lost to the background or to other
            classes is missing from it, as in the class score of a Mask R-CNN.
    """

    masks: torch.Tensor
    classes: torch.Tensor
    scores: torch.Tensor

    def __len__(self) -> int:
        return len(self.masks)

    def scoring_above(self, threshold: float) -> "Instances":
        """Those with a score > `threshold`, in the same order."""
        kept = self.scores > threshold
        return self[kept]

    def left_to_right(self) -> "Instances":
        """The same, ordered by the mean x of their pixels."""
        columns = torch.arange(self.masks.shape[-1], device=self.masks.device)
        pixels = self.masks.sum(dim=1)
        return self[((pixels * columns).sum(dim=1) / pixels.sum(dim=1)).argsort(stable=True)]

    def __getitem__(self, chosen: torch.Tensor) -> "Instances":
        """Those that a mask or an index (n,) chooses."""
        return Instances(self.masks[chosen], self.classes[chosen], self.scores[chosen])


@torch.no_grad()
def detect_instances(
    net: SegmentationNet, images: torch.Tensor, score_threshold: float = SCORE_THRESHOLD
) -> list[Instances]:
    """The instances that score higher than `score_threshold` in images (B, 3, H, W) uint8."""
    return [instances.scoring_above(score_threshold) for instances in decode_instances(net(images))]


def decode_instances(maps: SegmentationMaps) -> list[Instances]:
    """Instances of every image, likeliest centre first, whatever they score.

    A pixel that is likelier some object than background belongs to the centre nearest to where its offset points.
    """
    heat = torch.sigmoid(maps.heatmap)
    images = zip(heat, maps.offsets, maps.class_logits, strict=True)
    return [_decode_image(image_heat, offsets, logits) for image_heat, offsets, logits in images]


def true_instances(instance_mask: torch.Tensor, class_logits: torch.Tensor) -> Instances:
    """The instances of a true mask, with the net's classes; an object without pixels is left out.

    Args:
        instance_mask: (H, W) uint8, 0 background, i + 1 object i.
        class_logits: (1 + classes, H, W).
    """
    present = instance_mask.unique()
    return _with_classes(instance_mask[None] == present[present > 0][:, None, None], class_logits)


def find_centers(heat: torch.Tensor) -> torch.Tensor:
    """Local maxima of probabilities (H, W) above `CENTER_THRESHOLD`, likeliest first: (n, 2) x and y in pixels."""
    window = 2 * CENTER_RADIUS + 1
    highest = F.max_pool2d(heat[None, None], window, stride=1, padding=CENTER_RADIUS)[0, 0]
    rows, columns = torch.nonzero((heat == highest) & (heat > CENTER_THRESHOLD), as_tuple=True)
    order = heat[rows, columns].argsort(descending=True, stable=True)
    kept: list[torch.Tensor] = []
    for place in torch.stack([columns, rows], dim=1)[order]:
        # Neighbours of exactly the same height are all local maxima.
        if all((place - other).abs().max() > CENTER_RADIUS for other in kept):
            kept.append(place)
    return torch.stack(kept) + 0.5 if kept else torch.zeros(0, 2, device=heat.device)


def _decode_image(heat: torch.Tensor, offsets: torch.Tensor, class_logits: torch.Tensor) -> Instances:
    height, width = heat.shape
    centers = find_centers(heat)
    if not len(centers):
        return _with_classes(torch.zeros(0, height, width, dtype=torch.bool, device=heat.device), class_logits)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    goals = torch.stack([columns, rows], dim=-1).to(heat.device) + 0.5 + offsets.permute(1, 2, 0)
    owner = (goals[None] - centers[:, None, None]).square().sum(dim=-1).argmin(dim=0)
    # All classes together against the background: a pixel may be surely an object and its class still be open.
    is_object = class_logits[1:].logsumexp(dim=0) > class_logits[0]
    masks = (owner[None] == torch.arange(len(centers), device=heat.device)[:, None, None]) & is_object
    return _with_classes(masks[masks.flatten(1).any(dim=1)], class_logits)


def _with_classes(masks: torch.Tensor, class_logits: torch.Tensor) -> Instances:
    """Posterior of the classes of each instance from the mean logits of its pixels."""
    weights = masks.flatten(1).to(class_logits.dtype)
    means = weights @ class_logits.flatten(1).T / weights.sum(dim=1, keepdim=True).clamp(min=1)
    scores, classes = means.softmax(dim=1)[:, 1:].max(dim=1)
    return Instances(masks, classes, scores)
