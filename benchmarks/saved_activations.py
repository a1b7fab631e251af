"""Memory of the activations of a step, recorded from passes on the `meta` device."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface
from transformers.loss.loss_utils import ForCausalLMLoss

from modeling_igllm import IGLLMForSceneProgram

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


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are made in its context, and the most that were there at once (`peak`).

    Args:
        known: Tensors made before, whose views are not to be counted.
    """

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **kwargs or {})
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._sizes:  # a view
            return
        self._sizes[key] = storage.nbytes()
        self.now += self._sizes[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def peak_bytes_of_the_loss(model: IGLLMForSceneProgram, positions: int) -> int:
    """Most bytes at once while both losses of one sequence and their gradient to the hidden states are computed.

    Args:
        model: On `meta`, with a numeric head; its weights and their gradients are not counted.
        positions: Those that get logits (`logits_to_keep`); the head is asked at all of them, and scored as if all
            were numbers.
    """
    text, head = model.config.text_config, model.numeric_head
    assert head is not None
    states = torch.zeros(1, positions, text.hidden_size, dtype=model.dtype, device="meta", requires_grad=True)
    labels = torch.zeros(1, positions, dtype=torch.long, device="meta")

    def loss() -> torch.Tensor:
        values = head(states)
        number_loss = head.loss(values[0], values.new_zeros(positions)).sum()
        return number_loss + ForCausalLMLoss(model.lm_head(states), labels, vocab_size=text.vocab_size)

    with PeakBytes([states, *model.parameters()]) as count:
        torch.autograd.grad(loss(), states)
    return count.peak
