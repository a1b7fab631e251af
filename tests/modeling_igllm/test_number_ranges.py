"""Scaling by quantity: there and back, and in the model's losses and answers."""

import math

import pytest
import tiny
import torch
from transformers import LogitsProcessorList

from modeling_igllm import IGLLMProcessor
from modeling_igllm.number_ranges import denormalize_numbers, denormalize_stds, normalize_numbers
from modeling_igllm.vocabulary import NO_QUANTITY, QUANTITIES

RANGES = {"x": [-3, 3], "z": [0.0, 1.0]}
X, Y, Z = (QUANTITIES.index(name) for name in "xyz")


def test_bounds_become_minus_one_and_one() -> None:
    quantities = torch.tensor([[X, X, X], [Z, Z, Z]])
    numbers = torch.tensor([[-3.0, 3.0, 1.5], [0.0, 1.0, 0.25]])
    normalized = normalize_numbers(numbers, quantities, RANGES)
    assert normalized.tolist() == [[-1.0, 1.0, 0.5], [-1.0, 1.0, -0.5]]
    assert torch.equal(denormalize_numbers(normalized, quantities, RANGES), numbers)
    assert denormalize_stds(normalized.abs(), quantities, RANGES).tolist() == [[3.0, 3.0, 1.5], [0.5, 0.5, 0.25]]


def test_a_quantity_without_a_range_keeps_its_units() -> None:
    numbers, quantities = torch.tensor([0.3, -7.5]), torch.tensor([Y, Y])
    assert torch.equal(normalize_numbers(numbers, quantities, RANGES), numbers)
    assert torch.equal(denormalize_numbers(numbers, quantities, RANGES), numbers)
    assert torch.equal(denormalize_stds(numbers, quantities, RANGES), numbers)


def test_without_ranges_no_quantities_are_needed() -> None:
    numbers = torch.tensor([2.5, math.nan])
    for function in (normalize_numbers, denormalize_numbers, denormalize_stds):
        torch.testing.assert_close(function(numbers, None, None), numbers, equal_nan=True)


def test_what_is_no_number_has_no_value() -> None:
    quantities = torch.tensor([X, NO_QUANTITY])
    for function in (normalize_numbers, denormalize_numbers, denormalize_stds):
        assert function(torch.zeros(2), quantities, RANGES).isnan().tolist() == [False, True]


def test_ranges_without_quantities_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"number_quantities must say.*"):
        normalize_numbers(torch.zeros(2), None, RANGES)


def test_scaled_loss_and_answers_of_the_model(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor, number_ranges=tiny.NUMBER_RANGES)
    batch = tiny.make_batch(processor)
    output = model(**batch)
    is_number = batch["labels"][:, 1:] == processor.num_token_id
    quantities = batch["number_quantities"][:, 1:][is_number]
    centers, halves = torch.tensor([0.0, 0.0, 0.5, 0.8]), torch.tensor([3.0, 4.0, 0.5, 0.8])
    raw = output.normalized_numbers[:, :-1][is_number]
    targets = (batch["number_labels"][:, 1:][is_number] - centers[quantities]) / halves[quantities]
    torch.testing.assert_close(output.number_loss, (raw - targets).square().mean())
    torch.testing.assert_close(output.numbers[:, :-1][is_number], raw * halves[quantities] + centers[quantities])
    assert output.numbers[:, :-1][~is_number].isnan().all()
    assert output.numbers[:, -1].isnan().all()


def test_kept_positions_have_the_numbers_of_their_own_quantities(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor, number_head="gaussian", number_ranges=tiny.NUMBER_RANGES)
    batch = tiny.make_batch(processor)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values", "number_quantities")}
    whole = model(**inputs)
    for kept, part in ((5, slice(-5, None)), (torch.tensor([20, 25]), [20, 25])):
        output = model(**inputs, logits_to_keep=kept)
        for name in ("numbers", "number_stds", "normalized_numbers"):
            torch.testing.assert_close(output[name], whole[name][:, part], equal_nan=True)
    assert whole.numbers.isfinite().any()


def test_quantities_are_demanded_where_they_are_needed(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor, number_ranges=tiny.NUMBER_RANGES)
    batch = tiny.make_batch(processor)
    del batch["number_quantities"]
    with pytest.raises(ValueError, match="number_quantities"):
        model(**batch)
    del batch["labels"]
    output = model(**batch)
    assert output.numbers is None
    assert output.normalized_numbers.isfinite().all()


def test_plain_generate_tells_quantities_by_the_grammar(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor, number_ranges=tiny.NUMBER_RANGES, number_head="gaussian")
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE]))
    prompt = processor.encode_prompt(tiny.make_images(1))
    batch = processor.encode_training(tiny.make_images(1), [tiny.LONG_SCENE])
    answer, start = batch["input_ids"][0], prompt["input_ids"].shape[1]

    def dictate(input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, -1e4).index_fill(1, answer[input_ids.shape[1], None], 0.0)

    output = model.generate(**prompt, logits_processor=LogitsProcessorList([dictate]), max_new_tokens=len(answer))
    assert output.sequences.tolist() == [answer.tolist()]
    expected = model(**batch)
    assert output.numbers.isfinite().sum() == 11
    for name in ("numbers", "number_stds"):
        torch.testing.assert_close(output[name][0, start:], expected[name][0, start - 1 : -1], equal_nan=True)


def test_plain_generate_says_at_once_that_it_cannot_tell_the_quantities(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor, number_ranges=tiny.NUMBER_RANGES)
    with pytest.raises(ValueError, match="set_grammar"):
        model.generate(**processor.encode_prompt(tiny.make_images(1)), max_new_tokens=2)
