"""Inputs, targets and outputs of the attribute net."""

import math

import pytest
import torch

from benchmarks.training_memory import RECIPES
from modeling_igllm import ClevrObject
from trl_scripts.baselines.attribute_net import (
    OUTPUTS,
    AttributeNet,
    AttributeNetConfig,
    attribute_inputs,
    attribute_loss,
    attribute_targets,
    read_object,
)

OBJECTS = [
    ClevrObject("small", "red", "metal", "sphere", (1.25, -0.5, 0.375)),
    ClevrObject("large", "yellow", "rubber", "cube", (-2.0, 0.125, 0.75), 1.5),
    ClevrObject("large", "gray", "rubber", "cube", (-2.0, 0.125, 0.75), 0.0),
    ClevrObject("large", "cyan", "rubber", "cylinder", (3.0, 2.125, 0.75)),
]


def test_targets_read_back_as_the_objects() -> None:
    for item, target in zip(OBJECTS, attribute_targets(OBJECTS), strict=True):
        found = read_object(target)
        assert (found.size, found.color, found.material, found.shape) == (
            item.size,
            item.color,
            item.material,
            item.shape,
        )
        assert found.loc == pytest.approx(item.loc)
        assert found.rotation == (None if item.rotation is None else pytest.approx(item.rotation, abs=1e-6))


def test_yaw_stays_in_its_period() -> None:
    for sine, cosine in ((-1e-9, 1.0), (0.0, -1.0), (-1.0, 0.0)):
        target = attribute_targets(OBJECTS[1:2])[0]
        target[-2:] = torch.tensor([sine, cosine])
        yaw = read_object(target).rotation
        assert yaw is not None and 0 <= yaw <= math.pi / 2


def test_the_detectors_word_replaces_three() -> None:
    found = read_object(attribute_targets(OBJECTS)[1], "blue metal sphere")
    assert (found.size, found.color, found.material, found.shape) == ("large", "blue", "metal", "sphere")
    assert found.rotation is None


def test_inputs_are_the_masked_object_and_the_picture() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 10), dtype=torch.uint8)
    masks = torch.zeros(2, 8, 10, dtype=torch.bool)
    masks[0, 2:4, 3:5] = True
    inputs = attribute_inputs(images, masks, (8, 10))
    assert inputs.shape == (2, 6, 8, 10) and inputs.abs().max() <= 1
    assert torch.equal(inputs[0, :3, 2:4, 3:5], inputs[0, 3:, 2:4, 3:5])
    assert (inputs[1, :3] == -1).all() and (inputs[0, :3, 4:] == -1).all()
    assert ((inputs[:, 3:] + 1) * 127.5).round().byte().equal(images)
    assert attribute_inputs(images, masks, (16, 12)).shape == (2, 6, 16, 12)


def test_loss_is_the_mean_over_18_numbers_and_the_yaws_of_cubes_each_weighing_alike() -> None:
    targets = attribute_targets(OBJECTS)
    outputs = targets.nan_to_num(nan=7.0).requires_grad_()
    loss = attribute_loss(outputs, targets)
    loss.backward()
    assert loss == 0 and outputs.grad is not None and not outputs.grad.isnan().any()
    with torch.no_grad():
        outputs[0, 3] += 2
        outputs[1, -1] += 1
    assert attribute_loss(outputs, targets).item() == pytest.approx((4 + 1) / (4 * 18 + 4))


def test_the_published_recipe_is_a_resnet_34() -> None:
    text = (RECIPES / "ns_vqa_published.yaml").read_text()
    assert "attribute_embedding_size: 64" in text and "attribute_depths: [3, 4, 6, 3]" in text
    config = AttributeNetConfig(embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[3, 4, 6, 3])
    with torch.device("meta"):
        net = AttributeNet(config)
    # torchvision's ResNet-34 has 21,284,672 parameters without its classifier, and three input channels fewer.
    assert net.resnet.num_parameters() == 21_284_672 + 3 * 64 * 7 * 7
    assert net(torch.zeros(1, 6, 224, 224, device="meta")).logits.shape == (1, len(OUTPUTS))


def test_the_net_saves_its_image_size_and_names_its_outputs(tmp_path: object) -> None:
    AttributeNet(AttributeNetConfig(image_size=[24, 32])).save_pretrained(str(tmp_path))
    config = AttributeNet.from_pretrained(str(tmp_path)).config
    assert list(config.image_size) == [24, 32] and config.num_channels == 6
    assert config.id2label[0] == "size=small" and len(config.id2label) == len(OUTPUTS) == 20
