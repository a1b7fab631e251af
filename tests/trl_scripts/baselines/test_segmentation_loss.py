"""Targets of the detector, by hand, and a loss that the truth makes small."""

import pytest
import torch
from test_instance_decoding import overlapping_scene, true_maps

from modeling_igllm import ClevrObject
from trl_scripts.baselines.segmentation_loss import (
    center_heatmap,
    center_offsets,
    class_table,
    composite_classes,
    segmentation_loss,
    visible_centers,
)
from trl_scripts.baselines.segmentation_net import SegmentationMaps, SegmentationNet, SegmentationNetConfig

SPHERE = ClevrObject("small", "red", "metal", "sphere", (1.0, 2.0, 0.35))
CUBE = ClevrObject("large", "blue", "rubber", "cube", (0.0, 1.0, 0.7), 0.2)


def test_centres_are_those_of_the_visible_pixels() -> None:
    mask = torch.zeros(1, 6, 8, dtype=torch.uint8)
    mask[0, 2, 1:4], mask[0, 4:6, 6] = 1, 3
    centers, counts = visible_centers(mask, 3)
    assert counts.tolist() == [[48 - 5, 3, 0, 2]]
    assert centers[0, 1].tolist() == [2.5, 2.5] and centers[0, 3].tolist() == [6.5, 5.0]
    heat = center_heatmap(centers, counts, 6, 8)
    assert (heat == 1).nonzero().tolist() == [[0, 2, 2], [0, 5, 6]]  # none for the hidden object 2
    offsets = center_offsets(mask, centers)
    assert offsets[0, :, 2, 1].tolist() == [1.0, 0.0] and offsets[0, :, 4, 6].tolist() == [0.0, 0.5]
    assert not offsets[:, :, 0].any()


def test_classes_are_combinations_without_the_size() -> None:
    scenes = [[SPHERE, CUBE], [CUBE], []]
    classes = composite_classes(scenes)
    assert classes == ["blue rubber cube", "red metal sphere"]
    assert class_table(scenes, classes).tolist() == [[0, 2, 1], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(ValueError):
        class_table(scenes, classes[:1])


def test_the_truth_has_a_small_loss_and_every_map_counts() -> None:
    masks, classes = overlapping_scene(), torch.tensor([[0, 3, 1, 2, 3]])
    maps = true_maps(masks, classes, num_classes=3)
    maps.heatmap.copy_(torch.where(maps.heatmap == maps.heatmap.max(), 20.0, -20.0))
    least = segmentation_loss(maps, masks, classes)
    assert least < 0.05
    worse = [
        SegmentationMaps(-maps.heatmap, maps.offsets, maps.class_logits),
        SegmentationMaps(maps.heatmap, maps.offsets + 1, maps.class_logits),
        SegmentationMaps(maps.heatmap, maps.offsets, maps.class_logits.roll(1, dims=1)),
    ]
    assert all(segmentation_loss(other, masks, classes) > least + 0.05 for other in worse)


def test_scenes_without_objects_have_a_finite_loss() -> None:
    masks, classes = torch.zeros(2, 16, 16, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.long)
    net = SegmentationNet(SegmentationNetConfig(image_size=[16, 16], classes=["red metal sphere"]))
    loss = segmentation_loss(net(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)), masks, classes)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(("height", "width"), [(120, 160), (50, 70)])
def test_maps_have_the_size_of_the_image(height: int, width: int) -> None:
    net = SegmentationNet(SegmentationNetConfig(image_size=[height, width], classes=["a", "b"])).eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, height, width, dtype=torch.uint8))
    assert maps.heatmap.shape == (1, height, width)
    assert maps.offsets.shape == (1, 2, height, width)
    assert maps.class_logits.shape == (1, 3, height, width)
    with pytest.raises(ValueError, match=f"images are {height} x 10"):
        net(torch.zeros(1, 3, height, 10, dtype=torch.uint8))


def test_the_net_is_small() -> None:
    classes = [str(index) for index in range(48)]
    assert 300_000 < SegmentationNet(SegmentationNetConfig(classes=classes)).num_parameters() < 1_000_000
