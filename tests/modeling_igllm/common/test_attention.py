"""Attention implementations: the same answers under each that the decoder allows, a clear word about the others."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from common_cases import (
    assert_same_outputs,
    every_case,
    forward_inputs,
    generate,
    left_padded,
    make_grammatical,
    make_model,
    processor_of,
    prompts,
)
from small_backbones import language_configs
from torch.nn import functional
from transformers import Lfm2Config, MistralConfig, PreTrainedConfig
from transformers.utils import is_flash_attn_2_available

from modeling_igllm import IGLLMForSceneProgram
from modeling_igllm.grammar_generation import MASKED_ATTENTIONS


def implementations(model: IGLLMForSceneProgram) -> tuple[str, str]:
    """Of the language model and of the tower."""
    parts = (model.model.language_model, model.model.vision_tower)
    return tuple(part.config._attn_implementation for part in parts)  # type: ignore[return-value]


@every_case
def test_eager_and_sdpa_give_the_same(name: str) -> None:
    model = make_model(name)
    assert implementations(model)[0] == "sdpa"
    for inputs in (forward_inputs(name), left_padded(forward_inputs(name))):
        model.set_attn_implementation("sdpa")
        expected = model(**inputs)
        model.set_attn_implementation("eager")
        mask = inputs["attention_mask"]
        assert_same_outputs(model(**inputs), expected, mask, mask)


@every_case
def test_eager_and_sdpa_give_the_same_gradients(name: str) -> None:
    gradients = []
    for implementation in MASKED_ATTENTIONS:
        model = make_model(name)
        model.set_attn_implementation(implementation)
        inputs = forward_inputs(name)
        output = model(**inputs)
        output.logits[inputs["attention_mask"].bool()].square().mean().backward()
        gradients.append({key: value.grad for key, value in model.named_parameters() if value.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], expected, rtol=1e-3, atol=1e-5, msg=key)


@every_case
def test_scenes_are_the_same_under_both_and_behind_padding(name: str) -> None:
    model, inputs = make_grammatical(name, seed=1), prompts(name)
    expected = model.generate_scene(**inputs, max_new_tokens=120)
    pad_token_id = processor_of(name).tokenizer.pad_token_id
    padded = {
        **inputs,
        "input_ids": functional.pad(inputs["input_ids"], (3, 0), value=pad_token_id),
        "attention_mask": functional.pad(inputs["attention_mask"], (3, 0)),
    }
    for implementation in MASKED_ATTENTIONS:
        model.set_attn_implementation(implementation)
        output = model.generate_scene(**padded, max_new_tokens=120)
        assert torch.equal(output.sequences[:, 3:], expected.sequences)
        if expected.numbers is not None:
            torch.testing.assert_close(output.numbers[:, 3:], expected.numbers, atol=1e-4, rtol=0, equal_nan=True)


def test_prompts_that_end_with_padding_are_refused() -> None:
    model, inputs = make_grammatical("scene_llama"), prompts("scene_llama")
    inputs["attention_mask"] = inputs["attention_mask"].clone()
    inputs["attention_mask"][1, -1] = 0
    with pytest.raises(ValueError, match=r"left-padded prompts; rows \[1\]"):
        model.generate_scene(**inputs)


@pytest.mark.parametrize("name", ["scene_llama", "clip_llama"])
@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("eager", ("eager", "eager")),
        ("sdpa", ("sdpa", "sdpa")),
        ({"text_config": "eager", "vision_config": "sdpa"}, ("eager", "sdpa")),
    ],
)
def test_a_checkpoint_loads_with_the_attention_that_is_asked_for(
    name: str, requested: Any, expected: tuple[str, str], tmp_path: Path
) -> None:
    model = make_model(name)
    model.save_pretrained(tmp_path)
    loaded = IGLLMForSceneProgram.from_pretrained(tmp_path, attn_implementation=requested)
    assert implementations(loaded) == expected
    model.set_attn_implementation(requested)
    assert implementations(model) == expected


@pytest.mark.skipif(is_flash_attn_2_available(), reason="the package is there")
def test_flash_attention_without_its_package_is_an_error(tmp_path: Path) -> None:
    model = make_model("scene_llama")
    model.save_pretrained(tmp_path)
    with pytest.raises(ImportError, match="FlashAttention2"):
        IGLLMForSceneProgram.from_pretrained(tmp_path, attn_implementation="flash_attention_2")
    with pytest.raises(ImportError, match="FlashAttention2"):
        model.set_attn_implementation("flash_attention_2")


def test_an_unknown_attention_is_quoted(tmp_path: Path) -> None:
    make_model("scene_llama").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='attn_implementation="quadratic"'):
        IGLLMForSceneProgram.from_pretrained(tmp_path, attn_implementation="quadratic")


def with_language_model(config: PreTrainedConfig) -> IGLLMForSceneProgram:
    """A random model of this language model, with a grammar."""
    processor = processor_of("scene_llama")
    ids = {"num_token_id": processor.num_token_id, "image_token_index": processor.image_token_id}
    torch.manual_seed(0)
    model = IGLLMForSceneProgram.from_backbones(tiny.tower_config(), config, **ids).eval()
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE], max_objects=4))
    return model


def language_fields() -> dict[str, Any]:
    fields = language_configs(len(processor_of("scene_llama").tokenizer))["llama"].to_dict()
    return {name: value for name, value in fields.items() if name != "model_type"}


def test_a_sliding_window_that_holds_everything_changes_nothing_and_a_shorter_one_is_refused() -> None:
    inputs, fields = prompts("scene_llama"), language_fields()
    wide = with_language_model(MistralConfig(**fields | {"sliding_window": 300}))
    output = wide.generate_scene(**inputs, max_new_tokens=120)
    assert all(output.word_probabilities)
    assert torch.equal(output.sequences, generate(wide, inputs, room=120, do_sample=False).sequences)
    narrow = with_language_model(MistralConfig(**fields | {"sliding_window": 40}))
    with pytest.raises(ValueError, match=r"looks back on 40 \(sliding_window\)"):
        narrow.generate_scene(**inputs, max_new_tokens=120)


def test_a_language_model_with_a_recurrent_state_is_refused() -> None:
    fields = language_fields() | {"layer_types": ["conv", "full_attention"]}
    model = with_language_model(Lfm2Config(**fields))
    with pytest.raises(ValueError, match="'lfm2' has LinearAttention"):
        model.generate_scene(**prompts("scene_llama"))


@pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention"])
def test_scenes_need_an_attention_whose_mask_may_have_holes(attention: str) -> None:
    model, inputs = make_grammatical("scene_llama"), prompts("scene_llama")
    # Not through `set_attn_implementation`, which asks for the package first.
    model.config.text_config._attn_implementation_internal = attention
    with pytest.raises(ValueError, match=f"'{attention}'.*set_attn_implementation"):
        model.generate_scene(**inputs)
