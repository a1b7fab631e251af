"""Vision towers and language models for [`IGLLMForSceneProgram.from_backbones`], pretrained or random; their tokens.

The number token is a new `[NUM]`, or a rare piece of the vocabulary that is re-used (published: no token is added).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import AddedToken, AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from .complete_loading import refuse_missing
from .configuration_igllm import SCENE_TOWER_MODEL_TYPE
from .modeling_scene_tower import SceneTowerModel
from .vision_towers import count_prefix_tokens
from .vocabulary import NUM_TOKEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .modeling_igllm import IGLLMForSceneProgram

IMAGE_TOKEN = "<image>"
# Whole models whose vision half is a tower.
TWO_TOWER_MODELS = ("clip", "siglip")

Backbone = str | Path | PreTrainedConfig | PreTrainedModel


def load_vision_tower(vision: Backbone) -> PreTrainedModel:
    """The vision tower of a checkpoint (folder or Hub id, in its own dtype), a random one of a config, or itself.

    Of a whole CLIP or SigLIP checkpoint the text half is left out.

    Raises:
        `ValueError`: If the tower is of a kind that is not supported, or the checkpoint lacks weights.
        `OSError`: If there is no such checkpoint.
    """
    if isinstance(vision, PreTrainedModel):
        return _checked_tower(vision)
    if isinstance(vision, PreTrainedConfig):
        return _checked_tower(_tower_from_config(vision))
    if PreTrainedConfig.get_config_dict(vision)[0].get("model_type") == SCENE_TOWER_MODEL_TYPE:
        return SceneTowerModel.from_pretrained(vision)
    config = AutoConfig.from_pretrained(vision)
    if config.model_type in TWO_TOWER_MODELS:
        config = config.vision_config
    count_prefix_tokens(config)  # before the weights are loaded
    return _load_complete(AutoModel, vision, config=config)


def _tower_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """A random tower. The scene tower is known by name: AutoModel has never heard of it, and Hub code is a copy."""
    if config.model_type != SCENE_TOWER_MODEL_TYPE:
        return AutoModel.from_config(config)
    return SceneTowerModel(config)  # type: ignore[arg-type]  # told apart by its name


def _checked_tower(tower: PreTrainedModel) -> PreTrainedModel:
    """`tower`, if it is supported."""
    if tower.config.model_type != SCENE_TOWER_MODEL_TYPE:
        count_prefix_tokens(tower.config)
    return tower


def load_language_model(text: Backbone) -> PreTrainedModel:
    """The causal language model of a checkpoint (folder or Hub id, in its own dtype), a random one, or itself.

    Raises:
        `ValueError`: If the model has no output layer over its vocabulary, or one with a bias, or the checkpoint lacks
            weights.
        `OSError`: If there is no such checkpoint.
    """
    if isinstance(text, PreTrainedModel):
        model = text
    elif isinstance(text, PreTrainedConfig):
        model = AutoModelForCausalLM.from_config(text)
    else:
        model = _load_complete(AutoModelForCausalLM, text)
    output_layer = model.get_output_embeddings()
    if not isinstance(output_layer, nn.Linear) or output_layer.bias is not None:
        raise ValueError(
            f"{type(model).__name__} has the output layer {output_layer}; needed is a causal language model (e.g. of "
            "AutoModelForCausalLM) whose logits are one linear layer without bias, as Llama's and Qwen3's."
        )
    return model


def _load_complete(auto_class: Any, checkpoint: str | Path, **kwargs: Any) -> PreTrainedModel:
    model, report = auto_class.from_pretrained(checkpoint, output_loading_info=True, **kwargs)
    refuse_missing(checkpoint, report["missing_keys"])
    return model


def install_backbones(model: "IGLLMForSceneProgram", tower: PreTrainedModel, language_model: PreTrainedModel) -> None:
    """Put `tower` and `language_model` (taken over, not copied) in the place of a `meta` model's own.

    What is left on `meta`, projector and numeric head, is made anew beside the language model: random weights, the
    projector in its dtype.
    """
    model.model.vision_tower = tower
    model.model.language_model = language_model.base_model
    model.lm_head = language_model.get_output_embeddings()
    model.model.multi_modal_projector.to(language_model.dtype)
    for module in model.modules():
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
            module.to_empty(device=language_model.device, recurse=False)
            model._init_weights(module)


def scene_token_ids(
    tokenizer: "PreTrainedTokenizerBase", num_token: str | None = NUM_TOKEN, image_token: str = IMAGE_TOKEN
) -> dict[str, int | None]:
    """Ids of the two tokens as fields of `IGLLMConfig`; a token that the tokenizer lacks is added to it.

    Args:
        tokenizer: Changed only if a token is added; then see [`grow_embeddings`].
        num_token (`str`, *optional*):
            `[NUM]`, or a rare piece of the vocabulary that no program or prompt needs; None for numbers as digits.
        image_token (`str`): Placeholder of the image tokens; its own embedding is never read.

    Returns:
        `dict` with `num_token_id` and `image_token_index`.
    """
    if num_token == image_token:
        raise ValueError(f"num_token and image_token must be two tokens, both are {num_token!r}.")
    vocabulary = tokenizer.get_vocab()
    if num_token is not None and num_token not in vocabulary:
        # Not a special token: decoding with skip_special_tokens=True must keep it.
        tokenizer.add_tokens([AddedToken(num_token, special=False, normalized=False)])
    if image_token not in vocabulary:
        tokenizer.add_tokens([AddedToken(image_token, special=True, normalized=False)])
    vocabulary = tokenizer.get_vocab()
    num_token_id = None if num_token is None else vocabulary[num_token]
    return {"num_token_id": num_token_id, "image_token_index": vocabulary[image_token]}


def grow_embeddings(language_model: PreTrainedModel, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Add rows for tokens that the vocabulary has outgrown; spare rows, as many checkpoints have, are used first.

    New rows are drawn around the mean of the old ones (transformers' `mean_resizing`).
    """
    if len(tokenizer) > language_model.get_input_embeddings().num_embeddings:  # type: ignore[operator]
        language_model.resize_token_embeddings(len(tokenizer))


__all__ = ["grow_embeddings", "install_backbones", "load_language_model", "load_vision_tower", "scene_token_ids"]
