"""What a layer of a language model keeps for its backward pass, recorded from a forward pass on the `meta` device."""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

FUSED_ATTENTION = "counted_fused"
"""`attn_implementation` that keeps what a fused kernel keeps; on `meta` the others keep the scores of every pair."""


class _FusedAttention(torch.autograd.Function):
    """Keeps its inputs, its output and one number per row of scores; computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = torch.empty_like(query)
        row_sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, row_sums)
        return output


def _attend(module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> Any:
    return _FusedAttention.apply(query, key, value).transpose(1, 2), None


AttentionInterface.register(FUSED_ATTENTION, _attend)


def bytes_kept_by_a_layer(language_model: Any, length: int) -> int:
    """Bytes of all tensors but weights that the first layer keeps for one sequence of `length` tokens.

    Args:
        language_model: A Llama-like model on `meta`, in training mode, with `FUSED_ATTENTION`; with LoRA if it has it.
        length: Tokens.
    """
    config = language_model.config
    embeds = torch.zeros(1, length, config.hidden_size, dtype=config.dtype, device="meta", requires_grad=True)
    positions = language_model.rotary_emb(embeds, torch.arange(length, device="meta")[None])
    weights = {parameter.untyped_storage()._cdata for parameter in language_model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # a tensor that several operations keep is there once

    def record(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    layer = language_model.layers[0]
    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        layer(embeds, position_embeddings=positions, attention_mask=None, use_cache=False)
    return sum(storage.nbytes() for storage in kept.values())
