"""Every way of `generate` that transformers has: it runs, returns what it should, and reads the numbers."""

import copy
from typing import Any

import pytest
import tiny
import torch
from common_cases import CASES, ROOM, WITH_HEAD, every_case, generate, processor_of, prompts, rows_of

# Beams cannot feed numbers back.
BEAM_CASES = tuple(name for name in CASES if name != "scene_fed_back")
SAME_AS_GREEDY: dict[str, dict[str, Any]] = {
    "without_cache": {"use_cache": False},
    "static_cache": {"cache_implementation": "static"},
    "prompt_in_chunks": {"prefill_chunk_size": 7},
    "all_logits": {"logits_to_keep": 0},
    "coldest_sample": {"do_sample": True, "top_k": 1},
}
# Of one image: the arguments, and how many programs they give.
OTHER_MODES: dict[str, tuple[dict[str, Any], int]] = {
    "sample": ({"do_sample": True, "top_k": 5, "top_p": 0.9, "temperature": 1.5}, 1),
    "several_samples": ({"do_sample": True, "num_return_sequences": 3}, 3),
    "beams": ({"num_beams": 3}, 1),
    "several_beams": ({"num_beams": 3, "num_return_sequences": 2, "length_penalty": 0.5}, 2),
    "sampled_beams": ({"num_beams": 2, "num_return_sequences": 2, "do_sample": True}, 2),
    "beams_with_static_cache": ({"num_beams": 2, "cache_implementation": "static"}, 1),
    "beams_without_cache": ({"num_beams": 2, "use_cache": False}, 1),
    "no_repetition": ({"repetition_penalty": 1.3}, 1),
}


def assert_numbers_are_of_one_pass(model: Any, name: str, output: Any, prompt: dict[str, torch.Tensor]) -> None:
    """Compare with a second forward pass over the finished programs; there must be some."""
    copies = len(output.sequences) // len(prompt["input_ids"])
    length = prompt["input_ids"].shape[1]
    quantities = model._number_quantities(output.sequences, length)
    read = model.read_numbers(
        output.sequences,
        number_quantities=quantities,
        pixel_values=prompt["pixel_values"].repeat_interleave(copies, dim=0),
        number_inputs=normalised(output.numbers, quantities) if name == "scene_fed_back" else None,
    )
    assert read.isfinite().any()
    torch.testing.assert_close(output.numbers, read, atol=1e-4, rtol=1e-4, equal_nan=True)


def normalised(numbers: torch.Tensor, quantities: torch.Tensor) -> torch.Tensor:
    """By hand: [low, high] of each quantity -> [-1, 1]."""
    ends = torch.tensor([*tiny.NUMBER_RANGES.values(), [torch.nan, torch.nan]])[quantities]
    return 2 * (numbers - ends[..., 0]) / (ends[..., 1] - ends[..., 0]) - 1


def assert_programs(name: str, output: Any, count: int) -> None:
    """Every row is a program with a value at each number token and nowhere else."""
    assert len(output.sequences) == count
    processor = processor_of(name)
    numbers = output.get("numbers")
    for prediction in processor.decode_scene(output.sequences, numbers):
        assert prediction.error is None
    if name in WITH_HEAD:
        assert torch.equal(numbers.isfinite(), output.sequences == processor.num_token_id)


@pytest.mark.parametrize("mode", list(SAME_AS_GREEDY))
@every_case
def test_what_is_greedy_search_too_gives_the_same(models: dict, name: str, mode: str) -> None:
    model, inputs = models[name], prompts(name)
    expected = model.generate_scene(**inputs, max_new_tokens=ROOM)
    output = generate(model, inputs, **SAME_AS_GREEDY[mode])
    assert_programs(name, output, 2)
    assert torch.equal(output.sequences, expected.sequences)
    if name in WITH_HEAD:
        assert output.numbers.isfinite().any()
        torch.testing.assert_close(output.numbers, expected.numbers, atol=1e-4, rtol=1e-4, equal_nan=True)


@pytest.mark.parametrize("mode", list(OTHER_MODES))
@pytest.mark.parametrize("name", BEAM_CASES)
def test_every_other_mode_gives_programs_with_their_numbers(models: dict, name: str, mode: str) -> None:
    torch.manual_seed(0)
    arguments, count = OTHER_MODES[mode]
    inputs = prompts(name)
    output = generate(models[name], inputs, **arguments, min_new_tokens=2)  # no empty program
    assert_programs(name, output, 2 * count)
    if name in WITH_HEAD:
        assert_numbers_are_of_one_pass(models[name], name, output, inputs)


def test_samples_of_numbers_that_are_fed_back_are_those_of_one_pass(models: dict) -> None:
    torch.manual_seed(0)
    inputs = prompts("scene_fed_back")
    output = generate(models["scene_fed_back"], inputs, do_sample=True, num_return_sequences=2)
    assert_programs("scene_fed_back", output, 4)
    assert_numbers_are_of_one_pass(models["scene_fed_back"], "scene_fed_back", output, inputs)


@every_case
def test_a_row_does_not_depend_on_its_batch(models: dict, name: str) -> None:
    model, inputs = models[name], prompts(name, count=3)
    together = generate(model, inputs)
    for row in range(3):
        alone = generate(model, rows_of(inputs, slice(row, row + 1)))
        length = alone.sequences.shape[1]
        assert torch.equal(together.sequences[row : row + 1, :length], alone.sequences)
        assert (together.sequences[row, length:] == model.config.text_config.pad_token_id).all()


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("name", ["scene_llama", "siglip_qwen3"])
def test_scores_states_and_attentions_are_returned_on_request(models: dict, name: str, beams: int) -> None:
    model, inputs = copy.deepcopy(models[name]), prompts(name)
    model.set_attn_implementation("eager")
    wanted = ("output_scores", "output_logits", "output_hidden_states", "output_attentions")
    arguments = {"min_new_tokens": 2, **dict.fromkeys(wanted, True)}
    if beams > 1:
        arguments |= {"num_beams": beams, "length_penalty": 0.0}
    output = generate(model, inputs, room=30, **arguments)
    text, start = model.config.text_config, inputs["input_ids"].shape[1]
    steps = output.sequences.shape[1] - start
    assert steps > 1
    # Beam search may run a step whose tokens no winner has.
    for found in (output.scores, output.logits, output.hidden_states, output.attentions):
        assert steps <= len(found) <= 30
    assert output.scores[0].shape == output.logits[0].shape == (2 * beams, text.vocab_size)
    for step in (0, 1):
        fed = start if step == 0 else 1
        assert len(output.hidden_states[step]) == text.num_hidden_layers + 1
        assert output.hidden_states[step][-1].shape == (2 * beams, fed, text.hidden_size)
        assert len(output.attentions[step]) == text.num_hidden_layers
        assert output.attentions[step][0].shape == (2 * beams, text.num_attention_heads, fed, start + step)
    if beams > 1:
        assert output.sequences_scores.shape == (2,)
        scores = model.compute_transition_scores(output.sequences, output.scores, output.beam_indices)
        torch.testing.assert_close(scores.sum(-1), output.sequences_scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, {}) for name in CASES), *((name, {"num_beams": 2}) for name in BEAM_CASES)]
)
def test_token_ids_alone_are_those_of_the_output(models: dict, name: str, mode: dict[str, Any]) -> None:
    model, inputs = models[name], prompts(name)
    tokens = generate(model, inputs, return_dict_in_generate=False, **mode)
    assert isinstance(tokens, torch.Tensor)
    assert torch.equal(tokens, generate(model, inputs, **mode).sequences)
