"""The forward pass: what it returns in which shape, and that only what is asked of it changes the answer."""

from typing import Any

import pytest
import torch
from common_cases import (
    assert_same_outputs,
    every_case,
    forward_inputs,
    left_padded,
    make_grammatical,
    make_model,
    processor_of,
    prompts,
    rows_of,
    training_batch,
)


def flat(output: Any) -> list[torch.Tensor]:
    """The tensors of an output or a tuple, in their order."""
    values = output.values() if isinstance(output, dict) else output
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += flat(value)
    return found


@every_case
def test_the_forward_pass_is_deterministic_and_has_no_dropout(name: str) -> None:
    model, batch = make_model(name), training_batch(name)
    model.model.vision_tower.requires_grad_(False)  # it keeps its batch statistics in training
    first = model(**batch)
    for again in (model(**batch), model.train()(**batch, use_cache=False)):
        assert torch.equal(again.logits, first.logits)
        assert torch.equal(again.loss, first.loss)


@every_case
def test_a_tuple_holds_what_the_output_holds(name: str) -> None:
    model, batch = make_model(name), training_batch(name)
    options = {"output_hidden_states": True, "use_cache": False}
    output, as_tuple = model(**batch, **options), model(**batch, **options, return_dict=False)
    assert isinstance(as_tuple, tuple)
    # torch.equal knows no NaN, which stands where there is no number.
    for expected, actual in zip(flat(output), flat(as_tuple), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(as_tuple[0], output.loss)


def test_a_config_that_asks_for_tuples_gets_them() -> None:
    model, batch, inputs = make_grammatical("scene_llama"), training_batch("scene_llama"), prompts("scene_llama")
    loss, generated = model(**batch).loss, model.generate(**inputs, max_new_tokens=3)
    scene = model.generate_scene(**inputs)
    model.config.return_dict = False
    assert torch.equal(model(**batch)[0], loss)
    assert torch.equal(model.generate(**inputs, max_new_tokens=3).sequences, generated.sequences)
    assert torch.equal(model.generate_scene(**inputs).sequences, scene.sequences)
    beams = model.generate(**inputs, max_new_tokens=3, num_beams=2)
    assert beams.numbers.shape == beams.sequences.shape


@every_case
def test_hidden_states_and_attentions_have_the_shapes_of_the_language_model(name: str) -> None:
    model, inputs = make_model(name), forward_inputs(name)
    model.set_attn_implementation("eager")
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    text = model.config.text_config
    batch, length = inputs["input_ids"].shape
    assert [states.shape for states in output.hidden_states] == (text.num_hidden_layers + 1) * [
        (batch, length, text.hidden_size)
    ]
    assert [maps.shape for maps in output.attentions] == text.num_hidden_layers * [
        (batch, text.num_attention_heads, length, length)
    ]
    for maps in output.attentions:
        torch.testing.assert_close(maps[0, :, :8].sum(-1), torch.ones(text.num_attention_heads, 8))
        assert not maps.triu(1).any()
    torch.testing.assert_close(model.lm_head(output.hidden_states[-1]), output.logits)
    output.hidden_states[0].retain_grad()
    output.attentions[0].retain_grad()
    output.logits.sum().backward()
    assert output.hidden_states[0].grad.any()
    assert output.attentions[0].grad.any()


@every_case
def test_image_features_come_as_output_and_as_tuple(name: str) -> None:
    model, pixels = make_model(name), forward_inputs(name)["pixel_values"]
    output = model.get_image_features(pixel_values=pixels)
    features = torch.stack(output["pooler_output"])
    assert features.shape == (2, model.config.image_seq_length, model.config.text_config.hidden_size)
    as_tuple = model.get_image_features(pixel_values=pixels, return_dict=False)
    assert torch.equal(torch.stack(as_tuple[1]), features)
    everything = model.get_image_features(pixel_values=pixels, output_hidden_states=True)
    assert torch.equal(torch.stack(everything.pooler_output), features)
    layers = 0 if model.config.uses_scene_tower else model.config.vision_config.num_hidden_layers
    assert len(everything.hidden_states) == layers + 1


def test_the_attentions_of_a_tower_are_given_on_request() -> None:
    model = make_model("clip_llama")
    model.set_attn_implementation("eager")
    pixels = forward_inputs("clip_llama")["pixel_values"]
    attentions = model.get_image_features(pixel_values=pixels, output_attentions=True).attentions
    assert [maps.shape for maps in attentions] == 3 * [(2, 2, 17, 17)]


@every_case
def test_embeddings_stand_for_tokens(name: str) -> None:
    model, inputs = make_model(name), prompts(name)
    ids = inputs.pop("input_ids")
    embeds = model.get_input_embeddings()(ids)
    by_tokens, by_embeds = model(input_ids=ids, **inputs), model(inputs_embeds=embeds, **inputs)
    assert_same_outputs(by_embeds, by_tokens, inputs["attention_mask"], inputs["attention_mask"])
    with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        model(input_ids=ids, inputs_embeds=embeds, **inputs)
    with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        model(**inputs)


@every_case
def test_kept_logits_are_those_of_the_whole(name: str) -> None:
    model, inputs = make_model(name), forward_inputs(name)
    whole = model(**inputs)
    for kept in (1, 5, torch.tensor([3, 20])):
        part = model(**inputs, logits_to_keep=kept)
        places = slice(-kept, None) if isinstance(kept, int) else kept
        torch.testing.assert_close(part.logits, whole.logits[:, places])
        if whole.normalized_numbers is not None:
            torch.testing.assert_close(part.normalized_numbers, whole.normalized_numbers[:, places])


@every_case
def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    model, inputs = make_model(name), forward_inputs(name)
    together, mask = model(**inputs), inputs["attention_mask"]
    for row in range(2):
        alone = rows_of(inputs, slice(row, row + 1))
        length = int(mask[row].sum())
        alone = {key: value if key == "pixel_values" else value[:, :length] for key, value in alone.items()}
        only_row = torch.zeros_like(mask)
        only_row[row] = mask[row]
        assert_same_outputs(model(**alone), together, torch.ones(1, length), only_row)


@every_case
def test_padding_on_either_side_gives_the_same(name: str) -> None:
    model, inputs = make_model(name), forward_inputs(name)
    moved = left_padded(inputs)
    assert (moved["attention_mask"][0, :10] == 0).all()
    assert_same_outputs(model(**moved), model(**inputs), moved["attention_mask"], inputs["attention_mask"])


@every_case
def test_what_stands_in_the_padding_does_not_matter(name: str) -> None:
    model, inputs = make_model(name), left_padded(forward_inputs(name))
    mask = inputs["attention_mask"]
    noisy = {**inputs, "input_ids": inputs["input_ids"].masked_fill(mask == 0, 40)}
    assert_same_outputs(model(**noisy), model(**inputs), mask, mask)


@every_case
def test_a_mask_of_ones_is_no_mask_and_positions_are_counted(name: str) -> None:
    model, inputs = make_model(name), rows_of(forward_inputs(name), slice(1, 2))
    assert inputs["attention_mask"].all()
    bare = {key: value for key, value in inputs.items() if key not in ("attention_mask", "position_ids")}
    assert_same_outputs(model(**bare), model(**inputs), inputs["attention_mask"], inputs["attention_mask"])


@every_case
def test_a_mask_of_every_pair_can_be_given(name: str) -> None:
    model, inputs = make_model(name), forward_inputs(name)
    mask = inputs["attention_mask"].bool()
    causal = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool).tril()
    pairs = causal[None, None] & mask[:, None, None, :]
    expected = model(**inputs)
    inputs["attention_mask"] = torch.zeros(pairs.shape).masked_fill(~pairs, torch.finfo(torch.float32).min)
    assert_same_outputs(model(**inputs), expected, mask, mask)


@every_case
def test_two_passes_with_a_cache_equal_one(name: str) -> None:
    model, inputs = make_model(name), forward_inputs(name)
    whole, mask = model(**inputs), inputs["attention_mask"]
    images = inputs.pop("pixel_values")
    split = 30  # behind the image tokens, among the answers
    first = model(**{key: value[:, :split] for key, value in inputs.items()}, pixel_values=images, use_cache=True)
    rest = {key: value[:, split:] for key, value in inputs.items()} | {"attention_mask": mask}
    second = model(**rest, past_key_values=first.past_key_values, use_cache=True)
    assert second.past_key_values.get_seq_length() == mask.shape[1]
    ahead, behind = mask.clone(), mask.clone()
    ahead[:, split:] = 0
    behind[:, :split] = 0
    assert_same_outputs(first, whole, mask[:, :split], ahead)
    assert_same_outputs(second, whole, mask[:, split:], behind)


def test_text_alone_needs_no_image() -> None:
    model = make_model("scene_llama")
    ids = torch.tensor([[processor_of("scene_llama").tokenizer.bos_token_id, 40, 41]])
    output = model(input_ids=ids)
    assert output.image_hidden_states is None
    assert output.logits.isfinite().all()
