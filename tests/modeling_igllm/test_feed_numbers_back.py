"""Numbers that are fed back: later numbers depend on earlier ones, and step by step equals all at once."""

import pytest
import tiny
import torch
from transformers import BatchFeature, LogitsProcessorList

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.number_embedding import NumberEmbedding, number_features

NEW_TOKENS = 10


@pytest.fixture(scope="module")
def fed_back(processor: IGLLMProcessor) -> IGLLMForSceneProgram:
    """A random model with feed_numbers_back; a test that changes it makes its own."""
    return tiny.make_model(processor, feed_numbers_back=True)


@pytest.fixture
def batch(processor: IGLLMProcessor) -> BatchFeature:
    return tiny.make_batch(processor)


def number_places(processor: IGLLMProcessor, batch: BatchFeature, row: int = 1) -> list[int]:
    return (batch["labels"][row] == processor.num_token_id).nonzero().flatten().tolist()


def with_another_number(batch: BatchFeature, row: int, place: int) -> dict[str, torch.Tensor]:
    changed = {**batch, "number_labels": batch["number_labels"].clone()}
    changed["number_labels"][row, place] += 0.01
    return changed


def test_later_numbers_depend_on_earlier_ones(processor, batch, fed_back) -> None:
    first = number_places(processor, batch)[0]
    before, after = fed_back(**batch), fed_back(**with_another_number(batch, 1, first))
    # The state at a number token is the first that sees its value: it answers for what comes next.
    torch.testing.assert_close(after.numbers[1, :first], before.numbers[1, :first])
    torch.testing.assert_close(after.numbers[0], before.numbers[0])
    later = [place - 1 for place in number_places(processor, batch)[1:]]
    assert ((after.numbers[1, later] - before.numbers[1, later]).abs() > 1e-4).all()
    assert not torch.equal(after.logits[1, first:], before.logits[1, first:])


def test_without_feeding_back_they_do_not(processor, batch, model) -> None:
    changed = with_another_number(batch, 1, number_places(processor, batch)[0])
    assert torch.equal(model(**changed).numbers, model(**batch).numbers)


def test_number_inputs_take_the_place_of_the_labels(batch, processor) -> None:
    model = tiny.make_model(processor, feed_numbers_back=True, number_ranges=tiny.NUMBER_RANGES)
    half = torch.tensor([3.0, 4.0, 0.5, 0.8, torch.nan])[batch["number_quantities"]]
    center = torch.tensor([0.0, 0.0, 0.5, 0.8, torch.nan])[batch["number_quantities"]]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values", "number_quantities")}
    explicit = model(**inputs, number_inputs=(batch["number_labels"] - center) / half)
    torch.testing.assert_close(explicit.numbers, model(**batch).numbers, equal_nan=True)
    shifted = model(**inputs, number_inputs=(batch["number_labels"] - center) / half + 0.1)
    assert not torch.equal(shifted.normalized_numbers, explicit.normalized_numbers)


def test_values_elsewhere_are_ignored(batch, fed_back) -> None:
    noisy = {**batch, "number_labels": batch["number_labels"].nan_to_num(nan=1e9)}
    assert torch.equal(fed_back(**noisy).loss, fed_back(**batch).loss)


def test_images_come_in_every_form(batch, fed_back) -> None:
    expected = fed_back(**batch).numbers
    features = fed_back.encode_images(batch["pixel_values"])
    cached = {name: tensor for name, tensor in batch.items() if name != "pixel_values"}
    torch.testing.assert_close(fed_back(**cached, image_features=features).numbers, expected)
    projected = fed_back.model.project_image_features(features)
    torch.testing.assert_close(fed_back(**cached, mm_encoder_outputs=projected).numbers, expected)
    with pytest.raises(ValueError, match="not several"):
        fed_back(**batch, mm_encoder_outputs=projected)


def test_wrong_number_of_placeholders_is_refused(fed_back) -> None:
    with pytest.raises(ValueError, match="do not match"):
        fed_back(**tiny.make_batch(tiny.make_processor(num_image_tokens=15)))


def test_a_number_token_without_a_value_is_refused(batch, processor, fed_back, model) -> None:
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    with pytest.raises(ValueError, match="finite value in number_inputs"):
        fed_back(**inputs)
    values = batch["number_labels"].clone()
    values[1, number_places(processor, batch)[-1]] = torch.inf
    with pytest.raises(ValueError, match="finite value in number_inputs"):
        fed_back(**inputs, number_inputs=values)
    with pytest.raises(ValueError, match="feed_numbers_back=False"):
        model(**inputs, number_inputs=batch["number_labels"])


