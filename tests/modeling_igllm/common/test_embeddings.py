"""Token embeddings and the output layer: taken out, put in, resized, tied."""

from pathlib import Path
from typing import Any

import pytest
import torch
from common_cases import (
    TIED,
    every_case,
    forward_inputs,
    make_grammatical,
    make_model,
    processor_of,
    prompts,
    training_batch,
)
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from modeling_igllm import IGLLMForSceneProgram


@every_case
def test_embeddings_and_output_layer_can_be_exchanged(name: str) -> None:
    model = make_model(name)
    vocabulary, hidden = model.config.text_config.vocab_size, model.config.text_config.hidden_size
    assert model.get_input_embeddings() is model.model.language_model.embed_tokens
    assert model.get_output_embeddings() is model.lm_head
    embeddings, output = nn.Embedding(vocabulary, hidden), nn.Linear(hidden, vocabulary, bias=False)
    model.set_input_embeddings(embeddings)
    model.set_output_embeddings(output)
    assert model.get_input_embeddings() is embeddings is model.model.language_model.embed_tokens
    assert model.get_output_embeddings() is output
    model.tie_weights()
    assert (output.weight is embeddings.weight) == (name in TIED)


@every_case
def test_more_tokens_leave_the_old_ones_as_they_were(name: str, tmp_path: Path) -> None:
    model, inputs = make_model(name), forward_inputs(name)
    old = model.config.text_config.vocab_size
    with torch.no_grad():  # a graph that is still there would hold on to the old size
        expected = model(**inputs)
    embeddings = model.get_input_embeddings().weight.detach().clone()
    model.resize_token_embeddings(old + 3, pad_to_multiple_of=64)
    new = -(-(old + 3) // 64) * 64
    assert model.config.text_config.vocab_size == model.config.get_text_config().vocab_size == new
    assert model.get_input_embeddings().weight.shape == model.lm_head.weight.shape == (new, embeddings.shape[1])
    assert torch.equal(model.get_input_embeddings().weight[:old], embeddings)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == (name in TIED)
    with torch.no_grad():
        output = model(**inputs)
    assert output.logits.shape[-1] == new
    torch.testing.assert_close(output.logits[..., :old], expected.logits)
    if expected.normalized_numbers is not None:
        torch.testing.assert_close(output.normalized_numbers, expected.normalized_numbers)
    loss = model(**training_batch(name)).loss
    loss.backward()
    assert model.lm_head.weight.grad[old:].any()
    model.save_pretrained(tmp_path)
    loaded = IGLLMForSceneProgram.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(**inputs).logits, output.logits)


@pytest.mark.parametrize("name", ["scene_llama", "siglip_qwen3"])
def test_programs_are_the_same_with_more_tokens(name: str) -> None:
    model = make_grammatical(name, seed=1)
    expected = model.generate_scene(**prompts(name), max_new_tokens=60).sequences
    model.resize_token_embeddings(model.config.text_config.vocab_size + 5)
    assert torch.equal(model.generate_scene(**prompts(name), max_new_tokens=60).sequences, expected)
    assert model.generate(**prompts(name), max_new_tokens=4).sequences.shape[0] == 2


@pytest.mark.parametrize("name", ["scene_llama", "siglip_qwen3"])
def test_spare_rows_can_be_given_up(name: str) -> None:
    model, inputs = make_model(name), forward_inputs(name)
    size, expected = model.config.text_config.vocab_size, model(**inputs).logits
    model.resize_token_embeddings(size + 7)
    model.resize_token_embeddings(size)
    torch.testing.assert_close(model(**inputs).logits, expected)


def test_a_vocabulary_without_the_number_token_is_no_checkpoint(tmp_path: Path) -> None:
    model = make_model("scene_llama")
    model.resize_token_embeddings(5)
    with pytest.raises(StrictDataclassError, match=f"num_token_id={model.config.num_token_id}"):
        model.save_pretrained(tmp_path)
        IGLLMForSceneProgram.from_pretrained(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["scene_llama", "siglip_qwen3"])
def test_tying_is_as_the_configuration_says(name: str, tied: bool) -> None:
    text: dict[str, Any] = make_model(name).config.text_config.to_dict() | {"tie_word_embeddings": tied}
    model = make_model(name, text_config=text)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    model.tie_weights()
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    assert bool(model.get_expanded_tied_weights_keys(all_submodels=True)) == tied
    model(**training_batch(name)).loss.backward()
    number = processor_of(name).num_token_id
    assert model.lm_head.weight.grad[number].any()
    model.lm_head.weight.data.zero_()
    assert bool(model.get_input_embeddings().weight.any()) != tied
