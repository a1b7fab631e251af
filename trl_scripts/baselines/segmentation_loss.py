"""What the segmentation net learns from instance masks."""

import torch
import torch.nn.functional as F

from modeling_igllm import ClevrObject
from trl_scripts.tower_pretraining import center_focal_loss

from .segmentation_net import SegmentationMaps

# Standard deviation in pixels of the Gaussian around a centre.
CENTER_SIGMA = 2.0
OFFSET_WEIGHT = 0.1


def composite_class(item: ClevrObject) -> str:
    """The composite class of an object, as `SegmentationNetConfig.classes` has it."""
    return f"{item.color} {item.material} {item.shape}"


def composite_classes(scenes: list[list[ClevrObject]]) -> list[str]:
    """Every combination of colour, material and shape that occurs, sorted."""
    return sorted({composite_class(item) for objects in scenes for item in objects})


def class_table(scenes: list[list[ClevrObject]], classes: list[str]) -> torch.Tensor:
    """Class of every object, (N, 1 + most objects of a scene) int64, indexed as the masks: 0 is the background.

    Raises:
        ValueError: for a combination that is not among `classes`.
    """
    table = torch.zeros(len(scenes), 1 + max(map(len, scenes)), dtype=torch.long)
    for scene, objects in enumerate(scenes):
        for index, item in enumerate(objects):
            table[scene, index + 1] = 1 + classes.index(composite_class(item))
    return table


def visible_centers(instance_masks: torch.Tensor, num_objects: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean position of the visible pixels of every object.

    Args:
        instance_masks: (B, H, W) uint8, 0 background, i + 1 object i.
        num_objects: most objects of a scene.

    Returns:
        (B, 1 + num_objects, 2) x and y in pixels, indexed as the masks (entry 0, the background, means nothing), and
        the numbers of pixels (B, 1 + num_objects).
    """
    batch, height, width = instance_masks.shape
    owner = instance_masks.flatten(1).long()
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    middles = torch.stack([columns, rows], dim=-1).reshape(1, -1, 2).to(owner.device) + 0.5
    sums = torch.zeros(batch, 1 + num_objects, 2, device=owner.device)
    sums.scatter_add_(1, owner[..., None].expand(-1, -1, 2), middles.expand(batch, -1, -1))
    counts = torch.zeros(batch, 1 + num_objects, device=owner.device)
    counts.scatter_add_(1, owner, torch.ones_like(owner, dtype=counts.dtype))
    return sums / counts.clamp(min=1)[..., None], counts


def center_heatmap(centers: torch.Tensor, counts: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Largest Gaussian over each pixel, (B, H, W), exactly 1 at the pixel of a centre; from `visible_centers`."""
    cells = centers[:, 1:].floor()
    across = _gaussian(cells[..., 0], width) * (counts[:, 1:, None] > 0)
    down = _gaussian(cells[..., 1], height)
    return (down[..., :, None] * across[..., None, :]).amax(dim=1)


def _gaussian(cells: torch.Tensor, length: int) -> torch.Tensor:
    distance = torch.arange(length, device=cells.device) - cells[..., None]
    return torch.exp(-distance.square() / (2 * CENTER_SIGMA**2))


def center_offsets(instance_masks: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """From the middle of each pixel to the centre of its object, (B, 2, H, W) in pixels; 0 on the background."""
    batch, height, width = instance_masks.shape
    owner = instance_masks.flatten(1).long()
    goal = centers.gather(1, owner[..., None].expand(-1, -1, 2)).reshape(batch, height, width, 2)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    middles = torch.stack([columns, rows], dim=-1).to(goal.device) + 0.5
    return ((goal - middles) * (instance_masks > 0)[..., None]).permute(0, 3, 1, 2)


def segmentation_loss(maps: SegmentationMaps, instance_masks: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Focal loss of the centres, cross-entropy of the classes and smooth L1 of the offsets, as one number.

    The last two are sums over pixels divided by the number of object pixels.

    Args:
        instance_masks: (B, H, W) uint8.
        classes: (B, 1 + objects) int64, rows of `class_table`.
    """
    height, width = instance_masks.shape[1:]
    centers, counts = visible_centers(instance_masks, classes.shape[1] - 1)
    is_object = instance_masks > 0
    object_pixels = is_object.sum().clamp(min=1)
    pixel_classes = classes.gather(1, instance_masks.flatten(1).long()).reshape(instance_masks.shape)
    class_loss = F.cross_entropy(maps.class_logits, pixel_classes, reduction="sum") / object_pixels
    differences = F.smooth_l1_loss(maps.offsets, center_offsets(instance_masks, centers), reduction="none").sum(dim=1)
    offset_loss = (differences * is_object).sum() / object_pixels
    heat_loss = center_focal_loss(maps.heatmap, center_heatmap(centers, counts, height, width))
    return heat_loss + class_loss + OFFSET_WEIGHT * offset_loss
