"""The projector between tower and language model: one linear layer (published) or LLaVA-1.5's two (spec MODEL)."""

import torch
from torch import nn
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from .configuration_igllm import IGLLMConfig


class LinearProjector(nn.Linear):
    """The published projector: 4,198,400 parameters at 1024 -> 4096.

    Tower, projector and language model may have dtypes of their own (a trained projector is kept in float32 beside a
    bfloat16 model), so it takes features of any.
    """

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        """Map features (B, L, tower hidden size) to embeddings (B, L, language hidden size)."""
        return super().forward(image_features.to(self.weight.dtype))


class MLPProjector(LlavaMultiModalProjector):
    """transformers' LLaVA projector, for features of any dtype: 20,979,712 parameters at 1024 -> 4096."""

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        """Map features (B, L, tower hidden size) to embeddings (B, L, language hidden size)."""
        return super().forward(image_features.to(self.linear_1.weight.dtype))


def build_projector(config: IGLLMConfig) -> nn.Module:
    """The projector of `config.projector_type`, for all of `config.vision_feature_layers` side by side."""
    if config.projector_type == "mlp2x_gelu":
        return MLPProjector(config)
    channels = config.vision_config.hidden_size * len(config.vision_feature_layers)
    return LinearProjector(channels, config.text_config.hidden_size, bias=config.multimodal_projector_bias)


__all__ = ["LinearProjector", "MLPProjector", "build_projector"]
