"""NS-VQA's attribute net: a ResNet on the masked object and the full image gives attributes, place and yaw.

Published: a ResNet-34 on 224x224 images of 6 channels with 18 outputs (2 sizes, 8 colours, 2 materials, 3 shapes and
x, y, z), trained by the mean squared error of one-hots and position. The yaw is ours: a cube's program has one.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from transformers import ResNetConfig, ResNetForImageClassification

from modeling_igllm import ClevrObject
from modeling_igllm.vocabulary import COLORS, MATERIALS, SHAPES, SIZES

WORDS = {"size": SIZES, "color": COLORS, "material": MATERIALS, "shape": SHAPES}
NUMBERS = ("x", "y", "z", "sin(4 yaw)", "cos(4 yaw)")
"""Metres; a cube's yaw has a period of pi / 2."""

OUTPUTS = (*(f"{name}={word}" for name, words in WORDS.items() for word in words), *NUMBERS)
NUM_YAW = 2
YAW_PERIOD = math.pi / 2


@strict
class AttributeNetConfig(ResNetConfig):
    r"""
    Configuration of [`AttributeNet`]: transformers' ResNet of basic layers, small by default.

    `embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[3, 4, 6, 3]` make the published ResNet-34.

    Args:
        image_size (`list[int]`, defaults to `(120, 160)`): Height and width of the input, in pixels.
    """

    model_type = "ns_vqa_attribute_net"

    image_size: list[int] | tuple[int, ...] = (120, 160)
    num_channels: int = 6
    embedding_size: int = 24
    hidden_sizes: list[int] | tuple[int, ...] | None = (24, 48, 96, 192)
    depths: list[int] | tuple[int, ...] | None = (2, 2, 2, 2)
    layer_type: str = "basic"

    def __post_init__(self, **kwargs: Any) -> None:
        """Name the outputs."""
        names = {"id2label": dict(enumerate(OUTPUTS)), "label2id": {name: i for i, name in enumerate(OUTPUTS)}}
        super().__post_init__(**kwargs | names)


class AttributeNet(ResNetForImageClassification):
    """transformers' `ResNetModel` with random weights and one linear layer to `OUTPUTS`."""

    config: AttributeNetConfig


def attribute_inputs(images: torch.Tensor, masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The masked image, black around the object, and the full image.

    Args:
        images: (n, 3, H, W) uint8, one for each object.
        masks: (n, H, W) bool.
        size: (height, width) of the result, to which both are stretched.

    Returns:
        (n, 6, *size) in [-1, 1].
    """
    pixels = images.float() / 127.5 - 1
    masked = torch.where(masks[:, None], pixels, -1.0)
    inputs = torch.cat([masked, pixels], dim=1)
    if inputs.shape[-2:] != size:
        inputs = F.interpolate(inputs, size=size, mode="bilinear", antialias=True)
    return inputs.contiguous(memory_format=torch.channels_last)


def attribute_targets(objects: Sequence[ClevrObject]) -> torch.Tensor:
    """(n, outputs): one-hots, position and yaw; NaN for the yaw of an object that has none."""
    return torch.tensor([_target(item) for item in objects]).reshape(len(objects), len(OUTPUTS))


def _target(item: ClevrObject) -> list[float]:
    one_hots = [float(getattr(item, name) == word) for name, words in WORDS.items() for word in words]
    yaw = [math.nan] * NUM_YAW
    if item.rotation is not None:
        yaw = [math.sin(4 * item.rotation), math.cos(4 * item.rotation)]
    return [*one_hots, *item.loc, *yaw]


def attribute_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the 18 published outputs of every object and the yaw of those that have one.

    The yaw weighs no more than its two numbers: learned last of all, it would drown colours and materials.
    """
    is_asked = ~targets.isnan()
    return ((outputs.float() - targets.nan_to_num()).square() * is_asked).sum() / is_asked.sum()


def read_object(outputs: torch.Tensor, composite: str | None = None) -> ClevrObject:
    """One row of outputs as an object.

    Args:
        outputs: (outputs,).
        composite: "color material shape" from the detector, which then replaces the net's own words for these three.
    """
    scores = dict(zip(WORDS, outputs.split([*map(len, WORDS.values()), len(NUMBERS)])[:-1], strict=True))
    words = {name: WORDS[name][int(score.argmax())] for name, score in scores.items()}
    if composite is not None:
        words["color"], words["material"], words["shape"] = composite.split(" ")
    x, y, z, sine, cosine = outputs[-len(NUMBERS) :].tolist()
    yaw = math.atan2(sine, cosine) / 4 % YAW_PERIOD if words["shape"] == "cube" else None
    return ClevrObject(**words, loc=(x, y, z), rotation=yaw)
