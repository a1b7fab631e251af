"""LoRA by PEFT on the language model, with projector and numeric head trained beside it (spec MODEL, "LoRA").

Published: r 128, alpha 256, dropout 0.05, no bias, on every linear layer of the language model but `lm_head`.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

from peft import LoraConfig
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.utils import cached_file
from trl import ModelConfig, get_peft_config, get_quantization_config

from modeling_igllm import IGLLMForSceneProgram
from modeling_igllm.scene_grammar import SceneGrammar

from .errors import CommandError

LANGUAGE_PROJECTIONS = r".*language_model\..*\.(q|k|v|o|gate|up|down)_proj"
"""Seven linear layers per block of a Llama-like model, 224 of 7 billion parameters; matches none of the tower's."""

# 4-bit weights cannot be trained, and the frozen tower is small.
NOT_QUANTIZED = ["model.vision_tower", "model.multi_modal_projector", "numeric_head", "number_embedding", "lm_head"]

# An adapter has no config.json, where a whole model keeps its grammar; the base may have another one, or none.
GRAMMAR_NAME = "grammar.json"


def lora_config(
    model: IGLLMForSceneProgram,
    arguments: ModelConfig,
    train_number_token: bool = False,
    base_commit: str | None = None,
) -> LoraConfig | None:
    """The adapter that TRL's arguments ask for, of this model's layers if they name none; None without `use_peft`.

    Args:
        model: The base model.
        arguments: `lora_target_modules` is a list of names or one regular expression.
        train_number_token: Train the number token's rows of the embeddings and of the output layer, too. For a token
            that was added, whose rows are new; a re-used one has learned rows.
        base_commit: Of a base on the Hub, written into the adapter: it belongs to these weights and to no later ones.

    Raises:
        CommandError: If `train_number_token` is given without an adapter, or the model has no number token.
    """
    chosen = replace(
        arguments,
        lora_target_modules=arguments.lora_target_modules or [LANGUAGE_PROJECTIONS],
        lora_modules_to_save=arguments.lora_modules_to_save or trained_beside_lora(model),
    )
    config = cast(LoraConfig | None, get_peft_config(chosen))
    if train_number_token:
        if config is None:
            raise CommandError("train_number_token is for an adapter: give --use_peft, too, or leave it out")
        config.trainable_token_indices = _number_token_rows(model)
    if config is not None:
        config.revision = base_commit
    return config


def check_tower_is_frozen(model: nn.Module) -> None:
    """See that no part of the tower is trained, whose features were computed before the training.

    Raises:
        CommandError: if an adapter was put on layers of the tower; the message names them.
    """
    trained = (name for name, value in model.named_parameters() if value.requires_grad and ".vision_tower." in name)
    # Without what PEFT puts before and behind a layer's own name.
    layers = sorted(
        {re.split(r"\.(?:lora_|modules_to_save\.)", name.removeprefix("base_model.model."))[0] for name in trained}
    )
    if layers:
        raise CommandError(
            f"LoRA would train the vision tower ({', '.join(layers[:3])}, {len(layers)} layers in all): with "
            "--feature_cache its features are computed before and never again. Name no layer of it in "
            "--lora_target_modules and --lora_modules_to_save, or leave out --feature_cache"
        )


def quantization_config(arguments: ModelConfig) -> BitsAndBytesConfig | None:
    """How TRL's arguments want the language model to be loaded by bitsandbytes; None for plain weights."""
    config = get_quantization_config(arguments)
    if config is not None:
        config.llm_int8_skip_modules = NOT_QUANTIZED
    return config


def model_settings(arguments: ModelConfig) -> dict[str, object]:
    """What of TRL's model arguments belongs in a report: the model, and the adapter if there is one."""
    source = arguments.model_name_or_path
    settings: dict[str, object] = {"model_name_or_path": source}
    settings["model_revision"] = None if source is None else arguments.model_revision
    settings["use_peft"] = arguments.use_peft
    if arguments.use_peft:
        names = ("lora_r", "lora_alpha", "lora_dropout", "load_in_4bit", "load_in_8bit", "dtype")
        settings |= {name: getattr(arguments, name) for name in names}
    return settings


def trained_beside_lora(model: IGLLMForSceneProgram) -> list[str]:
    """The parts that are new and therefore trained in full: projector, numeric head and number embedding."""
    parts = {"numeric_head": model.numeric_head, "number_embedding": model.number_embedding}
    return ["multi_modal_projector", *(name for name, module in parts.items() if module is not None)]


def write_grammar(model: IGLLMForSceneProgram, folder: Path) -> None:
    """Write the grammar of a model that was trained by an adapter beside it; OSError if that cannot be done."""
    (folder / GRAMMAR_NAME).write_text(json.dumps(model.config.grammar, indent=2) + "\n", encoding="utf-8")


def read_grammar(adapter: str) -> SceneGrammar:
    """Return the grammar beside an adapter, in a folder or a Hub repository.

    Raises:
        OSError: if there is none.
        ValueError: if it is damaged.
    """
    path = cached_file(adapter, GRAMMAR_NAME)
    assert path is not None  # it raises where there is no such file
    return SceneGrammar.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))


def _number_token_rows(model: IGLLMForSceneProgram) -> dict[str, list[int]]:
    """`trainable_token_indices` of the number token; of tied embeddings PEFT trains both sides by the one."""
    num_token_id = model.config.num_token_id
    if num_token_id is None:
        raise CommandError("train_number_token needs a model with a number token: this one writes numbers as digits")
    tied = model.config.tie_word_embeddings
    return {name: [num_token_id] for name in (("embed_tokens",) if tied else ("embed_tokens", "lm_head"))}
