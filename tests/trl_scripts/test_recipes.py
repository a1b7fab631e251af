"""The recipes are what they say: the published 7B, built on `meta`, sharded or in 4 bits."""

from collections import Counter

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from peft import get_peft_model
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module

from benchmarks.training_memory import RECIPES, read_recipe
from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram
from trl_scripts.lora import lora_config, quantization_config

PUBLISHED = ("published_7b.yaml", "published_7b_4bit.yaml")


def build_on_meta() -> IGLLMForSceneProgram:
    """The published model; its token ids are any two."""
    with torch.device("meta"):
        return IGLLMForSceneProgram(IGLLMConfig(num_token_id=31998, image_token_index=31999))


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_exactly_the_published_parameters_are_trained(recipe: str) -> None:
    model = build_on_meta()
    with torch.device("meta"):
        adapted = get_peft_model(model, lora_config(model, read_recipe(recipe)[2]))
    trained = Counter()
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            trained[next(part for part in ("lora_", "numeric_head", "multi_modal_projector") if part in name)] += (
                parameter.numel()
            )
    assert trained == {"lora_": 319_815_680, "numeric_head": 16_785_409, "multi_modal_projector": 4_198_400}
    layers = {name for name, _ in adapted.named_modules() if name.endswith("lora_A.default")}
    assert len(layers) == 224
    config = adapted.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (128, 256, 0.05, "none")


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_the_published_optimizer(recipe: str) -> None:
    arguments, training, _ = read_recipe(recipe)
    assert (training.learning_rate, arguments.number_head_learning_rate) == (2e-5, 2e-4)
    assert (training.lr_scheduler_type, training.warmup_steps, training.weight_decay) == ("cosine", 0.03, 0.0)
    assert training.optim.startswith("adamw_torch")
    assert training.max_steps == 40_000
    assert training.activation_checkpointing


def test_four_bits_are_for_the_language_model_alone() -> None:
    config = quantization_config(read_recipe("published_7b_4bit.yaml")[2])
    assert config is not None and config.load_in_4bit
    quantised = [
        name
        for name, module in build_on_meta().named_modules()
        if isinstance(module, nn.Linear) and should_convert_module(name, config.llm_int8_skip_modules)
    ]
    assert len(quantised) == 224
    assert all(name.startswith("model.language_model.layers.") for name in quantised)


def test_the_launcher_knows_the_fsdp_recipe_and_the_model_the_layers_in_it() -> None:
    config = load_config_from_file(str(RECIPES / "fsdp.yaml"))
    assert (config.distributed_type, config.num_processes, config.mixed_precision) == ("FSDP", 8, "no")
    wrapped = set(config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"].split(","))
    assert wrapped <= {type(module).__name__ for module in build_on_meta().modules()}
    # FSDP's mixed precision would gather the numeric head in bfloat16, and its own checkpointing redraw the dropout.
    assert not read_recipe("published_7b.yaml")[1].bf16
    assert "fsdp_activation_checkpointing" not in config.fsdp_config


def test_the_recipe_of_the_small_model_has_known_settings_alone() -> None:
    _, training, model = read_recipe("clevr_tiny.yaml")
    assert not model.use_peft
    assert training.learning_rate == 1.5e-3
