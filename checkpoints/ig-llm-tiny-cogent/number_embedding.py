"""Feeding numbers back: the value of a number token enters as an embedding, so that later numbers can depend on it."""

import math

import torch
from torch import nn
from transformers.utils.generic import maybe_autocast

from .numeric_head import Float32Module

# Periods 2, 1, 1/2, …, 1/128 in normalised units, where a centimetre in a range of 6 m is 1/300: 0.4 of the shortest
# period, while in an embedding that is linear in the value it would drown in the rounding of bfloat16.
NUM_FREQUENCIES = 9


class NumberEmbedding(Float32Module):
    """Linear(2 F + 1, h) on a normalised value and F octaves of its sine and cosine; float32 inside.

    The features are those of NeRF's positional encoding (Mildenhall et al. 2020).

    Args:
        hidden_size (`int`): Size h of a token embedding.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.projection = nn.Linear(2 * NUM_FREQUENCIES + 1, hidden_size, dtype=torch.float32)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map normalised values (B, L) to embeddings (B, L, h) in float32; exactly 0 where the value is NaN."""
        is_number = ~values.isnan()
        with maybe_autocast(values.device.type, enabled=False):
            embeddings = self.projection(number_features(values.float().where(is_number, 0.0)))
        # Multiplied, not indexed: the parameters get a gradient, if only of zeros, in a batch without numbers too.
        return embeddings * is_number.unsqueeze(-1)


def number_features(values: torch.Tensor) -> torch.Tensor:
    """Finite values (...) -> features (..., 2 F + 1): the value, sin(2^k pi value) and cos(2^k pi value)."""
    frequencies = math.pi * 2.0 ** torch.arange(NUM_FREQUENCIES, device=values.device, dtype=torch.float32)
    phases = values.unsqueeze(-1) * frequencies
    return torch.cat([values.unsqueeze(-1), phases.sin(), phases.cos()], dim=-1)


__all__ = ["NUM_FREQUENCIES", "NumberEmbedding", "number_features"]
