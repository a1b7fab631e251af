"""A key-value cache with room to grow: what is new is copied into it, not all that was there before."""

import math
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer


class RoomyLayer(DynamicLayer):
    """transformers' growing layer, without a copy of everything at each step: `keys` and `values` are views."""

    _key_room: torch.Tensor | None = None
    _value_room: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values (B, heads, new columns, size); returns all of them."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._key_room is None or self._value_room is None or self._key_room.shape[-2] < end:
            self._key_room = _room_for(key_states, 2 * end)
            self._value_room = _room_for(value_states, 2 * end)
            if self.keys is not None and self.values is not None:
                self._key_room[..., :start, :] = self.keys
                self._value_room[..., :start, :] = self.values
        self._key_room[..., start:end, :] = key_states
        self._value_room[..., start:end, :] = value_states
        self.keys, self.values = self._key_room[..., :end, :], self._value_room[..., :end, :]
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows."""
        super().batch_select_indices(indices)
        self._key_room = self._value_room = None


def _room_for(states: torch.Tensor, columns: int) -> torch.Tensor:
    return states.new_empty(*states.shape[:-2], columns, states.shape[-1])


def make_roomy_cache(text_config: Any) -> Cache:
    """The cache that transformers makes for this language model, its plain layers with room.

    Raises:
        `ValueError`: If a layer keeps a state of what it has read: a rejected guess cannot be masked in it.
    """
    cache = DynamicCache(config=text_config)
    others = {type(layer).__name__ for layer in cache.layers} - {
        DynamicLayer.__name__,
        DynamicSlidingWindowLayer.__name__,
    }
    if others:
        raise ValueError(
            f"generate_scene needs a language model whose layers all keep keys and values; {text_config.model_type!r} "
            f"has {', '.join(sorted(others))}: call generate with a GrammarLogitsProcessor"
        )
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def attention_window(cache: Cache) -> float:
    """Columns that every layer looks back on, `math.inf` if none of them slides.

    A layer that slides counts columns, those that are masked included; as long as all fit, it sees what it should.
    """
    sliding = (layer for layer in cache.layers if isinstance(layer, DynamicSlidingWindowLayer))
    return min((layer.sliding_window for layer in sliding), default=math.inf)


__all__ = ["RoomyLayer", "attention_window", "make_roomy_cache"]
