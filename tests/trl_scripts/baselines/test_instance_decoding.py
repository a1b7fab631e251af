"""Maps that say the truth decode to exactly the true instances."""

import pytest
import torch

from trl_scripts.baselines.instance_decoding import CENTER_RADIUS, decode_instances, find_centers, true_instances
from trl_scripts.baselines.proposed_masks import pair_with_truth
from trl_scripts.baselines.segmentation_loss import center_heatmap, center_offsets, visible_centers
from trl_scripts.baselines.segmentation_net import SegmentationMaps

SURE = 20.0


def overlapping_scene() -> torch.Tensor:
    """Two objects side by side, and a third with a hole in which a fourth stands in front of it."""
    mask = torch.zeros(1, 24, 32, dtype=torch.uint8)
    mask[0, 2:9, 2:9], mask[0, 2:9, 9:16] = 1, 2
    mask[0, 12:22, 10:30] = 3
    mask[0, 14:20, 23:28] = 4
    return mask


def true_maps(masks: torch.Tensor, classes: torch.Tensor, num_classes: int, sure: float = SURE) -> SegmentationMaps:
    """What a perfect net says; `classes` (B, 1 + objects) are indexed as the masks, 0 is the background."""
    height, width = masks.shape[1:]
    centers, counts = visible_centers(masks, classes.shape[1] - 1)
    heat = center_heatmap(centers, counts, height, width)
    pixel_classes = classes.gather(1, masks.flatten(1).long()).reshape(masks.shape)
    logits = sure * torch.nn.functional.one_hot(pixel_classes, 1 + num_classes).permute(0, 3, 1, 2).float()
    return SegmentationMaps(torch.logit(heat, eps=1e-6), center_offsets(masks, centers), logits)


def test_true_maps_give_the_true_instances() -> None:
    masks = overlapping_scene()
    (instances,) = decode_instances(true_maps(masks, torch.tensor([[0, 3, 1, 2, 3]]), num_classes=3))
    assert len(instances) == 4
    found_parts = instances.masks, instances.classes
    found = {int(masks[0][mask][0]): (mask, int(index)) for mask, index in zip(*found_parts, strict=True)}
    assert {number: index for number, (_, index) in found.items()} == {1: 2, 2: 0, 3: 1, 4: 2}
    assert all(torch.equal(mask, masks[0] == number) for number, (mask, _) in found.items())
    assert (instances.scores > 0.99).all()


def test_an_instance_of_doubtful_class_is_dropped() -> None:
    masks = overlapping_scene()
    maps = true_maps(masks, torch.tensor([[0, 3, 1, 2, 3]]), num_classes=3)
    maps.class_logits[0, 1, :, 9:16] += SURE * (masks[0, :, 9:16] == 2)
    maps.class_logits[0, 3, :, 9:16] = SURE + 19 * (masks[0, :, 9:16] == 2)
    (instances,) = decode_instances(maps)
    doubtful = instances.scores < 0.9
    assert doubtful.sum() == 1 and torch.equal(instances.masks[doubtful][0], masks[0] == 2)
    kept = instances.scoring_above(0.9)
    assert len(kept) == 3 and torch.equal(kept.masks, instances.masks[~doubtful])


def test_classes_count_together_against_the_background() -> None:
    masks = overlapping_scene()
    maps = true_maps(masks, torch.tensor([[0, 3, 1, 2, 3]]), num_classes=3)
    probabilities = torch.tensor([0.4, 0.2, 0.2, 0.2]).log()[:, None, None]
    maps.class_logits[0] = torch.where(masks[0] > 0, probabilities, maps.class_logits[0])
    (instances,) = decode_instances(maps)
    assert torch.equal(instances.masks.any(dim=0), masks[0] > 0)
    assert instances.scores.tolist() == pytest.approx([0.2] * 4)


def test_an_empty_picture_has_no_instances() -> None:
    masks = torch.zeros(2, 16, 16, dtype=torch.uint8)
    for instances in decode_instances(true_maps(masks, torch.zeros(2, 2, dtype=torch.long), num_classes=1)):
        assert len(instances) == 0 and instances.masks.shape == (0, 16, 16)
        assert len(instances.left_to_right()) == 0


def test_a_centre_without_pixels_is_no_instance() -> None:
    masks = overlapping_scene()
    maps = true_maps(masks, torch.tensor([[0, 1, 1, 1, 1]]), num_classes=1)
    maps.heatmap[0, 0, 31] = SURE
    (instances,) = decode_instances(maps)
    assert len(instances) == 4


def test_equal_neighbours_are_one_centre() -> None:
    heat = torch.zeros(20, 20)
    heat[5, 5:7] = heat[5, 12] = 0.8
    heat[15, 15] = 0.9
    assert find_centers(heat).tolist() == [[15.5, 15.5], [5.5, 5.5], [12.5, 5.5]]
    near = torch.zeros(20, 20)
    near[5, 5], near[5, 5 + CENTER_RADIUS] = 0.8, 0.7
    assert len(find_centers(near)) == 1


def test_left_to_right() -> None:
    masks = overlapping_scene()
    (instances,) = decode_instances(true_maps(masks, torch.tensor([[0, 1, 1, 1, 1]]), num_classes=1))
    instances = instances[torch.tensor([3, 1, 0, 2])]
    order = [int(masks[0][mask][0]) for mask in instances.left_to_right().masks]
    assert order == [1, 2, 3, 4]


def test_true_masks_take_their_classes_from_the_net() -> None:
    masks = overlapping_scene()
    masks[masks == 2] = 0  # hidden
    maps = true_maps(masks, torch.tensor([[0, 3, 1, 2, 3]]), num_classes=3)
    maps.class_logits[0, 0] += 100  # no background's posterior may leave one out
    instances = true_instances(masks[0], maps.class_logits[0])
    assert torch.equal(instances.masks, torch.stack([masks[0] == number for number in (1, 3, 4)]))
    assert instances.classes.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("columns", "partner"), [(slice(2, 9), 1), (slice(3, 9), 1), (slice(2, 5), 0), (slice(6, 13), 0)]
)
def test_a_proposal_is_paired_by_overlap(columns: slice, partner: int) -> None:
    mask = overlapping_scene()[0]
    proposal = torch.zeros_like(mask)
    proposal[2:9, columns] = 1
    instances = true_instances(proposal, torch.zeros(2, *mask.shape))
    paired = pair_with_truth(instances, mask)
    assert torch.equal(paired, proposal * partner)
