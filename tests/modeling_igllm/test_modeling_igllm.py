"""Promises of the model: losses, the state that is read, image inputs, saving, adapters."""

import math

import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from transformers import BatchFeature, LlamaConfig
from transformers.quantizers import HfQuantizer

from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.vocabulary import QUANTITIES


@pytest.fixture
def batch(processor: IGLLMProcessor) -> BatchFeature:
    return tiny.make_batch(processor)


def test_loss_is_cross_entropy_plus_weighted_number_loss(processor: IGLLMProcessor, batch: BatchFeature) -> None:
    model = tiny.make_model(processor, float_w=0.25)
    output = model(**batch)
    targets = batch["labels"][:, 1:].flatten()
    log_probabilities = output.logits[:, :-1].flatten(0, 1).log_softmax(-1)
    asked = targets != -100
    ce_loss = -log_probabilities[asked].gather(1, targets[asked][:, None]).mean()
    is_number = batch["labels"][:, 1:] == processor.num_token_id
    errors = output.numbers[:, :-1][is_number] - batch["number_labels"][:, 1:][is_number]
    assert is_number.sum() == 14
    torch.testing.assert_close(output.ce_loss, ce_loss)
    torch.testing.assert_close(output.number_loss, errors.square().mean())
    torch.testing.assert_close(output.loss, output.ce_loss + 0.25 * output.number_loss)


def test_rotations_count_as_often_as_their_weight_says(processor: IGLLMProcessor, batch: BatchFeature) -> None:
    model = tiny.make_model(processor, rotation_w=3.0)
    output = model(**batch)
    is_number = batch["labels"][:, 1:] == processor.num_token_id
    errors = (output.numbers[:, :-1] - batch["number_labels"][:, 1:])[is_number].square()
    is_rotation = (batch["number_quantities"][:, 1:] == QUANTITIES.index("rotation"))[is_number]
    assert 0 < is_rotation.sum() < len(is_rotation)
    expected = (errors.sum() + 2 * errors[is_rotation].sum()) / len(errors)
    torch.testing.assert_close(output.number_loss, expected)


def test_a_weight_of_rotations_asks_which_numbers_these_are(processor: IGLLMProcessor, batch: BatchFeature) -> None:
    del batch["number_quantities"]
    with pytest.raises(ValueError, match=r"rotation_w=3\.0: number_quantities must say which"):
        tiny.make_model(processor, rotation_w=3.0)(**batch)


def test_bins_of_a_new_model_begin_smooth(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor, number_head="binned", number_ranges={"x": [-3, 3]})
    weights = model.numeric_head.layers[-1].weight
    assert (weights[1:] - weights[:-1]).norm() < 0.2 * (weights[256:] - weights[:256]).norm()


def test_head_reads_the_state_that_predicts_the_number(processor: IGLLMProcessor, batch: BatchFeature) -> None:
    model = tiny.make_model(processor)
    place = (batch["labels"][0] == processor.num_token_id).nonzero()[0].item()
    before = model(**batch)
    changed = {**batch, "input_ids": batch["input_ids"].clone()}
    changed["input_ids"][0, place] = 40
    after = model(**changed)
    # The number token itself is not seen by the state that predicts it, and its own state answers for the next token.
    torch.testing.assert_close(after.numbers[0, :place], before.numbers[0, :place])
    assert not torch.allclose(after.numbers[0, place], before.numbers[0, place])
    only_place = {**batch, "labels": torch.full_like(batch["labels"], -100)}
    only_place["labels"][0, place] = processor.num_token_id
    error = before.numbers[0, place - 1] - batch["number_labels"][0, place]
    torch.testing.assert_close(model(**only_place).number_loss, error.square())


def test_number_labels_elsewhere_are_ignored(processor: IGLLMProcessor, batch: BatchFeature, model) -> None:
    noisy = batch["number_labels"].nan_to_num(nan=1e9)
    assert torch.equal(model(**{**batch, "number_labels": noisy}).loss, model(**batch).loss)


def test_batch_without_numbers_trains_the_head_with_zero_gradient(processor: IGLLMProcessor, batch) -> None:
    model = tiny.make_model(processor)
    labels = batch["labels"].masked_fill(batch["labels"] == processor.num_token_id, -100)
    output = model(**{**batch, "labels": labels})
    output.loss.backward()
    assert output.number_loss.item() == 0
    assert torch.equal(output.loss, output.ce_loss)
    assert all(torch.count_nonzero(parameter.grad) == 0 for parameter in model.numeric_head.parameters())


