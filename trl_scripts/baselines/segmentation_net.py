"""A small instance-segmentation net; it stands for the Mask R-CNN of NS-VQA.

Every pixel votes for the visible centre of its object (Panoptic-DeepLab, arXiv 1911.10194) and says which composite
class it belongs to; `instance_decoding` makes instances of that. The published detector is a Mask R-CNN with a
ResNet-50-FPN that knows the same composite classes, one for each combination of colour, material and shape.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from modeling_igllm.modeling_scene_tower import ConvNorm, ResidualBlock
from trl_scripts.tower_pretraining import begin_heads

PIXEL_SCALE = 255.0
NUM_OFFSETS = 2


@strict
class SegmentationNetConfig(PreTrainedConfig):
    r"""
    Configuration of [`SegmentationNet`] (about 0.6 million parameters).

    Args:
        image_size (`list[int]`, defaults to `(120, 160)`): Height and width of the input, in pixels.
        classes (`list[str]`): Composite classes, "color material shape"; class 0 of the net is the background.
        stage_channels (`list[int]`, defaults to `(24, 40, 64, 96)`):
            Channels of the stem (stride 2) and of each stage after it (strides 4, 8, ...).
        blocks_per_stage (`int`, defaults to 2): Residual blocks of each stage.
        decoder_channels (`int`, defaults to 40): Channels of the top-down path, back to stride 2.
    """

    model_type = "instance_segmentation"

    image_size: list[int] | tuple[int, ...] = (120, 160)
    classes: list[str] | tuple[str, ...] = ()
    stage_channels: list[int] | tuple[int, ...] = (24, 40, 64, 96)
    blocks_per_stage: int = 2
    decoder_channels: int = 40


@dataclass(frozen=True)
class SegmentationMaps:
    """What the net says about every pixel of B images.

    Attributes:
        heatmap: (B, H, W) logits of being the visible centre of an object.
        offsets: (B, 2, H, W) x and y in pixels from the pixel to the visible centre of its object.
        class_logits: (B, 1 + classes, H, W), the background first.
    """

    heatmap: torch.Tensor
    offsets: torch.Tensor
    class_logits: torch.Tensor


class SegmentationHeads(nn.Conv2d):
    """One 1x1 convolution for heat map, offsets and classes, with an initialisation of its own."""


class SegmentationNet(PreTrainedModel):
    """Residual stages, a top-down path back to stride 2, and one 1x1 convolution; its maps are enlarged to pixels."""

    config: SegmentationNetConfig
    base_model_prefix = "segmentation"
    main_input_name = "images"

    def __init__(self, config: SegmentationNetConfig):
        super().__init__(config)
        channels = list(config.stage_channels)
        self.stem = ConvNorm(3, channels[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(inputs, outputs, stride=2),
                *(ResidualBlock(outputs, outputs, stride=1) for _ in range(config.blocks_per_stage - 1)),
            )
            for inputs, outputs in pairwise(channels)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(size, config.decoder_channels, 1) for size in channels)
        self.joints = nn.ModuleList(ConvNorm(config.decoder_channels, config.decoder_channels) for _ in channels[1:])
        self.heads = SegmentationHeads(config.decoder_channels, 1 + NUM_OFFSETS + 1 + len(config.classes), 1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """He initialisation; heads that begin near zero, with the centre prior as the first bias."""
        super()._init_weights(module)
        if isinstance(module, SegmentationHeads):
            begin_heads(module)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> SegmentationMaps:
        """Images (B, 3, H, W) uint8 of `config.image_size` -> maps of the same height and width.

        Raises:
            `ValueError`: If the images are of another size.
        """
        height, width = images.shape[-2:]
        if [height, width] != list(self.config.image_size):
            raise ValueError(f"images are {height} x {width}, the net is for {list(self.config.image_size)}")
        multiple = 2 ** len(self.config.stage_channels)
        pixels = images.to(self.dtype) / PIXEL_SCALE - 0.5
        pixels = F.pad(pixels, (0, -width % multiple, 0, -height % multiple))
        stage_maps = [self.stem(pixels.contiguous(memory_format=torch.channels_last))]
        for stage in self.stages:
            stage_maps.append(stage(stage_maps[-1]))
        maps = self.laterals[-1](stage_maps[-1])
        for lateral, joint, stage_map in reversed(list(zip(self.laterals, self.joints, stage_maps, strict=False))):
            maps = joint(lateral(stage_map) + F.interpolate(maps, scale_factor=2.0, mode="nearest"))
        maps = F.interpolate(self.heads(maps).float(), scale_factor=2.0, mode="bilinear")[..., :height, :width]
        return SegmentationMaps(maps[:, 0], maps[:, 1 : 1 + NUM_OFFSETS], maps[:, 1 + NUM_OFFSETS :])
