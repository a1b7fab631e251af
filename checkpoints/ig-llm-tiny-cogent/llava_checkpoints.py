"""LLaVA-1.5 checkpoints of every layout as IG-LLM: names of the weights, and configurations.

The layouts: that of transformers 5 (`model.language_model.…`); that before 4.52, in which the `llava-hf` checkpoints
lie on the Hub (`language_model.model.…`); that between (CLIP one level deeper); and the authors' own
(`model.layers.…`, `model.mm_projector.…`).
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, LlamaConfig, LlavaConfig, PreTrainedConfig

from .configuration_igllm import IGLLMConfig

LLAVA_KEY_MAPPING = {
    # Hub layout, transformers before 4.52.
    r"^language_model\.lm_head\.": "lm_head.",
    r"^language_model\.model\.": "model.language_model.",
    r"^multi_modal_projector\.": "model.multi_modal_projector.",
    r"^vision_tower\.vision_model\.": "model.vision_tower.",
    # transformers 4.52 to 4.57.
    r"^model\.vision_tower\.vision_model\.": "model.vision_tower.",
    # The authors' own layout.
    r"^model\.vision_tower\.vision_tower\.vision_model\.": "model.vision_tower.",
    r"^model\.mm_projector\.0\.": "model.multi_modal_projector.linear_1.",
    r"^model\.mm_projector\.2\.": "model.multi_modal_projector.linear_2.",
    r"^model\.mm_projector\.(?=weight|bias)": "model.multi_modal_projector.",
    r"^model\.(?=embed_tokens\.|layers\.|norm\.)": "model.language_model.",
}
"""Pattern -> replacement for the name of a weight; names in today's layout match none."""

# What a configuration of transformers' LLaVA and ours have in common.
LLAVA_FIELDS = (
    "vision_config",
    "text_config",
    "image_token_index",
    "vision_feature_layer",
    "vision_feature_select_strategy",
    "projector_hidden_act",
    "multimodal_projector_bias",
    "tie_word_embeddings",
)
# Fields of the authors' configuration that are Llama's own; the others begin with `mm_` or concern training.
NOT_LLAMA_FIELDS = ("model_type", "architectures", "auto_map", "transformers_version")


def rename_llava_key(name: str) -> str:
    """The name in [`IGLLMForSceneProgram`] (today's LLaVA layout) of a weight of any LLaVA layout."""
    for pattern, replacement in LLAVA_KEY_MAPPING.items():
        name = re.sub(pattern, replacement, name)
    return name


def config_from_llava(checkpoint: str | Path, **fields: Any) -> IGLLMConfig:
    """The configuration of a LLaVA checkpoint with a numeric head beside it.

    Args:
        checkpoint (`str` or `Path`): Folder or Hub id, in transformers' layout or the authors' own.
        fields: Of [`IGLLMConfig`], among them `num_token_id`; they win over the checkpoint's.

    Raises:
        `ValueError`: If the checkpoint is not of LLaVA, or of another projector.
    """
    saved, _ = PreTrainedConfig.get_config_dict(checkpoint)
    if "mm_vision_tower" in saved:
        return IGLLMConfig(**_fields_of_the_authors_layout(saved) | fields)
    if saved.get("model_type") != "llava":
        raise ValueError(f"{checkpoint} holds a model of model_type {saved.get('model_type')!r}, not 'llava'.")
    llava = LlavaConfig.from_dict(saved)
    kept = {name: getattr(llava, name) for name in LLAVA_FIELDS}
    return IGLLMConfig(**kept | {"projector_type": "mlp2x_gelu"} | fields)


def _fields_of_the_authors_layout(saved: dict[str, Any]) -> dict[str, Any]:
    """Fields of `IGLLMConfig` from the `config.json` of the authors' layout, where Llama's fields lie at the top."""
    features = saved.get("mm_vision_select_feature", "patch")
    strategies = {"patch": "default", "cls_patch": "full"}
    if features not in strategies:
        raise ValueError(f"mm_vision_select_feature must be one of {', '.join(strategies)}, got {features!r}.")
    text = {name: value for name, value in saved.items() if name not in NOT_LLAMA_FIELDS and "mm_" not in name}
    return {
        "vision_config": AutoConfig.from_pretrained(saved["mm_vision_tower"]).vision_config,
        "text_config": LlamaConfig(**text),
        "vision_feature_layer": saved["mm_vision_select_layer"],
        "vision_feature_select_strategy": strategies[features],
        "projector_type": saved.get("mm_projector_type", "linear"),
    }


def load_llava_projector(projector: nn.Module, path: str | Path) -> None:
    """Load the projector of LLaVA's pre-training, a file `mm_projector.bin` of the authors' layout (published start).

    Args:
        projector (`nn.Module`): `model.model.multi_modal_projector`, of the same `projector_type`.
        path (`str` or `Path`): The file, `model.mm_projector.weight` and `.bias` in it (two layers: `.0.`, `.2.`).

    Raises:
        `RuntimeError`: If names or shapes are not those of `projector`.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    prefix = "model.multi_modal_projector."
    projector.load_state_dict({rename_llava_key(name).removeprefix(prefix): value for name, value in saved.items()})


__all__ = ["LLAVA_KEY_MAPPING", "config_from_llava", "load_llava_projector", "rename_llava_key"]
