"""What the model promises for every kind of number head: saving, precision, adapters, accumulation, generation."""

from typing import Any

import pytest
import tiny
import torch
from huggingface_hub.errors import StrictDataclassError
from peft import LoraConfig, get_peft_model
from transformers import BatchFeature, LogitsProcessorList

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.numeric_head import NUMBER_HEADS

HEADS = NUMBER_HEADS[1:]
POINT_ESTIMATES = ("linear", "tanh_mlp_gelu")
every_head = pytest.mark.parametrize("number_head", HEADS)


def make_model(processor: IGLLMProcessor, number_head: str, **overrides: Any) -> IGLLMForSceneProgram:
    """A random model with everything around numbers that can be switched on."""
    fields = {"number_bins": 16, "number_components": 3, "number_ranges": tiny.NUMBER_RANGES}
    return tiny.make_model(processor, number_head=number_head, **fields | overrides)


@pytest.fixture
def batch(processor: IGLLMProcessor) -> BatchFeature:
    return tiny.make_batch(processor)


@every_head
def test_save_and_load_gives_equal_numbers(processor, batch, tmp_path, number_head: str) -> None:
    model = make_model(processor, number_head, feed_numbers_back=True)
    model.save_pretrained(tmp_path)
    loaded = IGLLMForSceneProgram.from_pretrained(tmp_path)
    for field in ("number_head", "number_bins", "number_components", "number_ranges", "feed_numbers_back"):
        assert getattr(loaded.config, field) == getattr(model.config, field)
    expected, actual = model(**batch), loaded(**batch)
    names = ["numbers", "normalized_numbers", "number_loss"]
    if number_head not in POINT_ESTIMATES:
        names += ["number_stds", "normalized_stds"]
    for name in names:
        torch.testing.assert_close(actual[name], expected[name], equal_nan=True)


@every_head
def test_a_bfloat16_model_keeps_its_numbers_in_float32(processor, batch, tmp_path, number_head: str) -> None:
    model = make_model(processor, number_head, feed_numbers_back=True)
    model.save_pretrained(tmp_path)
    loaded = IGLLMForSceneProgram.from_pretrained(tmp_path, dtype=torch.bfloat16)
    for other in (loaded, make_model(processor, number_head, feed_numbers_back=True).bfloat16()):
        assert other.lm_head.weight.dtype == torch.bfloat16
        for part in ("numeric_head", "number_embedding"):
            for actual, expected in zip(
                getattr(other, part).parameters(), getattr(model, part).parameters(), strict=True
            ):
                assert torch.equal(actual, expected)
        output = other(**batch)
        assert output.logits.dtype == torch.bfloat16
        assert output.normalized_numbers.dtype == output.number_loss.dtype == torch.float32
        assert output.loss.isfinite()


@every_head
def test_accumulated_gradients_equal_those_of_one_batch(processor, batch, number_head: str) -> None:
    whole, split = make_model(processor, number_head), make_model(processor, number_head)
    whole(**batch).loss.backward()
    totals = {
        "num_items_in_batch": (batch["labels"][:, 1:] != -100).sum(),
        "number_loss_denominator": (batch["labels"][:, 1:] == processor.num_token_id).sum(),
    }
    for row in range(2):
        split(**{name: tensor[row : row + 1] for name, tensor in batch.items()}, **totals).loss.backward()
    for expected, actual in zip(whole.parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad)


@every_head
def test_adapters_leave_head_and_embedding_trainable(processor, batch, number_head: str) -> None:
    modules = ["numeric_head", "number_embedding", "multi_modal_projector"]
    lora = LoraConfig(r=2, target_modules=r".*language_model.*\.(q|v)_proj", modules_to_save=modules)
    model = get_peft_model(make_model(processor, number_head, feed_numbers_back=True), lora)
    model(**batch).loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    for name in modules:
        assert any(f"{name}.modules_to_save" in parameter for parameter in trained)
    assert model(**batch).number_loss.isfinite()


@every_head
def test_generated_numbers_and_deviations_are_those_of_one_forward(processor, number_head: str) -> None:
    ranges = {"x": [-1, 1]} if number_head == "binned" else None
    model = make_model(processor, number_head, number_ranges=ranges)
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE]))
    # Its grammar tells quantities; here, outside of any grammar, every number is an x.
    model._number_quantities = lambda sequences, offset: torch.zeros_like(sequences)
    prompt = processor.encode_prompt(tiny.make_images(2))
    num_token = torch.tensor([processor.num_token_id])
    always = LogitsProcessorList([lambda ids, scores: scores.index_fill(1, num_token, 1e4)])
    for beams in (1, 2):
        output = model.generate(**prompt, logits_processor=always, max_new_tokens=3, num_beams=beams)
        whole = model(
            input_ids=output.sequences,
            pixel_values=prompt["pixel_values"],
            number_quantities=torch.zeros_like(output.sequences),
        )
        for name in ("numbers", "number_stds"):
            if output.get(name) is None:
                assert name == "number_stds" and number_head in POINT_ESTIMATES
                continue
            assert output[name].isfinite().sum() == 6
            torch.testing.assert_close(output[name][:, -3:], whole[name][:, -4:-1], atol=1e-5, rtol=1e-5)


def test_bins_and_components_size_the_last_layer(processor) -> None:
    assert make_model(processor, "binned", number_bins=7).numeric_head.layers[-1].out_features == 7
    assert make_model(processor, "mixture", number_components=4).numeric_head.layers[-1].out_features == 12
    assert make_model(processor, "gaussian").numeric_head.layers[-1].out_features == 2


@pytest.mark.parametrize(("field", "value"), [("number_ranges", {"x": [-1, 1]}), ("feed_numbers_back", True)])
def test_digit_text_has_no_use_for_a_heads_settings(processor, field: str, value: Any) -> None:
    with pytest.raises(StrictDataclassError, match=f"{field}={value}".replace("[", r"\[")):
        tiny.make_config(processor, number_head="none", **{field: value})
