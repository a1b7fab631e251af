"""Promises of generation: the numbers are those of the teacher-forced pass, however the tokens are found."""

from collections.abc import Callable

import pytest
import tiny
import torch
from transformers import BatchFeature, LogitsProcessor

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.generation_igllm import SceneBeamOutput, SceneGenerateOutput

NEW_TOKENS = 12


class OftenANumber(LogitsProcessor):
    """Makes every third token a number token, so that a random model writes some."""

    def __init__(self, num_token_id: int, prompt_length: int) -> None:
        self.num_token_id = num_token_id
        self.prompt_length = prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        if (input_ids.shape[1] - self.prompt_length) % 3 == 0:
            scores[:, self.num_token_id] += 1e4
        return scores


@pytest.fixture
def prompt(processor: IGLLMProcessor) -> BatchFeature:
    return processor.encode_prompt(tiny.make_images(2))


@pytest.fixture
def generate(model: IGLLMForSceneProgram, processor: IGLLMProcessor) -> Callable:
    def run(inputs: dict, **kwargs):
        often = OftenANumber(processor.num_token_id, inputs["input_ids"].shape[1])
        return model.generate(**inputs, logits_processor=[often], max_new_tokens=NEW_TOKENS, **kwargs)

    return run


def left_padded(processor: IGLLMProcessor, prompt: BatchFeature, width: int, row: int) -> dict[str, torch.Tensor]:
    """`prompt` with `width` columns of padding before `row`, and of number tokens before the other row."""
    pad = torch.full((2, width), processor.tokenizer.pad_token_id)
    pad[1 - row] = processor.num_token_id
    mask = torch.ones_like(pad)
    mask[row] = 0
    return {
        **prompt,
        "input_ids": torch.cat([pad, prompt["input_ids"]], dim=1),
        "attention_mask": torch.cat([mask, prompt["attention_mask"]], dim=1),
    }


def test_numbers_are_those_of_the_teacher_forced_pass(model, generate, prompt, processor) -> None:
    output = generate(prompt)
    assert isinstance(output, SceneGenerateOutput)
    assert output.numbers.shape == output.sequences.shape
    expected = model.read_numbers(output.sequences, pixel_values=prompt["pixel_values"])
    assert torch.isfinite(expected).sum() >= 2 * NEW_TOKENS / 3
    torch.testing.assert_close(output.numbers, expected, atol=1e-5, rtol=0, equal_nan=True)


def test_numbers_stand_at_number_tokens_and_nowhere_else(generate, prompt, processor) -> None:
    output = generate(prompt)
    assert torch.equal(output.numbers.isfinite(), output.sequences == processor.num_token_id)


def test_left_padded_batch_equals_single_prompts(model, generate, prompt, processor) -> None:
    single = generate({name: tensor[:1] for name, tensor in prompt.items()})
    padded = left_padded(processor, prompt, width=5, row=0)
    batched = generate(padded)
    length = single.sequences.shape[1]
    assert torch.equal(batched.sequences[:1, 5 : 5 + length], single.sequences)
    torch.testing.assert_close(batched.numbers[:1, 5 : 5 + length], single.numbers, atol=1e-5, rtol=0, equal_nan=True)


def test_generation_without_cache_gives_the_same(generate, prompt) -> None:
    with_cache, without = generate(prompt), generate(prompt, use_cache=False)
    assert torch.equal(with_cache.sequences, without.sequences)
    torch.testing.assert_close(with_cache.numbers, without.numbers, atol=1e-5, rtol=0, equal_nan=True)


def test_beam_search_reads_the_numbers_of_the_winners(model, generate, prompt, processor) -> None:
    output = generate(left_padded(processor, prompt, width=3, row=1), num_beams=3, num_return_sequences=2)
    assert isinstance(output, SceneBeamOutput)
    assert output.numbers.shape == output.sequences.shape == (4, output.sequences.shape[1])
    for image, rows in ((0, [0, 1]), (1, [2, 3])):
        start = 3 if image == 1 else 0  # the padding of the second prompt
        sequences = output.sequences[rows, start:]
        pixels = prompt["pixel_values"][[image, image]]
        expected = model.read_numbers(sequences, pixel_values=pixels)
        expected[:, :3] = torch.nan  # only generated numbers are results
        assert torch.isfinite(expected).any()
        torch.testing.assert_close(output.numbers[rows, start:], expected, atol=1e-5, rtol=0, equal_nan=True)


def test_cached_image_features_generate_the_same(model, generate, prompt, processor) -> None:
    features = model.encode_images(prompt["pixel_values"])
    cached = generate(processor.encode_prompt(None, batch_size=2), image_features=features)
    expected = generate(prompt)
    assert torch.equal(cached.sequences, expected.sequences)
    torch.testing.assert_close(cached.numbers, expected.numbers, equal_nan=True)


def test_images_in_two_forms_are_refused(model, prompt) -> None:
    features = model.encode_images(prompt["pixel_values"])
    with pytest.raises(ValueError, match="not several"):
        model.generate(**prompt, image_features=features, max_new_tokens=2)


def test_several_samples_per_image_have_numbers_of_their_own(model, generate, prompt) -> None:
    torch.manual_seed(0)
    output = generate(prompt, do_sample=True, num_return_sequences=2)
    pixels = prompt["pixel_values"].repeat_interleave(2, dim=0)
    expected = model.read_numbers(output.sequences, pixel_values=pixels)
    torch.testing.assert_close(output.numbers, expected, atol=1e-5, rtol=0, equal_nan=True)


def test_token_ids_alone_on_request(generate, prompt) -> None:
    assert isinstance(generate(prompt, return_dict_in_generate=False), torch.Tensor)


def test_model_without_head_generates_without_numbers() -> None:
    processor = tiny.make_processor(numbers="char")
    model = tiny.make_model(processor, number_head="none")
    for beams in (1, 2):
        output = model.generate(**processor.encode_prompt(tiny.make_images(2)), max_new_tokens=4, num_beams=beams)
        assert "numbers" not in output
    with pytest.raises(ValueError, match="number_head='none'"):
        model.read_numbers(output.sequences)
