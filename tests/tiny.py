"""Random models of a few thousand weights, and the scenes and images that the model tests share."""

from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

from modeling_igllm import (
    ClevrObject,
    IGLLMConfig,
    IGLLMForSceneProgram,
    IGLLMImageProcessor,
    IGLLMProcessor,
    SceneProgram,
    SceneTowerConfig,
)
from trl_scripts.tiny_tokenizer import build_tiny_tokenizer

HEIGHT, WIDTH = 40, 64  # padded to 64 x 64 inside: 16 image tokens
SPHERE = ClevrObject("small", "red", "metal", "sphere", (1.25, -0.5, 0.375))
CUBE = ClevrObject("large", "blue", "rubber", "cube", (-2.0, 0.125, 0.75), 0.5)
SHORT_SCENE = SceneProgram((SPHERE,))
LONG_SCENE = SceneProgram((CUBE, SPHERE, CUBE))
NUMBER_RANGES = {"x": [-3.0, 3.0], "y": [-4.0, 4.0], "z": [0.0, 1.0], "rotation": [0.0, 1.6]}


def tower_config(**overrides: Any) -> SceneTowerConfig:
    """A tower of about 7,000 parameters."""
    fields: dict[str, Any] = {
        "image_size": [HEIGHT, WIDTH],
        "stem_channels": 4,
        "stage_channels": [4, 8, 8, 8],
        "blocks_per_stage": [1, 1, 2, 1],
        "feature_channels": 8,
        "position_channels": 8,
    }
    return SceneTowerConfig(**fields | overrides)


def make_processor(**overrides: Any) -> IGLLMProcessor:
    """The processor that fits `make_model`, with the bare prompt of the tiny models."""
    size = {"height": HEIGHT, "width": WIDTH}
    image_processor = IGLLMImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    wording = {"num_image_tokens": 16, "prompt": "<image>", "answer_prefix": "", "answer_suffix": ""}
    return IGLLMProcessor(image_processor, build_tiny_tokenizer(), **wording | overrides)


def text_config(processor: IGLLMProcessor) -> dict[str, Any]:
    """A two-layer Llama for the processor's vocabulary."""
    tokenizer = processor.tokenizer
    return {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def make_config(processor: IGLLMProcessor, **overrides: Any) -> IGLLMConfig:
    """A configuration with the scene tower."""
    fields: dict[str, Any] = {
        "vision_config": tower_config(),
        "text_config": text_config(processor),
        "image_token_index": processor.image_token_id,
        "num_token_id": processor.num_token_id,
    }
    return IGLLMConfig(**fields | overrides)


def make_model(processor: IGLLMProcessor, seed: int = 0, **overrides: Any) -> IGLLMForSceneProgram:
    """A random model in evaluation mode, the same for the same arguments."""
    torch.manual_seed(seed)
    return IGLLMForSceneProgram(make_config(processor, **overrides)).eval()


def make_images(count: int) -> list[np.ndarray]:
    """Random images (H, W, 3), uint8."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(count)]


def make_batch(processor: IGLLMProcessor) -> BatchFeature:
    """Two images with a short and a long program: 3 and 11 numbers, 14 in all."""
    return processor.encode_training(make_images(2), [SHORT_SCENE, LONG_SCENE])
