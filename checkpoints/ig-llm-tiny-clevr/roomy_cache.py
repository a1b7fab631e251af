"""A key-value cache with room to grow: what is new is copied into it, not all that was there before."""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


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
    """The cache that transformers makes for this language model, its plain layers with room."""
    cache = DynamicCache(config=text_config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


__all__ = ["RoomyLayer", "make_roomy_cache"]
