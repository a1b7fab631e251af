"""Configurations of small vision towers and language models of every supported kind."""

from transformers import (
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen3Config,
    SiglipVisionConfig,
)

PATCHES = 16
_TOWER = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
TOWERS: dict[str, PreTrainedConfig] = {
    "clip": CLIPVisionConfig(**_TOWER, intermediate_size=24),
    "siglip": SiglipVisionConfig(**_TOWER, intermediate_size=24),
    "dinov2": Dinov2Config(**_TOWER, mlp_ratio=2),
    "registers": Dinov2WithRegistersConfig(**_TOWER, mlp_ratio=2, num_register_tokens=3),
}
"""32 x 32 pixels, 16 patches, 16 channels."""

PREFIX_TOKENS = {"clip": 1, "siglip": 0, "dinov2": 1, "registers": 4}


def language_configs(vocab_size: int) -> dict[str, PreTrainedConfig]:
    """Two layers of 32 channels; SmolLM is a Llama with grouped queries and tied embeddings."""
    fields = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return {
        "llama": LlamaConfig(**fields, num_key_value_heads=2),
        "qwen3": Qwen3Config(**fields, num_key_value_heads=1, head_dim=16, tie_word_embeddings=True),
        "smollm": LlamaConfig(**fields, num_key_value_heads=1, tie_word_embeddings=True),
    }
