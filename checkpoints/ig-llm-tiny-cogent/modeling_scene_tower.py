"""The scene tower: a small convolutional vision tower for rendered scenes (ours; the published tower is CLIP)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from .complete_loading import CompleteLoadingMixin
from .configuration_igllm import SceneTowerConfig


class ConvNorm(nn.Sequential):
    """3x3 or 1x1 convolution and batch normalisation, with a ReLU unless `activation` is off."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, activation: bool = True):
        super().__init__()
        self.append(nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False))
        self.append(nn.BatchNorm2d(outputs))
        if activation:
            self.append(nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first convolution carries the stride (ResNet's basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            ConvNorm(inputs, outputs, stride=stride), ConvNorm(outputs, outputs, activation=False)
        )
        changes_shape = stride != 1 or inputs != outputs
        self.shortcut = ConvNorm(inputs, outputs, 1, stride, activation=False) if changes_shape else nn.Identity()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return F.relu(self.convolutions(maps) + self.shortcut(maps))


class SceneTowerPreTrainedModel(CompleteLoadingMixin):
    """Weight initialisation and configuration shared by the tower and its pre-training model."""

    config: SceneTowerConfig
    base_model_prefix = "scene_tower"
    main_input_name = "pixel_values"
    _no_split_modules = ["ResidualBlock"]  # noqa: RUF012  # as PreTrainedModel declares it
    # It has no attention: whatever the language model is asked to use must not fail on the tower.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """He initialisation for convolutions, transformers' own for everything else."""
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class SceneTowerModel(SceneTowerPreTrainedModel):
    """Image -> tokens: residual stages to stride 32, a top-down path back to stride 8, 2 x 2 cells per token.

    A frozen tower (no parameter requires a gradient) stays in evaluation mode whatever `train()` is told, so that
    its batch statistics do not drift.
    """

    def __init__(self, config: SceneTowerConfig):
        super().__init__(config)
        channels = [config.stem_channels, *config.stage_channels]
        self.stem = ConvNorm(3, config.stem_channels, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(channels[stage], channels[stage + 1], stride=2),
                *(ResidualBlock(channels[stage + 1], channels[stage + 1], stride=1) for _ in range(blocks - 1)),
            )
            for stage, blocks in enumerate(config.blocks_per_stage)
        )
        # The top-down path joins the maps of strides 8, 16 and 32.
        self.laterals = nn.ModuleList(
            nn.Conv2d(stage_channels, config.feature_channels, 1) for stage_channels in config.stage_channels[1:]
        )
        self.output = ConvNorm(config.feature_channels + 2, config.feature_channels)
        self.post_init()

    def train(self, mode: bool = True) -> "SceneTowerModel":
        """Set training mode, unless the tower is frozen."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))

    def feature_map(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Normalised images (B, 3, H, W) -> feature map (B, feature_channels, H' / 8, W' / 8), H' and W' padded.

        Raises:
            `ValueError`: If the images are not of `config.image_size`.
        """
        maps = self.stem(self._pad(pixel_values.to(self.dtype)).contiguous(memory_format=torch.channels_last))
        stage_maps = []
        for stage in self.stages:
            maps = stage(maps)
            stage_maps.append(maps)
        top_down = self.laterals[2](stage_maps[3])
        for lateral, stage_map in ((self.laterals[1], stage_maps[2]), (self.laterals[0], stage_maps[1])):
            top_down = lateral(stage_map) + F.interpolate(top_down, scale_factor=2.0, mode="nearest")
        return self.output(torch.cat([top_down, _coordinate_channels(top_down)], dim=1))

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        """Normalised images (B, 3, H, W) -> `last_hidden_state` (B, num_image_tokens, hidden_size), row by row.

        `hidden_states` holds the same tensor alone, where LLaVA looks for it (`vision_feature_layer=-1`). LLaVA's
        requests for other outputs, in `kwargs`, do not apply to this tower.
        """
        tokens = F.pixel_unshuffle(self.feature_map(pixel_values), 2)
        position_features = _position_features(tokens, self.config.position_channels)
        tokens = torch.cat([tokens, position_features], dim=1).flatten(2).transpose(1, 2)
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))

    def _pad(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Pad with zeros (the mean colour) at the right and the bottom to a multiple of 32 pixels."""
        height, width = pixel_values.shape[-2:]
        if (height, width) != tuple(self.config.image_size):
            raise ValueError(
                f"pixel_values are {height} x {width} pixels, the tower was built for image_size="
                f"{list(self.config.image_size)}; set the image processor's `size` to that."
            )
        padded_height, padded_width = self.config.padded_size
        return F.pad(pixel_values, (0, padded_width - width, 0, padded_height - height))


def _coordinate_channels(maps: torch.Tensor) -> torch.Tensor:
    """x and y of every cell in [-1, 1], as (B, 2, H, W), for the batch, size, device and dtype of `maps`."""
    batch, _, height, width = maps.shape
    rows = torch.linspace(-1, 1, height, device=maps.device, dtype=maps.dtype)
    columns = torch.linspace(-1, 1, width, device=maps.device, dtype=maps.dtype)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
    return grid.expand(batch, 2, height, width)


def _position_features(maps: torch.Tensor, channels: int) -> torch.Tensor:
    """Fixed sinusoids of the token's column and row, as (B, channels, H, W).

    Wavelengths are geometric from 2 pi to 200 pi tokens. Computed on the fly: `from_pretrained` loses buffers that
    are not saved.
    """
    batch, _, height, width = maps.shape
    exponents = torch.arange(channels // 4, device=maps.device, dtype=torch.float32) / (channels // 4)
    frequencies = 100.0**-exponents
    columns = torch.arange(width, device=maps.device, dtype=torch.float32)[None, :] * frequencies[:, None]
    rows = torch.arange(height, device=maps.device, dtype=torch.float32)[None, :] * frequencies[:, None]
    x_features = torch.cat([columns.sin(), columns.cos()])[:, None, :].expand(-1, height, -1)
    y_features = torch.cat([rows.sin(), rows.cos()])[:, :, None].expand(-1, -1, width)
    return torch.cat([x_features, y_features]).to(maps.dtype).expand(batch, -1, -1, -1)


SceneTowerModel.register_for_auto_class("AutoModel")

__all__ = ["SceneTowerModel", "SceneTowerPreTrainedModel"]