def test_embeddings_take_no_numbers(batch, fed_back) -> None:
    embeds = fed_back.get_input_embeddings()(batch["input_ids"])
    with pytest.raises(ValueError, match="pass input_ids"):
        fed_back(inputs_embeds=embeds, number_inputs=batch["number_labels"])


@pytest.mark.parametrize("number_head", ["tanh_mlp_gelu", "mixture"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_generation_equals_one_forward_with_the_same_numbers(processor, use_cache: bool, number_head: str) -> None:
    model = tiny.make_model(processor, number_head=number_head, feed_numbers_back=True)
    prompt = processor.encode_prompt(tiny.make_images(2))
    # Left padding before one prompt.
    prompt["input_ids"] = torch.nn.functional.pad(prompt["input_ids"], (2, 0), value=processor.tokenizer.pad_token_id)
    prompt["attention_mask"] = torch.nn.functional.pad(prompt["attention_mask"], (2, 0), value=0)
    often = LogitsProcessorList([every_third_is_a_number(processor, prompt["input_ids"].shape[1])])
    output = model.generate(**prompt, logits_processor=often, max_new_tokens=NEW_TOKENS, use_cache=use_cache)
    assert torch.equal(output.numbers.isfinite(), output.sequences == processor.num_token_id)
    assert (output.numbers.isfinite().sum(-1) >= 3).all()
    mask = torch.nn.functional.pad(prompt["attention_mask"], (0, NEW_TOKENS), value=1)
    read = model.read_numbers(
        output.sequences, mask, number_inputs=output.numbers, pixel_values=prompt["pixel_values"]
    )
    torch.testing.assert_close(output.numbers, read, atol=1e-5, rtol=0, equal_nan=True)
    other = model.read_numbers(
        output.sequences, mask, number_inputs=output.numbers + 0.05, pixel_values=prompt["pixel_values"]
    )
    assert not torch.allclose(other, read, atol=1e-4, rtol=0, equal_nan=True)
    assert (output.number_stds is not None) == (number_head == "mixture")


def every_third_is_a_number(processor: IGLLMProcessor, start: int):
    """A logits processor that makes a random model write numbers."""

    def process(input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        if (input_ids.shape[1] - start) % 3 == 0:
            scores[:, processor.num_token_id] += 1e4
        return scores

    return process


def test_beam_search_is_refused(processor, fed_back) -> None:
    with pytest.raises(ValueError, match="num_beams=2"):
        fed_back.generate(**processor.encode_prompt(tiny.make_images(1)), num_beams=2, max_new_tokens=2)


def test_a_centimetre_in_six_metres_can_be_seen() -> None:
    values = torch.linspace(-1, 1, 601)  # a centimetre apart
    features = number_features(values)
    distances = torch.cdist(features, features) + 10 * torch.eye(601)
    assert distances.min() > 1.0
    # In bfloat16 the value itself is the same for several of them.
    assert len(values.bfloat16().unique()) < 601
    assert len(features.bfloat16().unique(dim=0)) == 601


def test_the_embedding_stays_in_float32(processor, batch) -> None:
    model = tiny.make_model(processor, feed_numbers_back=True)
    expected = model.number_embedding(batch["number_labels"])
    model.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = model.number_embedding(batch["number_labels"])
    assert torch.equal(actual, expected)
    assert actual.dtype == torch.float32
    assert model(**batch).loss.isfinite()


def test_what_is_no_number_gets_no_embedding() -> None:
    embedding = NumberEmbedding(8)
    values = torch.tensor([[torch.nan, 0.5]], requires_grad=False)
    out = embedding(values)
    assert torch.equal(out[0, 0], torch.zeros(8))
    assert out[0, 1].any()


def test_a_batch_without_numbers_leaves_a_graph_of_zeros(processor, batch, fed_back) -> None:
    # Data parallelism waits for the gradient of every parameter.
    prompt = {name: batch[name] for name in ("attention_mask", "pixel_values")}
    ids = batch["input_ids"].masked_fill(batch["input_ids"] == processor.num_token_id, 40)
    model = tiny.make_model(processor, feed_numbers_back=True)
    model(input_ids=ids, **prompt).logits.sum().backward()
    assert all(
        torch.equal(parameter.grad, torch.zeros_like(parameter)) for parameter in model.number_embedding.parameters()
    )