def test_labels_without_number_labels_are_refused(batch: BatchFeature, model: IGLLMForSceneProgram) -> None:
    del batch["number_labels"]
    with pytest.raises(ValueError, match="number_labels"):
        model(**batch)


def test_number_token_without_a_finite_value_is_refused(batch: BatchFeature, model: IGLLMForSceneProgram) -> None:
    batch["number_labels"][0] = math.nan
    with pytest.raises(ValueError, match="3 of 14"):
        model(**batch)


def test_model_without_head_has_no_numbers_and_no_number_loss() -> None:
    processor = tiny.make_processor(numbers="char")
    model = tiny.make_model(processor, number_head="none")
    batch = tiny.make_batch(processor)
    del batch["number_labels"]
    output = model(**batch)
    assert model.numeric_head is None
    assert output.numbers is None
    assert output.number_loss is None
    assert torch.equal(output.loss, output.ce_loss)


def test_cached_image_features_give_the_same_loss_and_gradients(processor: IGLLMProcessor, batch) -> None:
    from_pixels, from_cache = tiny.make_model(processor), tiny.make_model(processor)
    features = from_cache.encode_images(batch.pop("pixel_values"))
    assert features.shape == (2, 16, 40)
    assert not features.requires_grad
    loss = from_pixels(**tiny.make_batch(processor)).loss
    cached_loss = from_cache(**batch, image_features=features).loss
    loss.backward()
    cached_loss.backward()
    torch.testing.assert_close(cached_loss, loss)
    torch.testing.assert_close(
        from_cache.model.multi_modal_projector.weight.grad, from_pixels.model.multi_modal_projector.weight.grad
    )


def test_images_in_two_forms_are_refused(batch: BatchFeature, model: IGLLMForSceneProgram) -> None:
    features = model.encode_images(batch["pixel_values"])
    with pytest.raises(ValueError, match="not several"):
        model(**batch, image_features=features)


def test_wrong_number_of_placeholders_is_refused(model: IGLLMForSceneProgram) -> None:
    batch = tiny.make_batch(tiny.make_processor(num_image_tokens=15))
    with pytest.raises(ValueError, match="do not match"):
        model(**batch)


def test_quantisers_leave_head_and_output_layer_alone(model: IGLLMForSceneProgram) -> None:
    skipped = HfQuantizer.get_modules_to_not_convert(model, None, model._keep_in_fp32_modules, add_default_skips=True)
    assert {"numeric_head", "lm_head"} <= set(skipped)


def test_save_and_load_gives_equal_outputs(processor: IGLLMProcessor, batch: BatchFeature, tmp_path) -> None:
    model = tiny.make_model(processor, number_head="linear", projector_type="mlp2x_gelu")
    model.save_pretrained(tmp_path)
    loaded = IGLLMForSceneProgram.from_pretrained(tmp_path)
    expected, actual = model(**batch), loaded(**batch)
    assert torch.equal(actual.logits, expected.logits)
    # Not bit for bit: weights read from a file may lie at another alignment.
    torch.testing.assert_close(actual.numbers, expected.numbers)


def test_published_model_has_the_published_parameter_counts() -> None:
    config = IGLLMConfig(
        text_config=LlamaConfig(vocab_size=32064, num_hidden_layers=1), num_token_id=32002, image_token_index=32000
    )
    with torch.device("meta"):
        model = IGLLMForSceneProgram(config)
    assert sum(parameter.numel() for parameter in model.model.multi_modal_projector.parameters()) == 4_198_400
    assert sum(parameter.numel() for parameter in model.numeric_head.parameters()) == 16_785_409


def test_lora_trains_adapters_head_and_projector_alone(processor: IGLLMProcessor, batch: BatchFeature) -> None:
    lora = LoraConfig(
        r=2,
        target_modules=r".*language_model.*\.(q|k|v|o|gate|up|down)_proj",
        modules_to_save=["numeric_head", "multi_modal_projector"],
    )
    model = get_peft_model(tiny.make_model(processor), lora)
    model(**batch).loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained
    assert all(part.endswith("weight") or "bias" in part for part in trained)
    parts = ("lora_", "numeric_head.modules_to_save", "multi_modal_projector.modules_to_save")
    assert all(any(part in name for part in parts) for name in trained)
    assert all(any(part in name for name in trained) for part in parts)


def test_backbone_and_output_layer_are_where_trainers_look(model: IGLLMForSceneProgram, batch: BatchFeature) -> None:
    assert model.base_model is model.model
    assert model.get_output_embeddings() is model.lm_head
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    states = model.base_model(**inputs).last_hidden_state
    torch.testing.assert_close(model.lm_head(states), model(**inputs).logits)
